//! `chromedriver` as a child process: on a port that it chooses itself, and never left behind.
//!
//! # Why
//! Three deaths must take the browser with them. The run is dropped: `kill_on_drop`. The worker is
//! killed: the kernel's parent-death signal, which a child can only ask for itself, and
//! `setpriv` of util-linux asks for it without unsafe code here. The driver dies: the browser is
//! spoken to over a pipe, at whose end it exits.

use std::io;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// What the driver says when it listens; the port follows.
const LISTENS: &str = "started successfully on port ";

/// A running driver. Killed when dropped.
#[derive(Debug)]
pub(super) struct Driver {
    child: Child,
    pub(super) port: u16,
}

impl Driver {
    /// Starts the program and waits until it says where it listens. The caller bounds the wait.
    pub(super) async fn start(program: &Path, folder: &Path) -> io::Result<Self> {
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
                return Ok(Self { child, port });
            }
        }
        Err(io::Error::other(format!("it ended before it listened: {:?}", child.wait().await?)))
    }

    /// Kills the driver and waits until it is gone.
    pub(super) async fn end(mut self) {
        // An error means that it is gone already.
        let _ = self.child.kill().await;
    }
}
