//! Bytes on a connection, for what a well-behaved client would never send.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A connection without a protocol.
pub(crate) struct Raw(TlsStream<TcpStream>);

impl Raw {
    /// With some bytes `before` the handshake.
    pub(super) async fn tls(
        address: SocketAddr,
        root: &Path,
        before: &[u8],
    ) -> std::io::Result<Self> {
        super::client::tls(address, root, &[b"http/1.1"], "localhost", before).await.map(Self)
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// Writes what the other end may no longer want.
    pub(crate) async fn write_if_open(&mut self, bytes: &[u8]) {
        _ = self.0.write_all(bytes).await;
        _ = self.0.flush().await;
    }

    /// Reads up to so many bytes; `None` at the end, however it came.
    pub(crate) async fn read_some(&mut self, most: usize) -> Option<usize> {
        let mut bytes = vec![0; most];
        let read = tokio::time::timeout(Duration::from_secs(10), self.0.read(&mut bytes));
        read.await.unwrap().ok().filter(|count| *count > 0)
    }

    /// Writes bytes that TLS does not see; false when the connection has ended.
    pub(crate) async fn write_below_tls(&mut self, bytes: &[u8]) -> bool {
        let socket = self.0.get_mut().0;
        socket.write_all(bytes).await.is_ok()
    }

    /// Says that nothing more comes.
    pub(crate) async fn close(&mut self) {
        _ = self.0.shutdown().await;
    }

    /// What comes until the other end closes, or `None` if it does not within ten seconds.
    pub(crate) async fn read_to_end(&mut self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = async {
            // An end without close_notify is an end.
            while self.0.read_buf(&mut bytes).await.is_ok_and(|n| n > 0) {}
        };
        tokio::time::timeout(Duration::from_secs(10), read).await.ok()?;
        Some(bytes)
    }

    /// So many bytes.
    pub(crate) async fn read_exactly(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    /// The head of one response.
    pub(crate) async fn read_head(&mut self) -> String {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            match self.0.read_u8().await {
                Ok(byte) => bytes.push(byte),
                Err(_) => break,
            }
        }
        String::from_utf8(bytes).unwrap()
    }
}
