//! A request on its way to the server: its head, and its body as it comes from the client.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::header::{CONTENT_LENGTH, TRAILER, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Request};
use http_body::Body as _;
use smallvec::SmallVec;
use tokio::io::AsyncWrite as _;

use super::super::{Broken, Stream};
use crate::body::RequestBody;
use crate::worker::Worker;

/// Pieces that one system call takes, and that wait at most.
const SLICES: usize = 32;
const PIECES: usize = 2 * SLICES;

/// Bytes that wait before no more are taken: another piece of 16 KiB, as clients send them, would
/// not fit into one packet of the kernel's (see [`Worker::ENCRYPTED`]).
const ENOUGH: usize = Worker::BUFFER - (16 << 10);

/// Chunks of up to so many bytes are copied into one piece with what goes around them.
const SMALL: usize = 1 << 10;

/// A request on its way.
#[derive(Default)]
pub(super) struct Outbound {
    /// The head, of which so much has been sent.
    head: Vec<u8>,
    sent: usize,
    /// What follows it, and how many bytes that is.
    pieces: VecDeque<Bytes>,
    waiting: usize,
    /// What is still at the client.
    body: RequestBody,
    framing: Framing,
    /// Names of fields that may follow the body.
    trailers: Option<String>,
    /// Something has been written that may not have left.
    flushes: bool,
    failure: Option<io::Error>,
    failed: bool,
}

/// How the server knows where the body ends.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// There is nothing more to come.
    #[default]
    Nothing,
    Length(u64),
    Chunked,
}

/// Why nothing more is sent.
pub(super) enum Stopped {
    /// The body has failed.
    Body(Broken),
    /// The server takes no more.
    Stream,
}

impl Outbound {
    /// Writes the head of a request, and takes its body. False if there is none.
    pub(super) fn begin(&mut self, request: &mut Request<RequestBody>) -> bool {
        let body = std::mem::take(request.body_mut());
        let hint = body.size_hint().exact();
        self.framing = match hint {
            _ if body.is_end_stream() => Framing::Nothing,
            Some(length) => Framing::Length(length),
            None => Framing::Chunked,
        };
        let fields = request.headers();
        let declares_nothing = fields.contains_key(CONTENT_LENGTH)
            || matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
        let length = match self.framing {
            Framing::Nothing => declares_nothing.then_some(0),
            Framing::Length(length) => Some(length),
            Framing::Chunked => None,
        };
        let head = &mut self.head;
        head.clear();
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        for part in [request.method().as_str(), " ", target, " HTTP/1.1\r\n"] {
            head.extend_from_slice(part.as_bytes());
        }
        for (name, value) in fields {
            if name != CONTENT_LENGTH && name != TRANSFER_ENCODING {
                field(head, name.as_str(), value.as_bytes());
            }
        }
        if let Some(length) = length {
            field(head, "content-length", itoa::Buffer::new().format(length).as_bytes());
        }
        self.trailers = None;
        if self.framing == Framing::Chunked {
            field(head, "transfer-encoding", b"chunked");
            let names = fields.get(TRAILER).and_then(|names| names.to_str().ok());
            self.trailers = names.map(str::to_ascii_lowercase);
        }
        head.extend_from_slice(b"\r\n");
        (self.sent, self.body) = (0, body);
        self.framing != Framing::Nothing
    }

    /// Gives its buffers back. False if there is something in them.
    pub(super) fn rest(&mut self) -> bool {
        let is_empty = self.sent == self.head.len() && self.pieces.is_empty();
        if is_empty {
            (self.head, self.sent, self.pieces) = (Vec::new(), 0, VecDeque::new());
        }
        is_empty
    }

    /// Bytes of its buffers.
    #[cfg(test)]
    pub(super) fn holds(&self) -> usize {
        self.head.capacity() + self.pieces.capacity()
    }

    /// Why the server took no more, if it did not.
    pub(super) fn failure(&mut self) -> Option<Broken> {
        self.failure.take().map(Broken::from)
    }

    /// Sends what there is. Ready when all of the request has been sent.
    pub(super) fn poll(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Stopped>> {
        if self.failed {
            return Poll::Ready(Err(Stopped::Stream));
        }
        loop {
            let came = self.poll_body(cx).map_err(Stopped::Body)?;
            let sent = match self.poll_write(stream, cx) {
                Poll::Ready(Ok(())) => true,
                Poll::Pending => false,
                Poll::Ready(Err(error)) => {
                    (self.failure, self.failed) = (Some(error), true);
                    self.body = RequestBody::Empty;
                    return Poll::Ready(Err(Stopped::Stream));
                }
            };
            match (sent, came) {
                (true, Poll::Ready(())) if self.framing == Framing::Nothing => {
                    return Poll::Ready(Ok(()));
                }
                (true, Poll::Ready(())) => {} // there was no room for more, and now there is
                (false, _) | (true, Poll::Pending) => return Poll::Pending,
            }
        }
    }

    /// Takes as much of the body as there is room for. Ready if the client is not waited for.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Broken> {
        while self.framing != Framing::Nothing && self.has_room() {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Some(frame)) => frame?,
                Poll::Ready(None) => {
                    self.end(None)?;
                    break;
                }
            };
            match frame.into_data() {
                Ok(data) => {
                    self.piece(data)?;
                    if self.framing == Framing::Length(0) || self.body.is_end_stream() {
                        self.end(None)?;
                    }
                }
                Err(frame) => self.end(frame.trailers_ref())?,
            }
        }
        Ok(Poll::Ready(()))
    }

    /// Whether more of the body may be taken: neither many bytes nor many pieces wait.
    fn has_room(&self) -> bool {
        self.waiting < ENOUGH && self.pieces.len() < PIECES
    }

    fn piece(&mut self, data: Bytes) -> Result<(), Broken> {
        match &mut self.framing {
            _ if data.is_empty() => {}
            Framing::Nothing => return Err(Broken::Length),
            Framing::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Broken::Length)?;
                self.push(data);
            }
            Framing::Chunked => {
                let is_small = data.len() <= SMALL;
                let mut start = Vec::with_capacity(if is_small { data.len() + 20 } else { 20 });
                _ = write!(start, "{:x}\r\n", data.len()); // a vector takes everything
                if is_small {
                    start.extend_from_slice(&data);
                    start.extend_from_slice(b"\r\n");
                    self.push(start.into());
                } else {
                    self.push(start.into());
                    self.push(data);
                    self.push(Bytes::from_static(b"\r\n"));
                }
            }
        }
        Ok(())
    }

    /// The body has come to its end.
    fn end(&mut self, trailers: Option<&HeaderMap>) -> Result<(), Broken> {
        match std::mem::take(&mut self.framing) {
            Framing::Nothing | Framing::Length(0) => {}
            Framing::Length(_) => return Err(Broken::Length),
            Framing::Chunked => {
                let mut last = b"0\r\n".to_vec();
                let named = self.trailers.take().unwrap_or_default();
                for (name, value) in trailers.into_iter().flatten() {
                    if named.split(',').any(|known| known.trim() == name.as_str()) {
                        field(&mut last, name.as_str(), value.as_bytes());
                    }
                }
                last.extend_from_slice(b"\r\n");
                self.push(last.into());
            }
        }
        self.body = RequestBody::Empty;
        Ok(())
    }

    fn push(&mut self, piece: Bytes) {
        self.waiting += piece.len();
        self.pieces.push_back(piece);
    }

    fn poll_write(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.head.len() || !self.pieces.is_empty() {
            let head = self.head.get(self.sent..).unwrap_or_default();
            let written = match self.pieces.is_empty() {
                true => ready!(Pin::new(&mut *stream).poll_write(cx, head))?,
                false => {
                    let pieces = self.pieces.iter().map(|piece| &**piece);
                    let all = std::iter::once(head).chain(pieces).filter(|part| !part.is_empty());
                    let slices: SmallVec<[IoSlice<'_>; SLICES]> =
                        all.take(SLICES).map(IoSlice::new).collect();
                    ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &slices))?
                }
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.flushes = true;
            self.wrote(written);
        }
        if self.flushes {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.flushes = false;
        }
        Poll::Ready(Ok(()))
    }

    fn wrote(&mut self, written: usize) {
        let of_head = written.min(self.head.len() - self.sent);
        self.sent += of_head;
        let mut left = written - of_head;
        self.waiting -= left;
        while let Some(piece) = self.pieces.front_mut().filter(|_| left > 0) {
            let of_piece = left.min(piece.len());
            piece.advance(of_piece);
            left -= of_piece;
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
    }
}

fn field(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        head.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_the_server_is_bounded_in_bytes_and_pieces() {
        for (length, most) in [(1, PIECES), (SMALL, PIECES), (SMALL + 1, 66), (16 << 10, 12)] {
            let mut outbound = Outbound { framing: Framing::Chunked, ..Outbound::default() };
            let data = Bytes::from(vec![b'x'; length]);
            while outbound.has_room() {
                outbound.piece(data.clone()).unwrap();
            }
            assert!(outbound.pieces.len() <= most, "{} of {length}", outbound.pieces.len());
            let bytes: usize = outbound.pieces.iter().map(Bytes::len).sum();
            assert_eq!(outbound.waiting, bytes);
            assert!(bytes < ENOUGH + length + 32, "{bytes} of {length}");
        }
    }
}
