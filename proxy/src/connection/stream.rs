//! A stream of HTTP/2, from the pipeline's answer to the last byte of its response.
//!
//! A client that leaves a stream's flow-control window closed (RFC 9113, 6.9) does not keep the
//! connection from writing, so the stream has a deadline of its own. It is armed while the response
//! waits for the client rather than for the upstream, and a piece of the body that could be handed
//! over begins it anew, for as long as the client's [`super::pace`] leaves.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::header::{CONTENT_LENGTH, DATE};
use http::{HeaderValue, Response};
use http_body::Body as _;

use super::duplex::Duplex;
use super::interim::{self, Interim};
use super::linger::Remainder;
use super::pace::Pace;
use crate::deadline::Deadline;
use crate::http2::Sending;
use crate::pipeline::Origin;
use crate::response::FinishedBody;
use crate::worker::Worker;

/// Waits for the answer to a request and sends it. `receive` is the client's half of a stream that
/// may become a tunnel, `remainder` that of one that brings a body.
pub(super) async fn run<F: Future<Output = Response<FinishedBody>>>(
    origin: Rc<Origin>,
    mut reply: SendResponse<Bytes>,
    mut answer: Pin<Box<F>>,
    receive: Option<RecvStream>,
    mut remainder: Option<Remainder>,
) {
    let mut hinted = 0;
    let answered = poll_fn(|cx| {
        let answered = answer.as_mut().poll(cx);
        for head in origin.watch.take_interim() {
            // Whether the client reads them is not known here, so there is an end to them.
            hinted += interim::length(&head);
            if hinted <= Interim::MOST {
                _ = reply.send_informational(head);
            }
        }
        let continues = remainder.as_mut().map(|remainder| remainder.poll_continue(cx));
        if answered.is_pending() && continues == Some(Poll::Ready(())) {
            _ = reply.send_informational(interim::go_on());
        }
        match answered {
            Poll::Ready(response) => Poll::Ready(Some(response)),
            // Either the client has reset the stream or the connection has failed.
            Poll::Pending => reply.poll_reset(cx).map(|_| None),
        }
    });
    let Some(mut response) = answered.await else { return };
    drop(answer);
    if let (Some(tunnel), Some(receive)) = (response.body_mut().take_tunnel(), receive) {
        if let Ok(send) = reply.send_response(dated(response, &origin.worker).0, false) {
            tunnel.run(Duplex::new(receive, send), Bytes::new()).await;
        }
        return;
    }
    if let Some(mut responding) = Responding::begin(&origin, reply, response, remainder) {
        poll_fn(|cx| responding.poll(cx)).await;
    }
}

/// The head with its date (RFC 9110, 6.6.1), and the body.
fn dated(response: Response<FinishedBody>, worker: &Worker) -> (Response<()>, FinishedBody) {
    let (mut head, body) = response.into_parts();
    head.headers.entry(DATE).or_insert_with(|| worker.date());
    (Response::from_parts(head, ()), body)
}

/// A response whose head has been sent.
pub(super) struct Responding {
    origin: Rc<Origin>,
    /// There until all has been sent.
    sending: Option<Sending<FinishedBody>>,
    remainder: Option<Remainder>,
    pace: Pace,
    /// There once the stream has waited for its client.
    stalled: Option<Deadline>,
}

impl Responding {
    /// Sends the head. `None` if the stream is gone.
    pub(super) fn begin(
        origin: &Rc<Origin>,
        mut reply: SendResponse<Bytes>,
        response: Response<FinishedBody>,
        remainder: Option<Remainder>,
    ) -> Option<Self> {
        let (mut head, body) = dated(response, &origin.worker);
        let is_whole = body.is_end_stream();
        if let Some(length) = body.size_hint().exact().filter(|_| !is_whole) {
            head.headers_mut().entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
        }
        let stream = reply.send_response(head, is_whole).ok()?;
        let sending = (!is_whole).then(|| Sending::new(stream, body));
        let origin = Rc::clone(origin);
        Some(Self { origin, sending, remainder, pace: Pace::default(), stalled: None })
    }

    /// Sends what the body has and the client takes, and lets the client end its request. Ready
    /// when nothing is left to do, or there is nobody to do it for: the stream is reset if this is
    /// dropped before its end.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.poll_send(cx).is_ready() {
            self.sending = None;
        }
        let is_sent = self.sending.is_none();
        let remainder =
            self.remainder.as_mut().map_or(Poll::Ready(()), |remainder| match is_sent {
                true => remainder.poll_end(cx),
                false => remainder.poll_drop(cx),
            });
        if remainder.is_ready() {
            self.remainder = None;
        }
        if is_sent { remainder } else { Poll::Pending }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(sending) = &mut self.sending else { return Poll::Ready(()) };
        if sending.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let worker = &self.origin.worker;
        let now = worker.deadlines.now_ms();
        let progress = std::mem::take(&mut sending.handed_over);
        if sending.held.is_none() {
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
            self.remainder = None;
        }
        if expired { Poll::Ready(()) } else { Poll::Pending }
    }
}
