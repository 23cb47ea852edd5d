//! A way to one server, for one request: an HTTP/1.1 connection, or a stream of an HTTP/2 one.

mod broken;
mod http1;
mod http2;
mod replay;

use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};

pub(crate) use self::broken::Broken;
use self::http1::Http1;
use self::http2::Http2;
pub(super) use self::http2::Multiplexed;
pub(crate) use self::replay::Replayed;
use super::Stream;
use crate::body::RequestBody;
use crate::connection::Interim;

/// A request without an answer.
pub(super) struct Unanswered {
    pub(super) error: Broken,
    pub(super) returned: Returned,
    /// The server was leaving the connection, whatever was asked: over HTTP/2 it says so; over
    /// HTTP/1.1 it closes one on which it had answered before, without a word (RFC 9112, 9.5).
    pub(super) is_leaving: bool,
}

/// What comes back of a request without an answer.
pub(super) enum Returned {
    /// Some of its body is gone.
    Nothing,
    /// All of it; the server certainly did nothing about it.
    Unsent(Box<Request<RequestBody>>),
    /// All of it, which the server may have acted upon.
    Sent(Box<Request<RequestBody>>),
}

/// A way to one server.
pub(crate) struct Link {
    kind: Kind,
    /// The pool's tick at which the last response on it was complete.
    pub(super) idle_ticks: u64,
}

#[expect(clippy::large_enum_variant, reason = "links are boxed, and most are the large one")]
enum Kind {
    Http1(Http1),
    Http2(Http2),
}

impl Link {
    /// HTTP/1.1 on a connection on which nothing has been sent.
    pub(super) fn new(stream: Stream) -> Self {
        Self { kind: Kind::Http1(Http1::new(stream)), idle_ticks: 0 }
    }

    /// Whether the server would still take a request.
    pub(super) fn is_usable(&mut self) -> bool {
        match &mut self.kind {
            Kind::Http1(link) => link.is_usable(),
            Kind::Http2(link) => link.is_usable(),
        }
    }

    /// Gives back what it need not hold while nobody uses it.
    pub(super) fn rest(&mut self) {
        match &mut self.kind {
            Kind::Http1(link) => link.rest(),
            Kind::Http2(_) => {}
        }
    }

    /// The connection that the link is one stream of.
    pub(super) fn multiplexed(&self) -> Option<&Multiplexed> {
        match &self.kind {
            Kind::Http1(_) => None,
            Kind::Http2(link) => Some(link.connection()),
        }
    }

    /// Takes a request, whose answer [`Self::poll_answer`] waits for. What the server says ahead of
    /// its response goes to `interim`.
    pub(super) fn send(&mut self, request: Request<RequestBody>, interim: Option<&Rc<Interim>>) {
        match &mut self.kind {
            Kind::Http1(link) => link.send(request, interim),
            Kind::Http2(link) => link.send(request, interim),
        }
    }

    /// Waits for the head of the response.
    pub(super) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<()>, Unanswered>> {
        match &mut self.kind {
            Kind::Http1(link) => link.poll_answer(cx),
            Kind::Http2(link) => link.poll_answer(cx),
        }
    }

    /// The next piece of the response's body.
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut self.kind {
            Kind::Http1(link) => link.poll_body(cx),
            Kind::Http2(link) => link.poll_body(cx),
        }
    }

    /// What is left of the response's body; exactly nothing if it has been read to its end.
    pub(super) fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Http1(link) => link.size_hint(),
            Kind::Http2(link) => link.size_hint(),
        }
    }

    /// Whether the response's body has been read to its end.
    pub(super) fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Http1(link) => link.is_end_stream(),
            Kind::Http2(link) => link.is_end_stream(),
        }
    }

    /// The server did not answer in time: nothing more is sent this way.
    pub(super) fn distrust(&self) {
        if let Kind::Http2(link) = &self.kind {
            link.connection().close();
        }
    }

    /// The stream of a connection that has switched protocols, and what was read beyond the switch;
    /// `None` for HTTP/2, which does not switch.
    pub(super) fn into_stream(self) -> Option<(Stream, Bytes)> {
        match self.kind {
            Kind::Http1(link) => Some(link.into_stream()),
            Kind::Http2(_) => None,
        }
    }
}
