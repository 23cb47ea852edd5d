//! Two processes on the same ports, of which the new one takes over from the old one.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A `gatehouse run`, killed when dropped.
struct Process(Child);

impl Process {
    /// Starts it, and waits until it says `text`.
    fn start(file: &Path, text: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_gatehouse"))
            .args(["run", "--config"])
            .arg(file)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut messages = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(messages.read_line(&mut line).unwrap(), 0, "it ended without {text}");
        }
        std::thread::spawn(move || std::io::copy(&mut messages, &mut std::io::sink()));
        Self(child)
    }

    /// Sends TERM and waits until it has drained.
    fn end(mut self) {
        let status = Command::new("kill").arg(self.0.id().to_string()).status();
        assert!(status.unwrap().success());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn answer(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn shared_ports_pass_from_one_process_to_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let [http, admin] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [http, admin] = [http, admin].map(|listener| listener.local_addr().unwrap());
    let write = |name: &str, shared: bool| {
        let text = format!(
            "[listen]\nhttp = \"{http}\"\nhttps = []\nadmin = \"{admin}\"\n\
             workers = 1\nshare_ports = {shared}\n[tls]\nstore = \"{}/certs\"\n\
             [log]\naccess = \"off\"\n[[site]]\nhosts = [\"127.0.0.1\"]\nissuer = \"internal\"\n\
             upstream = \"http://127.0.0.1:1\"\n",
            path.display()
        );
        std::fs::write(path.join(name), text).unwrap();
        path.join(name)
    };
    let (shared, alone) = (write("shared.toml", true), write("alone.toml", false));
    let old = Process::start(&shared, "serving");
    drop(Process::start(&alone, "another program has it"));
    let new = Process::start(&shared, "serving");
    old.end();
    assert!(answer(http).starts_with("HTTP/1.1 308"));
    new.end();
}
