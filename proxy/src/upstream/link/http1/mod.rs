//! HTTP/1.1 to a server (RFC 9112): one request at a time, driven by whichever request uses the
//! link.
//!
//! # Why
//!
//! hyper's client serves many callers: requests, responses and bodies pass through channels, and
//! what a server says ahead of its response through a hook that each request carries. A link has
//! one caller, in one task, and knows the request that a response answers; so it is a state machine
//! that is asked, and nothing is allocated but the two heads. Heads are parsed by httparse, as
//! hyper's are.
//!
//! A link in the pool is polled by nobody; [`Http1::is_usable`] asks it, without a system call
//! unless the kernel has something to tell, whether the server has closed it.

mod asked;
mod chunked;
mod head;
mod outbound;

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response};
use http_body::{Frame, SizeHint};
use tokio_util::io::poll_read_buf;

use self::asked::Asked;
use self::chunked::{Chunked, Step};
use self::head::Head;
use self::outbound::{Outbound, Stopped};
use super::{Broken, Returned, Stream, Unanswered};
use crate::body::RequestBody;
use crate::connection::Interim;
use crate::worker::Worker;

/// Bytes that are read at a time, before a server has shown that it sends more.
const READ: usize = 8 << 10;

/// An HTTP/1.1 connection.
pub(super) struct Http1 {
    stream: Stream,
    asked: Option<Asked>,
    outbound: Outbound,
    reading: Reading,
    unread: BytesMut,
    /// Bytes that are read next.
    read: usize,
    /// A response has come on the connection.
    has_answered: bool,
    /// The connection may carry another request after this one.
    keeps_alive: bool,
}

/// What comes next from the server.
enum Reading {
    /// The head of the response; so much of it has been looked at in vain.
    Head {
        looked_at: usize,
    },
    Body(Framing),
    /// The response is complete.
    Done,
}

/// How the end of a body is known (RFC 9112, 6.3).
enum Framing {
    Length(u64),
    Chunked(Chunked),
    Close,
}

impl Http1 {
    /// Of a connection on which nothing has been sent.
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            asked: None,
            outbound: Outbound::default(),
            reading: Reading::Done,
            unread: BytesMut::new(),
            read: READ,
            has_answered: false,
            keeps_alive: true,
        }
    }

    /// Whether the server would still take a request.
    pub(super) fn is_usable(&mut self) -> bool {
        let cx = &mut Context::from_waker(Waker::noop());
        self.keeps_alive
            && matches!(self.reading, Reading::Done)
            && self.unread.is_empty()
            && matches!(self.outbound.poll(&mut self.stream, cx), Poll::Ready(Ok(())))
            && self.poll_read(cx).is_pending()
    }

    /// Gives its buffers back, until it is used again. What is left in them keeps it from being
    /// used, and stays.
    pub(super) fn rest(&mut self) {
        if self.unread.is_empty() && self.outbound.rest() {
            (self.unread, self.read) = (BytesMut::new(), READ);
        }
    }

    /// Takes a request; [`Self::poll_answer`] sends it.
    pub(super) fn send(&mut self, request: Request<RequestBody>, interim: Option<&Rc<Interim>>) {
        self.asked = Some(Asked::new(request, interim.cloned()));
    }

    /// Sends what there is to send, and waits for the head of the response. A server that has
    /// closed the connection, or speaks unasked, is sent nothing: the request comes back.
    pub(super) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<()>, Unanswered>> {
        if self.asked.as_ref().is_some_and(Asked::is_unsent) {
            if self.poll_read(cx).is_ready() {
                return Poll::Ready(Err(self.unanswered(Broken::Early)));
            }
            if let Some(asked) = &mut self.asked {
                asked.begin(&mut self.outbound);
            }
            self.reading = Reading::Head { looked_at: 0 };
        }
        let answer = ready!(self.poll_head(cx));
        Poll::Ready(answer.map_err(|error| self.unanswered(error)))
    }

    fn unanswered(&mut self, error: Broken) -> Unanswered {
        self.keeps_alive = false;
        let is_closed = matches!(error, Broken::Early | Broken::Stream(_));
        let asked = self.asked.take();
        let is_silent = self.unread.is_empty() && !asked.as_ref().is_some_and(Asked::is_hinted);
        let returned = asked.map_or(Returned::Nothing, Asked::returned);
        Unanswered { error, returned, is_leaving: self.has_answered && is_closed && is_silent }
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<()>, Broken>> {
        loop {
            self.poll_send(cx)?;
            while let Some(head) = self.parse()? {
                if let Some(response) = self.begin(head)? {
                    return Poll::Ready(Ok(response));
                }
            }
            if ready!(self.poll_read(cx))? == 0 {
                return Poll::Ready(Err(self.outbound.failure().unwrap_or(Broken::Early)));
            }
        }
    }

    /// Sends what there is to send, and waits for the next piece of the response's body.
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Err(broken) = self.poll_send(cx) {
            return Poll::Ready(Some(Err(broken)));
        }
        loop {
            match self.next() {
                Ok(Step::Piece(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(Step::End) => return Poll::Ready(None),
                Ok(Step::More) => {}
                Err(broken) => return Poll::Ready(Some(Err(broken))),
            }
            match ready!(self.poll_read(cx)) {
                Ok(0) if matches!(self.reading, Reading::Body(Framing::Close)) => {
                    self.reading = Reading::Done;
                }
                Ok(0) => return Poll::Ready(Some(Err(Broken::Early))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }

    /// Whether the response's body has been read to its end.
    pub(super) fn is_end_stream(&self) -> bool {
        matches!(self.reading, Reading::Done)
    }

    /// What is left of the response's body.
    pub(super) fn size_hint(&self) -> SizeHint {
        match &self.reading {
            Reading::Done => SizeHint::with_exact(0),
            Reading::Body(Framing::Length(left)) => SizeHint::with_exact(*left),
            Reading::Head { .. } | Reading::Body(_) => SizeHint::default(),
        }
    }

    /// The stream of a connection that has switched protocols, and what was read beyond the switch.
    pub(super) fn into_stream(self) -> (Stream, Bytes) {
        (self.stream, self.unread.freeze())
    }

    /// Sends on. Whoever stops reading may yet have said why: only a body that fails ends it here.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<(), Broken> {
        match self.outbound.poll(&mut self.stream, cx) {
            Poll::Ready(Err(Stopped::Body(broken))) => {
                self.keeps_alive = false;
                Err(broken)
            }
            Poll::Ready(Err(Stopped::Stream)) => {
                self.keeps_alive = false;
                Ok(())
            }
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    /// Reads a head, if it is there.
    fn parse(&mut self) -> Result<Option<Head>, Broken> {
        let Reading::Head { looked_at } = &mut self.reading else { return Ok(None) };
        head::parse(&mut self.unread, looked_at)
    }

    /// A head has come. `None` if another follows it.
    fn begin(&mut self, head: Head) -> Result<Option<Response<()>>, Broken> {
        self.reading = Reading::Head { looked_at: 0 };
        let Head { response, keeps_alive } = head;
        if head::is_interim(response.status()) {
            self.asked.as_mut().map_or(Ok(()), |asked| asked.hinted(&response))?;
            return Ok(None);
        }
        let method = self.asked.as_ref().map_or(&Method::GET, Asked::method);
        let framing = head::framing(method, &response)?;
        self.keeps_alive &= keeps_alive && !matches!(framing, Framing::Close);
        let is_empty = matches!(framing, Framing::Length(0));
        self.reading = if is_empty { Reading::Done } else { Reading::Body(framing) };
        (self.asked, self.has_answered) = (None, true);
        Ok(Some(response))
    }

    /// The next piece of the body, of what has been read.
    fn next(&mut self) -> Result<Step, Broken> {
        let unread = &mut self.unread;
        match &mut self.reading {
            Reading::Head { .. } | Reading::Done => Ok(Step::End),
            Reading::Body(Framing::Chunked(chunked)) => {
                let step = chunked.next(unread)?;
                if chunked.is_over() {
                    self.reading = Reading::Done;
                }
                Ok(step)
            }
            Reading::Body(_) if unread.is_empty() => Ok(Step::More),
            Reading::Body(Framing::Close) => Ok(Step::Piece(Frame::data(unread.split().freeze()))),
            Reading::Body(Framing::Length(left)) => {
                let piece = chunked::take(unread, left);
                if *left == 0 {
                    self.reading = Reading::Done;
                }
                Ok(Step::Piece(Frame::data(piece)))
            }
        }
    }

    /// Reads more; 0 bytes if the server has closed its half. What a server sends faster than it is
    /// passed on is read in larger pieces, up to [`Worker::BUFFER`].
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.unread.reserve(self.read);
        let room = self.unread.capacity() - self.unread.len();
        let read = ready!(poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.unread))?;
        if read == room {
            self.read = (self.read * 2).min(Worker::BUFFER);
        } else if read < self.read / 4 {
            self.read = (self.read / 2).max(READ);
        }
        Poll::Ready(Ok(read))
    }
}

#[cfg(test)]
#[path = "http1_tests.rs"]
mod tests;
