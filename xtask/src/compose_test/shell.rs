//! The shell in which the guide's reader would be: the folder, the settings, the engine.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use super::engine::Engine;
use crate::interrupt::Interrupted;
use crate::port;
use crate::process::{self, Running};

/// Longer than anything but a build takes.
pub(crate) const SHORT: Duration = Duration::from_secs(300);
/// Longer than a first build takes on two busy cores.
pub(crate) const LONG: Duration = Duration::from_secs(3 * 3600);

/// What every script may say of a command that has to fail: bash goes on after a `! command` that
/// succeeds. A command that is not there at all has not failed as it should.
pub(crate) const NOT: &str = r#"not() { "$@" && return 1; [ $? -lt 126 ]; }"#;

/// The development CA, under the name that the guide gives it.
const CA: &str = "internal-ca.pem";

/// A folder with a copy of the project, and the environment of everything that runs in it.
#[derive(Debug)]
pub(crate) struct Shell {
    folder: PathBuf,
    environment: Vec<(&'static str, String)>,
    /// Where the proxy answers.
    pub(crate) https: u16,
    pub(crate) http: u16,
}

impl Shell {
    pub(crate) fn new(folder: &Path, engine: &Engine, tag: Option<&str>) -> anyhow::Result<Self> {
        let [http, https, drill_http, drill_https] = port::free()?;
        let mut environment = vec![
            // A name of its own: networks, volumes and containers of other projects stay alone.
            ("COMPOSE_PROJECT_NAME", format!("gatehouse-test-{}", std::process::id())),
            ("PUBLISH", "127.0.0.1".to_owned()),
            ("HTTP_PORT", http.to_string()),
            ("HTTPS_PORT", https.to_string()),
            ("DRILL_HTTP_PORT", drill_http.to_string()),
            ("DRILL_HTTPS_PORT", drill_https.to_string()),
            ("ISSUER", "internal".to_owned()),
            ("TAG", tag.unwrap_or("test").to_owned()),
            ("CURL_CA_BUNDLE", folder.join(CA).display().to_string()),
        ];
        environment.extend(engine.environment(folder)?);
        Ok(Self { folder: folder.to_owned(), environment, https, http })
    }

    fn command(&self, script: &str) -> Command {
        let mut command = process::guarded("bash");
        let script = format!("{NOT}\n{script}");
        command.args(["-euo", "pipefail", "-c", &script]).current_dir(&self.folder);
        let environment = self.environment.iter().map(|(name, value)| (name, value));
        command.envs(environment).stdin(Stdio::null());
        command
    }

    /// Runs a script; the error holds what it printed.
    pub(crate) fn run(&self, script: &str, bound: Duration) -> anyhow::Result<String> {
        let log = self.folder.join(".output");
        let file = std::fs::File::create(&log).context("cannot write .output")?;
        let mut command = self.command(script);
        command.stdout(file.try_clone()?).stderr(file);
        let status = Running::spawn("bash", &mut command)?.wait(bound);
        let printed = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
        match status {
            Ok(status) if status.success() => Ok(printed),
            Ok(status) => bail!("{status}\n{}", indented(&printed)),
            Err(error) if error.is::<Interrupted>() => Err(error),
            Err(error) => bail!("{error}\n{}", indented(&printed)),
        }
    }

    /// What a command prints on its standard output, without the line break at its end.
    pub(crate) fn ask(&self, script: &str) -> anyhow::Result<String> {
        let printed = process::capture("bash", &mut self.command(script), SHORT)?;
        Ok(printed.trim_end().to_owned())
    }

    /// A page of the site.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.https)
    }

    /// Where the development CA is, once it is fetched.
    pub(crate) fn ca(&self) -> String {
        self.folder.join(CA).display().to_string()
    }

    /// The container of a service.
    pub(crate) fn container(&self, service: &str) -> anyhow::Result<String> {
        let id = self.ask(&format!("docker compose ps --quiet {service}"))?;
        if id.is_empty() {
            bail!("{service} does not run");
        }
        Ok(id)
    }

    /// Fetches the development CA, by which curl knows the proxy, once there is one.
    pub(crate) fn fetch_ca(&self) {
        let script = "docker cp \"$(docker compose ps --quiet proxy):\
                      /var/lib/gatehouse/certs/internal-ca.pem\" internal-ca.pem";
        if !self.folder.join(CA).exists() {
            // Before the proxy's first start there is none, and nobody asks for it.
            let _ = self.run(script, SHORT);
        }
    }

    /// Waits until the proxy and what is behind it are ready.
    pub(crate) fn until_ready(&self) -> anyhow::Result<()> {
        let script = format!(
            "for _ in $(seq 120); do curl --silent --fail --output /dev/null --max-time 5 \
             https://localhost:{}/health/ready && exit; sleep 0.5; done; \
             docker compose ps; docker compose logs --tail 10; exit 1",
            self.https
        );
        self.run(&script, SHORT).map(drop)
    }

    pub(crate) fn read(&self, file: &str) -> anyhow::Result<String> {
        let path = self.folder.join(file);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// Removes the stack and its volumes, with those of the monitoring.
    pub(crate) fn clean(&self) {
        let mut command = self.command(
            "docker compose --file docker-compose.yml --file deploy/compose.monitoring.yml \
             down --volumes --remove-orphans --timeout 5",
        );
        command.stdout(Stdio::null()).stderr(Stdio::null());
        // Not `run`: after Ctrl-C that would not wait.
        match command.status() {
            Ok(status) if status.success() => {}
            _ => eprintln!("xtask: `docker compose down` failed; `docker ps` shows what is left"),
        }
    }
}

fn indented(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.get(lines.len().saturating_sub(40)..).unwrap_or_default();
    last.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}
