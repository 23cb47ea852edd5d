//! A real CA: Pebble, with its DNS, on free ports, in a temporary directory. It refuses half of all
//! nonces and never takes an old proof for a new one.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

/// A running CA, ended when dropped.
pub(crate) struct Pebble {
    children: Vec<Child>,
    directory: TempDir,
    ports: Ports,
    /// The name server that it asks, if it is not its own.
    names: Option<SocketAddr>,
    /// Where it looks for proofs; held for a Gatehouse to listen on beside this.
    http: (Socket, SocketAddr),
    https: (Socket, SocketAddr),
}

impl Pebble {
    /// Starts a CA whose certificates are valid for so many seconds.
    pub(crate) fn start(validity: u64) -> Self {
        Self::configured(validity, &serde_json::json!({}))
    }

    /// With further keys of its configuration.
    pub(crate) fn configured(validity: u64, more: &serde_json::Value) -> Self {
        Self::with(validity, more, None)
    }

    /// That asks another name server than its own.
    pub(crate) fn with_names_of(name_server: SocketAddr) -> Self {
        Self::with(3_600, &serde_json::json!({}), Some(name_server))
    }

    fn with(validity: u64, more: &serde_json::Value, names: Option<SocketAddr>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let own = rcgen::CertificateParams::new(hosts).unwrap().self_signed(&key).unwrap();
        std::fs::write(directory.path().join("ca.pem"), own.pem()).unwrap();
        std::fs::write(directory.path().join("ca.key"), key.serialize_pem()).unwrap();
        let (http, https) = (held(), held());
        let ports = Ports::default();
        let mut pebble = Self { children: Vec::new(), directory, ports, names, http, https };
        // Whoever takes a port first has it: then other ports are tried.
        for _ in 0..10 {
            pebble.ports = Ports::free();
            pebble.configure(validity, more);
            if pebble.run() {
                return pebble;
            }
        }
        panic!("pebble does not start; apt-get install pebble");
    }

    fn configure(&self, validity: u64, more: &serde_json::Value) {
        let mut config = serde_json::json!({
            "listenAddress": format!("127.0.0.1:{}", self.ports.acme),
            "managementListenAddress": format!("127.0.0.1:{}", self.ports.management),
            "certificate": "ca.pem",
            "privateKey": "ca.key",
            "httpPort": self.http.1.port(),
            "tlsPort": self.https.1.port(),
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "certificateValidityPeriod": validity,
        });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        let text = serde_json::json!({ "pebble": config }).to_string();
        std::fs::write(self.directory.path().join("pebble.json"), text).unwrap();
    }

    /// Starts both programs and waits until they listen; false if one of them ends.
    pub(crate) fn run(&mut self) -> bool {
        self.stop();
        let log = || File::create(self.directory.path().join("pebble.log")).unwrap();
        let spawn = |program: &str, arguments: &[&str]| {
            Command::new(program)
                .args(arguments)
                .current_dir(self.directory.path())
                .env("PEBBLE_VA_NOSLEEP", "1")
                .env("PEBBLE_WFE_NONCEREJECT", "50")
                .env("PEBBLE_AUTHZREUSE", "0")
                .stdout(log())
                .stderr(Stdio::null())
                .spawn()
                .unwrap_or_else(|error| panic!("{program}: {error}; apt-get install pebble"))
        };
        let Ports { acme, management, dns, dns_management } = self.ports;
        let address = |port: u16| format!("127.0.0.1:{port}");
        let resolver = [
            ["-dns01", &address(dns)],
            ["-management", &address(dns_management)],
            ["-defaultIPv6", ""],
            ["-http01", ""],
            ["-https01", ""],
            ["-tlsalpn01", ""],
        ];
        let resolver = spawn("pebble-challtestsrv", resolver.as_flattened());
        let names = self.names.map_or_else(|| address(dns), |names| names.to_string());
        let ca = spawn("pebble", &["-config", "pebble.json", "-dnsserver", &names]);
        self.children = vec![ca, resolver];
        let deadline = Instant::now() + Duration::from_secs(30);
        for port in [acme, management, dns_management] {
            while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
                if self.children.iter_mut().any(|child| child.try_wait().unwrap().is_some()) {
                    return false;
                }
                assert!(Instant::now() < deadline, "nothing listens on {port}");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        self.children.iter_mut().all(|child| child.try_wait().unwrap().is_none())
    }

    /// Where plain HTTP is to be listened on.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http.1
    }

    /// Where TLS is to be listened on.
    pub(crate) fn https(&self) -> SocketAddr {
        self.https.1
    }

    /// Where it is asked.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports.acme))
    }

    /// Its name server, and where that is told by HTTP what to answer.
    pub(crate) fn names(&self) -> (SocketAddr, u16) {
        (SocketAddr::from(([127, 0, 0, 1], self.ports.dns)), self.ports.dns_management)
    }

    /// A file of its own.
    pub(crate) fn own(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The keys of `[acme]` that name this CA.
    pub(crate) fn keys(&self) -> String {
        let root = self.own("ca.pem");
        let port = self.ports.acme;
        format!("directory = \"https://localhost:{port}/dir\"\nroot_ca = \"{}\"\n", root.display())
    }

    /// The root of the certificates that it issues, written to a file.
    pub(crate) async fn root(&self) -> PathBuf {
        let own = self.directory.path().join("ca.pem");
        let management = SocketAddr::from(([127, 0, 0, 1], self.ports.management));
        let mut stream = super::client::tls(management, &own, &[], "localhost", b"").await.unwrap();
        let request = b"GET /roots/0 HTTP/1.0\r\nHost: localhost\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, request).await.unwrap();
        let mut answer = String::new();
        _ = tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await;
        let root = self.directory.path().join("root.pem");
        std::fs::write(&root, answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        root
    }

    /// Stops answering.
    pub(crate) fn stop(&mut self) {
        for mut child in self.children.drain(..) {
            _ = child.kill();
            _ = child.wait();
        }
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        self.stop();
    }
}

/// An address that is bound and not listened on, so that others can bind it too and nobody is given
/// it.
fn held() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// Where programs listen that cannot be handed a socket.
#[derive(Debug, Clone, Copy, Default)]
struct Ports {
    acme: u16,
    management: u16,
    dns: u16,
    dns_management: u16,
}

impl Ports {
    /// Free ones, of those that the kernel gives to nobody who asks for any.
    fn free() -> Self {
        Self { acme: port(), management: port(), dns: port(), dns_management: port() }
    }
}

/// A port that is free for TCP and UDP.
pub(super) fn port() -> u16 {
    loop {
        let port = fastrand::u16(12_000..32_000);
        let address = ("127.0.0.1", port);
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return port;
        }
    }
}
