//! What is done for a client that may still be sending when it has its response.
//!
//! # Why
//!
//! A connection that is closed while bytes of it are unread, or before they arrive, is reset by the
//! system, and the reset can overtake the response that says why (RFC 9112, 9.6). So an HTTP/1.1
//! connection is shut down for writing, and what comes is read and dropped until its client ends it
//! too. Over HTTP/2 a stream can be reset by itself (RFC 9113, 8.1), but some clients report that
//! as an error, even behind a whole response: they get a moment to stop of themselves.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body as _;

use super::transport::Transport;
use crate::deadline::{Deadline, TICK};
use crate::http2::Receiving;
use crate::pipeline::Origin;

/// How long a client may be silent before a connection is closed.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it may go on in all.
const MOST: Duration = Duration::from_secs(15);

/// Waits for the client's end of an HTTP/1.1 connection that has been shut down, if it
/// `is_sending`, or something is there to be read.
pub(super) async fn linger<T: Transport>(stream: T, origin: &Origin, mut is_sending: bool) {
    let (worker, watch) = (&origin.worker, &origin.watch);
    let stream = stream.socket().stream();
    watch.stalled.arm(MOST);
    let mut hurries = false;
    loop {
        // Encrypted or not: nobody wants it.
        match stream.try_read(&mut worker.scratch.borrow_mut()) {
            Ok(1..) => is_sending = true,
            Err(error) if error.kind() == ErrorKind::WouldBlock && is_sending => {}
            Ok(0) | Err(_) => return,
        }
        watch.deadline.arm(PATIENCE);
        let more = poll_fn(|cx| {
            if worker.draining.get() && !std::mem::replace(&mut hurries, true) {
                watch.stalled.arm(TICK * 4);
            }
            if watch.stalled.poll(cx).is_ready() {
                return Poll::Ready(false);
            }
            match stream.poll_read_ready(cx) {
                Poll::Ready(ready) => Poll::Ready(ready.is_ok()),
                Poll::Pending => watch.deadline.poll(cx).map(|()| false),
            }
        });
        if !more.await {
            return;
        }
    }
}

/// The request's half of an HTTP/2 stream, for when its body is given up.
pub(super) struct Remainder {
    origin: Rc<Origin>,
    body: Rc<RefCell<Receiving>>,
    /// The client waits for `100 Continue` (RFC 9110, 10.1.1).
    expects: bool,
    /// How many more are read and dropped.
    bytes: usize,
    /// There once it has been waited for.
    deadline: Option<Deadline>,
}

impl Remainder {
    const PATIENCE: Duration = Duration::from_secs(2);
    /// As many as a stream's window takes.
    const BYTES: usize = 1 << 20;
    /// How many streams of a connection are waited for. One that its client ends short of its
    /// declared length is a mistake to the library, which closes a connection for too many.
    const STREAMS: u32 = 64;

    pub(super) fn new(origin: &Rc<Origin>, body: &Rc<RefCell<Receiving>>, expects: bool) -> Self {
        let (origin, body) = (Rc::clone(origin), Rc::clone(body));
        Self { origin, body, expects, bytes: Self::BYTES, deadline: None }
    }

    /// Ready, once, when the body is waited for by somebody here, and by its client to be.
    pub(super) fn poll_continue(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.expects {
            ready!(self.body.borrow_mut().poll_awaited(cx));
        }
        if std::mem::take(&mut self.expects) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Reads what has come of a body that was given up, lest other streams miss what it takes of
    /// the connection's window. Ready when that is over.
    pub(super) fn poll_drop(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(body) = Rc::get_mut(&mut self.body) else { return Poll::Pending };
        loop {
            let Some(Ok(frame)) = ready!(Pin::new(body.get_mut()).poll_frame(cx)) else { break };
            self.bytes = self.bytes.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if self.bytes == 0 {
                break;
            }
        }
        Poll::Ready(())
    }

    /// The response has been sent. Ready when the client has ended the request too, or has had its
    /// chance, or if the body is still being read: when this is dropped, nothing else holds the
    /// stream.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.poll_drop(cx).is_ready() || Rc::strong_count(&self.body) > 1 {
            return Poll::Ready(());
        }
        let Some(deadline) = &self.deadline else {
            let lingered = &self.origin.watch.lingered;
            if lingered.get() == Self::STREAMS {
                return Poll::Ready(());
            }
            lingered.set(lingered.get() + 1);
            let deadline = self.deadline.insert(self.origin.worker.deadlines.deadline());
            deadline.arm(Self::PATIENCE);
            return deadline.poll(cx);
        };
        deadline.poll(cx)
    }
}
