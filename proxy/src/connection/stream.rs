//! A stream of HTTP/2, from the pipeline's answer to the last byte of its response.
//!
//! A client that leaves a stream's flow-control window closed (RFC 9113, 6.9) does not keep the
//! connection from writing, so the stream has a deadline of its own. It is armed while the response
//! waits for the client rather than for the upstream, and a piece of the body that could be handed
//! over begins it anew, for as long as the client's [`super::pace`] leaves.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONTENT_LENGTH, DATE};
use http::{HeaderValue, Response};
use http_body::Body as _;

use super::duplex::Duplex;
use super::interim::{self, Interim};
use super::pace::Pace;
use crate::deadline::Deadline;
use crate::pipeline::Origin;
use crate::response::FinishedBody;
use crate::worker::Worker;

/// Waits for the answer to a request and sends it. `receive` is the client's half of a stream that
/// may become a tunnel.
pub(super) async fn run<F: Future<Output = Response<FinishedBody>>>(
    origin: Rc<Origin>,
    mut reply: SendResponse<Bytes>,
    mut answer: Pin<Box<F>>,
    receive: Option<RecvStream>,
) {
    let mut hinted = 0;
    let answered = poll_fn(|cx| {
        if let Poll::Ready(response) = answer.as_mut().poll(cx) {
            return Poll::Ready(Some(response));
        }
        for head in origin.watch.take_interim() {
            // Whether the client reads them is not known here, so there is an end to them.
            hinted += interim::length(&head);
            if hinted <= Interim::MOST {
                _ = reply.send_informational(head);
            }
        }
        // Either the client has reset the stream or the connection has failed.
        reply.poll_reset(cx).map(|_| None)
    });
    let Some(mut response) = answered.await else { return };
    drop(answer);
    if let (Some(tunnel), Some(receive)) = (response.body_mut().take_tunnel(), receive) {
        if let Ok(send) = reply.send_response(dated(response, &origin.worker).0, false) {
            tunnel.run(Duplex::new(receive, send), Bytes::new()).await;
        }
        return;
    }
    if let Some(mut sending) = Sending::begin(&origin, reply, response) {
        poll_fn(|cx| sending.poll(cx)).await;
    }
}

/// The head with its date (RFC 9110, 6.6.1), and the body.
fn dated(response: Response<FinishedBody>, worker: &Worker) -> (Response<()>, FinishedBody) {
    let (mut head, body) = response.into_parts();
    head.headers.entry(DATE).or_insert_with(|| worker.date());
    (Response::from_parts(head, ()), body)
}

/// A response whose head has been sent.
pub(super) struct Sending {
    origin: Rc<Origin>,
    stream: SendStream<Bytes>,
    body: FinishedBody,
    /// A piece of the body that the client has not opened its window for, and whether it is the
    /// last.
    held: Option<(Bytes, bool)>,
    /// Bytes that were handed over since it was last looked at.
    handed_over: usize,
    pace: Pace,
    /// There once the stream has waited for its client.
    stalled: Option<Deadline>,
}

impl Sending {
    /// Sends the head. `None` if that is all, or if the stream is gone.
    pub(super) fn begin(
        origin: &Rc<Origin>,
        mut reply: SendResponse<Bytes>,
        response: Response<FinishedBody>,
    ) -> Option<Self> {
        let (mut head, body) = dated(response, &origin.worker);
        let is_whole = body.is_end_stream();
        if let Some(length) = body.size_hint().exact().filter(|_| !is_whole) {
            head.headers_mut().entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
        }
        let stream = reply.send_response(head, is_whole).ok()?;
        (!is_whole).then(|| Self {
            origin: Rc::clone(origin),
            stream,
            body,
            held: None,
            handed_over: 0,
            pace: Pace::default(),
            stalled: None,
        })
    }

    /// Sends what the body has and the client takes. Ready when there is nothing more to send, or
    /// nobody to send it to: the stream is reset when this is dropped before its end.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.poll_body(cx).is_ready() || self.stream.poll_reset(cx).is_ready() {
            return Poll::Ready(());
        }
        let worker = &self.origin.worker;
        let (now, progress) = (worker.deadlines.now_ms(), std::mem::take(&mut self.handed_over));
        if self.held.is_none() {
            self.pace.took(progress, now);
            self.stalled.iter().for_each(Deadline::disarm);
        } else if progress > 0 || !self.stalled.as_ref().is_some_and(Deadline::is_armed) {
            self.pace.took(progress, now);
            let stalled = self.stalled.get_or_insert_with(|| worker.deadlines.deadline());
            stalled.arm(self.pace.wait(now, &worker.limits()));
        }
        let expired = self.stalled.as_ref().is_some_and(|stalled| stalled.poll(cx).is_ready());
        if expired {
            worker.counters.streams_timed_out.add(1);
        }
        if expired { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Ready at the end of the body, or of the stream.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.held.is_some() && !ready!(poll_window(&mut self.stream, cx)) {
                return Poll::Ready(());
            }
            if let Some((data, is_last)) = self.held.take() {
                self.handed_over += data.len();
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

/// Waits until the client takes more. False when it never will.
pub(super) fn poll_window(stream: &mut SendStream<Bytes>, cx: &mut Context<'_>) -> Poll<bool> {
    while stream.capacity() == 0 {
        match ready!(stream.poll_capacity(cx)) {
            Some(Ok(0)) => {}
            Some(Ok(_)) => break,
            Some(Err(_)) | None => return Poll::Ready(false),
        }
    }
    Poll::Ready(true)
}
