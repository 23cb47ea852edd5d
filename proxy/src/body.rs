//! Request bodies on their way upstream: counted, bounded in size and in slowness, never buffered.
//! What comes behind them is for [`trailers`] to sift.

mod client;

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

pub(crate) use self::client::ClientBody;
use crate::deadline::{Deadline, Deadlines};
use crate::rejection::Rejection;
use crate::trailers;
use crate::upstream::Replayed;

/// What a body may cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Bytes in all.
    pub(crate) bytes: u64,
    /// Bytes per second that the client must bring; 0 for any.
    pub(crate) min_rate: u64,
    /// How long the client may fall behind that rate.
    pub(crate) grace: Duration,
}

impl Bounds {
    /// Takes the body of a request that is about to be forwarded. A declared length over the bound
    /// is refused before a byte of it is read.
    pub(crate) fn take(&self, body: &mut Option<ClientBody>) -> Result<ClientBody, Rejection> {
        match body
            .take_if(|body| body.size_hint().exact().is_none_or(|length| length <= self.bytes))
        {
            Some(body) => Ok(body),
            None => Err(Rejection::BodyTooLarge),
        }
    }
}

/// A `Transfer-Encoding` that is anything but one `chunked`.
pub(crate) struct UnclearFraming;

/// Whether a message is chunked, which overrides its length (RFC 9112, 6.3). hyper parses more
/// codings than one would forward, in both directions.
pub(crate) fn is_chunked(fields: &HeaderMap) -> Result<bool, UnclearFraming> {
    let mut codings = fields.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(true),
        _ => Err(UnclearFraming),
    }
}

/// Reads a small body that nobody wants to its end, for as long as a client that behaves needs to
/// send it.
///
/// A response that overtakes the request's body ends an HTTP/1.1 connection, and has an HTTP/2
/// stream reset, which some clients report as an error instead of reading the response.
pub(crate) async fn settle(mut body: ClientBody, deadlines: &Rc<Deadlines>) {
    const SMALL: u64 = 64 << 10;
    const PATIENCE: Duration = Duration::from_secs(1);
    if body.size_hint().exact().is_none_or(|length| length > SMALL) {
        return;
    }
    let deadline = deadlines.deadline();
    deadline.arm(PATIENCE);
    let read =
        async { while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {} };
    _ = deadline.guard(read).await;
}

/// Why a body was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("larger than the route takes")]
    TooLarge,
    #[error("slower than the least rate")]
    TooSlow,
    #[error("ended by the client")]
    Aborted,
}

/// How far a body has come, for those who wait for what it causes.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Bytes so far.
    pub(crate) bytes: Cell<u64>,
    pub(crate) fault: Cell<Option<Fault>>,
    pub(crate) complete: Cell<bool>,
    /// The last that was asked for has not come yet.
    pub(crate) waits_for_client: Cell<bool>,
}

/// The body of a request that is being forwarded.
#[derive(Default)]
pub(crate) enum RequestBody {
    #[default]
    Empty,
    Streaming(Box<Streaming>),
    /// One that may have to be sent again.
    Replayed(Box<Replayed>),
}

pub(crate) struct Streaming {
    incoming: ClientBody,
    bounds: Bounds,
    progress: Rc<Progress>,
    deadline: Deadline,
    /// How long the client may still keep us waiting.
    patience: Duration,
    waiting_since: Option<Instant>,
}

impl RequestBody {
    pub(crate) fn new(incoming: ClientBody, bounds: Bounds, deadlines: &Rc<Deadlines>) -> Self {
        if incoming.is_end_stream() {
            return Self::Empty;
        }
        Self::Streaming(Box::new(Streaming {
            incoming,
            bounds,
            progress: Rc::default(),
            deadline: deadlines.deadline(),
            patience: bounds.grace,
            waiting_since: None,
        }))
    }

    /// How far it has come; `None` if there is nothing to come.
    pub(crate) fn progress(&self) -> Option<Rc<Progress>> {
        match self {
            Self::Empty | Self::Replayed(_) => None,
            Self::Streaming(streaming) => Some(Rc::clone(&streaming.progress)),
        }
    }
}

impl Streaming {
    fn fail(&self, fault: Fault) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        self.progress.fault.set(Some(fault));
        Poll::Ready(Some(Err(fault)))
    }

    /// Waits for the client, and only while it is the client that we wait for.
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let frame = Pin::new(&mut self.incoming).poll_frame(cx);
        self.progress.waits_for_client.set(frame.is_pending());
        if self.bounds.min_rate == 0 {
            return frame;
        }
        if frame.is_pending() {
            if self.waiting_since.is_none() {
                let now = Instant::now();
                self.waiting_since = Some(now);
                self.deadline.arm(self.patience);
            }
        } else if let Some(since) = self.waiting_since.take() {
            self.deadline.disarm();
            self.patience = self.patience.saturating_sub(since.elapsed());
        }
        frame
    }

    /// What `bytes` more have earned.
    fn earn(&mut self, bytes: u64) {
        let earned = bytes.saturating_mul(1_000).checked_div(self.bounds.min_rate).unwrap_or(0);
        self.patience =
            self.patience.saturating_add(Duration::from_millis(earned)).min(self.bounds.grace);
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let frame = self.poll_incoming(cx);
        if frame.is_pending() && self.waiting_since.is_some() && self.deadline.poll(cx).is_ready() {
            return self.fail(Fault::TooSlow);
        }
        match ready!(frame) {
            None => {
                self.progress.complete.set(true);
                Poll::Ready(None)
            }
            Some(Err(fault)) => self.fail(fault),
            Some(Ok(frame)) => {
                let data = match frame.into_data() {
                    Ok(data) => data,
                    Err(frame) => {
                        let trailers = frame.into_trailers().ok().and_then(trailers::passing);
                        self.progress.complete.set(true);
                        return Poll::Ready(trailers.map(|fields| Ok(Frame::trailers(fields))));
                    }
                };
                let length = data.len() as u64;
                let bytes = self.progress.bytes.get() + length;
                self.progress.bytes.set(bytes);
                if bytes > self.bounds.bytes {
                    return self.fail(Fault::TooLarge);
                }
                self.earn(length);
                if self.incoming.is_end_stream() {
                    self.progress.complete.set(true);
                }
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Streaming(streaming) => streaming.poll_frame(cx),
            Self::Replayed(replayed) => replayed.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streaming(streaming) => streaming.incoming.is_end_stream(),
            Self::Replayed(replayed) => replayed.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streaming(streaming) => streaming.incoming.size_hint(),
            Self::Replayed(replayed) => replayed.size_hint(),
        }
    }
}
