//! What no guide says but everybody relies on: a limit that holds, a browser that does as it is
//! told, and what a client sees while something restarts.

use anyhow::ensure;

use super::shell::{SHORT, Shell};
use super::{Options, Tally, boundaries, images, kubernetes, monitoring, traffic, upgrade, vault};

/// Looks at the stack that the guide has brought up.
pub(super) fn look_around(
    shell: &Shell,
    options: &Options,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    tally.check("scripts are clean, by shellcheck", || scripts(shell))?;
    shell.fetch_ca();
    shell.until_ready()?;
    boundaries::try_to_cross(shell, tally)?;
    tally.check("a test is performed in the worker's browser", || browser(shell))?;
    tally.check("the sixth login of a minute waits, and is told how long", || limits(shell))?;
    if options.tag.is_none() {
        images::look_into(shell, tally)?;
    }
    upgrade::try_versions(shell, tally)?;
    vault::entrust(shell, tally)?;
    tally.check("what would not start is told before anything does", || preflight(shell))?;
    for service in ["worker", "counts", "redis", "backend", "postgres", "proxy"] {
        tally.check(&format!("{service} restarts under traffic"), || restart(shell, service))?;
    }
    tally.check("the stack of development serves", || development(shell))?;
    monitoring::watch(shell, tally)?;
    kubernetes::read(shell, tally)
}

fn scripts(shell: &Shell) -> anyhow::Result<()> {
    shell.run(
        "grep --recursive --files-with-matches '^#!/bin/sh' deploy | xargs shellcheck",
        SHORT,
    )?;
    Ok(())
}

/// The worker is healthy, and performs a test of a page that only its own network has: the
/// application once more, on SQLite.
fn browser(shell: &Shell) -> anyhow::Result<()> {
    let script = r#"
        health() {
            docker inspect --format '{{.State.Health.Status}}' "$(docker compose ps --quiet worker)"
        }
        for _ in $(seq 60); do [ "$(health)" != starting ] || sleep 0.5; done
        [ "$(health)" = healthy ]
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
        steps='[{"action":"navigate","url":"http://tested:3002/health"},
            {"action":"assertText","selector":"body","text":"alive"},{"action":"screenshot"}]'
        test=$(ask --json "{\"name\":\"Page\",\"steps\":$steps}" "$api/projects/$project/tests")
        test=$(jq --raw-output .id <<<"$test")
        execution=$(ask --request POST "$api/tests/$test/executions" | jq --raw-output .id)
        for _ in $(seq 60); do
            found=$(ask "$api/executions/$execution")
            case $(jq --raw-output .status <<<"$found") in
                queued | running) sleep 0.5 ;;
                *) break ;;
            esac
        done
        echo "$found"
        [ "$(jq --raw-output .status <<<"$found")" = passed ]
        ask --output picture.png "$api/executions/$execution/steps/2/screenshot"
        # The signature, then width and height: the window of 1280 by 800.
        [ "$(head -c 24 picture.png | od --address-radix n --format x1 | tr -d ' \n')" = \
            89504e470d0a1a0a0000000d494844520000050000000320 ]
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

/// Each fault in its turn is told with its remedy.
fn preflight(shell: &Shell) -> anyhow::Result<()> {
    let script = r#"
        mv secrets/jwt_secret secrets/away && chmod 755 secrets
        mkdir old small
        touch nothing && not docker compose --env-file nothing config
        trap 'umount small 2>/dev/null || true
              mv secrets/away secrets/jwt_secret && chmod 700 secrets' EXIT
        not env COMPOSE_PROJECT_NAME=another DOMAIN=no.such.name.invalid ISSUER=acme \
            deploy/preflight
        not env COMPOSE_PROJECT_NAME=another DOMAIN=localhost ISSUER=acme deploy/preflight
        not env DOMAIN=https://localhost/ deploy/preflight

        # A Compose that says that it is old.
        printf '#!/bin/sh
[ "$*" != "compose version --short" ] || { echo 1.25.0 && exit; }
exec %s "$@"
'             "$(command -v docker)" >old/docker
        chmod 755 old/docker
        not env PATH="$PWD/old:$PATH" deploy/preflight

        mount -t tmpfs -o size=16m tmpfs small
        cp -r deploy docker-compose.yml .env secrets small
        not small/deploy/preflight
    "#;
    let said = shell.run(script, SHORT)?;
    let port = format!("port {} is taken", shell.https);
    for fault in [
        "run deploy/init",
        "jwt_secret is missing",
        "can read secrets/",
        "has no address",
        "no certificate authority certifies localhost",
        "which this machine does not have",
        "https://localhost/ is not a name",
        &port,
        "1.25.0 is too old",
        "MiB are free",
    ] {
        ensure!(said.contains(fault), "no `{fault}` in\n{said}");
    }
    Ok(())
}

/// `deploy/compose.dev.yml`, and back.
fn development(shell: &Shell) -> anyhow::Result<()> {
    let up = "docker compose up --detach --no-build --no-deps backend proxy";
    let dev = "export COMPOSE_FILE=docker-compose.yml:deploy/compose.dev.yml";
    shell.run(&format!("{dev}\n{up}"), SHORT)?;
    shell.until_ready()?;
    shell.run("docker compose logs --tail 500 backend | grep app_env=development", SHORT)?;
    shell.run(up, SHORT)?;
    shell.until_ready()
}

/// Restarts a service; everything is well again within a minute, and whoever asked meanwhile got
/// an answer that says what is wrong: only the proxy's own restart may leave one without, and only
/// what the application cannot do without may be felt at all.
fn restart(shell: &Shell, service: &str) -> anyhow::Result<()> {
    let answers = traffic::during(&shell.url("/health/ready"), &shell.ca(), || {
        shell.run(&format!("docker compose restart {service}"), SHORT)?;
        shell.until_ready()
    })?;
    println!("       {answers:?}");
    let expected = |status: u16| match status {
        200 => true,
        502..=504 => !matches!(service, "worker" | "counts"),
        0 => service == "proxy",
        _ => false,
    };
    ensure!(answers.keys().all(|status| expected(*status)), "answers by status: {answers:?}");
    ensure!(answers.get(&200).is_some_and(|count| *count > 0), "nobody got an answer");
    Ok(())
}
