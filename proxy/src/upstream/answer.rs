//! The body of an upstream's response on its way to the client.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::link::{Broken, ServerBody};
use super::{Exchange, Lease};
use crate::nonce;

/// The body of an upstream's response; reading it drives the link that it comes from.
pub(crate) struct UpstreamBody {
    incoming: ServerBody,
    lease: Lease,
    exchange: Exchange,
    /// Whether the deadline runs.
    waiting: bool,
}

/// Why a response had to be cut short.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cut {
    #[error("upstream broke its response off: {0}")]
    Broken(Broken),
    #[error("upstream stopped sending")]
    Stalled,
    #[error("it cannot be compressed: {0}")]
    Encoder(std::io::Error),
    #[error("it cannot be given a nonce: {0}")]
    Page(nonce::Broken),
}

impl UpstreamBody {
    pub(super) fn new(incoming: ServerBody, lease: Lease, exchange: Exchange) -> Self {
        let mut body = Self { incoming, lease, exchange, waiting: false };
        if body.incoming.is_end_stream() {
            body.finish();
        }
        body
    }

    /// Reads what is there, then lets the link bring more, then reads that.
    fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        for turn in 0..2 {
            let frame = Pin::new(&mut self.incoming).poll_frame(cx);
            if frame.is_ready() || turn == 1 {
                return frame;
            }
            if let Some(link) = &mut self.lease.link {
                _ = link.poll_connection(cx);
            }
        }
        Poll::Pending
    }

    /// Gives the link back once nothing is left on it, in either direction.
    fn finish(&mut self) {
        if self.exchange.upload.as_ref().is_none_or(|upload| upload.complete.get()) {
            self.lease.give_back();
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = self.get_mut();
        match this.poll_incoming(cx) {
            Poll::Pending => {
                if !std::mem::replace(&mut this.waiting, true) {
                    this.exchange.deadline.arm(this.exchange.answer_timeout);
                }
                this.exchange.deadline.poll(cx).map(|()| Some(Err(Cut::Stalled)))
            }
            Poll::Ready(None) => {
                this.finish();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(Cut::Broken(error)))),
            Poll::Ready(Some(Ok(frame))) => {
                if std::mem::take(&mut this.waiting) {
                    this.exchange.deadline.disarm();
                }
                if frame.is_trailers() || this.incoming.is_end_stream() {
                    this.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
