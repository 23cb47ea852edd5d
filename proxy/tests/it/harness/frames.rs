//! HTTP/2 frames, written and read by hand (RFC 9113, 4.1).

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::TestProxy;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// Flags of HEADERS.
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// A frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// The field section of `METHOD path`, for `localhost` over https, without compression.
pub(crate) fn request(method: &str, path: &str) -> Vec<u8> {
    let mut block = vec![0x87]; // :scheme https
    for (index, value) in [(1, "localhost"), (2, method), (4, path)] {
        block.extend([index, u8::try_from(value.len()).unwrap()]);
        block.extend_from_slice(value.as_bytes());
    }
    block
}

/// A field line as it is, in a field section without compression (RFC 7541, 6.2.2).
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).ok().filter(|n| *n < 0x7f).unwrap();
    let mut line = vec![0, length(name)];
    line.extend_from_slice(name.as_bytes());
    line.push(length(value));
    line.extend_from_slice(value.as_bytes());
    line
}

/// What a client gets for a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Status(u16),
    Reset,
    /// With the error code of a GOAWAY, if there was one.
    Ended(Option<u32>),
}

/// An HTTP/2 connection without a library.
pub(crate) struct Frames(TlsStream<TcpStream>);

impl Frames {
    /// Connects and sends the preface with some `settings`.
    pub(crate) async fn connect(proxy: &TestProxy, settings: &[u8]) -> Self {
        let mut frames = Self(proxy.tls(b"h2").await);
        assert!(frames.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await);
        assert!(frames.write(&frame(SETTINGS, 0, 0, settings)).await);
        frames
    }

    /// Leaves the system little room for what the proxy sends.
    pub(crate) fn narrow(&self) {
        let socket = socket2::SockRef::from(self.0.get_ref().0);
        socket.set_recv_buffer_size(4 << 10).unwrap();
    }

    /// False when the connection has ended.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).await.is_ok() && self.0.flush().await.is_ok()
    }

    /// The next frame: kind, stream and payload; `None` at the end of the connection.
    pub(crate) async fn next(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        let read = async {
            let mut header = [0; 9];
            self.0.read_exact(&mut header).await.ok()?;
            let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.0.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
            Some((header[3], stream, payload))
        };
        tokio::time::timeout(Duration::from_secs(20), read).await.unwrap()
    }

    /// How many TLS records hold the next so many bytes on the wire.
    pub(crate) async fn records(&self, bytes: usize) -> usize {
        let mut wire = vec![0; 64 << 10];
        let enough = async {
            while self.0.get_ref().0.peek(&mut wire).await.unwrap() < bytes {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), enough).await.unwrap();
        let (mut at, mut records) = (0, 0);
        while at < bytes {
            let length = u16::from_be_bytes([wire[at + 3], wire[at + 4]]);
            (at, records) = (at + 5 + usize::from(length), records + 1);
        }
        records
    }

    /// The error code of the GOAWAY before the end of the connection, if there is one.
    pub(crate) async fn ends(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some((kind, _, payload)) = self.next().await {
            if kind == GOAWAY {
                code = Some(error_code(&payload));
            }
        }
        code
    }

    /// What becomes of the request on stream 1.
    pub(crate) async fn answer(&mut self) -> Answer {
        let mut code = None;
        loop {
            match self.next().await {
                Some((HEADERS, 1, block)) => return Answer::Status(status(&block)),
                Some((RST_STREAM, 1, _)) => return Answer::Reset,
                Some((GOAWAY, _, payload)) => code = Some(error_code(&payload)),
                Some(_) => {}
                None => return Answer::Ended(code),
            }
        }
    }
}

/// The status of a response, from the beginning of its field section: one of the static table (RFC
/// 7541, appendix A), or a literal, whose digits the library compresses: 0 then.
fn status(block: &[u8]) -> u16 {
    match block.first() {
        Some(indexed @ 0x88..=0x8e) => {
            [200, 204, 206, 304, 400, 404, 500][usize::from(*indexed - 0x88)]
        }
        _ => 0,
    }
}

/// Of a GOAWAY (RFC 9113, 6.8).
fn error_code(payload: &[u8]) -> u32 {
    u32::from_be_bytes([payload[4], payload[5], payload[6], payload[7]])
}
