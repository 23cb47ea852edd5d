//! The body of a page on its way through decoder and rewriter.
//!
//! Whatever can be said goes out once the upstream pauses: all but a tag that has begun. Nothing is
//! held but one piece of the upstream's, the decoder, and the rewriter with at most
//! [`Page::MEMORY`].

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame};
use lol_html::errors::RewritingError;
use lol_html::{HtmlRewriter, MemorySettings, OutputSink, Settings, element};

use super::decoder::Decoder;
use super::{Rewriting, Slot};
use crate::upstream::{Cut, UpstreamBody};

/// A page whose elements get a nonce.
pub(crate) struct Page {
    body: UpstreamBody,
    decoder: Option<Decoder>,
    /// Gone once the page has been ended, or if it needs more memory than it may have: then the
    /// rest goes out as it came.
    rewriter: Option<HtmlRewriter<'static, Sink>>,
    written: Sink,
    /// What the upstream has sent and the rewriter has not seen.
    unread: Bytes,
    /// Whether nothing more will come of the upstream's data.
    ended: bool,
    /// What comes after the end of the data.
    trailers: Option<Frame<Bytes>>,
    /// Whether everything is in `written` that there is.
    done: bool,
    _slot: Slot,
}

/// Where the rewriter writes to.
#[derive(Clone, Default)]
struct Sink(Rc<RefCell<BytesMut>>);

impl OutputSink for Sink {
    fn handle_chunk(&mut self, chunk: &[u8]) {
        self.0.borrow_mut().extend_from_slice(chunk);
    }
}

/// A page that cannot be rewritten to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("its coding is broken: {0}")]
    Coding(io::Error),
    #[error("its HTML cannot be rewritten: {0}")]
    Html(RewritingError),
}

impl Page {
    /// Bytes that are rewritten between two looks at what has come out.
    const PIECE: usize = 16 << 10;
    /// The most that the rewriter keeps: of a tag that has begun, and of what is open around it.
    const MEMORY: usize = 64 << 10;

    pub(super) fn new(body: UpstreamBody, rewriting: Rewriting) -> Self {
        let Rewriting { nonce, decoder, slot, .. } = rewriting;
        let written = Sink::default();
        let memory = MemorySettings::new()
            .with_preallocated_parsing_buffer_size(0)
            .with_max_allowed_memory_usage(Self::MEMORY)
            .with_graceful_bail_out_on_memory_limit_exceeded(true);
        let settings = Settings::new()
            .append_element_content_handler(element!("script, style, link", move |element| {
                element.set_attribute("nonce", nonce.as_str())?;
                Ok(())
            }))
            .with_memory_settings(memory)
            // Where HTML can be read in two ways, a nonce in what turns out to be text harms
            // nobody; a page that ends there does.
            .with_strict(false);
        Self {
            body,
            decoder,
            rewriter: Some(HtmlRewriter::new(settings, written.clone())),
            written,
            unread: Bytes::new(),
            ended: false,
            trailers: None,
            done: false,
            _slot: slot,
        }
    }

    /// What has come out, if anything.
    fn take(&self) -> Option<Bytes> {
        let written = self.written.0.take();
        (!written.is_empty()).then(|| written.freeze())
    }

    /// Rewrites some of what is there; whether there was anything.
    fn advance(&mut self) -> Result<bool, Broken> {
        let Some(decoder) = &mut self.decoder else {
            let piece = self.unread.split_to(self.unread.len().min(Self::PIECE));
            self.write(&piece)?;
            return Ok(!piece.is_empty());
        };
        if !self.unread.is_empty() {
            decoder.feed(std::mem::take(&mut self.unread));
        }
        let mut piece = [0; Self::PIECE];
        let read = decoder.read(&mut piece).map_err(Broken::Coding)?;
        let piece = piece.get(..read.unwrap_or_default()).unwrap_or_default();
        self.write(piece)?;
        Ok(!piece.is_empty())
    }

    /// A rewriter that has no memory left has written all that it was given.
    fn write(&mut self, piece: &[u8]) -> Result<(), Broken> {
        let Some(rewriter) = &mut self.rewriter else {
            self.written.handle_chunk(piece);
            return Ok(());
        };
        match rewriter.write(piece) {
            Ok(()) => Ok(()),
            Err(RewritingError::MemoryLimitExceeded(_)) => {
                tracing::debug!("a tag is too long to be given a nonce, as is all that follows it");
                self.rewriter = None;
                Ok(())
            }
            Err(error) => Err(Broken::Html(error)),
        }
    }

    /// Ends the page: what the rewriter has kept comes out.
    fn finish(&mut self) -> Result<(), Broken> {
        self.done = true;
        self.rewriter.take().map_or(Ok(()), HtmlRewriter::end).map_err(Broken::Html)
    }

    /// Whether all of it has been handed over.
    pub(super) fn has_ended(&self) -> bool {
        self.done && self.written.0.borrow().is_empty() && self.trailers.is_none()
    }

    /// The next piece.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        loop {
            while self.advance().map_err(Cut::Page)? {
                if let Some(bytes) = self.take() {
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
            }
            if self.ended && !self.done {
                self.finish().map_err(Cut::Page)?;
            }
            if let Some(bytes) = self.take() {
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
