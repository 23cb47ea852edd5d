//! The body of a request as its client's connection brings it.
//!
//! Over HTTP/1.1 that is hyper's. Over HTTP/2 it is read from the stream here, since hyper takes a
//! stream that is reset with NO_ERROR for the end of a body: what a client has broken off would
//! look complete to the upstream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::Fault;

/// The body of a request, still at its client.
pub(crate) enum ClientBody {
    /// There is none: the request is all of its stream's first half, or the stream is to switch.
    Empty,
    Http1(Incoming),
    Http2(Box<Received>),
}

/// A stream of HTTP/2 that is being read.
pub(crate) struct Received {
    stream: RecvStream,
    /// Bytes that are still to come, if the client has said how many.
    left: Option<u64>,
    /// What comes next, if anything, are trailers.
    data_ended: bool,
}

impl ClientBody {
    pub(crate) fn http2(stream: RecvStream, fields: &HeaderMap) -> Self {
        if stream.is_end_stream() {
            return Self::Empty;
        }
        let left = declared(fields);
        Self::Http2(Box::new(Received { stream, left, data_ended: false }))
    }
}

/// The one length that a request declares. The library holds the stream to it (RFC 9113, 8.1.1).
fn declared(fields: &HeaderMap) -> Option<u64> {
    let mut values = fields.get_all(header::CONTENT_LENGTH).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    value.to_str().ok()?.parse().ok()
}

impl Received {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if !self.data_ended {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // Fails only if the stream has ended since, which the next poll says.
                    _ = self.stream.flow_control().release_capacity(data.len());
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(_)) => return Poll::Ready(Some(Err(Fault::Aborted))),
                None => self.data_ended = true,
            }
        }
        let trailers = ready!(self.stream.poll_trailers(cx)).map_err(|_| Fault::Aborted);
        Poll::Ready(trailers.transpose().map(|trailers| trailers.map(Frame::trailers)))
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Http1(body) => {
                let frame = Pin::new(body).poll_frame(cx);
                frame.map(|frame| frame.map(|frame| frame.map_err(|_| Fault::Aborted)))
            }
            Self::Http2(received) => received.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(received) => received.stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Http1(body) => body.size_hint(),
            Self::Http2(received) => {
                received.left.map_or_else(SizeHint::default, SizeHint::with_exact)
            }
        }
    }
}
