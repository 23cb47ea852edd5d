//! `chromedriver` as a child process: on a port that it chooses itself, and never left behind.
//!
//! # Why
//! Three deaths must take the browser with them. The run ends or is dropped: driver and browser are
//! a process group of their own, which is killed as a whole. The worker is killed: the kernel's
//! parent-death signal, which a child can only ask for itself, and `setpriv` of util-linux asks for
//! it without unsafe code here. The driver dies: the browser is spoken to over a pipe, at whose end
//! it exits.
//!
//! A driver starts any program for whoever may command it, and it lets pages of this machine's own
//! origins do so: below a path that nobody can guess, it does not hear them.

use std::io;
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};

use super::Browser;

/// What the driver says when it listens; the port follows.
const LISTENS: &str = "started successfully on port ";

/// How much of what it says last is kept, in bytes.
const LINE_MAX: usize = 512;

/// How often it is started before it is given up: the port that it finds free on one of IPv4 and
/// IPv6 may be taken on the other, and then it ends.
const TRIES: usize = 3;

/// A running driver. Killed when dropped, with all that it has started.
#[derive(Debug)]
pub(super) struct Driver {
    child: Child,
    pub(super) port: u16,
    /// The path below which it takes commands.
    pub(super) base: String,
}

impl Driver {
    /// Starts the program and waits until it says where it listens. The caller bounds the wait.
    pub(super) async fn start(browser: &Browser, folder: &Path) -> io::Result<Self> {
        let mut why = String::new();
        for _ in 0..TRIES {
            match Self::attempt(browser, folder).await? {
                Ok(driver) => return Ok(driver),
                Err(ended) => why = ended,
            }
        }
        Err(io::Error::other(format!("it ends before it listens ({why})")))
    }

    /// Starts it once; the error is how it ended before it listened.
    async fn attempt(browser: &Browser, folder: &Path) -> io::Result<Result<Self, String>> {
        let mut secret = [0; 16];
        getrandom::fill(&mut secret).map_err(io::Error::other)?;
        let base = format!("/{:032x}", u128::from_ne_bytes(secret));
        let mut child = Command::new(&browser.setpriv)
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&browser.driver)
            .arg("--port=0")
            .arg(format!("--url-base={base}"))
            .process_group(0)
            // Not this process's environment: it holds secrets, and the browser opens anybody's
            // pages.
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            // Profiles and crash reports go where the session's files are removed.
            .env("HOME", folder)
            .env("TMPDIR", folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        // The driver is free to say more, and a full pipe would stop it.
        let said = child.stderr.take().map(|stderr| tokio::spawn(last_line(stderr)));
        let mut lines = BufReader::new(stdout).lines();
        while let Some(line) = lines.next_line().await? {
            let port = line
                .split_once(LISTENS)
                .and_then(|(_, rest)| rest.trim_end_matches('.').trim().parse().ok());
            if let Some(port) = port {
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Ok(Ok(Self { child, port, base }));
            }
        }
        let status = child.wait().await?;
        let said = match said {
            Some(said) => said.await.unwrap_or_default(),
            None => String::new(),
        };
        Ok(Err(if said.is_empty() { status.to_string() } else { format!("{status}: {said}") }))
    }

    /// The process group of the driver and its browser; nothing once the driver has ended.
    pub(super) fn group(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.child.id()?).ok()?)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Before the driver is waited for: until then nobody else's group can have its number. An
        // error means that all are gone already.
        let _ = self.group().map(|group| kill_process_group(group, Signal::KILL));
    }
}

/// Reads to the end, and gives the last line of that, without its beginning if it is a long one.
async fn last_line(mut stderr: ChildStderr) -> String {
    let (mut kept, mut chunk) = (Vec::new(), [0; LINE_MAX]);
    while let Ok(read @ 1..) = stderr.read(&mut chunk).await {
        kept.extend(chunk.iter().take(read));
        let before = kept.len().saturating_sub(LINE_MAX);
        kept.drain(..before);
    }
    let kept = String::from_utf8_lossy(&kept);
    kept.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpStream;

    use super::*;

    /// A driver that ends at its first `failures` starts, and listens at the next.
    fn browser(folder: &Path, failures: usize) -> Browser {
        let path = folder.join("driver");
        let script = format!(
            "#!/bin/sh\necho x >> \"$HOME/starts\"\n\
             [ $(wc -l < \"$HOME/starts\") -gt {failures} ] \
             || {{ printf 'a\\nlibnss3.so: not found\\n\\n' >&2; exit 1; }}\n\
             echo 'ChromeDriver was started successfully on port 4321.'\nexec sleep 60\n"
        );
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        let setpriv = Path::new("/usr/bin/setpriv").to_owned();
        Browser { setpriv, driver: path.clone(), chromium: path }
    }

    #[tokio::test]
    async fn a_driver_whose_port_is_taken_is_started_again_but_not_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let driver = Driver::start(&browser(folder.path(), 2), folder.path()).await.unwrap();
        assert_eq!(driver.port, 4321);
        drop(driver);
        let folder = tempfile::tempdir().unwrap();
        let error = Driver::start(&browser(folder.path(), 3), folder.path()).await.unwrap_err();
        let told = "it ends before it listens (exit status: 1: libnss3.so: not found)";
        assert_eq!(error.to_string(), told);
    }

    /// What a page of `http://localhost` could send: the driver would take it for its own client's.
    #[tokio::test]
    async fn a_page_that_does_not_know_the_path_commands_nothing() {
        const NEW: &str = r#"{"capabilities":{"alwaysMatch":{"browserName":"none"}}}"#;
        let folder = tempfile::tempdir().unwrap();
        let browser = Browser::find_in_path().unwrap();
        let driver = Driver::start(&browser, folder.path()).await.unwrap();
        for (base, told) in [("", "unhandled request"), (&*driver.base, "session not created")] {
            let mut stream = TcpStream::connect(("127.0.0.1", driver.port)).await.unwrap();
            let request = format!(
                "POST {base}/session HTTP/1.1\r\nhost: localhost\r\norigin: http://localhost\r\n\
                 content-length: {}\r\n\r\n{NEW}",
                NEW.len()
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let is_whole = |answer: &[u8]| {
                let answer = String::from_utf8_lossy(answer);
                ["unhandled request", "session not created"].iter().any(|end| answer.contains(end))
            };
            while !is_whole(&answer) {
                assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
            }
            let answer = String::from_utf8(answer).unwrap();
            assert!(answer.contains(told), "{answer}");
        }
    }
}
