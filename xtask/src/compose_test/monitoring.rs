//! `deploy/compose.monitoring.yml` at work: Prometheus reaches what it asks, its alerts are read,
//! and every expression of the dashboard has an answer. Grafana itself is not started: where no
//! registry can be reached, there is nothing that could stand in for it.

use anyhow::ensure;

use super::Tally;
use super::shell::{SHORT, Shell};

/// Asks Prometheus from inside its own network, since it has no port outside.
const ASK: &str = r#"
export COMPOSE_FILE=docker-compose.yml:deploy/compose.monitoring.yml
ask() {
    pid=$(docker inspect --format '{{.State.Pid}}' "$(docker compose ps --quiet prometheus)")
    nsenter --target "$pid" --net \
        curl --silent --fail --get "http://127.0.0.1:9090/api/v1/$1" "${@:2}"
}
until_true() {
    for _ in $(seq 240); do "$@" && return; sleep 0.5; done
    return 1
}
"#;

pub(super) fn watch(shell: &Shell, tally: &mut Tally) -> anyhow::Result<()> {
    tally.check("Prometheus reaches the proxy, the application and the machine", || up(shell))?;
    tally.check("Prometheus reads the alert rules", || rules(shell))?;
    tally.check("every panel of the dashboard has something to show", || panels(shell))?;
    tally.check("alerts and panels name metrics that exist", || names(shell))?;
    tally.check("the alerts of a service that is gone wait to fire", || alerts(shell))?;
    tally.check("the alerts of a backup that is old or missing wait to fire", || backups(shell))
}

fn run(shell: &Shell, script: &str) -> anyhow::Result<String> {
    shell.run(&format!("{ASK}{script}"), SHORT)
}

fn up(shell: &Shell) -> anyhow::Result<()> {
    let script = r#"
        docker compose up --detach --no-build front counts backend proxy prometheus machine
        all_up() {
            ask query --data-urlencode query=up | tee targets.json | jq --exit-status \
                '.data.result | map(select(.value[1] == "1").metric.job) | sort
                 == ["gatehouse", "machine", "nomation"]' >/dev/null
        }
        until_true all_up || { cat targets.json; docker compose logs --tail 20 prometheus; exit 1; }
    "#;
    run(shell, script).map(drop)
}

fn rules(shell: &Shell) -> anyhow::Result<()> {
    let script = r#"
        all_healthy() {
            ask rules | tee rules.json | jq --exit-status \
                '[.data.groups[].rules[].health] | length > 10 and all(. == "ok")' >/dev/null
        }
        until_true all_healthy || { cat rules.json; exit 1; }
    "#;
    run(shell, script).map(drop)
}

/// After somebody was rejected, since nobody else would be counted among the rejections.
fn panels(shell: &Shell) -> anyhow::Result<()> {
    let script = r#"
        curl --silent --output /dev/null --header 'Host: nobody.invalid' \
            "https://localhost:$HTTPS_PORT"
        jq --exit-status '([.panels[].id] | length == (unique | length))
            and ([.panels[] | select(.targets).datasource.uid] | all(. == "prometheus"))' \
            deploy/monitoring/grafana/gatehouse.json
        grep 'uid: prometheus' deploy/monitoring/grafana/datasource.yml
        jq --raw-output '.panels[].targets[]?.expr' deploy/monitoring/grafana/gatehouse.json \
            | sed 's/\$__rate_interval/1m/g' >expressions
        has_something() {
            ask query --data-urlencode "query=$1" | jq --exit-status '.data.result != []' >/dev/null
        }
        while read -r expression; do
            until_true has_something "$expression" || { echo "nothing: $expression"; exit 1; }
        done <expressions
        test -s expressions
    "#;
    run(shell, script).map(drop)
}

fn names(shell: &Shell) -> anyhow::Result<()> {
    let script = r#"
        ask label/__name__/values | jq --raw-output '.data[]' | sort >known
        cat deploy/monitoring/alerts.yml deploy/monitoring/grafana/gatehouse.json |
            grep --extended-regexp --only-matching '\b(gatehouse|nomation|node|backup)_[a-z0-9_]+' |
            sort --unique >named
        test -s named
        comm -13 known named
    "#;
    let missing = run(shell, script)?;
    ensure!(missing.is_empty(), "no such metrics:\n{missing}");
    Ok(())
}

fn alerts(shell: &Shell) -> anyhow::Result<()> {
    let script = r#"
        pending() {
            ask alerts | tee alerts.json | jq --exit-status '[.data.alerts[].labels.alertname]
                | contains(["NomationDown", "UpstreamServerDown"])' >/dev/null
        }
        not pending
        docker compose stop backend
        until_true pending || { cat alerts.json; exit 1; }
        docker compose start backend
    "#;
    run(shell, script).map(drop)
}

/// The file that tells of the last backup is the guide's own `deploy/backup`'s.
fn backups(shell: &Shell) -> anyhow::Result<()> {
    let script = r#"
        waits() {
            ask alerts | tee alerts.json | jq --exit-status --arg name "$1" \
                '[.data.alerts[].labels.alertname] | contains([$name])' >/dev/null
        }
        none_waits() { not waits BackupOld && not waits BackupMissing; }
        none_waits
        sed --in-place 's/ [0-9]*$/ 1000/' metrics/backup.prom
        until_true waits BackupOld || { cat alerts.json metrics/backup.prom; exit 1; }
        rm metrics/backup.prom
        until_true waits BackupMissing || { cat alerts.json; exit 1; }
        deploy/backup
        until_true none_waits || { cat alerts.json metrics/backup.prom; exit 1; }
    "#;
    run(shell, script).map(drop)
}
