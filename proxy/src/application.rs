//! The application that `gatehouse run -- COMMAND` starts and looks after.
//!
//! It runs in a process group of its own: Ctrl-C on the terminal reaches Gatehouse alone, which
//! first lets requests in flight finish and then tells the whole group to end. Whenever the
//! application ends by itself it is started again, after a pause that doubles from 100 ms to 30 s
//! as long as it keeps failing; until it is back, clients get 502.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// The pause before an application that ended is started again, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// An application that ran this long had started well.
const SETTLED: Duration = Duration::from_secs(10);

/// A command that has not been started yet.
#[derive(Debug)]
pub struct Application {
    program: OsString,
    arguments: Vec<OsString>,
}

impl Application {
    /// Of a program and its arguments; `None` if there is no program.
    #[must_use]
    pub fn new(command: Vec<OsString>) -> Option<Self> {
        let mut words = command.into_iter();
        let program = words.next()?;
        Some(Self { program, arguments: words.collect() })
    }

    /// Starts it, and looks after it from then on.
    ///
    /// # Errors
    ///
    /// When there is no such program, or it may not be executed.
    pub(crate) fn start(self) -> io::Result<Supervised> {
        let group = Group::default();
        let child = self.spawn(&group).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", self.program.display()))
        })?;
        let (stop, stopped) = channel();
        let (ended_sender, ended) = channel();
        let watched = group.clone();
        let thread =
            std::thread::Builder::new().name("application".to_owned()).spawn(move || {
                self.look_after(child, &watched, &stopped);
                _ = ended_sender.send(());
            })?;
        Ok(Supervised { group, stop, ended, thread: Some(thread) })
    }

    fn spawn(&self, group: &Group) -> io::Result<Child> {
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(io::stderr())
            .process_group(0)
            .spawn()?;
        group.set(i32::try_from(child.id()).ok().and_then(Pid::from_raw));
        tracing::info!(pid = child.id(), program = %self.program.display(), "application started");
        Ok(child)
    }

    /// Starts it again whenever it ends, until it is to stop.
    fn look_after(&self, mut child: Child, group: &Group, stopped: &Receiver<()>) {
        let mut pause = PAUSE.0;
        loop {
            let started = Instant::now();
            let ended = group.wait(&mut child);
            if stopped.try_recv().is_ok() {
                return;
            }
            if started.elapsed() >= SETTLED {
                pause = PAUSE.0;
            }
            let ended = ended.map_or_else(|error| error.to_string(), |status| describe(&status));
            tracing::error!(again_in = ?pause, "application ended: {ended}");
            child = loop {
                if stopped.recv_timeout(pause).is_ok() {
                    return;
                }
                pause = PAUSE.1.min(pause * 2);
                match self.spawn(group) {
                    Ok(child) => break child,
                    Err(error) => {
                        tracing::error!(%error, again_in = ?pause, "application not started");
                    }
                }
            };
        }
    }
}

/// `exit code 1`, or `signal 9`.
fn describe(status: &ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// The processes of the application, while there are any.
#[derive(Debug, Clone, Default)]
struct Group(Arc<Mutex<Option<Pid>>>);

impl Group {
    fn set(&self, pid: Option<Pid>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = pid;
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            // It has gone already, then.
            _ = kill_process_group(pid, signal);
        }
    }

    /// Waits for the end. The number is forgotten before the kernel may give it to another process.
    fn wait(&self, child: &mut Child) -> io::Result<ExitStatus> {
        let pid = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pid) = pid {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while let Err(error) = waitid(WaitId::Pid(pid), options)
                && error == rustix::io::Errno::INTR
            {}
        }
        self.set(None);
        child.wait()
    }
}

/// An application that is being looked after.
#[derive(Debug)]
pub(crate) struct Supervised {
    group: Group,
    stop: Sender<()>,
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Supervised {
    /// Tells it to end; what is left of it after `patience` is killed.
    pub(crate) fn stop(mut self, patience: Duration) {
        _ = self.stop.send(());
        self.group.signal(Signal::TERM);
        if self.ended.recv_timeout(patience).is_err() {
            tracing::warn!("the application does not end; killing it");
            self.group.signal(Signal::KILL);
        }
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }

    /// What ends it at once.
    pub(crate) fn killer(&self) -> impl FnOnce() + Send + 'static {
        let (group, stop) = (self.group.clone(), self.stop.clone());
        move || {
            _ = stop.send(());
            group.signal(Signal::KILL);
        }
    }
}

impl Drop for Supervised {
    /// Gatehouse never leaves the application behind.
    fn drop(&mut self) {
        _ = self.stop.send(());
        self.group.signal(Signal::KILL);
    }
}
