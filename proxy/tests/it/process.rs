//! The program itself: signals, exit codes, and what its memory does under a gibibyte.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// A `gatehouse run` of its own, killed when dropped.
struct Process {
    child: Child,
    http: SocketAddr,
    https: SocketAddr,
    admin: SocketAddr,
    directory: TempDir,
}

impl Process {
    /// Starts it in front of `upstream`, over plain HTTP, and waits until it serves.
    fn start(upstream: SocketAddr) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = write(&directory, upstream, [ANY; 3]);
        let mut child = command(&file).spawn().unwrap();
        let mut messages = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("serving") {
            line.clear();
            assert_ne!(messages.read_line(&mut line).unwrap(), 0, "it ended before it served");
        }
        std::thread::spawn(move || std::io::copy(&mut messages, &mut std::io::sink()));
        // serving http=[127.0.0.1:1] https=[127.0.0.1:2] admin=Some(127.0.0.1:3)
        let mut found = line.split(['[', ']', '(', ')']).filter_map(|part| part.parse().ok());
        let [http, https, admin] = [(); 3].map(|()| found.next().unwrap());
        Self { child, http, https, admin, directory }
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Resident memory in KiB.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// The same once it has stopped to grow: threads go on starting after the first listens.
    fn settled(&self) -> u64 {
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        loop {
            let before = self.memory();
            std::thread::sleep(Duration::from_millis(200));
            let now = self.memory();
            if now <= before {
                return now;
            }
            assert!(std::time::Instant::now() < deadline, "it grows without end: {now} KiB");
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.http).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// A port that the kernel chooses.
const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Where no upstream listens.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

fn write(directory: &TempDir, upstream: SocketAddr, listen: [SocketAddr; 3]) -> std::path::PathBuf {
    let path = directory.path();
    let [http, https, admin] = listen;
    let file = path.join("gatehouse.toml");
    let text = format!(
        "[listen]\nhttp = \"{http}\"\nhttps = \"{https}\"\nadmin = \"{admin}\"\nworkers = 2\n\
         [tls]\nstore = \"{0}/certs\"\n[log]\naccess = \"{0}/access.log\"\n\
         [[site]]\nhosts = [\"localhost\"]\nissuer = \"internal\"\nredirect_http = false\n\
         body_bytes = \"2GiB\"\nupstream = \"http://{upstream}\"\n",
        path.display()
    );
    std::fs::write(&file, text).unwrap();
    file
}

fn command(file: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
    command.arg("run").arg("--config").arg(file);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// An upstream that answers each connection with `answer`, which reads and writes as it likes.
fn upstream(answer: impl Fn(&mut TcpStream) + Send + Sync + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = answer.clone();
            std::thread::spawn(move || answer(&mut stream.unwrap()));
        }
    });
    address
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).unwrap() == 0 {
            break;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

const GIB: u64 = 1 << 30;

/// Memory may grow by its buffers, and by nothing that has to do with the size of the body.
const FLAT: u64 = 16 << 10;

#[test]
fn a_gibibyte_down_leaves_memory_flat() {
    let address = upstream(|stream| {
        read_head(stream);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {GIB}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let chunk = vec![0; 1 << 20];
        (0..GIB >> 20).for_each(|_| stream.write_all(&chunk).unwrap());
    });
    let process = Process::start(address);
    let before = process.settled();
    let mut client = process.connect();
    client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let head = read_head(&mut client);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    // A client that rests in the middle: what the upstream sends meanwhile must not pile up.
    let mut body = client.take(GIB);
    let half = std::io::copy(&mut (&mut body).take(GIB / 2), &mut std::io::sink()).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let resting = process.memory();
    let rest = std::io::copy(&mut body, &mut std::io::sink()).unwrap();
    assert_eq!(half + rest, GIB);
    for memory in [resting, process.memory()] {
        assert!(memory < before + FLAT, "{before} KiB before, {memory} KiB after");
    }
}

#[test]
fn a_gibibyte_up_leaves_memory_flat() {
    let address = upstream(|stream| {
        let head = read_head(stream);
        assert!(head.to_lowercase().contains(&format!("content-length: {GIB}\r\n")), "{head}");
        std::thread::sleep(Duration::from_secs(1)); // back-pressure
        let read = std::io::copy(&mut stream.try_clone().unwrap().take(GIB), &mut std::io::sink());
        assert_eq!(read.unwrap(), GIB);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let process = Process::start(address);
    let before = process.settled();
    let mut client = process.connect();
    let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {GIB}\r\n\r\n");
    client.write_all(head.as_bytes()).unwrap();
    let chunk = vec![0; 1 << 20];
    let mut most = before;
    for _ in 0..GIB >> 20 {
        client.write_all(&chunk).unwrap();
        most = most.max(process.memory());
    }
    assert!(read_head(&mut client).starts_with("HTTP/1.1 200 "));
    assert!(most < before + FLAT, "{before} KiB before, {most} KiB at most");
}

#[test]
fn a_signal_lets_requests_in_flight_finish_and_ends_with_zero() {
    for signal in ["TERM", "INT"] {
        let address = upstream(|stream| {
            read_head(stream);
            std::thread::sleep(Duration::from_secs(1));
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        });
        let mut process = Process::start(address);
        let mut client = process.connect();
        client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let idle = process.connect();
        std::thread::sleep(Duration::from_millis(300));
        process.signal(signal);
        std::thread::sleep(Duration::from_millis(300));
        assert!(TcpStream::connect(process.http).is_err(), "it still accepts");
        let mut admin = TcpStream::connect(process.admin).unwrap();
        admin.write_all(b"GET /readyz HTTP/1.1\r\nHost: admin\r\n\r\n").unwrap();
        assert!(
            read_head(&mut admin).starts_with("HTTP/1.1 503 "),
            "it still says that it is ready"
        );
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{answer}");
        drop(idle);
        assert_eq!(process.child.wait().unwrap().code(), Some(0));
        let log = std::fs::read_to_string(process.directory.path().join("access.log")).unwrap();
        assert_eq!(log.lines().count(), 1, "{log}");
    }
}

#[test]
fn a_faulty_configuration_binds_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(&directory, NOWHERE, [ANY; 3]);
    std::fs::write(&file, std::fs::read_to_string(&file).unwrap() + "limt = 5\n").unwrap();
    let output = command(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let faults = String::from_utf8(output.stderr).unwrap();
    assert!(faults.contains("limt"), "{faults}");
    assert!(!directory.path().join("certs").exists(), "nothing is written either");
}

#[test]
fn a_taken_port_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let holder = TcpListener::bind(ANY).unwrap();
    let taken = holder.local_addr().unwrap();
    let output = command(&write(&directory, NOWHERE, [ANY, taken, ANY])).output().unwrap();
    assert_eq!(output.status.code(), Some(70));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains(&taken.to_string()) && message.contains("another program"),
        "{message}"
    );
}

#[test]
fn a_second_gatehouse_does_not_share_the_ports_of_the_first() {
    let first = Process::start(NOWHERE);
    let file = write(&first.directory, NOWHERE, [first.http, first.https, ANY]);
    let output = command(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(70));
}

/// A command of `gatehouse` to a running instance: exit code, standard output and error.
fn ask(process: &Process, command: &str) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_gatehouse"))
        .args([command, "--config"])
        .arg(process.directory.path().join("gatehouse.toml"))
        .args(["--admin", &process.admin.to_string()])
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_running_instance_takes_commands() {
    let mut process = Process::start(NOWHERE);
    let (code, stdout, _) = ask(&process, "status");
    assert!(code == 0 && stdout.contains("generation") && stdout.contains("sites"), "{stdout}");
    assert_eq!(ask(&process, "reload"), (0, "reloaded\n".to_owned(), String::new()));

    let file = process.directory.path().join("gatehouse.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, good.replace("upstream =", "upsteam =")).unwrap();
    let (code, stdout, stderr) = ask(&process, "reload");
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("did you mean `upstream`?"), "{stderr}");
    assert!(stderr.ends_with("not reloaded; the old configuration is in use\n"), "{stderr}");

    // HUP, too.
    std::fs::write(&file, good.replace("hosts = [\"localhost\"]", "hosts = [\"other\"]")).unwrap();
    process.signal("HUP");
    let get = |host: &str| {
        let mut stream = process.connect();
        write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        read_head(&mut stream)
    };
    // Each worker takes it over by itself.
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    for (host, status) in [("other", "502"), ("localhost", "421")] {
        while !get(host).starts_with(&format!("HTTP/1.1 {status} ")) {
            assert!(std::time::Instant::now() < deadline, "{}", get(host));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    assert_eq!(ask(&process, "drain"), (0, "draining\n".to_owned(), String::new()));
    assert_eq!(process.child.wait().unwrap().code(), Some(0));
    let (code, _, stderr) = ask(&process, "status");
    assert!(code == 1 && stderr.contains("Is it running?"), "{stderr}");
}

#[test]
fn the_admin_listener_can_be_a_socket_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(&directory, NOWHERE, [ANY; 3]);
    let socket = directory.path().join("admin.sock");
    let text = std::fs::read_to_string(&file).unwrap();
    let address = format!("admin = \"unix:{}\"", socket.display());
    std::fs::write(&file, text.replace("admin = \"127.0.0.1:0\"", &address)).unwrap();
    let mut child = command(&file).stderr(Stdio::null()).spawn().unwrap();
    let ask = |word: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
        command.args([word, "--config"]).arg(&file).output().unwrap()
    };
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !ask("status").status.success() {
        assert!(std::time::Instant::now() < deadline, "it does not answer on its socket");
        std::thread::sleep(Duration::from_millis(20));
    }
    let answer = ask("reload");
    assert_eq!(String::from_utf8(answer.stdout).unwrap(), "reloaded\n");
    assert!(ask("drain").status.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!socket.exists(), "the file goes with the listener");
}
