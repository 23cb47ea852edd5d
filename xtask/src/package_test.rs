//! `cargo xtask package-test`: the Debian packages, on a machine of their own.
//!
//! The machine is a container with Debian 12 and a real systemd. What is done to it is what
//! DEPLOYMENT.md says for servers without containers, and what befalls such a server later:
//! reloads, restarts and an upgrade under traffic, a process that hangs, and the end.
//!
//! # Why
//!
//! The packages are made of the programs as they are built for tests. What is looked at is how
//! they are installed and run, for which nobody has to wait for an optimised build.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::compose_test::{self, Engine, NOT, SHORT, Shell, Tally, stand_ins, traffic};
use crate::process::Running;
use crate::{Profile, apt};

pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let programs = crate::build(Profile::Debug, &["-p", "gatehouse", "-p", "nomation"])?;
    let tools = cargo_deb()?;
    let engine = Engine::start()?;
    let scratch = tempfile::Builder::new().prefix("gatehouse-package-").tempdir()?;
    compose_test::copy_work_tree(scratch.path())?;
    let shell = Shell::new(scratch.path(), &engine, None)?;
    stand_ins::provide_debian(&shell)?;
    let mut tally = Tally::default();
    println!("building the packages and the machine");
    let looked = build(&shell, &programs, &tools)
        .and_then(|()| Machine::start(&shell))
        .and_then(|machine| machine.live(&mut tally));
    let removed = shell.run("docker rm --force --volumes \"$COMPOSE_PROJECT_NAME\"", SHORT);
    looked?;
    removed?;
    println!("package-test: {} passed, {} failed", tally.passed, tally.failed);
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The folder of `cargo-deb`, which is built once, beside the project's own programs.
fn cargo_deb() -> anyhow::Result<String> {
    let tools = crate::target()?.join("tools");
    if apt::find("cargo-deb").is_none() && !tools.join("bin/cargo-deb").exists() {
        println!("building cargo-deb, once");
        let mut command = crate::cargo();
        command.args(["install", "cargo-deb", "--locked", "--debug", "--root"]).arg(&tools);
        let status = Running::spawn("cargo", &mut command)?.wait(Duration::from_secs(3600))?;
        ensure!(status.success(), "`cargo install cargo-deb` failed; why stands above");
    }
    Ok(tools.join("bin").display().to_string())
}

/// Both packages, in `target/debian`, and the machine's image.
fn build(shell: &Shell, programs: &Path, tools: &str) -> anyhow::Result<()> {
    let programs = programs.display();
    let script = format!(
        "export PATH=\"$PATH:{tools}\" CARGO_TARGET_DIR=\"$PWD/target\"\n\
         mkdir -p target/release\n\
         for program in gatehouse nomation; do\n\
         strip -o \"target/release/$program\" \"{programs}/$program\"\n\
         done\n\
         deploy/deb --no-build\n\
         docker build --tag stand-in/machine --file deploy/stand-ins/machine.Dockerfile \
         deploy/stand-ins"
    );
    shell.run(&script, 4 * SHORT).map(drop)
}

/// At first nobody is there to be asked.
const RUNNING: &str = r#"
for _ in $(seq 120); do
    [ "$(systemctl is-system-running 2>/dev/null)" = running ] && exit
    sleep 0.5
done
systemctl --failed
exit 1
"#;

/// A container that runs systemd as a machine does.
struct Machine<'a> {
    shell: &'a Shell,
    /// A page of the proxy on it, as seen from here.
    url: String,
}

impl<'a> Machine<'a> {
    fn start(shell: &'a Shell) -> anyhow::Result<Self> {
        // A machine that lacks capabilities itself cannot hand all of them to a container.
        let script = r#"
            start() {
                docker rm --force "$COMPOSE_PROJECT_NAME" >/dev/null 2>&1 || true
                docker run --detach --name "$COMPOSE_PROJECT_NAME" --publish 127.0.0.1::443 "$@" \
                    --cgroupns private --tmpfs /run --tmpfs /run/lock --tmpfs /tmp stand-in/machine
            }
            start --privileged || start --cap-add SYS_ADMIN --cap-add NET_ADMIN \
                --cap-add SYS_PTRACE --security-opt seccomp=unconfined \
                --security-opt apparmor=unconfined --security-opt systempaths=unconfined
            docker cp target/debian "$COMPOSE_PROJECT_NAME:/packages"
            docker exec "$COMPOSE_PROJECT_NAME" mkdir /srv/gatehouse
            docker cp deploy "$COMPOSE_PROJECT_NAME:/srv/gatehouse/"
        "#;
        shell.run(script, SHORT)?;
        let port = shell.ask("docker port \"$COMPOSE_PROJECT_NAME\" 443/tcp")?;
        let port = port.rsplit(':').next().context("no port is published")?;
        let machine = Self { shell, url: format!("https://localhost:{port}/health/ready") };
        machine.run(RUNNING)?;
        Ok(machine)
    }

    /// Runs a script on the machine; the error holds what it printed.
    fn run(&self, script: &str) -> anyhow::Result<String> {
        let script = format!(
            "docker exec --interactive \"$COMPOSE_PROJECT_NAME\" bash -euo pipefail \
             <<'SCRIPT'\n{NOT}\n{script}\nSCRIPT"
        );
        self.shell.run(&script, SHORT)
    }

    /// From the installation to the purge.
    fn live(&self, tally: &mut Tally) -> anyhow::Result<()> {
        let steps = [
            ("packages install, and start nothing", include_str!("package_test/install.sh")),
            ("services start, with what is secret", include_str!("package_test/start.sh")),
            ("systemd rates their exposure under 2", include_str!("package_test/exposure.sh")),
            ("a reload takes what is right alone", include_str!("package_test/reload.sh")),
            ("a log that is rotated goes on", include_str!("package_test/rotate.sh")),
            ("a timer backs up, and forgets", include_str!("package_test/backup.sh")),
        ];
        for (name, script) in steps {
            tally.check(name, || self.run(script).map(drop))?;
        }
        tally.check("restarts and an upgrade under traffic refuse nobody", || self.restart())?;
        let steps = [
            ("a process that hangs is started anew", include_str!("package_test/hang.sh")),
            ("a purge leaves nothing but data", include_str!("package_test/purge.sh")),
        ];
        for (name, script) in steps {
            tally.check(name, || self.run(script).map(drop))?;
        }
        Ok(())
    }

    fn restart(&self) -> anyhow::Result<()> {
        let script = "docker cp \
                      \"$COMPOSE_PROJECT_NAME:/var/lib/gatehouse/certs/internal-ca.pem\" .";
        self.shell.run(script, SHORT)?;
        let answers = traffic::during(&self.url, &self.shell.ca(), || {
            self.run(include_str!("package_test/restart.sh")).map(drop)
        })?;
        println!("       {answers:?}");
        ensure!(answers.keys().all(|status| *status == 200), "answers by status: {answers:?}");
        ensure!(!answers.is_empty(), "nobody asked");
        Ok(())
    }
}
