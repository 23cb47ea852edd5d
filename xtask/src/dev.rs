//! `cargo xtask dev`: both programs, built and running, until Ctrl-C or until one of them ends.

mod welcome;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::Signal;

use crate::interrupt::{self, Interrupted};
use crate::process::{self, Running};
use crate::terminal::{Style, paint};
use crate::{Profile, http, port};

const READY_BOUND: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The ports of both programs.
#[derive(Debug, Clone, Copy)]
struct Ports {
    http: u16,
    https: u16,
    admin: u16,
    backend: u16,
}

impl Ports {
    /// Each port under the variable by which the configuration knows it, too.
    fn read(variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let read = |name: &str, default: u16| match variable(name) {
            None => Ok(default),
            Some(text) => match text.parse() {
                Ok(port @ 1..) => Ok(port),
                Ok(0) | Err(_) => bail!("{name}={text} is not a port, use a number up to 65535"),
            },
        };
        Ok(Self {
            http: read("HTTP_PORT", 8080)?,
            https: read("HTTPS_PORT", 8443)?,
            admin: read("ADMIN_PORT", 9180)?,
            backend: read("BACKEND_PORT", 3002)?,
        })
    }

    fn named(&self) -> [(&'static str, u16); 4] {
        [
            ("HTTP_PORT", self.http),
            ("HTTPS_PORT", self.https),
            ("ADMIN_PORT", self.admin),
            ("BACKEND_PORT", self.backend),
        ]
    }

    /// Every port that cannot be had, who has it, and what to set instead; empty when all are free.
    fn taken(&self) -> Vec<String> {
        let named = self.named();
        let taken = named.iter().enumerate().filter_map(|(index, (name, port))| {
            let twin = named.iter().take(index).find(|(_, other)| other == port);
            let holder = match twin {
                Some((twin, _)) => format!("{twin}, which has the same number"),
                None if port::is_free(*port) => return None,
                None => port::holder(*port)
                    .unwrap_or_else(|| "a process that this user may not see".to_owned()),
            };
            Some(format!("port {port} is taken by {holder}; set {name} to another port"))
        });
        taken.collect()
    }
}

pub(crate) fn run(profile: Profile) -> anyhow::Result<ExitCode> {
    let ports = Ports::read(|name| std::env::var(name).ok())?;
    let taken = ports.taken();
    if !taken.is_empty() {
        bail!("{}", taken.join("\n       "));
    }
    let programs = crate::build(profile, &["--package", "gatehouse", "--package", "nomation"])?;
    let certs = std::env::var_os("CERTS_DIR").map_or_else(|| PathBuf::from("certs"), PathBuf::from);
    match serve(&programs, ports, &crate::root().join(certs)) {
        Err(error) if error.is::<Interrupted>() => {
            println!("stopped");
            Ok(ExitCode::SUCCESS)
        }
        ended => ended.map(|()| ExitCode::SUCCESS),
    }
}

/// Runs both until the user interrupts or one of them ends; both are errors.
fn serve(programs: &Path, ports: Ports, certs: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(crate::root().join("data")).context("cannot create `data`")?;

    let mut command = program(&programs.join("nomation"), ports);
    command.env("BIND", format!("127.0.0.1:{}", ports.backend));
    // Not the shell's DATABASE_URL: it may well be that of another project.
    command.env("DATABASE_URL", "sqlite://data/nomation.db").env("APP_ENV", "development");
    let mut nomation = start("nomation", command.arg("serve"), Style::Magenta)?
        .stopped_by(Signal::TERM, Duration::from_secs(10));
    nomation.wait_until(READY_BOUND, || http::ready(ports.backend, "/health/ready"))?;

    let mut command = program(&programs.join("gatehouse"), ports);
    command.env("CERTS_DIR", certs).args(["run", "--config", "config/gatehouse.toml"]);
    // It may use the 30 s of its drain_timeout. Declared last, so that it is stopped first:
    // what it drains still needs the application.
    let mut gatehouse = start("gatehouse", &mut command, Style::Cyan)?
        .stopped_by(Signal::TERM, Duration::from_secs(35));
    gatehouse.wait_until(READY_BOUND, || http::ready(ports.admin, "/readyz"))?;

    println!("{}", welcome::text(ports, &certs.join("internal-ca.pem")));
    loop {
        for running in [&mut gatehouse, &mut nomation] {
            if let Some(status) = running.ended()? {
                bail!("{} ended by itself ({status}), so both are stopped", running.name);
            }
        }
        if interrupt::requested() {
            bail!(Interrupted);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn program(path: &Path, ports: Ports) -> Command {
    let mut command = process::guarded(path);
    command.current_dir(crate::root());
    command.envs(ports.named().map(|(name, port)| (name, port.to_string())));
    command
}

/// Starts a program. On a terminal each of its lines says whose it is; elsewhere the lines stay
/// as they are, so that records can be piped into another program.
fn start(name: &'static str, command: &mut Command, style: Style) -> anyhow::Result<Running> {
    if !std::io::stdout().is_terminal() {
        return Running::spawn(name, command);
    }
    let prefix = paint(style, &format!("{name:>9} |"));
    let error_prefix = prefix.clone();
    let mut running = Running::spawn(name, command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    running.each_line(move |line| println!("{prefix} {line}"));
    running.each_error_line(move |line| eprintln!("{error_prefix} {line}"));
    Ok(running)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_come_from_the_environment_or_are_the_contracts() {
        let defaults = Ports::read(|_| None).unwrap();
        assert_eq!(defaults.named().map(|(_, port)| port), [8080, 8443, 9180, 3002]);
        let one = Ports::read(|name| (name == "ADMIN_PORT").then(|| "9999".to_owned())).unwrap();
        assert_eq!((one.admin, one.http), (9999, 8080));
    }

    #[test]
    fn what_is_no_port_is_named() {
        for wrong in ["0", "65536", "http", ""] {
            let read = |name: &str| (name == "HTTP_PORT").then(|| wrong.to_owned());
            let fault = Ports::read(read).unwrap_err().to_string();
            assert!(fault.starts_with(&format!("HTTP_PORT={wrong} ")), "{fault}");
        }
    }

    #[test]
    fn a_taken_port_and_a_twin_are_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let [http, admin] = port::free().unwrap();
        let faults = Ports { http, https: port, admin, backend: http }.taken();
        // Somebody else may take one of the free ports in the meantime: that is one fault more.
        let of = |variable: &str| {
            let remedy = format!("set {variable} to another port");
            faults.iter().find(|fault| fault.ends_with(&remedy)).unwrap()
        };
        assert!(of("HTTPS_PORT").contains(&std::process::id().to_string()), "{faults:?}");
        let twin = "HTTP_PORT, which has the same number";
        assert!(of("BACKEND_PORT").contains(twin), "{faults:?}");
    }
}
