//! The Docker engine: the machine's own, or one that is started for the test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use rustix::process::Signal;

use crate::apt::{self, Tool};
use crate::process::{self, Running};

const TOOLS: [Tool; 11] = [
    Tool { program: "dockerd", package: "docker.io", service: None },
    Tool { program: "docker-compose", package: "docker-compose", service: None },
    Tool { program: "iptables", package: "iptables", service: None },
    Tool { program: "ip", package: "iproute2", service: None },
    Tool { program: "curl", package: "curl", service: None },
    Tool { program: "jq", package: "jq", service: None },
    Tool { program: "shellcheck", package: "shellcheck", service: None },
    Tool { program: "age", package: "age", service: None },
    Tool { program: "rsync", package: "rsync", service: None },
    Tool { program: "openssl", package: "openssl", service: None },
    Tool { program: "promtool", package: "prometheus", service: Some("prometheus") },
];

const START_BOUND: Duration = Duration::from_secs(60);

/// An engine that answers.
#[derive(Debug)]
pub(crate) struct Engine {
    /// The one started here, and where it listens.
    own: Option<(Running, String)>,
}

fn start() -> anyhow::Result<Engine> {
    // With an engine at hand nothing but the small programs may be missing.
    let answers = answers(None);
    let is_needed = |tool: &&Tool| match tool.program {
        "dockerd" | "iptables" => !answers,
        "docker-compose" => !has_plugin(),
        _ => true,
    };
    let needed: Vec<Tool> = TOOLS.iter().filter(is_needed).copied().collect();
    apt::ensure(&needed)?;
    if answers {
        return Ok(Engine { own: None });
    }
    let folder = crate::target()?.join("docker");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let socket = format!("unix://{}", folder.join("docker.sock").display());
    println!("no Docker engine answers: starting one in {}", folder.display());
    let mut command = process::guarded(apt::locate("dockerd")?);
    command.arg("--host").arg(&socket);
    command.arg("--data-root").arg(folder.join("data"));
    command.arg("--exec-root").arg(folder.join("exec"));
    command.arg("--pidfile").arg(folder.join("docker.pid"));
    let mut running = Running::spawn_logged("dockerd", &mut command, folder.join("docker.log"))?
        .stopped_by(Signal::TERM, Duration::from_secs(30));
    running.wait_until(START_BOUND, || match self::answers(Some(&socket)) {
        true => Ok(()),
        false => Err("it does not answer".to_owned()),
    })?;
    Ok(Engine { own: Some((running, socket)) })
}

fn answers(host: Option<&str>) -> bool {
    let mut command = Command::new("docker");
    command.arg("version").envs(host.map(|host| ("DOCKER_HOST", host)));
    succeeds(&mut command)
}

fn has_plugin() -> bool {
    succeeds(Command::new("docker").args(["compose", "version"]))
}

fn succeeds(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

impl Engine {
    /// Finds the machine's engine, or starts one whose images stay in the target folder, so that
    /// the next test builds only what has changed.
    pub(crate) fn start() -> anyhow::Result<Self> {
        start()
    }

    /// What commands need to be told. Where only docker-compose is installed, `docker compose`
    /// becomes another name of it.
    pub(crate) fn environment(&self, folder: &Path) -> anyhow::Result<Vec<(&'static str, String)>> {
        let mut environment = Vec::new();
        if let Some((_, socket)) = &self.own {
            environment.push(("DOCKER_HOST", socket.clone()));
        }
        if !has_plugin() {
            let config = plugin(folder)?;
            environment.push(("DOCKER_CONFIG", config.display().to_string()));
        }
        Ok(environment)
    }
}

/// A command-line plugin that passes everything on to docker-compose.
fn plugin(folder: &Path) -> anyhow::Result<PathBuf> {
    const SCRIPT: &str = "#!/bin/sh\n\
        case $1 in\n\
        docker-cli-plugin-metadata) echo '{\"SchemaVersion\":\"0.1.0\",\"Vendor\":\"xtask\"}' ;;\n\
        compose) shift && exec docker-compose \"$@\" ;;\n\
        esac\n";
    let config = folder.join(".docker");
    let plugins = config.join("cli-plugins");
    fs::create_dir_all(&plugins)?;
    let program = plugins.join("docker-compose");
    fs::write(&program, SCRIPT)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    Ok(config)
}
