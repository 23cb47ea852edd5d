//! A real Redis, on a port of the kernel's choice, in a temporary directory; also one that needs a
//! password, speaks TLS, has a replica and sentinels, or is a cluster.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A running server, ended when dropped.
pub(crate) struct Redis {
    child: Child,
    directory: TempDir,
    pub(crate) port: u16,
    /// Where the nodes of a cluster speak among themselves, if this is one.
    pub(crate) bus: u16,
    arguments: Vec<String>,
}

impl Redis {
    /// An empty server that keeps nothing on disk.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// With further arguments, in which `DIRECTORY` is its own, as are `PORT` and `BUS`.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::start_in(directory, arguments)
    }

    /// In a directory that holds files for it already.
    pub(crate) fn start_in(directory: TempDir, arguments: &[&str]) -> Self {
        let own = directory.path().display().to_string();
        let arguments = arguments.iter().map(|text| text.replace("DIRECTORY", &own));
        let arguments: Vec<String> = arguments.collect();
        // A port may be taken between its choice and its use: then another.
        for _ in 0..5 {
            let [port, bus] = free();
            let ports = |text: &String| {
                text.replace("PORT", &port.to_string()).replace("BUS", &bus.to_string())
            };
            let arguments: Vec<String> = arguments.iter().map(ports).collect();
            let mut child = spawn(port, &directory, &arguments);
            if answers(&mut child, port) {
                return Self { child, directory, port, bus, arguments };
            }
        }
        panic!("redis-server does not start; its log is in {own}");
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Runs a command, and returns the answer as it came.
    pub(crate) fn command(&self, words: &[&str]) -> String {
        String::from_utf8(self.bytes(words)).unwrap()
    }

    /// The same, of an answer that may be no text.
    pub(crate) fn bytes(&self, words: &[&str]) -> Vec<u8> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let words = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
        let words: Vec<String> = words.collect();
        let command = format!("*{}\r\n{}QUIT\r\n", words.len(), words.concat());
        stream.write_all(command.as_bytes()).unwrap();
        let mut answer = Vec::new();
        _ = stream.read_to_end(&mut answer);
        // Without the answer to QUIT.
        answer.strip_suffix(b"+OK\r\n").unwrap_or(&answer).trim_ascii_end().to_vec()
    }

    /// Sends a signal: `STOP`, `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Ends it at once; what it knew is gone.
    pub(crate) fn kill(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }

    /// One that is started on a port which was free before.
    pub(crate) fn start_on(port: u16) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut child = spawn(port, &directory, &[]);
        assert!(answers(&mut child, port), "it does not start on port {port}");
        Self { child, directory, port, bus: 0, arguments: Vec::new() }
    }

    /// Starts it again on its port, empty.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(self.port, &self.directory, &self.arguments);
        assert!(answers(&mut self.child, self.port), "it does not come back on its port");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(port: u16, directory: &TempDir, arguments: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    let port = port.to_string();
    // Whoever speaks TLS says so in its arguments, and on which port.
    if !arguments.iter().any(|argument| argument == "--sentinel") {
        command.args(["--save", "", "--appendonly", "no"]);
    }
    command.args(arguments);
    if !arguments.iter().any(|argument| argument == "--port") {
        command.args(["--port", &port]);
    }
    command.args(["--bind", "127.0.0.1", "--dir"]).arg(directory.path());
    command.args(["--logfile", "redis.log"]);
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("redis-server: {error}; apt-get install redis-server"))
}

/// Free ports.
pub(crate) fn free<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// Whether something answers on the port while the process lives.
fn answers(child: &mut Child, port: u16) -> bool {
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    _ = child.kill();
    _ = child.wait();
    false
}
