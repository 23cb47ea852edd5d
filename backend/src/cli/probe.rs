//! `nomation health`: asks the server that runs beside it whether it is ready, for containers that
//! have no HTTP client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use crate::config::Bind;

/// How long the server has to answer; its own checks give up after one second.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// The length of `HTTP/1.1 200`.
const STATUS_BYTES: usize = 12;

/// Asks the server that listens on `bind`.
///
/// # Errors
/// What stands in the way, for a person.
pub(super) async fn ask(bind: &Bind) -> Result<(), String> {
    let answer = tokio::time::timeout(ANSWER_MAX, async {
        match bind {
            Bind::Tcp(address) => exchange(TcpStream::connect(reachable(*address)).await?).await,
            Bind::Unix(path) => exchange(UnixStream::connect(path).await?).await,
        }
    });
    match answer.await {
        Ok(Ok(status)) if status.ends_with(" 200") => Ok(()),
        Ok(Ok(status)) => Err(format!("{bind} answers {status}")),
        Ok(Err(error)) => Err(format!("{bind} cannot be asked: {error}")),
        Err(_elapsed) => Err(format!("{bind} does not answer within {ANSWER_MAX:?}")),
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<String> {
    const REQUEST: &[u8] =
        b"GET /health/ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(REQUEST).await?;
    let mut status = [0; STATUS_BYTES];
    stream.read_exact(&mut status).await?;
    Ok(String::from_utf8_lossy(&status).into_owned())
}

/// Who listens on all addresses is reached on this machine's own.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    SocketAddr::new(ip, address.port())
}
