//! The one HTTP request that xtask makes itself: is it ready?

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// `Ok` when `GET http://127.0.0.1:port/path` answers 200; otherwise what stands in the way.
pub(crate) fn ready(port: u16, path: &str) -> Result<(), String> {
    match status(port, path) {
        Ok(200) => Ok(()),
        Ok(status) => Err(format!("http://127.0.0.1:{port}{path} answers {status}")),
        Err(error) => Err(format!("http://127.0.0.1:{port}{path}: {error}")),
    }
}

fn status(port: u16, path: &str) -> std::io::Result<u16> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let bound = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&address, bound)?;
    stream.set_read_timeout(Some(bound))?;
    stream.set_write_timeout(Some(bound))?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    parse(&head).ok_or_else(|| std::io::Error::other("the answer is not HTTP"))
}

fn parse(head: &[u8]) -> Option<u16> {
    std::str::from_utf8(head).ok()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_read_from_the_first_line() {
        assert_eq!(parse(b"HTTP/1.1 200"), Some(200));
        assert_eq!(parse(b"HTTP/1.0 503"), Some(503));
        assert_eq!(parse(b"SSH-2.0-Open"), None);
    }
}
