//! The body of a request as its client's connection brings it.

use std::cell::{Cell, RefCell};
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
///
/// If it is given up before its end, whoever serves the client has to know: it may go on sending.
pub(crate) enum ClientBody {
    /// There is none: the request is all that comes, or the stream is to switch.
    Empty,
    Http1(Http1),
    /// Given up when nobody else has it.
    Http2(Rc<RefCell<Receiving>>),
}

/// A body over HTTP/1.1.
pub(crate) struct Http1 {
    incoming: Incoming,
    has_ended: bool,
    given_up: Rc<Cell<bool>>,
}

impl ClientBody {
    /// `given_up` becomes true if the body is dropped before its end.
    pub(crate) fn http1(incoming: Incoming, given_up: &Rc<Cell<bool>>) -> Self {
        match incoming.is_end_stream() {
            true => Self::Empty,
            false => {
                let given_up = Rc::clone(given_up);
                Self::Http1(Http1 { incoming, has_ended: false, given_up })
            }
        }
    }

    pub(crate) fn http2(stream: RecvStream, fields: &HeaderMap) -> Self {
        match stream.is_end_stream() {
            true => Self::Empty,
            false => Self::Http2(Rc::new(RefCell::new(Receiving::new(stream, fields)))),
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
            Self::Http2(body) => {
                ready!(Pin::new(&mut *body.borrow_mut()).poll_frame(cx)).map(Result::ok)
            }
        };
        Poll::Ready(frame.map(|frame| frame.ok_or(Fault::Aborted)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Http1(body) => body.incoming.is_end_stream(),
            Self::Http2(body) => body.borrow().is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Http1(body) => body.incoming.size_hint(),
            Self::Http2(body) => body.borrow().size_hint(),
        }
    }
}

impl Http1 {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        self.has_ended = match &frame {
            None => true,
            Some(Ok(frame)) => frame.is_trailers() || self.incoming.is_end_stream(),
            Some(Err(_)) => false,
        };
        Poll::Ready(frame)
    }
}

impl Drop for Http1 {
    fn drop(&mut self) {
        if !self.has_ended {
            self.given_up.set(true);
        }
    }
}
