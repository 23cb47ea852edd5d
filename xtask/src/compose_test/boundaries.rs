//! The lines that nobody may cross: who reaches whom, who may do what, and what stays secret.

use anyhow::{bail, ensure};

use super::Tally;
use super::shell::{SHORT, Shell};

/// Looks for a way across each of them.
pub(super) fn try_to_cross(shell: &Shell, tally: &mut Tally) -> anyhow::Result<()> {
    tally.check("each service reaches what it needs, and nothing else", || networks(shell))?;
    tally.check("only the proxy's two ports are published", || published(shell))?;
    tally.check("no service is root, can become it, or can write to its image", || least(shell))?;
    tally.check("every service has limits, and a log that ends", || limits(shell))?;
    tally.check("no secret is in inspect, config, logs, arguments or environments", || {
        secrets(shell)
    })
}

/// Every service, as seen from each.
const PORTS: [(&str, u16); 6] = [
    ("front", 9180),
    ("backend", 3002),
    ("postgres", 5432),
    ("redis", 6379),
    ("counts", 6379),
    ("worker", 9515),
];

/// Who reaches what; the admin listener is on its own loopback, and so nobody's.
const REACHES: [(&str, &[&str], bool); 6] = [
    ("front", &["backend", "counts"], true),
    ("backend", &["postgres", "redis"], false),
    ("worker", &["postgres"], true),
    ("postgres", &["backend"], false),
    ("redis", &["backend"], false),
    ("counts", &[], false),
];

/// A host on the far side of the machine, made of a network namespace: nothing listens there, but
/// whoever gets through is refused by it.
const OUTSIDE: &str = "203.0.113.2";

/// A scan from inside each service's own network, and whether it has a way out of the machine.
fn networks(shell: &Shell) -> anyhow::Result<()> {
    let name = format!("outside-{}", std::process::id());
    shell.run(
        &format!(
            "ip netns add {name}\n\
             ip link add near-{id} type veth peer name far-{id} netns {name}\n\
             ip address add 203.0.113.1/30 dev near-{id}\n\
             ip link set near-{id} up\n\
             ip -n {name} address add {OUTSIDE}/30 dev far-{id}\n\
             ip -n {name} link set far-{id} up",
            id = std::process::id()
        ),
        SHORT,
    )?;
    let scanned = REACHES.iter().try_for_each(|reaches| scan(shell, reaches));
    // The pair of interfaces goes with it.
    shell.run(&format!("ip netns delete {name}"), SHORT)?;
    scanned
}

fn scan(shell: &Shell, (from, reaches, way_out): &(&str, &[&str], bool)) -> anyhow::Result<()> {
    let connect = |host: &str, port| format!("timeout 2 bash -c '</dev/tcp/{host}/{port}' 2>&1");
    let scan: String = PORTS
        .iter()
        .filter(|(to, _)| to != from)
        .map(|(to, port)| format!("said=$({}) && echo {to}\n", connect(to, *port)))
        .collect();
    let container = shell.container(from)?;
    let found = shell.ask(&format!(
        "docker run --rm --interactive --network container:{container} debian:bookworm-slim bash \
         <<'SCAN'\n{scan}{} | grep --quiet refused && echo out\ntrue\nSCAN",
        connect(OUTSIDE, 9)
    ))?;
    let found: Vec<&str> = found.lines().collect();
    let all = PORTS.iter().map(|(to, _)| *to);
    let expected: Vec<&str> =
        all.filter(|to| reaches.contains(to)).chain(way_out.then_some("out")).collect();
    ensure!(found == expected, "{from} reaches {found:?}, and should reach {expected:?}");
    let found = found.join(", ");
    println!("       {from} reaches {}", if found.is_empty() { "nobody" } else { &found });
    Ok(())
}

fn published(shell: &Shell) -> anyhow::Result<()> {
    let found = shell.ask(
        "docker compose ps --quiet | xargs docker inspect | jq --raw-output \
         '.[].NetworkSettings.Ports[] | values | .[] | \"\\(.HostIp) \\(.HostPort)\"' | sort",
    )?;
    let mut expected = [shell.http, shell.https].map(|port| format!("127.0.0.1 {port}"));
    expected.sort();
    ensure!(found == expected.join("\n"), "published: {found}");
    Ok(())
}

fn least(shell: &Shell) -> anyhow::Result<()> {
    const WANTED: &str = "true [ALL] [] no-new-privileges";
    for service in ["front", "proxy", "backend", "worker", "postgres", "redis", "counts"] {
        let container = shell.container(service)?;
        let format = "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} \
                      {{.HostConfig.CapAdd}} {{index .HostConfig.SecurityOpt 0}} {{.State.Pid}}";
        let found = shell.ask(&format!("docker inspect --format '{format}' {container}"))?;
        let Some((settings, pid)) = found.rsplit_once(' ') else { bail!("{service}: {found}") };
        ensure!(settings.trim_end_matches(":true") == WANTED, "{service}: {settings}");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        let root = field("Uid:").is_none_or(|ids| ids.split_whitespace().any(|id| id == "0"));
        ensure!(!root, "{service} runs as root");
        ensure!(field("NoNewPrivs:").map(str::trim) == Some("1"), "{service} can gain privileges");
        let none = field("CapBnd:").is_some_and(|set| set.trim().chars().all(|c| c == '0'));
        ensure!(none, "{service} has capabilities");
    }
    Ok(())
}

/// Of memory and processes; of the log five files.
fn limits(shell: &Shell) -> anyhow::Result<()> {
    let found = shell.ask(
        "docker compose ps --quiet | xargs docker inspect | jq --raw-output '.[] | .HostConfig \
         | \"\\(.Memory > 0) \\(.PidsLimit > 0) \\(.LogConfig.Config)\"' | sort --unique",
    )?;
    ensure!(found == r#"true true {"max-file":"5","max-size":"10m"}"#, "limits:\n{found}");
    Ok(())
}

fn secrets(shell: &Shell) -> anyhow::Result<()> {
    // URLs and the configuration of Redis hold the passwords, which are looked for alone.
    let secrets = ["admin_token", "counts_conf", "jwt_secret", "postgres_password", "redis_conf"]
        .map(|file| shell.read(&format!("secrets/{file}")));
    let mut secrets = secrets.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    // Of the guide's user, who has passed by.
    let login = r#"{"email":"drill@example.com","password":"three plain words"}"#;
    let login = format!("curl --silent --fail --json '{login}' {}", shell.url("/api/auth/login"));
    secrets.push("three plain words".to_owned());
    secrets.push(shell.ask(&format!("{login} | jq --raw-output --exit-status .accessToken"))?);
    let containers = "$(docker compose ps --all --quiet)";
    let places = [
        ("docker inspect", format!("docker inspect {containers}")),
        ("docker compose config", "docker compose config".to_owned()),
        ("the logs", "docker compose logs".to_owned()),
        (
            "docker inspect of the images",
            format!(
                "docker inspect --format '{{{{.Image}}}}' {containers} | sort --unique \
                 | xargs docker inspect"
            ),
        ),
        (
            "the arguments and environments of processes",
            format!(
                "for id in {containers}; do docker top $id -o pid 2>/dev/null || true; done \
                 | grep --invert-match PID | while read -r pid; do \
                 cat /proc/$pid/cmdline /proc/$pid/environ || true; \
                 done 2>/dev/null | tr '\\0' '\\n'"
            ),
        ),
    ];
    for (place, script) in places {
        let text = shell.ask(&script)?;
        ensure!(!text.is_empty(), "{place}: there is nothing to look at");
        for secret in &secrets {
            let secret = secret.trim().trim_start_matches("requirepass ");
            ensure!(!text.contains(secret), "a secret stands in {place}");
        }
    }
    Ok(())
}
