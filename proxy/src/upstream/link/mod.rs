//! A way to one server, for one request: an HTTP/1.1 connection, or a stream of an HTTP/2 one.

mod body;
mod http1;
mod http2;
mod replay;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame, SizeHint};

pub(crate) use self::body::{Broken, ServerBody};
use self::http1::Http1;
use self::http2::Http2;
pub(super) use self::http2::Multiplexed;
pub(crate) use self::replay::Replayed;
use super::Stream;
use crate::body::RequestBody;
use crate::connection::Interim;

/// What became of a request that was handed over.
pub(super) type Sent = Result<Response<ServerBody>, Unanswered>;

/// A request without an answer.
pub(super) struct Unanswered {
    pub(super) error: Broken,
    /// The request, if the server certainly did nothing about it.
    pub(super) unsent: Option<Box<Request<RequestBody>>>,
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
    pub(super) fn send(
        &mut self,
        request: Request<RequestBody>,
        interim: Option<&Rc<Interim>>,
    ) -> Sending<impl Future<Output = Sent> + use<>> {
        match &mut self.kind {
            Kind::Http1(link) => {
                link.send(request, interim);
                Sending::Http1
            }
            // Boxed: it carries what would be sent again, and most requests are of the other kind.
            Kind::Http2(link) => Sending::Http2(Box::pin(link.send(request, interim))),
        }
    }

    /// Waits for the head of the response. An error gives the request back if it may be sent again.
    pub(super) fn poll_answer<F: Future<Output = Sent>>(
        &mut self,
        sending: &mut Sending<F>,
        cx: &mut Context<'_>,
    ) -> Poll<Sent> {
        match (sending, &mut self.kind) {
            (Sending::Http2(answer), _) => answer.as_mut().poll(cx),
            (Sending::Http1, Kind::Http1(link)) => {
                let answer = ready!(link.poll_answer(cx));
                Poll::Ready(answer.map(|response| response.map(|()| ServerBody::Http1)))
            }
            (Sending::Http1, Kind::Http2(_)) => Poll::Pending, // it was sent on another link
        }
    }

    /// The next piece of a response's body.
    pub(super) fn poll_body(
        &mut self,
        body: &mut ServerBody,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match (body, &mut self.kind) {
            (ServerBody::Http1, Kind::Http1(link)) => link.poll_body(cx),
            (ServerBody::Http1, Kind::Http2(_)) => Poll::Ready(None),
            (ServerBody::Http2(body), _) => {
                let frame = ready!(Pin::new(&mut **body).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(Broken::Http2)))
            }
        }
    }

    /// What is left of a response's body; exactly nothing if it has been read to its end.
    pub(super) fn size_hint(&self, body: &ServerBody) -> SizeHint {
        match (body, &self.kind) {
            (ServerBody::Http1, Kind::Http1(link)) => link.size_hint(),
            (ServerBody::Http1, Kind::Http2(_)) => SizeHint::with_exact(0),
            (ServerBody::Http2(body), _) => body.size_hint(),
        }
    }

    /// Whether a response's body has been read to its end.
    pub(super) fn is_end_stream(&self, body: &ServerBody) -> bool {
        match (body, &self.kind) {
            (ServerBody::Http1, Kind::Http1(link)) => link.is_end_stream(),
            (ServerBody::Http1, Kind::Http2(_)) => true,
            (ServerBody::Http2(body), _) => body.is_end_stream(),
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

/// A request that was handed over.
pub(super) enum Sending<F> {
    /// The link itself knows of it.
    Http1,
    Http2(Pin<Box<F>>),
}
