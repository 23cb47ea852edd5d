//! What the images are: small, without a shell, described, and the same when they are built again.

use anyhow::ensure;

use super::Tally;
use super::shell::{LONG, SHORT, Shell};

/// Each image, and how many megabytes it may have.
const IMAGES: [(&str, u64); 3] = [("gatehouse", 30), ("nomation", 40), ("nomation-worker", 500)];

pub(super) fn look_into(shell: &Shell, tally: &mut Tally) -> anyhow::Result<()> {
    tally.check("images are small, and have no shell", || small(shell))?;
    tally.check("images say what is in them, and look after their own health", || {
        described(shell)
    })?;
    println!("building the programs once more, which takes some minutes");
    tally.check("a second build gives the same layers", || reproduced(shell))
}

fn small(shell: &Shell) -> anyhow::Result<()> {
    for (image, megabytes) in IMAGES {
        let size =
            shell.ask(&format!("docker image inspect --format '{{{{.Size}}}}' {image}:$TAG"))?;
        let size = size.parse::<u64>()? / 1_000_000;
        println!("       {image}: {size} MB");
        ensure!(size < megabytes, "{image} has {size} MB, and may have {megabytes}");
    }
    for service in ["proxy", "backend"] {
        let container = shell.container(service)?;
        let found = shell.run(&format!("docker exec {container} /bin/sh -c true"), SHORT);
        ensure!(found.is_err(), "the image of {service} has a shell");
    }
    Ok(())
}

/// Labels, the health check by the program itself, the crates that are linked in, and their
/// licences.
fn described(shell: &Shell) -> anyhow::Result<()> {
    let script = r#"
        for image in gatehouse nomation nomation-worker; do
            docker image inspect --format '{{json .Config.Labels}}' "$image:$TAG" |
                jq --exit-status 'with_entries(.key |= ltrimstr("org.opencontainers.image."))
                    | [.title, .description, .licenses, .version] | all(. // "" | length > 0)'
        done
        docker image inspect --format '{{json .Config.Healthcheck.Test}}' "nomation-worker:$TAG" |
            grep '^\["CMD","/usr/bin/nomation","health","--worker"\]'
        for service in proxy backend; do
            [ "$service" = proxy ] && program=gatehouse || program=nomation
            docker image inspect --format '{{json .Config.Healthcheck.Test}}' "$program:$TAG" |
                grep "^\[\"CMD\",\"/usr/bin/$program\","
            docker cp "$(docker compose ps --quiet "$service"):/usr/share/doc/$program" .
            jq --exit-status '.components | map(select(.hashes and .licenses)) | length > 100' \
                "$program/sbom.cdx.json"
            grep --quiet 'Apache License' "$program/LICENSES.txt"
        done
    "#;
    shell.run(script, SHORT).map(drop)
}

/// A file that no program is made of keeps the last build from being taken from the cache.
fn reproduced(shell: &Shell) -> anyhow::Result<()> {
    let script = r#"
        trap 'rm -f proxy/src/again; docker image rm gatehouse:again nomation:again || true' EXIT
        touch proxy/src/again
        for image in gatehouse nomation; do
            docker build --file deploy/Dockerfile --target "$image" --tag "$image:again" .
            for tag in "$TAG" again; do
                docker image inspect --format '{{json .RootFS.Layers}}' "$image:$tag"
            done | uniq --count | tee /dev/stderr | grep --quiet '^ *2 '
        done
    "#;
    shell.run(script, LONG).map(drop)
}
