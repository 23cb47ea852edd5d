//! A supervisor as systemd is one: it listens before Gatehouse does, and is told how it goes.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;

/// Longer than anything here takes.
const BOUND: Duration = Duration::from_secs(60);

/// A supervised `gatehouse run`, killed when dropped.
struct Supervised {
    child: Child,
    /// What the program says, line by line.
    messages: BufReader<std::process::ChildStderr>,
}

impl Supervised {
    /// Starts it with `listener`, and with a socket `notify` in the directory to report to.
    fn start(directory: &TempDir, listener: &TcpListener) -> Self {
        // The shell makes its standard input the first descriptor that is handed over, and becomes
        // the program: LISTEN_PID is its own number.
        let script = "exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"";
        let socket: OwnedFd = listener.try_clone().unwrap().into();
        let mut child = Command::new("sh")
            .args(["-c", script, "sh", env!("CARGO_BIN_EXE_gatehouse"), "run", "--config"])
            .arg(directory.path().join("gatehouse.toml"))
            .env("NOTIFY_SOCKET", directory.path().join("notify"))
            .env("WATCHDOG_USEC", "1000000")
            .stdin(Stdio::from(socket))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let messages = BufReader::new(child.stderr.take().unwrap());
        Self { child, messages }
    }

    /// Waits until it says something with `text` in it.
    fn says(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(self.messages.read_line(&mut line).unwrap(), 0, "it ended without {text}");
        }
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// A configuration whose plain listener is `http`, and the supervisor's socket.
fn prepare(http: SocketAddr) -> (TempDir, UnixDatagram) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display().to_string();
    let text = format!(
        "[listen]\nhttp = \"{http}\"\nhttps = []\nadmin = \"unix:{path}/admin.sock\"\n\
         workers = 2\n[tls]\nstore = \"{path}/certs\"\n[log]\naccess = \"off\"\n\
         [[site]]\nhosts = [\"127.0.0.1\"]\nissuer = \"internal\"\n\
         upstream = \"http://127.0.0.1:1\"\n"
    );
    std::fs::write(directory.path().join("gatehouse.toml"), text).unwrap();
    let notify = UnixDatagram::bind(directory.path().join("notify")).unwrap();
    notify.set_read_timeout(Some(BOUND)).unwrap();
    (directory, notify)
}

/// Reads what the supervisor is told until `news` is among it.
fn hears(notify: &UnixDatagram, news: &str) {
    let mut heard = [0; 512];
    loop {
        let length = notify.recv(&mut heard).unwrap();
        let heard = String::from_utf8_lossy(&heard[..length]);
        if heard.lines().any(|line| line == news) {
            return;
        }
    }
}

/// One request on a connection of its own; the redirect is the answer that needs no application.
fn request(address: SocketAddr) -> Result<String, std::io::Error> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(BOUND))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn the_supervisor_hears_of_start_reload_life_and_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (directory, notify) = prepare(listener.local_addr().unwrap());
    let mut gatehouse = Supervised::start(&directory, &listener);
    hears(&notify, "READY=1");
    hears(&notify, "WATCHDOG=1");
    gatehouse.signal("HUP");
    hears(&notify, "RELOADING=1");
    hears(&notify, "READY=1");
    gatehouse.signal("TERM");
    hears(&notify, "STOPPING=1");
    assert!(gatehouse.child.wait().unwrap().success());
}

#[test]
fn a_restart_on_a_socket_of_the_supervisors_loses_no_request() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (directory, _notify) = prepare(address);
    let mut gatehouse = Supervised::start(&directory, &listener);
    gatehouse.says("serving");
    let stop = AtomicBool::new(false);
    let served = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut served = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let answer = request(address).unwrap();
                        assert!(answer.starts_with("HTTP/1.1 308"), "{answer:?}");
                        served += 1;
                    }
                    served
                })
            })
            .collect();
        for _ in 0..3 {
            gatehouse.signal("TERM");
            assert!(gatehouse.child.wait().unwrap().success());
            // Nobody listens but the supervisor now: this one waits in its queue.
            let waiting = scope.spawn(|| request(address).unwrap());
            gatehouse = Supervised::start(&directory, &listener);
            gatehouse.says("serving");
            assert!(waiting.join().unwrap().starts_with("HTTP/1.1 308"));
        }
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).sum::<u32>()
    });
    assert!(served > 0);
}

#[test]
fn what_has_connected_before_the_end_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (directory, _notify) = prepare(address);
    let file = directory.path().join("gatehouse.toml");
    let one = std::fs::read_to_string(&file).unwrap().replace("workers = 2", "workers = 1");
    std::fs::write(&file, one).unwrap();
    let mut gatehouse = Supervised::start(&directory, &listener);
    gatehouse.says("serving");
    let get = format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n");
    // The worker accepts in the order of arrival: when the last is served, all have been accepted.
    let early: Vec<_> = (0..8).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut resting = TcpStream::connect(address).unwrap();
    resting.write_all(get.as_bytes()).unwrap();
    let mut answer = [0; 4_096];
    assert!(resting.read(&mut answer).unwrap() > 0 && answer.starts_with(b"HTTP/1.1 308"));
    gatehouse.signal("TERM");
    gatehouse.says("draining");
    _ = resting.read_to_end(&mut Vec::new()); // its end says that the worker drains
    for mut stream in early {
        stream.write_all(get.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 308"), "{answer:?}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer:?}");
    }
    assert!(gatehouse.child.wait().unwrap().success());
}

#[test]
fn a_socket_that_no_listener_names_is_pointed_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = other.local_addr().unwrap();
    drop(other);
    let (directory, _notify) = prepare(free);
    let mut gatehouse = Supervised::start(&directory, &listener);
    gatehouse.says(&format!("unclaimed=[{}]", listener.local_addr().unwrap()));
}
