//! One request to the admin listener, over TCP or a Unix socket.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::config::{Admin, AdminAddress};

/// A reload waits for every worker.
const PATIENCE: Duration = Duration::from_secs(30);

/// One request and its answer: status and body.
pub(super) fn exchange(
    address: &AdminAddress,
    method: &str,
    target: &str,
    admin: &Admin,
) -> io::Result<(u16, String)> {
    match address {
        AdminAddress::Tcp(address) => {
            let stream = TcpStream::connect_timeout(address, Duration::from_secs(5))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            converse(stream, method, target, admin)
        }
        AdminAddress::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            converse(stream, method, target, admin)
        }
    }
}

fn converse(
    mut stream: impl Read + Write,
    method: &str,
    target: &str,
    admin: &Admin,
) -> io::Result<(u16, String)> {
    let token = admin.token.as_ref().map(|token| format!("Authorization: Bearer {token}\r\n"));
    let token = token.unwrap_or_default();
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\n\
         Connection: close\r\n{token}\r\n"
    )?;
    let mut answer = String::new();
    stream.take(8 << 20).read_to_string(&mut answer)?;
    let parsed = answer.split_once("\r\n\r\n").and_then(|(head, body)| {
        let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        Some((status, body.to_owned()))
    });
    parsed.ok_or_else(|| io::Error::other("this is not an admin listener"))
}
