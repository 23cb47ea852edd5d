//! The body of a request as its client's connection brings it.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::Fault;
use crate::http2::Receiving;
use crate::pipeline::Origin;

/// The body of a request, still at its client.
pub(crate) enum ClientBody {
    /// There is none: the request is all that comes, or the stream is to switch.
    Empty,
    Http1(Http1),
    Http2(Box<Receiving>),
}

impl ClientBody {
    pub(crate) fn http1(body: Incoming, origin: &Rc<Origin>) -> Self {
        match body.is_end_stream() {
            true => Self::Empty,
            false => Self::Http1(Http1 { body, is_read: false, origin: Rc::clone(origin) }),
        }
    }

    pub(crate) fn http2(stream: RecvStream, fields: &HeaderMap) -> Self {
        match stream.is_end_stream() {
            true => Self::Empty,
            false => Self::Http2(Box::new(Receiving::new(stream, fields))),
        }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let frame = match self.get_mut() {
            Self::Empty => return Poll::Ready(None),
            Self::Http1(body) => ready!(body.poll_frame(cx)).map(Result::ok),
            Self::Http2(body) => ready!(Pin::new(&mut **body).poll_frame(cx)).map(Result::ok),
        };
        Poll::Ready(frame.map(|frame| frame.ok_or(Fault::Aborted)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Http1(body) => body.body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Http1(body) => body.body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}

/// A body over HTTP/1.1. Its connection learns if it is given up, since the client may go on.
pub(crate) struct Http1 {
    body: Incoming,
    is_read: bool,
    origin: Rc<Origin>,
}

impl Http1 {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.is_read = match &frame {
            None => true,
            Some(Ok(frame)) => frame.is_trailers() || self.body.is_end_stream(),
            Some(Err(_)) => false,
        };
        Poll::Ready(frame)
    }
}

impl Drop for Http1 {
    fn drop(&mut self) {
        if !self.is_read {
            self.origin.watch.leave_body();
        }
    }
}
