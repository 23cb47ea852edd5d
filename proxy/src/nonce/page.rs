//! The body of a page on its way through decoder and rewriter.
//!
//! Whatever can be said goes out once the upstream pauses: all but a `meta` that has begun. Nothing
//! is held but one piece of the upstream's, the decoder, and the rewriter.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame};

use super::decoder::Decoder;
use super::{Rewriter, Rewriting, Slot};
use crate::upstream::{Cut, UpstreamBody};

/// A page whose elements get a nonce.
pub(crate) struct Page {
    body: UpstreamBody,
    decoder: Option<Decoder>,
    rewriter: Rewriter,
    /// What the upstream has sent and the rewriter has not seen.
    unread: Bytes,
    /// Whether nothing more will come of the upstream's data.
    ended: bool,
    /// What comes after the end of the data.
    trailers: Option<Frame<Bytes>>,
    /// Whether everything has come out of the rewriter that there is.
    done: bool,
    _slot: Slot,
}

/// A page that cannot be rewritten to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("its coding is broken: {0}")]
    Coding(io::Error),
}

impl Page {
    pub(super) fn new(body: UpstreamBody, rewriting: Rewriting) -> Self {
        let Rewriting { nonce, decoder, slot, .. } = rewriting;
        Self {
            body,
            decoder,
            rewriter: Rewriter::new(nonce),
            unread: Bytes::new(),
            ended: false,
            trailers: None,
            done: false,
            _slot: slot,
        }
    }

    /// Rewrites some of what is there; whether there was anything.
    fn advance(&mut self) -> Result<bool, Broken> {
        let Some(decoder) = &mut self.decoder else {
            let piece = self.unread.split_to(self.unread.len().min(Rewriter::PIECE));
            self.rewriter.write(&piece);
            return Ok(!piece.is_empty());
        };
        if !self.unread.is_empty() {
            decoder.feed(std::mem::take(&mut self.unread));
        }
        let mut piece = [0; Rewriter::PIECE];
        let read = decoder.read(&mut piece).map_err(Broken::Coding)?;
        let piece = piece.get(..read.unwrap_or_default()).unwrap_or_default();
        self.rewriter.write(piece);
        Ok(!piece.is_empty())
    }

    /// Whether all of it has been handed over.
    pub(super) fn has_ended(&self) -> bool {
        self.done && self.rewriter.len() == 0 && self.trailers.is_none()
    }

    /// The next piece.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        loop {
            while self.rewriter.len() < Rewriter::FULL && self.advance().map_err(Cut::Page)? {}
            if self.rewriter.len() >= Rewriter::FULL
                && let Some(bytes) = self.rewriter.take()
            {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if self.ended && !self.done {
                self.done = true;
                self.rewriter.end();
            }
            if let Some(bytes) = self.rewriter.take() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if self.done {
                return Poll::Ready(self.trailers.take().map(Ok));
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Err(cut))) => return Poll::Ready(Some(Err(cut))),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) => {
                        self.unread = bytes;
                        continue;
                    }
                    Err(trailers) => self.trailers = Some(trailers),
                },
                Poll::Ready(None) => {}
            }
            self.ended = true;
            if let Some(decoder) = &self.decoder {
                decoder.end();
            }
        }
    }
}
