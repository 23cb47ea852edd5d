//! A way to one server, for one request: an HTTP/1.1 connection, or a stream of an HTTP/2 one.

mod body;
mod http1;
mod http2;
mod replay;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};

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
    /// Starts HTTP/1.1 on a connection; nothing is sent yet.
    pub(super) async fn open(stream: Stream) -> Result<Self, Broken> {
        Http1::open(stream).await.map(|link| Self { kind: Kind::Http1(link), idle_ticks: 0 })
    }

    /// Whether the server would still take a request.
    pub(super) fn is_usable(&mut self) -> bool {
        match &mut self.kind {
            Kind::Http1(link) => link.is_usable(),
            Kind::Http2(link) => link.is_usable(),
        }
    }

    /// The connection that the link is one stream of.
    pub(super) fn multiplexed(&self) -> Option<&Multiplexed> {
        match &self.kind {
            Kind::Http1(_) => None,
            Kind::Http2(link) => Some(link.connection()),
        }
    }

    /// Hands a request over. The future is the head of the response; whoever waits for it has to
    /// poll the connection, too. An error gives the request back if it may be sent again. What the
    /// server says ahead of its response goes to `interim`.
    pub(super) fn send(
        &mut self,
        request: Request<RequestBody>,
        interim: Option<&Arc<Interim>>,
    ) -> impl Future<Output = Sent> + use<> {
        match &mut self.kind {
            Kind::Http1(link) => Sending::Http1 { sent: link.send(request, interim) },
            // Boxed: it carries what would be sent again, and most futures are of the other kind.
            Kind::Http2(link) => Sending::Http2 { sent: Box::pin(link.send(request, interim)) },
        }
    }

    /// Moves bytes in both directions, where nobody else does it. Ready when the connection has
    /// ended; how it ended, those learn that wait for an answer on it.
    pub(super) fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.kind {
            Kind::Http1(link) => link.poll_connection(cx),
            Kind::Http2(_) => Poll::Pending,
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
    pub(super) async fn into_stream(self) -> Option<(Stream, Bytes)> {
        match self.kind {
            Kind::Http1(link) => Some(link.into_stream().await),
            Kind::Http2(_) => None,
        }
    }
}

pin_project_lite::pin_project! {
    #[project = Projected]
    enum Sending<A, B> {
        Http1 { #[pin] sent: A },
        Http2 { #[pin] sent: B },
    }
}

impl<A: Future<Output = Sent>, B: Future<Output = Sent>> Future for Sending<A, B> {
    type Output = Sent;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Sent> {
        match self.project() {
            Projected::Http1 { sent } => sent.poll(cx),
            Projected::Http2 { sent } => sent.poll(cx),
        }
    }
}
