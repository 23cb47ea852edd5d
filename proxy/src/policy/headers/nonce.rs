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

/// The nonces that an application has put into its own policies, enforced or not, as sources;
/// `None` if there are none. Its elements have them already.
pub(crate) fn of_application(fields: &HeaderMap) -> Option<String> {
    let mut sources: Vec<&str> = Vec::new();
    let names = [header::CONTENT_SECURITY_POLICY, header::CONTENT_SECURITY_POLICY_REPORT_ONLY];
    for policy in names.iter().flat_map(|name| fields.get_all(name)) {
        let policy = policy.to_str().unwrap_or_default();
        let words = policy.split(|c: char| c.is_ascii_whitespace() || c == ';' || c == ',');
        for word in words.filter(|word| is_nonce(word)) {
            if !sources.contains(&word) {
                sources.push(word);
            }
        }
    }
    (!sources.is_empty()).then(|| sources.join(" "))
}

/// What a nonce begins with as a source, in any case.
const PREFIX: &str = "'nonce-";

fn is_nonce(word: &str) -> bool {
    let inner = word.split_at_checked(PREFIX.len()).and_then(|(prefix, rest)| {
        rest.strip_suffix('\'').filter(|_| prefix.eq_ignore_ascii_case(PREFIX))
    });
    inner.is_some_and(|value| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(&byte);
        !value.is_empty() && value.bytes().all(allowed)
    })
}

/// Nonces of one policy in a page that are known.
const MOST: usize = 16;

/// A policy that stands in a page itself, with `nonce` in the place of its own nonces, and those;
/// `None` if it has none, or too many.
pub(crate) fn renew(policy: &[u8], nonce: &Nonce) -> Option<(Vec<u8>, Vec<String>)> {
    let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b';' | b',');
    let (mut renewed, mut own) = (Vec::new(), Vec::new());
    for word in policy.split_inclusive(ends) {
        let (text, end) = word.split_at(word.len() - usize::from(word.last().is_some_and(ends)));
        match std::str::from_utf8(text).ok().filter(|text| is_nonce(text)) {
            Some(text) => {
                renewed.extend_from_slice(nonce.source().as_bytes());
                let value = text.get(PREFIX.len()..text.len() - 1).unwrap_or_default();
                own.push(value.to_owned());
            }
            None => renewed.extend_from_slice(text),
        }
        renewed.extend_from_slice(end);
    }
    (1..=MOST).contains(&own.len()).then_some((renewed, own))
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
            "style-src\t'Nonce-c'\t;",
        ] {
            fields.append("content-security-policy", policy.parse().unwrap());
        }
        let trial = "script-src 'nonce-d'".parse().unwrap();
        fields.append("content-security-policy-report-only", trial);
        let expected = "'nonce-YQ==' 'nonce-b' 'Nonce-c' 'nonce-d'";
        assert_eq!(of_application(&fields).as_deref(), Some(expected));
    }

    #[test]
    fn a_policy_in_a_page_gets_the_nonce_of_the_response() {
        let nonce = Nonce("new".to_owned());
        let (renewed, own) =
            renew(b"script-src 'self' 'nonce-old';style-src\n'NONCE-x' \xff", &nonce).unwrap();
        assert_eq!(renewed, b"script-src 'self' 'nonce-new';style-src\n'nonce-new' \xff");
        assert_eq!(own, ["old", "x"]);
        assert_eq!(renew(b"script-src 'self' 'nonce-'", &nonce), None);
        assert_eq!(renew("'nonce-a' ".repeat(MOST + 1).as_bytes(), &nonce), None);
    }
}
