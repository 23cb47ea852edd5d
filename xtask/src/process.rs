//! Child processes that cannot outlive xtask.
//!
//! Each child leads a process group of its own, so that a terminal's Ctrl-C reaches xtask alone
//! and xtask decides in which order things stop. Each is stopped when its [`Running`] is dropped,
//! whatever the reason. And each is sent TERM by the kernel should xtask itself be killed.
//!
//! # Why
//!
//! The kernel takes a parent-death signal only from the child itself, after the fork. Code that
//! runs there is unsafe in Rust, so the child starts as xtask once more (`guard`), asks for the
//! signal, takes its core, and becomes the program by `exec`. `/proc/self/exe` names xtask even
//! when cargo has replaced the file meanwhile, or the child's user may not walk to it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal};
use rustix::thread::CpuSet;

use crate::interrupt::{self, Interrupted};

const TICK: Duration = Duration::from_millis(20);
const ANY_CPU: &str = "any";

/// A command that will run as a guarded child.
pub(crate) fn guarded(program: impl AsRef<OsStr>) -> Command {
    guarded_on(ANY_CPU, program.as_ref())
}

/// The same, on one core only.
pub(crate) fn pinned(cpu: usize, program: impl AsRef<OsStr>) -> Command {
    guarded_on(&cpu.to_string(), program.as_ref())
}

fn guarded_on(cpu: &str, program: &OsStr) -> Command {
    let mut command = Command::new("/proc/self/exe");
    let parent = std::process::id().to_string();
    command.args(["guard", &parent, cpu]).arg(program).stdin(Stdio::null()).process_group(0);
    command
}

/// The hidden command `xtask guard PARENT CPU PROGRAM ARGS...`: never returns when it succeeds.
pub(crate) fn guard(args: &[&str]) -> ExitCode {
    let [parent, cpu, program, args @ ..] = args else {
        eprintln!("xtask: `guard` is for xtask's own use");
        return ExitCode::from(2);
    };
    let prepared = rustix::process::set_parent_process_death_signal(Some(Signal::TERM))
        .and_then(|()| take_cpu(cpu));
    if let Err(error) = prepared {
        eprintln!("xtask: cannot prepare {program}: {error}");
        return ExitCode::FAILURE;
    }
    // Too late for the signal: the parent died before it was asked for.
    let alive = rustix::process::getppid().is_some_and(|pid| pid.to_string() == *parent);
    if !alive {
        return ExitCode::FAILURE;
    }
    let error = Command::new(program).args(args).exec();
    eprintln!("xtask: cannot run {program}: {error}");
    ExitCode::from(127)
}

fn take_cpu(cpu: &str) -> rustix::io::Result<()> {
    let Ok(cpu) = cpu.parse() else { return Ok(()) };
    let mut set = CpuSet::new();
    set.set(cpu);
    rustix::thread::sched_setaffinity(None, &set)
}

/// A started child and the name under which its end is reported.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) name: &'static str,
    child: Child,
    stop_signal: Signal,
    patience: Duration,
    readers: Vec<JoinHandle<()>>,
    log: Option<PathBuf>,
}

impl Running {
    /// Starts a command made by [`guarded`] or [`pinned`].
    pub(crate) fn spawn(name: &'static str, command: &mut Command) -> anyhow::Result<Self> {
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let patience = Duration::from_secs(5);
        let stop_signal = Signal::TERM;
        Ok(Self { name, child, stop_signal, patience, readers: Vec::new(), log: None })
    }

    /// The same with its output in a file, whose end is shown should it not become ready.
    pub(crate) fn spawn_logged(
        name: &'static str,
        command: &mut Command,
        log: PathBuf,
    ) -> anyhow::Result<Self> {
        let file = File::create(&log).with_context(|| format!("cannot write {log:?}"))?;
        let mut running = Self::spawn(name, command.stdout(file.try_clone()?).stderr(file))?;
        running.log = Some(log);
        Ok(running)
    }

    /// How it is asked to stop, and how long it may take before it is killed.
    pub(crate) fn stopped_by(mut self, stop_signal: Signal, patience: Duration) -> Self {
        self.stop_signal = stop_signal;
        self.patience = patience;
        self
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Hands every line of the child's piped output to `each`, on a thread that ends with it.
    pub(crate) fn each_line(&mut self, each: impl FnMut(&str) + Send + 'static) {
        self.readers.extend(self.child.stdout.take().map(|stream| lines(stream, each)));
    }

    /// The same for its piped errors.
    pub(crate) fn each_error_line(&mut self, each: impl FnMut(&str) + Send + 'static) {
        self.readers.extend(self.child.stderr.take().map(|stream| lines(stream, each)));
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("cannot wait for {}", self.name))
    }

    /// Waits until it ends, the user interrupts, or the time is up.
    pub(crate) fn wait(&mut self, bound: Duration) -> anyhow::Result<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if interrupt::requested() {
                bail!(Interrupted);
            }
            if start.elapsed() > bound {
                bail!("{} did not end within {bound:?}", self.name);
            }
            std::thread::sleep(TICK);
        }
    }

    /// Waits until `ready` says so. A child that ends meanwhile is an error, and so is the bound.
    pub(crate) fn wait_until(
        &mut self,
        bound: Duration,
        mut ready: impl FnMut() -> Result<(), String>,
    ) -> anyhow::Result<()> {
        let start = Instant::now();
        while let Err(obstacle) = ready() {
            if let Some(status) = self.ended()? {
                bail!("{} ended before it was ready: {status}{}", self.name, self.last_words());
            }
            if interrupt::requested() {
                bail!(Interrupted);
            }
            if start.elapsed() > bound {
                let said = self.last_words();
                bail!("{} was not ready within {bound:?}: {obstacle}{said}", self.name);
            }
            std::thread::sleep(TICK);
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let text = self.log.as_ref().and_then(|log| std::fs::read_to_string(log).ok());
        let text = text.unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.get(lines.len().saturating_sub(10)..).unwrap_or_default();
        last.iter().fold(String::new(), |said, line| format!("{said}\n    {line}"))
    }

    /// Asks it to stop, waits, then kills what is left of its group; its last lines are read.
    pub(crate) fn stop(&mut self) {
        let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else { return };
        if let Ok(None) = self.child.try_wait() {
            // Errors below mean that it is gone already, which is what is wanted.
            let _ = rustix::process::kill_process(pid, self.stop_signal);
            let start = Instant::now();
            while let Ok(None) = self.child.try_wait() {
                if start.elapsed() > self.patience || interrupt::insisted() {
                    eprintln!("xtask: {} does not stop, killing it", self.name);
                    break;
                }
                std::thread::sleep(TICK);
            }
        }
        let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        let _ = self.child.wait();
        self.readers.drain(..).for_each(|reader| drop(reader.join()));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs a command to its end and gives its standard output; a status other than 0 is an error.
pub(crate) fn capture(
    name: &'static str,
    command: &mut Command,
    bound: Duration,
) -> anyhow::Result<String> {
    let mut running = Running::spawn(name, command.stdout(Stdio::piped()))?;
    let reader = running.child.stdout.take().map(|mut stream| {
        std::thread::spawn(move || {
            let mut text = String::new();
            stream.read_to_string(&mut text).map(|_| text)
        })
    });
    let status = running.wait(bound)?;
    running.stop();
    let text = match reader.map(JoinHandle::join) {
        Some(Ok(text)) => text.with_context(|| format!("cannot read the output of {name}"))?,
        Some(Err(_)) | None => bail!("cannot read the output of {name}"),
    };
    if !status.success() {
        bail!("{name} failed ({status}): {}", text.trim());
    }
    Ok(text)
}

/// The ids of all processes of the machine.
pub(crate) fn all() -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn lines(
    stream: impl Read + Send + 'static,
    mut each: impl FnMut(&str) + Send + 'static,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        // Bytes, not text: a child may print what is not UTF-8, and must not block for it.
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            each(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
            line.clear();
        }
    })
}
