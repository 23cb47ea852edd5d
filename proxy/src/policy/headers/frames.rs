//! Who may frame a page, in the two headers that say it.
//!
//! Browsers look at no `X-Frame-Options` once an enforced policy has `frame-ancestors` (HTML,
//! 7.6.3). So where one side says it in the one header and the other side in the other, the second
//! would take back what the first forbids; then a policy of its own says the first's word, too.

use http::header::{CONTENT_SECURITY_POLICY, X_FRAME_OPTIONS};
use http::{HeaderMap, HeaderValue};

/// What `X-Frame-Options` lets frame a page; the stricter first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Framing {
    Nobody,
    SameOrigin,
}

impl Framing {
    /// What all values of a response come to: several that differ forbid all frames, if browsers
    /// know one of them, and `None` forbids none.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(X_FRAME_OPTIONS).iter();
        let mut values = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        let first = values.next()?.trim_ascii();
        let is_known = |value: &[u8]| {
            ["deny", "sameorigin", "allowall"]
                .iter()
                .any(|k| value.eq_ignore_ascii_case(k.as_bytes()))
        };
        let (mut differ, mut known) = (false, is_known(first));
        for value in values.map(<[u8]>::trim_ascii) {
            differ |= !value.eq_ignore_ascii_case(first);
            known |= is_known(value);
        }
        if differ { known.then_some(Self::Nobody) } else { Self::named(first) }
    }

    /// What one value comes to.
    pub(super) fn one(value: &HeaderValue) -> Option<Self> {
        Self::named(value.as_bytes())
    }

    fn named(value: &[u8]) -> Option<Self> {
        let is = |name: &str| value.eq_ignore_ascii_case(name.as_bytes());
        let same_origin = || is("sameorigin").then_some(Self::SameOrigin);
        if is("deny") { Some(Self::Nobody) } else { same_origin() }
    }

    /// As the value of `X-Frame-Options`.
    pub(super) fn value(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Nobody => "DENY",
            Self::SameOrigin => "SAMEORIGIN",
        })
    }

    /// As a policy beside others.
    pub(super) fn policy(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Nobody => "frame-ancestors 'none'",
            Self::SameOrigin => "frame-ancestors 'self'",
        })
    }
}

/// Whether an enforced policy of a response says who may frame it.
pub(super) fn has_ancestors(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CONTENT_SECURITY_POLICY).iter();
    let mut directives =
        values.flat_map(|value| value.as_bytes().split(|byte| matches!(byte, b',' | b';')));
    directives.any(|directive| {
        let mut words = directive.trim_ascii_start().split(u8::is_ascii_whitespace);
        words.next().is_some_and(|name| name.eq_ignore_ascii_case(b"frame-ancestors"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, values: &[&'static [u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    #[test]
    fn values_are_read_as_browsers_read_them() {
        use Framing::{Nobody, SameOrigin};
        for (values, expected) in [
            (&[][..], None),
            (&[&b"deny"[..]], Some(Nobody)),
            (&[b" SameOrigin , sameorigin"], Some(SameOrigin)),
            (&[b"ALLOWALL"], None),
            (&[b"ALLOW-FROM https://a.example"], None),
            (&[b"SAMEORIGIN", b"ALLOWALL"], Some(Nobody)),
            (&[b"SAMEORIGIN, ALLOW-FROM https://a.example"], Some(Nobody)),
            (&[b"SAMEORIGIN,"], Some(Nobody)),
            (&[b"\xff", b"DENY"], Some(Nobody)),
            (&[b"a, b"], None),
        ] {
            assert_eq!(Framing::of(&headers("x-frame-options", values)), expected, "{values:?}");
        }
    }

    #[test]
    fn ancestors_are_found_in_any_policy() {
        for (values, expected) in [
            (&[&b"default-src *"[..], b"img-src *,\tFrame-Ancestors\t*"][..], true),
            (&[b"img-src \xff; frame-ancestors"], true),
            (&[b"img-src frame-ancestors"], false),
            (&[b"frame-ancestorsx 'none'"], false),
        ] {
            let found = has_ancestors(&headers("content-security-policy", values));
            assert_eq!(found, expected, "{values:?}");
        }
        let trial = headers("content-security-policy-report-only", &[b"frame-ancestors 'none'"]);
        assert!(!has_ancestors(&trial));
    }
}
