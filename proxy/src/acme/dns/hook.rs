//! The operator's command: `COMMAND... present|cleanup NAME VALUE`, never through a shell.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use super::{Action, Record};

/// What a command says on standard error is kept up to here, in bytes.
const LONGEST: u64 = 4 << 10;

/// How long its standard error may stay open after its end.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Runs it to its end.
pub(super) async fn run(
    command: &[String],
    action: Action,
    record: &Record,
    bound: Duration,
) -> io::Result<()> {
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let action = match action {
        Action::Present => "present",
        Action::Cleanup => "cleanup",
    };
    let mut child = Command::new(program)
        .args(arguments)
        .args([action, &record.name, &record.value])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .process_group(0)
        .spawn()
        .map_err(|error| io::Error::other(format!("{program}: {error}")))?;
    let said = child.stderr.take().map(|stderr| tokio::spawn(read(stderr)));
    let status = timeout(bound, child.wait()).await;
    if status.is_err() {
        kill(&mut child)?;
    }
    let said = match said {
        Some(said) => timeout(LAST_WORDS, said).await.ok().and_then(Result::ok),
        None => None,
    };
    let said = said.filter(|said| !said.is_empty()).map(|said| format!(": {said}"));
    let said = said.unwrap_or_default();
    match status {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(io::Error::other(format!("{program}: {status}{said}"))),
        Ok(Err(error)) => Err(io::Error::other(format!("{program}: {error}"))),
        Err(_) => {
            let seconds = bound.as_secs();
            Err(io::Error::other(format!("{program}: killed after {seconds} s{said}")))
        }
    }
}

/// Ends a command, and whatever it has started.
fn kill(child: &mut Child) -> io::Result<()> {
    let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    match id {
        Some(group) => Ok(kill_process_group(group, Signal::KILL)?),
        None => child.start_kill(),
    }
}

/// The beginning of what is said; the rest is read, too, so that nobody waits for a reader.
async fn read(mut stderr: ChildStderr) -> String {
    let mut said = Vec::new();
    _ = (&mut stderr).take(LONGEST).read_to_end(&mut said).await;
    tokio::spawn(async move { tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await });
    String::from_utf8_lossy(&said).trim().to_owned()
}
