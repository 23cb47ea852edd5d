//! Servers of a test's own, as real processes that it may kill: a PostgreSQL and a Redis.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a server may take to start, or to be ready again after a kill.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that can be killed and started again on its port and its files.
pub(crate) struct Server {
    folder: TempDir,
    port: u16,
    kind: Kind,
    child: Option<Child>,
}

enum Kind {
    Redis,
    Postgres,
}

impl Server {
    /// A Redis that keeps nothing: what it held is lost with it.
    pub(crate) fn redis() -> Self {
        Self::new(Kind::Redis)
    }

    /// A PostgreSQL that keeps what it has committed.
    pub(crate) fn postgres() -> Self {
        let server = Self::new(Kind::Postgres);
        let mut initdb = server.as_user("initdb");
        initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync", "-D"]);
        let made = initdb.arg(server.data()).output().expect("initdb runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        server
    }

    fn new(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        if let Some((uid, gid)) = postgres_user() {
            std::os::unix::fs::chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        // Free a moment ago; should somebody be faster, the start below says so.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { folder, port, kind, child: None }
    }

    pub(crate) fn url(&self) -> String {
        match self.kind {
            Kind::Redis => format!("redis://127.0.0.1:{}/0", self.port),
            Kind::Postgres => format!("postgres://postgres@127.0.0.1:{}/postgres", self.port),
        }
    }

    /// Starts it and waits until it answers. After a kill, PostgreSQL may have to wait for the last
    /// of its old processes.
    pub(crate) fn start(&mut self) {
        let started = Instant::now();
        loop {
            let mut child = self.command().spawn().expect("cargo xtask test installs it");
            while child.try_wait().unwrap().is_none() {
                if self.answers() {
                    self.child = Some(child);
                    return;
                }
                assert!(started.elapsed() < PATIENCE, "{} does not start", self.url());
                std::thread::sleep(Duration::from_millis(20));
            }
            assert!(started.elapsed() < PATIENCE, "{} does not start", self.url());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// `kill -9` of the server and all its processes.
    pub(crate) fn kill(&mut self) {
        self.signal("KILL");
        if let Some(mut child) = self.child.take() {
            child.wait().unwrap();
        }
    }

    /// Sends a signal to the server and all its processes; PostgreSQL's are in groups of their own.
    pub(crate) fn signal(&self, name: &str) {
        let Some(child) = &self.child else { return };
        let server = child.id().to_string();
        let children = format!("/proc/{server}/task/{server}/children");
        let children = std::fs::read_to_string(children).unwrap();
        let mut kill = Command::new("kill");
        kill.args(["-s", name, "--", &server]).args(children.split_whitespace());
        // One of them may have ended meanwhile.
        assert!(kill.status().is_ok());
    }

    fn command(&self) -> Command {
        let port = self.port.to_string();
        let mut command = match self.kind {
            Kind::Redis => {
                let mut redis = Command::new("redis-server");
                redis.args(["--port", &port, "--bind", "127.0.0.1", "--save", ""]);
                redis.args(["--appendonly", "no", "--dir"]).arg(self.folder.path());
                redis
            }
            Kind::Postgres => {
                let mut postgres = self.as_user("postgres");
                postgres.args(["-p", &port, "-c", "listen_addresses=127.0.0.1"]);
                postgres.args(["-c", "unix_socket_directories=", "-D"]).arg(self.data());
                postgres
            }
        };
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn answers(&self) -> bool {
        let mut ask = match self.kind {
            Kind::Redis => Command::new("redis-cli"),
            Kind::Postgres => Command::new(postgres_program("pg_isready")),
        };
        ask.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        if matches!(self.kind, Kind::Redis) {
            ask.arg("PING");
        }
        let asked = ask.stdout(Stdio::null()).stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn as_user(&self, program: &str) -> Command {
        let mut command = Command::new(postgres_program(program));
        command.current_dir(self.folder.path());
        if let Some((uid, gid)) = postgres_user() {
            command.uid(uid).gid(gid);
        }
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Debian keeps the server's programs off the path.
fn postgres_program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let programs = versions.map(|version| version.path().join("bin").join(name));
    programs.filter(|program| program.is_file()).max().unwrap_or_else(|| PathBuf::from(name))
}

/// Whom PostgreSQL runs as where the test is root, which it refuses.
fn postgres_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = passwd.lines().find(|line| line.starts_with("postgres:")).expect("a user postgres");
    let mut ids = line.split(':').skip(2).map(|id| id.parse().unwrap());
    Some((ids.next().unwrap(), ids.next().unwrap()))
}
