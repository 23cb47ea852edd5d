//! What an HTTP/2 connection writes, gathered until everything that is ready has been written.
//!
//! # Why
//!
//! The protocol's library flushes after every DATA frame of 256 bytes or more: each would be a TLS
//! record, a system call and a packet of its own. Here small frames share a record, and nothing
//! leaves before the stream is flushed, or full: that is put off while there may be more to write
//! (see [`mod@super::http2`]).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::transport::Transport;
use crate::socket::Socket;

/// When a flush is to happen.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flush {
    #[default]
    AtOnce,
    /// There may be more to write.
    Later,
    /// One was put off.
    Due,
}

/// A TLS stream that sends when it is flushed.
pub(super) struct Gathered {
    stream: Box<TlsStream<Socket>>,
    /// What has been written and not been encrypted.
    held: Vec<u8>,
}

impl Gathered {
    /// Bytes that a TLS record takes (RFC 8446, 5.1).
    const RECORD: usize = 16 << 10;
    /// Up to so many bytes are copied, to share a record with others.
    const SMALL: usize = 4 << 10;

    pub(super) fn new(stream: Box<TlsStream<Socket>>) -> Self {
        Self { stream, held: Vec::new() }
    }

    /// Has what is held encrypted.
    fn poll_release(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let taken = ready!(encrypt(&mut self.stream, &[IoSlice::new(&self.held)], cx))?;
            self.held.drain(..taken);
        }
        self.held = Vec::new(); // most connections rest most of the time
        Poll::Ready(Ok(()))
    }
}

/// Hands bytes over to be encrypted. If there is no room for them, what was encrypted leaves first.
fn encrypt(
    stream: &mut TlsStream<Socket>,
    slices: &[IoSlice<'_>],
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    use io::Write as _;
    loop {
        match stream.get_mut().1.writer().write_vectored(slices)? {
            0 => ready!(Pin::new(&mut *stream).poll_flush(cx))?,
            taken => return Poll::Ready(Ok(taken)),
        }
    }
}

impl Transport for Gathered {
    fn socket(&self) -> &Socket {
        self.stream.socket()
    }
}

impl AsyncRead for Gathered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Gathered {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let length = slices.iter().map(|slice| slice.len()).sum();
        if length <= Self::SMALL && this.held.len() + length <= Self::RECORD {
            slices.iter().for_each(|slice| this.held.extend_from_slice(slice));
            return Poll::Ready(Ok(length));
        }
        ready!(this.poll_release(cx))?;
        encrypt(&mut this.stream, slices, cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_release(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_release(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}
