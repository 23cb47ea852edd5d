//! `chromedriver` as a child process: on a port that it chooses itself, and never left behind.
//!
//! # Why
//! Three deaths must take the browser with them. The run is dropped: `kill_on_drop`. The worker is
//! killed: the kernel's parent-death signal, which a child can only ask for itself, and
//! `setpriv` of util-linux asks for it without unsafe code here. The driver dies: the browser is
//! spoken to over a pipe, at whose end it exits.

use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// What the driver says when it listens; the port follows.
const LISTENS: &str = "started successfully on port ";

/// How often it is started before it is given up: the port that it finds free on one of IPv4 and
/// IPv6 may be taken on the other, and then it ends.
const TRIES: usize = 3;

/// A running driver. Killed when dropped.
#[derive(Debug)]
pub(super) struct Driver {
    child: Child,
    pub(super) port: u16,
}

impl Driver {
    /// Starts the program and waits until it says where it listens. The caller bounds the wait.
    pub(super) async fn start(program: &Path, folder: &Path) -> io::Result<Self> {
        let mut ended = None;
        for _ in 0..TRIES {
            match Self::attempt(program, folder).await? {
                Ok(driver) => return Ok(driver),
                Err(status) => ended = Some(status),
            }
        }
        let why = ended.map_or_else(String::new, |status| format!(" ({status})"));
        Err(io::Error::other(format!("it ends before it listens{why}")))
    }

    /// Starts it once; the error is what it ended with before it listened.
    async fn attempt(program: &Path, folder: &Path) -> io::Result<Result<Self, ExitStatus>> {
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .arg("--port=0")
            // Not this process's environment: it holds secrets, and the browser opens anybody's
            // pages.
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            // Profiles and crash reports go where the session's files are removed.
            .env("HOME", folder)
            .env("TMPDIR", folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut lines = BufReader::new(stdout).lines();
        while let Some(line) = lines.next_line().await? {
            let port = line
                .split_once(LISTENS)
                .and_then(|(_, rest)| rest.trim_end_matches('.').trim().parse().ok());
            if let Some(port) = port {
                // The driver is free to say more, and a full pipe would stop it.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Ok(Ok(Self { child, port }));
            }
        }
        child.wait().await.map(Err)
    }

    /// Kills the driver and waits until it is gone.
    pub(super) async fn end(mut self) {
        // An error means that it is gone already.
        let _ = self.child.kill().await;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A program that ends at its first `failures` starts, and listens at the next.
    fn program(folder: &Path, failures: usize) -> std::path::PathBuf {
        let path = folder.join("driver");
        let script = format!(
            "#!/bin/sh\necho x >> \"$HOME/starts\"\n\
             [ $(wc -l < \"$HOME/starts\") -gt {failures} ] || exit 1\n\
             echo 'ChromeDriver was started successfully on port 4321.'\nexec sleep 60\n"
        );
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        path
    }

    #[tokio::test]
    async fn a_driver_whose_port_is_taken_is_started_again_but_not_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let driver = Driver::start(&program(folder.path(), 2), folder.path()).await.unwrap();
        assert_eq!(driver.port, 4321);
        driver.end().await;
        let folder = tempfile::tempdir().unwrap();
        let error = Driver::start(&program(folder.path(), 3), folder.path()).await.unwrap_err();
        assert!(error.to_string().contains("ends before it listens (exit status: 1)"), "{error}");
    }
}
