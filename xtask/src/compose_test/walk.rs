//! What no guide says but everybody relies on: who reaches whom, what stays secret, what a client
//! sees while something restarts.

use std::time::Duration;

use anyhow::{bail, ensure};

use super::shell::{SHORT, Shell};
use super::{Options, Tally, traffic};

/// Looks at the stack that the guide has brought up.
pub(super) fn look_around(
    shell: &Shell,
    options: &Options,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    shell.fetch_ca();
    shell.until_ready()?;
    tally.check("each service reaches what it needs, and nothing else", || networks(shell))?;
    tally.check("only the proxy's two ports are published", || published(shell))?;
    tally.check("no service is root, can become it, or can write to its image", || least(shell))?;
    tally.check("no secret is in inspect, config, logs, arguments or environments", || {
        secrets(shell)
    })?;
    tally.check("a test is performed in the worker's browser", || browser(shell))?;
    tally.check("the sixth login of a minute waits, and is told how long", || limits(shell))?;
    tally.check("alerts fire when they should, on metrics that exist", || alerts(shell))?;
    if options.tag.is_none() {
        tally.check("images are small, and the proxy's has no shell", || images(shell))?;
    }
    for service in ["worker", "redis", "backend", "postgres", "proxy"] {
        tally.check(&format!("{service} restarts under traffic"), || restart(shell, service))?;
    }
    Ok(())
}

/// Every service, as seen from each.
const PORTS: [(&str, u16); 5] =
    [("proxy", 9180), ("backend", 3002), ("postgres", 5432), ("redis", 6379), ("worker", 9515)];

/// Who reaches what; the admin listener is on its own loopback, and so nobody's.
const REACHES: [(&str, &[&str], bool); 5] = [
    ("proxy", &["backend", "redis"], true),
    ("backend", &["postgres", "redis"], false),
    ("worker", &["postgres"], true),
    ("postgres", &["backend"], false),
    ("redis", &["backend"], false),
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
    for (service, _) in PORTS {
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

fn secrets(shell: &Shell) -> anyhow::Result<()> {
    // URLs and the configuration of Redis hold the passwords, which are looked for alone.
    let secrets = ["admin_token", "jwt_secret", "postgres_password", "redis_conf"]
        .map(|file| shell.read(&format!("secrets/{file}")));
    let secrets = secrets.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
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

/// A test of a page that only the worker's network has: the application once more, on SQLite.
fn browser(shell: &Shell) -> anyhow::Result<()> {
    let script = r#"
        ask() { curl --silent --show-error --fail "$@"; }
        trap 'docker rm --force "$COMPOSE_PROJECT_NAME-page" >/dev/null' EXIT
        docker run --detach --name "$COMPOSE_PROJECT_NAME-page" --tmpfs /tmp:mode=1777 \
            --network "${COMPOSE_PROJECT_NAME}_browsing" --network-alias tested \
            --env APP_ENV=development --env DATABASE_URL=sqlite:///tmp/page.db "nomation:$TAG"
        api="https://localhost:$HTTPS_PORT/api"
        login='{"email":"drill@example.com","password":"three plain words"}'
        token=$(ask --json "$login" "$api/auth/login" | jq --raw-output .accessToken)
        ask() { curl --silent --show-error --fail --header "Authorization: Bearer $token" "$@"; }
        project=$(ask --json '{"name":"Pages"}' "$api/projects" | jq --raw-output .id)
        steps='[{"action":"navigate","url":"http://tested:3002/health"},{"action":"screenshot"}]'
        test=$(ask --json "{\"name\":\"Page\",\"steps\":$steps}" "$api/projects/$project/tests")
        test=$(jq --raw-output .id <<<"$test")
        execution=$(ask --request POST "$api/tests/$test/executions" | jq --raw-output .id)
        for _ in $(seq 60); do
            found=$(ask "$api/executions/$execution")
            case $(jq --raw-output .status <<<"$found") in
                passed) exit 0 ;;
                queued | running) sleep 0.5 ;;
                *) break ;;
            esac
        done
        echo "$found"
        exit 1
    "#;
    shell.run(script, SHORT).map(drop)
}

fn limits(shell: &Shell) -> anyhow::Result<()> {
    let login = format!(
        "curl --silent --include --json '{{\"email\":\"nobody@example.com\",\"password\":\"x\"}}' \
         https://localhost:{}/api/auth/login",
        shell.https
    );
    let mut answer = String::new();
    for _ in 0..6 {
        answer = shell.ask(&login)?.to_ascii_lowercase();
    }
    for wanted in [
        "http/2 429",
        "retry-after: ",
        "ratelimit: \"login\";r=0",
        "application/problem+json",
        "strict-transport-security: max-age=31536000",
        "content-security-policy: ",
        "x-content-type-options: nosniff",
    ] {
        ensure!(answer.contains(wanted), "no `{wanted}` in\n{answer}");
    }
    Ok(())
}

/// The rules by their own tests; and each metric that they or the dashboard name is one that the
/// running programs have.
fn alerts(shell: &Shell) -> anyhow::Result<()> {
    shell.run("promtool test rules deploy/monitoring/alerts.test.yml", SHORT)?;
    let proxy = shell.container("proxy")?;
    // Its admin listener is on its loopback. The network is entered; the token goes by a file.
    let metrics = shell.ask(&format!(
        "docker inspect --format '{{{{.State.Pid}}}}' {proxy} | xargs -I PID nsenter --target PID \
         --net curl --silent --fail --header @<(echo \"Authorization: Bearer $(cat \
         secrets/admin_token)\") http://127.0.0.1:9180/metrics"
    ))?;
    let named = shell.ask(
        "grep --only-matching --no-filename 'gatehouse_[a-z0-9_]*' \
         deploy/monitoring/alerts.yml deploy/monitoring/grafana/gatehouse.json | sort --unique",
    )?;
    let missing: Vec<&str> =
        named.lines().filter(|name| !metrics.contains(&format!("# TYPE {name} "))).collect();
    ensure!(!named.is_empty() && missing.is_empty(), "no such metrics: {missing:?}");
    Ok(())
}

fn images(shell: &Shell) -> anyhow::Result<()> {
    for (image, megabytes) in [("gatehouse", 30), ("nomation", 40), ("nomation-worker", 1000)] {
        let size =
            shell.ask(&format!("docker image inspect --format '{{{{.Size}}}}' {image}:$TAG"))?;
        let size = size.parse::<u64>()? / 1_000_000;
        println!("       {image}: {size} MB");
        ensure!(size < megabytes, "{image} has {size} MB, and may have {megabytes}");
    }
    let proxy = shell.container("proxy")?;
    let found = shell.run(&format!("docker exec {proxy} /bin/sh -c true"), SHORT);
    ensure!(found.is_err(), "the proxy's image has a shell");
    Ok(())
}

/// Restarts a service; everything is well again within a minute, and whoever asked meanwhile got
/// an answer that says what is wrong: only the proxy's own restart may leave one without.
fn restart(shell: &Shell, service: &str) -> anyhow::Result<()> {
    let url = format!("https://localhost:{}/health/ready", shell.https);
    let ca = shell.ask("echo $CURL_CA_BUNDLE")?;
    let answers = traffic::during(&url, &ca, || {
        shell.run(&format!("docker compose restart {service}"), SHORT)?;
        shell.until_ready()?;
        std::thread::sleep(Duration::from_secs(1));
        Ok(())
    })?;
    println!("       {answers:?}");
    let expected = |status: u16| match status {
        200 | 502..=504 => true,
        0 => service == "proxy",
        _ => false,
    };
    ensure!(answers.keys().all(|status| expected(*status)), "answers by status: {answers:?}");
    ensure!(answers.get(&200).is_some_and(|count| *count > 0), "nobody got an answer");
    Ok(())
}
