//! What no guide says but everybody relies on: a limit that holds, alerts that fire, small images,
//! and what a client sees while something is upgraded or restarts.

use std::time::Duration;

use anyhow::ensure;

use super::shell::{SHORT, Shell};
use super::{Options, Tally, boundaries, traffic};

/// Looks at the stack that the guide has brought up.
pub(super) fn look_around(
    shell: &Shell,
    options: &Options,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    tally.check("scripts are clean, by shellcheck", || scripts(shell))?;
    tally.check("units expose little, by systemd-analyze", || units(shell))?;
    shell.fetch_ca();
    shell.until_ready()?;
    boundaries::try_to_cross(shell, tally)?;
    tally.check("a test is performed in the worker's browser", || browser(shell))?;
    tally.check("the sixth login of a minute waits, and is told how long", || limits(shell))?;
    tally.check("alerts fire when they should, on metrics that exist", || alerts(shell))?;
    if options.tag.is_none() {
        tally.check("images are small, and the proxy's has no shell", || images(shell))?;
    }
    tally.check("an upgrade under traffic loses no request", || upgrade(shell))?;
    tally.check("what would not start is told before anything does", || preflight(shell))?;
    for service in ["worker", "redis", "backend", "postgres", "proxy"] {
        tally.check(&format!("{service} restarts under traffic"), || restart(shell, service))?;
    }
    Ok(())
}

fn scripts(shell: &Shell) -> anyhow::Result<()> {
    shell.run(
        "grep --recursive --files-with-matches '^#!/bin/sh' deploy | xargs shellcheck",
        SHORT,
    )?;
    Ok(())
}

/// The exposure that systemd computes from a unit, of 10 for one without any restriction.
fn units(shell: &Shell) -> anyhow::Result<()> {
    for unit in ["gatehouse", "nomation"] {
        let said = shell.ask(&format!(
            "systemd-analyze security --offline=true --no-pager deploy/systemd/{unit}.service"
        ))?;
        let exposure = said.rsplit_once(".service: ").map(|(_, rest)| rest).unwrap_or_default();
        let exposure: f32 = exposure.split(' ').next().unwrap_or_default().parse()?;
        ensure!(exposure < 2.0, "{unit}.service has an exposure of {exposure}");
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
    // Both are asked in their own networks; the proxy's token goes by a file, not as an argument.
    let metrics = shell.ask(
        r#"
        ask() {
            pid=$(docker inspect --format '{{.State.Pid}}' "$(docker compose ps --quiet "$1")")
            nsenter --target "$pid" --net \
                curl --silent --fail --header @- "http://127.0.0.1:$2/metrics"
        }
        echo "Authorization: Bearer $(cat secrets/admin_token)" | ask proxy 9180
        ask backend 3002 </dev/null
        "#,
    )?;
    let named = shell.ask(
        "grep --extended-regexp --only-matching --no-filename '(gatehouse|nomation)_[a-z0-9_]+' \
         deploy/monitoring/alerts.yml deploy/monitoring/grafana/gatehouse.json \
         | sed 's/_bucket$//' | sort --unique",
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

/// Once to a version that is there, and once to one that is not, which changes nothing.
fn upgrade(shell: &Shell) -> anyhow::Result<()> {
    let answers = traffic::during(&shell.url("/health/ready"), &shell.ca(), || {
        let said = shell.run("deploy/upgrade \"$TAG\"", SHORT)?;
        ensure!(said.contains("serves"), "it said:\n{said}");
        ensure!(shell.run("deploy/upgrade no-such-tag", SHORT).is_err(), "there is no such tag");
        Ok(())
    })?;
    println!("       {answers:?}");
    let lost: u32 = answers.iter().filter(|(status, _)| **status != 200).map(|(_, n)| n).sum();
    ensure!(lost == 0 && !answers.is_empty(), "answers by status: {answers:?}");
    Ok(())
}

fn preflight(shell: &Shell) -> anyhow::Result<()> {
    let script = "
        mv secrets/jwt_secret secrets/away && chmod 755 secrets
        trap 'mv secrets/away secrets/jwt_secret && chmod 700 secrets' EXIT
        ! COMPOSE_PROJECT_NAME=another DOMAIN=no.such.name.invalid ISSUER=acme deploy/preflight
    ";
    let said = shell.run(script, SHORT)?;
    let port = format!("port {} is taken", shell.https);
    for fault in ["jwt_secret is missing", "can read secrets/", "has no address", &port] {
        ensure!(said.contains(fault), "no `{fault}` in\n{said}");
    }
    Ok(())
}

/// Restarts a service; everything is well again within a minute, and whoever asked meanwhile got
/// an answer that says what is wrong: only the proxy's own restart may leave one without.
fn restart(shell: &Shell, service: &str) -> anyhow::Result<()> {
    let answers = traffic::during(&shell.url("/health/ready"), &shell.ca(), || {
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
