//! The streams that a connection is served on.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server::TlsStream;

use crate::socket::Socket;

/// A stream over a socket that can be asked what it has taken, and whether something has arrived.
pub(super) trait Transport: AsyncRead + AsyncWrite + Unpin + 'static {
    fn socket(&self) -> &Socket;
}

impl Transport for Socket {
    fn socket(&self) -> &Socket {
        self
    }
}

/// Boxed, since it is large and moves whenever a connection comes to rest or back.
impl Transport for Box<TlsStream<Socket>> {
    fn socket(&self) -> &Socket {
        self.get_ref().0
    }
}
