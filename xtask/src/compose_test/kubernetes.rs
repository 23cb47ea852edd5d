//! `deploy/kubernetes.yaml`, as far as it can be tried without a cluster: by Kubernetes' own
//! schemas, and what it configures by Gatehouse's own check.

use super::Tally;
use super::shell::{SHORT, Shell};
use crate::python;

/// Has the schemas of the Kubernetes of the same version.
const VERSION: &str = "1.37.0";

pub(super) fn read(shell: &Shell, tally: &mut Tally) -> anyhow::Result<()> {
    tally.check("Kubernetes' schemas know every field of the manifest", || {
        let program = python::program("kubernetes-validate", VERSION)?;
        let program = program.display();
        let script = format!(
            "validate=(\"{program}\" --strict)\n\
             \"${{validate[@]}}\" deploy/kubernetes.yaml\n\
             sed s/runAsNonRoot/runAsNonRot/ deploy/kubernetes.yaml >misspelt.yaml\n\
             not \"${{validate[@]}}\" misspelt.yaml"
        );
        shell.run(&script, SHORT).map(drop)
    })?;
    tally.check("the manifest's configuration has no faults", || {
        let script = r#"
            mkdir manifest
            sed --quiet '/gatehouse.toml: |/,/^---/s/^    //p' deploy/kubernetes.yaml \
                >manifest/gatehouse.toml
            docker run --rm --volume "$PWD/manifest:/etc/gatehouse:ro" "gatehouse:$TAG" check
        "#;
        shell.run(script, SHORT).map(drop)
    })
}
