//! The rewriter: HTML in, the same HTML with nonces out, as it streams by. A policy in a `meta`
//! element that names nonces of the application's gets the new one, too, for its elements have it.
//! What stands in `noscript` is text to whoever runs scripts, and stays as it is.
//!
//! # Memory
//!
//! At most 64 KiB for each page, whatever it looks like: a tag that has begun is kept to its end,
//! up to [`Rewriter::MEMORY`], it is written anew, and what has come out waits to be taken
//! (`a_page_costs_no_more_than_64_kib`).

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use lol_html::errors::RewritingError;
use lol_html::{HtmlRewriter, MemorySettings, OutputSink, Settings, element};

use crate::policy::headers::{Nonce, renew_nonces};

/// Writes a nonce into the elements of a page.
pub struct Rewriter {
    /// Gone once the page has been ended, or if it needs more memory than it may have: then the
    /// rest goes out as it came.
    inner: Option<HtmlRewriter<'static, Sink>>,
    written: Sink,
}

/// Where the rewriter writes to.
#[derive(Clone, Default)]
struct Sink(Rc<RefCell<Vec<u8>>>);

impl Sink {
    /// Bytes by which it grows: were it doubled, it would cost three times what it holds.
    const STEP: usize = 4 << 10;
}

impl OutputSink for Sink {
    fn handle_chunk(&mut self, chunk: &[u8]) {
        let mut written = self.0.borrow_mut();
        if written.capacity() - written.len() < chunk.len() {
            written.reserve_exact(chunk.len().max(Self::STEP));
        }
        written.extend_from_slice(chunk);
    }
}

impl Rewriter {
    /// Bytes that are to be written between two looks at what has come out.
    pub const PIECE: usize = 8 << 10;
    /// The most that is kept of a `script`, `style` or `link` tag that has begun, and of what is
    /// open around it. Other tags are not kept.
    const MEMORY: usize = 18 << 10;

    /// For a page with this nonce.
    #[must_use]
    pub fn new(nonce: Nonce) -> Self {
        let written = Sink::default();
        let memory = MemorySettings::new()
            .with_preallocated_parsing_buffer_size(0)
            .with_max_allowed_memory_usage(Self::MEMORY)
            .with_graceful_bail_out_on_memory_limit_exceeded(true);
        let nonce = Rc::new(nonce);
        let of_policies = Rc::clone(&nonce);
        let settings = Settings::new()
            .append_element_content_handler(element!("script, style, link", move |element| {
                element.set_attribute("nonce", nonce.as_str())?;
                Ok(())
            }))
            .append_element_content_handler(element!("meta[http-equiv]", move |element| {
                let name = element.get_attribute("http-equiv").unwrap_or_default();
                if name.trim().eq_ignore_ascii_case("content-security-policy")
                    && let Some(policy) = element.get_attribute("content")
                    && let Some(policy) = renew_nonces(&policy, &of_policies)
                {
                    element.set_attribute("content", &policy)?;
                }
                Ok(())
            }))
            .with_memory_settings(memory)
            // Where HTML can be read in two ways, a nonce in what turns out to be text harms
            // nobody; a page that ends there does.
            .with_strict(false);
        Self { inner: Some(HtmlRewriter::new(settings, written.clone())), written }
    }

    /// Takes a piece of the page. Without memory for more, all that was kept has come out.
    ///
    /// # Errors
    ///
    /// When the page cannot be rewritten to its end.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), RewritingError> {
        let Some(inner) = &mut self.inner else {
            self.written.handle_chunk(piece);
            return Ok(());
        };
        match inner.write(piece) {
            Err(RewritingError::MemoryLimitExceeded(_)) => {
                tracing::debug!("a tag is too long to be given a nonce, as is all that follows it");
                self.inner = None;
                Ok(())
            }
            written => written,
        }
    }

    /// Ends the page: what was kept comes out.
    ///
    /// # Errors
    ///
    /// As for [`Self::write`].
    pub fn end(&mut self) -> Result<(), RewritingError> {
        self.inner.take().map_or(Ok(()), HtmlRewriter::end)
    }

    /// What has come out, if anything.
    pub fn take(&mut self) -> Option<Bytes> {
        let written = self.written.0.take();
        (!written.is_empty()).then(|| Bytes::from(written))
    }

    /// Whether nothing has come out since it was last taken.
    pub(super) fn is_empty(&self) -> bool {
        self.written.0.borrow().is_empty()
    }
}

#[cfg(test)]
#[path = "rewriter_tests.rs"]
mod tests;
