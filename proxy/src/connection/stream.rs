//! A stream of HTTP/2, from the pipeline's answer to the last byte of its response.
//!
//! A client that leaves a stream's flow-control window closed (RFC 9113, 6.9) does not keep the
//! connection from writing, so the stream has a deadline of its own. It is armed while the response
//! waits for the client rather than for the upstream, and a piece of the body that could be handed
//! over begins it anew, for as long as the client's [`super::pace`] leaves.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::header::{CONTENT_LENGTH, DATE};
use http::{HeaderValue, Response};
use http_body::Body as _;

use super::duplex::Duplex;
use super::interim::{self, Interim};
use super::pace::Pace;
use crate::deadline::Deadline;
use crate::http2::Sending;
use crate::pipeline::Origin;
use crate::response::FinishedBody;
use crate::worker::Worker;

/// How long a client may take to stop sending what nobody wants any more.
const PATIENCE: Duration = Duration::from_secs(2);

/// Waits for the answer to a request and sends it. `receive` is the client's half of a stream that
/// may become a tunnel; `left` becomes true if the request's body is given up.
pub(super) async fn run<F: Future<Output = Response<FinishedBody>>>(
    origin: Rc<Origin>,
    mut reply: SendResponse<Bytes>,
    mut answer: Pin<Box<F>>,
    receive: Option<RecvStream>,
    left: Option<Rc<Cell<bool>>>,
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
    if let Some(mut responding) = Responding::begin(&origin, reply, response) {
        poll_fn(|cx| responding.poll(cx)).await;
        if left.is_some_and(|left| left.get()) {
            responding.linger().await;
        }
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
    sending: Sending<FinishedBody>,
    /// The head was all of it.
    is_whole: bool,
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
    ) -> Option<Self> {
        let (mut head, body) = dated(response, &origin.worker);
        let is_whole = body.is_end_stream();
        if let Some(length) = body.size_hint().exact().filter(|_| !is_whole) {
            head.headers_mut().entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
        }
        let stream = reply.send_response(head, is_whole).ok()?;
        let sending = Sending::new(stream, body);
        let origin = Rc::clone(origin);
        Some(Self { origin, sending, is_whole, pace: Pace::default(), stalled: None })
    }

    /// Sends what the body has and the client takes. Ready when there is nothing more to send, or
    /// nobody to send it to: the stream is reset when this is dropped before its end.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_whole || self.sending.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let worker = &self.origin.worker;
        let now = worker.deadlines.now_ms();
        let progress = std::mem::take(&mut self.sending.handed_over);
        if self.sending.held.is_none() {
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
            self.sending.stream.send_reset(Reason::CANCEL);
        }
        if expired { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Lets a client that is still sending stop of itself, before its stream is reset: some report
    /// the reset as an error instead of the response (RFC 9113, 8.1). It may not send more than its
    /// window takes.
    async fn linger(self) {
        let Self { origin, sending: Sending { mut stream, body, .. }, .. } = self;
        drop(body);
        let deadline = origin.worker.deadlines.deadline();
        deadline.arm(PATIENCE);
        _ = deadline.guard(poll_fn(|cx| stream.poll_reset(cx))).await;
    }
}
