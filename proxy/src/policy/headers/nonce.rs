//! Nonces of a Content-Security-Policy (CSP Level 3, 2.3.1 and 7.1): one per response, of 128
//! random bits.

use aws_lc_rs::rand;
use data_encoding::BASE64URL_NOPAD;
use http::{HeaderMap, HeaderValue, header};

/// What stands in a configuration for a nonce.
pub(crate) const PLACEHOLDER: &str = "'nonce'";

const BITS: usize = 128;

/// The nonce of one response.
#[derive(Debug)]
pub struct Nonce(String);

impl Nonce {
    /// A new one; `None` if there is no randomness to be had.
    #[must_use]
    pub fn fresh() -> Option<Self> {
        let mut bytes = [0; BITS / 8];
        rand::fill(&mut bytes).ok()?;
        Some(Self(BASE64URL_NOPAD.encode(&bytes)))
    }

    /// As the attribute of an element.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// As a source of a policy.
    pub(crate) fn source(&self) -> String {
        format!("'nonce-{}'", self.0)
    }
}

/// The nonces that an application has put into its own policies, as sources; `None` if there are
/// none. Its elements have them already.
pub(crate) fn of_application(fields: &HeaderMap) -> Option<String> {
    let mut sources: Vec<&str> = Vec::new();
    for policy in fields.get_all(header::CONTENT_SECURITY_POLICY) {
        let words = policy.to_str().unwrap_or_default().split([' ', ';', ',']);
        for word in words.filter(|word| is_nonce(word)) {
            if !sources.contains(&word) {
                sources.push(word);
            }
        }
    }
    (!sources.is_empty()).then(|| sources.join(" "))
}

fn is_nonce(word: &str) -> bool {
    let inner = word.strip_prefix("'nonce-").and_then(|rest| rest.strip_suffix('\''));
    inner.is_some_and(|value| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(&byte);
        !value.is_empty() && value.bytes().all(allowed)
    })
}

/// A policy with places for nonces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    /// What stands between the places.
    pieces: Vec<Box<str>>,
}

impl Template {
    /// `None` if the policy has no such place.
    pub(super) fn new(policy: &str) -> Option<Self> {
        let pieces = policy.split(PLACEHOLDER).map(Into::into).collect::<Vec<_>>();
        (pieces.len() > 1).then_some(Self { pieces })
    }

    /// The policy with `sources` in each place.
    pub(super) fn fill(&self, sources: &str) -> Option<HeaderValue> {
        HeaderValue::try_from(self.pieces.join(sources)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_has_128_bits_and_is_never_the_same() {
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1_000 {
            let nonce = Nonce::fresh().unwrap();
            assert_eq!(BASE64URL_NOPAD.decode(nonce.as_str().as_bytes()).unwrap().len(), 16);
            assert!(is_nonce(&nonce.source()) && seen.insert(nonce.0));
        }
    }

    #[test]
    fn an_applications_nonces_are_found() {
        let mut fields = HeaderMap::new();
        assert_eq!(of_application(&fields), None);
        for policy in [
            "default-src 'self' 'nonce-'",
            "script-src 'nonce-YQ=='; img-src *",
            "style-src 'nonce-b' 'nonce-YQ==', script-src 'nonce-<x>'",
        ] {
            fields.append("content-security-policy", policy.parse().unwrap());
        }
        assert_eq!(of_application(&fields).as_deref(), Some("'nonce-YQ==' 'nonce-b'"));
    }
}
