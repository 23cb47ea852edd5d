//! Streams of HTTP/2 (RFC 9113), read and written: what clients' and upstreams' have in common.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};

/// What comes on a stream behind its head.
///
/// hyper takes a stream that is reset with NO_ERROR for the end of a body. Here whatever was broken
/// off is an error, so that it never looks complete to those it is passed on to.
pub(crate) struct Receiving {
    stream: RecvStream,
    /// Bytes that are still to come, if the other side has said how many.
    left: Option<u64>,
    /// What comes next, if anything, are trailers.
    data_ended: bool,
    /// Somebody waits for it, or has.
    awaited: bool,
    /// Who wants to know when that begins.
    curious: Option<Waker>,
}

impl Receiving {
    pub(crate) fn new(stream: RecvStream, fields: &HeaderMap) -> Self {
        let left = declared(fields);
        Self { stream, left, data_ended: false, awaited: false, curious: None }
    }

    /// Ready once somebody has waited for what comes.
    pub(crate) fn poll_awaited(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.awaited {
            return Poll::Ready(());
        }
        self.curious = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.data_ended {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // Fails only if the stream has ended since, which the next poll says.
                    _ = self.stream.flow_control().release_capacity(data.len());
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.data_ended = true,
            }
        }
        let trailers = ready!(self.stream.poll_trailers(cx)).transpose();
        Poll::Ready(trailers.map(|trailers| trailers.map(Frame::trailers)))
    }
}

/// The one length that a head declares. The library holds the stream to it (RFC 9113, 8.1.1).
fn declared(fields: &HeaderMap) -> Option<u64> {
    let mut values = fields.get_all(header::CONTENT_LENGTH).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    value.to_str().ok()?.parse().ok()
}

impl Body for Receiving {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let this = self.get_mut();
        let frame = this.poll_next(cx);
        if frame.is_pending() && !std::mem::replace(&mut this.awaited, true) {
            this.curious.take().into_iter().for_each(Waker::wake);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            _ if self.stream.is_end_stream() => SizeHint::with_exact(0),
            left => left.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

/// A body on its way into a stream whose head has been sent.
pub(crate) struct Sending<B> {
    pub(crate) stream: SendStream<Bytes>,
    pub(crate) body: B,
    /// A piece of the body that the other side has not opened its window for, and whether it is
    /// the last.
    pub(crate) held: Option<(Bytes, bool)>,
    /// Bytes that were handed over to the connection.
    pub(crate) handed_over: u64,
}

impl<B: Body<Data = Bytes> + Unpin> Sending<B> {
    pub(crate) fn new(stream: SendStream<Bytes>, body: B) -> Self {
        Self { stream, body, held: None, handed_over: 0 }
    }

    /// Sends what the body has and the other side takes. Ready when there is nothing more to send,
    /// or nobody to send it to.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.poll_body(cx) {
            // Either the other side has reset the stream or the connection has failed.
            Poll::Pending => self.stream.poll_reset(cx).map(|_| ()),
            Poll::Ready(()) => Poll::Ready(()),
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.held.is_some() && !ready!(poll_window(&mut self.stream, cx)) {
                return Poll::Ready(());
            }
            if let Some((data, is_last)) = self.held.take() {
                self.handed_over += data.len() as u64;
                if self.stream.send_data(data, is_last).is_err() || is_last {
                    return Poll::Ready(());
                }
            }
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(_)) => {
                    self.stream.send_reset(Reason::INTERNAL_ERROR);
                    return Poll::Ready(());
                }
                None => {
                    _ = self.stream.send_data(Bytes::new(), true);
                    return Poll::Ready(());
                }
            };
            match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => {
                    // Not before there is something to send, and no more than says so: what is
                    // reserved here is missing to the connection's other streams.
                    self.stream.reserve_capacity(1);
                    self.held = Some((data, self.body.is_end_stream()));
                }
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        _ = self.stream.send_trailers(trailers);
                    }
                    return Poll::Ready(());
                }
            }
        }
    }
}

/// Waits until the other side takes more. False when it never will.
pub(crate) fn poll_window(stream: &mut SendStream<Bytes>, cx: &mut Context<'_>) -> Poll<bool> {
    while stream.capacity() == 0 {
        match ready!(stream.poll_capacity(cx)) {
            Some(Ok(0)) => {}
            Some(Ok(_)) => break,
            Some(Err(_)) | None => return Poll::Ready(false),
        }
    }
    Poll::Ready(true)
}
