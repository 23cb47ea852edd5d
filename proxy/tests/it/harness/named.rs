//! A real name server: BIND, with one zone that takes updates signed with a key.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::pebble::port;

/// The zone `example.com`, ended when dropped.
pub(crate) struct Named {
    child: Child,
    _directory: TempDir,
    pub(crate) address: SocketAddr,
}

/// The key that it takes updates with, `gatehouse`, by HMAC-SHA256.
pub(crate) const SECRET: &str = "c29tZSBzZWNyZXQgb2YgdGhlIHRlc3RzIGFsb25lISE=";

impl Named {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().display();
        std::fs::write(
            directory.path().join("zone"),
            "$TTL 60\n@ SOA ns.example.com. ops.example.com. 1 60 60 60 60\n\
             @ NS ns\nns A 127.0.0.1\n",
        )
        .unwrap();
        // Whoever takes a port first has it: then another is tried.
        for _ in 0..10 {
            let port = port();
            let config = format!(
                "options {{ directory \"{path}\"; pid-file none; recursion no; dnssec-validation no;
                   listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
                   session-keyfile \"{path}/session.key\"; }};
                 controls {{ }};
                 key gatehouse {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};
                 zone example.com {{ type primary; file \"zone\";
                   update-policy {{ grant gatehouse zonesub TXT; }}; }};"
            );
            std::fs::write(directory.path().join("named.conf"), config).unwrap();
            let mut child = Command::new("/usr/sbin/named")
                .args(["-f", "-c"])
                .arg(directory.path().join("named.conf"))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap_or_else(|error| panic!("named: {error}; apt-get install bind9"));
            let deadline = Instant::now() + Duration::from_secs(30);
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
                if std::net::TcpStream::connect(address).is_ok() {
                    return Self { child, _directory: directory, address };
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            _ = child.kill();
            _ = child.wait();
        }
        panic!("named does not start; apt-get install bind9");
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
