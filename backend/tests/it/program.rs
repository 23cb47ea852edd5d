//! The `nomation` program as a child process, with an environment of the test's own.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::client::Client;

/// How long a test waits for a line or an exit before it gives up. Generous: it only passes when a
/// test fails.
const PATIENCE: Duration = Duration::from_secs(30);

fn command(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nomation"));
    command.args(arguments).env_clear().envs(environment.iter().copied());
    command
}

/// Runs the program to its end: exit code, standard output, standard error.
pub(crate) fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = command(arguments, environment);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("{arguments:?} did not end by itself: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// `nomation serve`, running. Killed when dropped.
pub(crate) struct Program {
    child: Child,
    lines: Receiver<String>,
    pub(crate) client: Client,
}

impl Program {
    /// Starts on a free port of its own and waits until it listens. With `FILE_BLOCKS`, a file
    /// that it writes has that many blocks of 512 bytes at most.
    pub(crate) fn serve(environment: &[(&str, &str)]) -> Self {
        let environment = [environment, &[("BIND", "127.0.0.1:0")]].concat();
        let mut program = Self::start("serve", &environment);
        let line = program.line_with("http://127.0.0.1:");
        let port: String = line
            .split("http://127.0.0.1:")
            .nth(1)
            .unwrap()
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        program.client = Client::new(&format!("127.0.0.1:{port}"));
        program
    }

    fn start(name: &str, environment: &[(&str, &str)]) -> Self {
        let mut command = command(&[name], environment);
        if let Some((_, blocks)) = environment.iter().find(|(name, _)| *name == "FILE_BLOCKS") {
            // Writing more is an error instead of the signal that ends the program.
            let script = "trap '' XFSZ; ulimit -S -f \"$0\"; exec \"$@\"";
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", script, blocks, env!("CARGO_BIN_EXE_nomation"), name]);
            shell.env_clear().envs(environment.iter().copied());
            command = shell;
        }
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| send.send(line))
        });
        Self { child, lines, client: Client::new("") }
    }

    /// Starts `nomation worker` and waits until it works. There is nobody to send requests to.
    pub(crate) fn worker(environment: &[(&str, &str)]) -> Self {
        let program = Self::start("worker", environment);
        program.line_with("working");
        program
    }

    /// The id of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as the kernel ends what needs too much memory: without a word.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The next log line that contains `text`.
    pub(crate) fn line_with(&self, text: &str) -> String {
        loop {
            let line =
                self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no line with {text}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Sends the signal that service managers send.
    pub(crate) fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    /// Waits for the end and returns the exit code.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Already gone is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
