//! `deploy/upgrade` while clients ask without a pause: to a version that is well, and to versions
//! that are not. Nobody may notice, and nothing that is counted or stored may be lost.

use anyhow::ensure;

use super::shell::{SHORT, Shell};
use super::{Tally, traffic};

pub(super) fn try_versions(shell: &Shell, tally: &mut Tally) -> anyhow::Result<()> {
    tally.check("an upgrade under traffic loses no request, no row and no count", || {
        to_a_good_one(shell)
    })?;
    for (tag, images, said) in BAD {
        let name = format!("an upgrade to {tag} goes back, and no request is lost");
        tally.check(&name, || to_a_bad_one(shell, tag, images, said))?;
    }
    Ok(())
}

/// A tag, how its images come about, and what is said of them. The program of a sick one starts,
/// and its health check fails.
const BAD: [(&str, &str, &str); 4] = [
    ("no-such-tag", "", "nothing was switched"),
    ("sick-backend", "sick nomation; well gatehouse; well nomation-worker", "nothing was switched"),
    (
        "sick-worker",
        "sick nomation-worker; well nomation; well gatehouse",
        "the backend goes back to",
    ),
    (
        "sick-proxy",
        "sick gatehouse; well nomation; well nomation-worker",
        "the backend goes back to",
    ),
];

const IMAGES: &str = r#"
well() { docker tag "$1:$TAG" "$1:$NEW"; }
sick() {
    printf 'FROM %s\nHEALTHCHECK --interval=1s --retries=3 CMD ["/usr/bin/%s", "no-such"]\n' \
        "$1:$TAG" "$1" | docker build --tag "$1:$NEW" -
}
"#;

/// How many rows every table has.
const ROWS: &str = r#"
docker compose exec -T postgres psql --username=nomation --no-align --tuples-only nomation <<'SQL'
SELECT table_name, query_to_xml('SELECT count(*) FROM ' || quote_ident(table_name), false, true, '')
FROM information_schema.tables WHERE table_schema = 'public' ORDER BY table_name
SQL
"#;

/// The images of what serves, and stand-ins that were left behind.
const SERVING: &str = r#"
for service in proxy backend worker; do
    docker inspect --format '{{.Config.Image}}' "$(docker compose ps --quiet "$service")"
done
docker compose ps --all --quiet proxy-next backend-next
"#;

fn to_a_good_one(shell: &Shell) -> anyhow::Result<()> {
    // What the guide has registered counts, too: three may register in an hour.
    let register = format!(
        "curl --silent --output /dev/null --write-out '%{{http_code}}' --json '{{}}' {}",
        shell.url("/api/auth/register")
    );
    for _ in 0..3 {
        shell.ask(&register)?;
    }
    let rows = shell.ask(ROWS)?;
    ensure!(rows.contains("projects") && rows.contains("<count>1<"), "rows:\n{rows}");
    let said = unnoticed(shell, || shell.run("deploy/upgrade \"$TAG\"", 2 * SHORT))?;
    ensure!(said.contains("serves"), "it said:\n{said}");
    let after = shell.ask(ROWS)?;
    ensure!(after == rows, "rows before:\n{rows}\nand after:\n{after}");
    let status = shell.ask(&register)?;
    ensure!(status == "429", "after the upgrade somebody may register again: {status}");
    Ok(())
}

fn to_a_bad_one(shell: &Shell, tag: &str, images: &str, wanted: &str) -> anyhow::Result<()> {
    shell.run(&format!("NEW={tag}\n{IMAGES}\n{images}"), SHORT)?;
    let serving = shell.ask(SERVING)?;
    let said = unnoticed(shell, || shell.run(&format!("not deploy/upgrade {tag}"), 2 * SHORT));
    let after = shell.ask(SERVING)?;
    let remove = format!(
        "docker image ls --format '{{{{.Repository}}}}:{{{{.Tag}}}}' --filter 'reference=*:{tag}' \
         | xargs --no-run-if-empty docker image rm"
    );
    shell.run(&remove, SHORT)?;
    let said = said?;
    ensure!(said.contains(wanted), "it said:\n{said}");
    ensure!(after == serving, "serving before:\n{serving}\nand after:\n{after}");
    Ok(())
}

/// Does it while clients ask: every one is answered, by 200.
fn unnoticed(
    shell: &Shell,
    work: impl FnOnce() -> anyhow::Result<String>,
) -> anyhow::Result<String> {
    let mut said = String::new();
    let answers = traffic::during(&shell.url("/health/ready"), &shell.ca(), || {
        said = work()?;
        Ok(())
    })?;
    println!("       {answers:?}");
    ensure!(answers.keys().all(|status| *status == 200), "answers by status: {answers:?}");
    ensure!(!answers.is_empty(), "nobody asked");
    Ok(said)
}
