//! The rewriter: HTML in, the same HTML with nonces out, as it streams by.
//!
//! The nonce stands first in its tag: of two attributes of one name, browsers take the first. What
//! stands in `noscript` is text to whoever runs scripts, and stays as it is.
//!
//! A policy in a `meta` element that names nonces of the application's gets the new one in their
//! place. From there on only elements that have one of those get it, or elements that the
//! application does not trust would be trusted by its own policy.
//!
//! # Memory
//!
//! At most 64 KiB for each page, whatever it looks like: nothing is kept of it but the attributes
//! of a `meta` that has begun, up to [`Rewriter::KEPT`], and what has come out waits to be taken
//! (`a_page_costs_no_more_than_64_kib`).
//!
//! # Why
//!
//! This began with `lol_html`, which reads a page with a selector that matches nothing at 130 MB/s
//! where it is a table of short cells: it follows which elements are open, as selectors need it.
//! Nonces do not, and only names matter to them; the [`scanner`](super::scanner) that reads no more
//! than that comes to 540 MB/s there, and keeps no tag. `lol_html` and a browser are what it is
//! tested against.

use bytes::Bytes;

use super::scanner::{Element, Found, Scanner, attribute};
use crate::policy::headers::{Nonce, renew_nonces};

/// Writes a nonce into the elements of a page.
pub struct Rewriter {
    scanner: Scanner,
    nonce: Nonce,
    /// What becomes part of each tag.
    attribute: String,
    /// The element whose attributes are kept until they end.
    kept: Option<Element>,
    /// The nonces of the application's, if the page names any.
    trusted: Option<Vec<String>>,
    written: Vec<u8>,
}

impl Rewriter {
    /// The most bytes that are to be written at a time.
    pub const PIECE: usize = 2 << 10;
    /// What has come out is to be taken from so many bytes on.
    pub const FULL: usize = 8 << 10;
    /// The longest `meta` whose policy gets the nonce, and the longest tag that gets it only if it
    /// has one already; what is longer stays as it is.
    const KEPT: usize = 4 << 10;
    /// By which what has come out grows: were it doubled, it would cost more than it may.
    const STEPS: [usize; 3] = [4 << 10, 16 << 10, 32 << 10];

    /// For a page with this nonce.
    #[must_use]
    pub fn new(nonce: Nonce) -> Self {
        let attribute = format!(" nonce=\"{}\"", nonce.as_str());
        let (scanner, written) = (Scanner::default(), Vec::new());
        Self { scanner, nonce, attribute, kept: None, trusted: None, written }
    }

    /// Takes a piece of the page.
    pub fn write(&mut self, piece: &[u8]) {
        let (mut done, mut at) = (0, 0);
        while let Some(found) = self.scanner.next(piece, &mut at) {
            let before = piece.get(done..at).unwrap_or_default();
            match found {
                Found::Named(Element::Loading) if self.trusted.is_none() => {
                    reserve(&mut self.written, before.len() + self.attribute.len());
                    self.written.extend_from_slice(before);
                    self.written.extend_from_slice(self.attribute.as_bytes());
                }
                Found::Named(element) => {
                    self.put(before);
                    self.scanner.keep();
                    self.kept = Some(element);
                }
                Found::Ended => match self.kept.take() {
                    Some(element) => self.decide(element),
                    None => continue,
                },
            }
            done = at;
        }
        if self.kept.is_none() {
            self.put(piece.get(done..).unwrap_or_default());
        }
        if self.scanner.kept() > Self::KEPT {
            self.end();
        }
    }

    /// Ends the page, or what is kept of a tag: it comes out as it is.
    pub fn end(&mut self) {
        let kept = self.scanner.take_kept();
        if self.kept.take().is_some() {
            self.put(&kept);
        }
    }

    /// What has come out, if anything.
    pub fn take(&mut self) -> Option<Bytes> {
        let written = std::mem::take(&mut self.written);
        (!written.is_empty()).then(|| Bytes::from(written))
    }

    /// How many bytes have come out since they were last taken.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "nobody asks for that")]
    pub fn len(&self) -> usize {
        self.written.len()
    }

    /// A tag has ended whose attributes matter.
    fn decide(&mut self, element: Element) {
        let tag = self.scanner.take_kept();
        match element {
            Element::Loading => {
                let nonce = attribute(&tag, "nonce").map(|(_, value)| value);
                let is_trusted = |known: &String| nonce == Some(known.as_bytes());
                if self.trusted.iter().flatten().any(is_trusted) {
                    self.put_nonce();
                }
                self.put(&tag);
            }
            Element::Meta => {
                let Some((at, policy)) = policy(&tag) else { return self.put(&tag) };
                let Some((renewed, nonces)) = renew_nonces(policy, &self.nonce) else {
                    return self.put(&tag);
                };
                // What two policies forbid together is what either forbids.
                match &mut self.trusted {
                    Some(trusted) => trusted.retain(|known| nonces.contains(known)),
                    None => self.trusted = Some(nonces),
                }
                self.put(tag.get(..at).unwrap_or_default());
                self.put(&renewed);
                self.put(tag.get(at + policy.len()..).unwrap_or_default());
            }
        }
    }

    fn put_nonce(&mut self) {
        reserve(&mut self.written, self.attribute.len());
        self.written.extend_from_slice(self.attribute.as_bytes());
    }

    fn put(&mut self, bytes: &[u8]) {
        reserve(&mut self.written, bytes.len());
        self.written.extend_from_slice(bytes);
    }
}

#[inline]
fn reserve(written: &mut Vec<u8>, more: usize) {
    let needed = written.len() + more;
    if needed > written.capacity() {
        let step = Rewriter::STEPS.into_iter().find(|step| *step >= needed);
        written.reserve_exact(step.unwrap_or(needed) - written.len());
    }
}

/// The policy that a `meta` tag sets, and where it begins.
fn policy(tag: &[u8]) -> Option<(usize, &[u8])> {
    let (_, name) = attribute(tag, "http-equiv")?;
    let is_policy = name.trim_ascii().eq_ignore_ascii_case(b"content-security-policy");
    attribute(tag, "content").filter(|_| is_policy)
}

#[cfg(test)]
#[path = "rewriter_tests.rs"]
mod tests;
