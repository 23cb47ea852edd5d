//! The rewriter: HTML in, the same HTML with nonces out, as it streams by.
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

use crate::policy::headers::Nonce;

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
        let settings = Settings::new()
            .append_element_content_handler(element!("script, style, link", move |element| {
                element.set_attribute("nonce", nonce.as_str())?;
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
mod tests {
    use super::*;

    /// Rewrites a page in pieces, handing on what comes out.
    fn rewrite(page: &[u8]) -> usize {
        let mut rewriter = Rewriter::new(Nonce::fresh().unwrap());
        let mut length = 0;
        for piece in page.chunks(Rewriter::PIECE) {
            rewriter.write(piece).unwrap();
            length += rewriter.take().map_or(0, |bytes| bytes.len());
        }
        rewriter.end().unwrap();
        length + rewriter.take().map_or(0, |bytes| bytes.len())
    }

    #[test]
    fn a_page_costs_no_more_than_64_kib() {
        let pages = [
            ("text", "<p>text</p>".repeat(50_000), 0),
            ("many scripts", "<script src=/a.js></script>".repeat(20_000), 20_000),
            ("only scripts", "<script>".repeat(60_000), 1),
            ("open elements", "<div>".repeat(100_000), 0),
            ("a long tag", format!("<script src=\"{}\">", "x".repeat(500_000)), 0),
            ("a tag that never ends", format!("<link {}", "x=y ".repeat(200_000)), 0),
            ("a long comment", format!("<!-- {} -->", "<script>".repeat(50_000)), 0),
            ("tags as they may be", "<link href=\"".to_owned() + &"x".repeat(17_000) + "\">", 1),
        ];
        for (what, page, nonces) in pages {
            let mut length = 0;
            let counted = allocation_counter::measure(|| length = rewrite(page.as_bytes()));
            assert!(counted.bytes_max <= 64 << 10, "{what}: {counted:?}");
            let nonce = " nonce=\"\"".len() + 22;
            assert_eq!(length, page.len() + nonces * nonce, "{what}");
        }
    }
}
