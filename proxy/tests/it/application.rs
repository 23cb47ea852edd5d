//! `gatehouse run -- COMMAND`: the application is started, looked after, and ended last.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Says in its journal when it starts and when it is told to end.
const APPLICATION: &str = "echo start $$ >> \"$1\"; trap 'echo end >> \"$1\"; exit' TERM; \
                           echo hello; while :; do sleep 0.02; done";

struct Process {
    child: Child,
    journal: PathBuf,
    directory: TempDir,
}

impl Process {
    fn start(upstream: SocketAddr, script: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path();
        let text = format!(
            "[listen]\nhttp = \"unset\"\nhttps = []\nadmin = \"unix:{0}/admin\"\n\
             [tls]\nstore = \"{0}/certs\"\n[log]\naccess = \"stdout\"\n\
             [[site]]\nhosts = [\"localhost\"]\nissuer = \"internal\"\nredirect_http = false\n\
             upstream = \"http://{upstream}\"\n",
            folder.display()
        );
        let file = folder.join("gatehouse.toml");
        fs::write(&file, text.replace("unset", &free_address().to_string())).unwrap();
        let journal = folder.join("journal");
        let child = Command::new(env!("CARGO_BIN_EXE_gatehouse"))
            .args(["run", "--config"])
            .arg(&file)
            .args(["--", "sh", "-c", script, "sh"])
            .arg(&journal)
            .stdout(fs::File::create(folder.join("stdout")).unwrap())
            .stderr(fs::File::create(folder.join("stderr")).unwrap())
            .spawn()
            .unwrap();
        Self { child, journal, directory }
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.directory.path().join(file)).unwrap_or_default()
    }

    /// The application's process, once it has been started `times` times.
    fn started(&self, times: usize) -> String {
        until(|| {
            let journal = self.read("journal");
            let mut starts = journal.lines().filter_map(|line| line.strip_prefix("start "));
            starts.nth(times - 1).map(str::to_owned)
        })
    }

    fn address(&self) -> SocketAddr {
        let file = self.read("gatehouse.toml");
        let line = file.lines().find_map(|line| line.strip_prefix("http = \"")).unwrap();
        line.trim_end_matches('"').parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
        for line in fs::read_to_string(&self.journal).unwrap_or_default().lines() {
            if let Some(pid) = line.strip_prefix("start ") {
                _ = Command::new("kill").args(["-s", "KILL", pid]).stderr(Stdio::null()).status();
            }
        }
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn signal(pid: &str, name: &str) {
    assert!(Command::new("kill").args(["-s", name, pid]).status().unwrap().success());
}

fn until<T>(mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "it does not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn exists(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}

#[test]
fn an_application_that_ends_is_started_again_and_ends_after_the_last_request() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut process = Process::start(upstream.local_addr().unwrap(), APPLICATION);
    let first = process.started(1);
    signal(&first, "KILL");
    let second = process.started(2);
    assert!(process.read("stderr").contains("application ended: signal 9"));
    assert!(process.read("stderr").contains("hello"), "what it prints is no access log");

    let mut client = until(|| TcpStream::connect(process.address()).ok());
    client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let (mut stream, _) = upstream.accept().unwrap();
    signal(&process.child.id().to_string(), "TERM");
    until(|| process.read("stderr").contains("draining").then_some(()));
    assert!(!process.read("journal").contains("end"), "a request is in flight");
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{answer}");
    assert_eq!(process.child.wait().unwrap().code(), Some(0));
    assert!(process.read("journal").ends_with("end\n"), "it was told, not killed");
    assert!(!exists(&second));
    let stdout = process.read("stdout");
    assert!(stdout.lines().all(|line| line.starts_with('{')), "{stdout}");
}

#[test]
fn an_application_that_does_not_end_is_killed_with_all_it_started() {
    // A second signal does not wait for drain_timeout.
    let script = "trap '' TERM INT; sleep 1000 & echo start $! >> \"$1\"; \
                  echo start $$ >> \"$1\"; while :; do sleep 0.02; done";
    let mut process = Process::start(free_address(), script);
    let (grandchild, child) = (process.started(1), process.started(2));
    let own = process.child.id().to_string();
    signal(&own, "TERM");
    until(|| process.read("stderr").contains("a second signal ends at once").then_some(()));
    // The handler of the second signal is installed by a thread of its own.
    until(|| {
        _ = Command::new("kill").args(["-s", "INT", &own]).stderr(Stdio::null()).status();
        process.child.try_wait().unwrap()
    });
    until(|| (!is_running(&child) && !is_running(&grandchild)).then_some(()));
}

/// Neither gone nor waiting for a parent to take note of it.
fn is_running(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

#[test]
fn an_application_that_cannot_be_started_is_said_to_be() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gatehouse.toml");
    let text = format!(
        "[listen]\nhttp = \"127.0.0.1:0\"\nhttps = []\nadmin = \"unix:{0}/admin\"\n[tls]\n\
         store = \"{0}/certs\"\n[[site]]\nhosts = [\"localhost\"]\nissuer = \"internal\"\n\
         upstream = \"http://127.0.0.1:1\"\n",
        directory.path().display()
    );
    fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
    command.args(["run", "--config"]).arg(&file).args(["--", "/no/such/program"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(70));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("cannot start the application: /no/such/program: "), "{message}");
}
