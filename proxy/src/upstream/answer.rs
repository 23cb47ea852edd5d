//! The body of an upstream's response on its way to the client.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::link::Broken;
use super::{Exchange, Lease};
use crate::nonce;

/// The body of an upstream's response; reading it drives the link that it comes from.
pub(crate) struct UpstreamBody {
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
    pub(super) fn new(lease: Lease, exchange: Exchange) -> Self {
        let mut body = Self { lease, exchange, waiting: false };
        if body.is_end_stream() {
            body.finish();
        }
        body
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
        let frame = match &mut this.lease.link {
            Some(link) => link.poll_body(cx),
            None => return Poll::Ready(None),
        };
        match frame {
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
                if frame.is_trailers() || this.is_end_stream() {
                    this.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.lease.link.as_ref().is_none_or(|link| link.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let nothing = SizeHint::with_exact(0);
        self.lease.link.as_ref().map_or(nothing, |link| link.size_hint())
    }
}
