//! The body of a request as its client's connection brings it.

use std::cell::Cell;
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

/// The body of a request, still at its client.
pub(crate) enum ClientBody {
    /// There is none: the request is all that comes, or the stream is to switch.
    Empty,
    Http1(Incoming, Rest),
    Http2(Box<Receiving>, Rest),
}

impl ClientBody {
    /// `left` becomes true if the body is given up before its end: its client may still send it.
    pub(crate) fn http1(body: Incoming, left: &Rc<Cell<bool>>) -> Self {
        match body.is_end_stream() {
            true => Self::Empty,
            false => Self::Http1(body, Rest::to_come(Rc::clone(left))),
        }
    }

    pub(crate) fn http2(stream: RecvStream, fields: &HeaderMap) -> Self {
        match stream.is_end_stream() {
            true => Self::Empty,
            false => {
                Self::Http2(Box::new(Receiving::new(stream, fields)), Rest::to_come(Rc::default()))
            }
        }
    }

    /// What becomes true if the body is given up before its end.
    pub(crate) fn left(&self) -> Option<Rc<Cell<bool>>> {
        match self {
            Self::Empty => None,
            Self::Http1(_, rest) | Self::Http2(_, rest) => Some(Rc::clone(&rest.left)),
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
        let this = self.get_mut();
        let frame = match this {
            Self::Empty => return Poll::Ready(None),
            Self::Http1(body, _) => ready!(Pin::new(body).poll_frame(cx)).map(Result::ok),
            Self::Http2(body, _) => ready!(Pin::new(&mut **body).poll_frame(cx)).map(Result::ok),
        };
        let is_end = match &frame {
            None => true,
            Some(None) => false,
            Some(Some(frame)) => frame.is_trailers() || this.is_end_stream(),
        };
        if let Self::Http1(_, rest) | Self::Http2(_, rest) = this {
            rest.has_come = is_end;
        }
        Poll::Ready(frame.map(|frame| frame.ok_or(Fault::Aborted)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Http1(body, _) => body.is_end_stream(),
            Self::Http2(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Http1(body, _) => body.size_hint(),
            Self::Http2(body, _) => body.size_hint(),
        }
    }
}

/// What is still to come of a body.
pub(crate) struct Rest {
    has_come: bool,
    left: Rc<Cell<bool>>,
}

impl Rest {
    fn to_come(left: Rc<Cell<bool>>) -> Self {
        Self { has_come: false, left }
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        if !self.has_come {
            self.left.set(true);
        }
    }
}
