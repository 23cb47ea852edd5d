//! A real CA: Pebble, with its DNS, on free ports, in a temporary directory. It refuses half of all
//! nonces and never takes an old proof for a new one.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

/// A running CA, ended when dropped.
pub(crate) struct Pebble {
    children: Vec<Child>,
    directory: TempDir,
    port: u16,
    management: u16,
    /// Where it looks for proofs; held for a Gatehouse to listen on beside this.
    http: (Socket, SocketAddr),
    https: (Socket, SocketAddr),
}

impl Pebble {
    /// Starts a CA whose certificates are valid for so many seconds.
    pub(crate) fn start(validity: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let own = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        std::fs::write(directory.path().join("ca.pem"), own.pem()).unwrap();
        std::fs::write(directory.path().join("ca.key"), key.serialize_pem()).unwrap();
        let (http, https) = (held(), held());
        let [port, management, dns, dns_management] = free();
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": "ca.pem",
            "privateKey": "ca.key",
            "httpPort": http.1.port(),
            "tlsPort": https.1.port(),
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "certificateValidityPeriod": validity,
        }});
        std::fs::write(directory.path().join("pebble.json"), config.to_string()).unwrap();
        let log = || File::create(directory.path().join("pebble.log")).unwrap();
        let spawn = |program: &str, arguments: &[&str]| {
            Command::new(program)
                .args(arguments)
                .current_dir(directory.path())
                .env("PEBBLE_VA_NOSLEEP", "1")
                .env("PEBBLE_WFE_NONCEREJECT", "50")
                .env("PEBBLE_AUTHZREUSE", "0")
                .stdout(log())
                .stderr(Stdio::null())
                .spawn()
                .unwrap_or_else(|error| panic!("{program}: {error}; apt-get install pebble"))
        };
        let (dns, management_of_dns) =
            (format!("127.0.0.1:{dns}"), format!("127.0.0.1:{dns_management}"));
        let resolver = spawn(
            "pebble-challtestsrv",
            &[
                "-dns01",
                &dns,
                "-management",
                &management_of_dns,
                "-defaultIPv6",
                "",
                "-http01",
                "",
                "-https01",
                "",
                "-tlsalpn01",
                "",
            ],
        );
        let ca = spawn("pebble", &["-config", "pebble.json", "-dnsserver", &dns]);
        let children = vec![ca, resolver];
        let pebble = Self { children, directory, port, management, http, https };
        for port in [port, management, dns_management] {
            let deadline = Instant::now() + Duration::from_secs(30);
            while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
                assert!(Instant::now() < deadline, "nothing listens on {port}");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        pebble
    }

    /// Where plain HTTP is to be listened on.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http.1
    }

    /// Where TLS is to be listened on.
    pub(crate) fn https(&self) -> SocketAddr {
        self.https.1
    }

    /// The keys of `[acme]` that name this CA.
    pub(crate) fn keys(&self) -> String {
        let root = self.directory.path().join("ca.pem");
        let port = self.port;
        format!("directory = \"https://localhost:{port}/dir\"\nroot_ca = \"{}\"\n", root.display())
    }

    /// The root of the certificates that it issues, written to a file.
    pub(crate) async fn root(&self) -> PathBuf {
        let own = self.directory.path().join("ca.pem");
        let management = SocketAddr::from(([127, 0, 0, 1], self.management));
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
        for child in &mut self.children {
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

/// Free ports for programs that cannot be handed a socket.
fn free<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
