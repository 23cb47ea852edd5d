//! Cookies of the upstream made safer on their way out (RFC 6265bis): `Secure`, `HttpOnly` and
//! `SameSite` where they are missing.
//!
//! What a cookie says of itself is never changed: a `SameSite=None` stays, and a `__Host-` cookie
//! gets nothing that browsers would refuse it for.

use http::header::{Entry, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

/// What is added to cookies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cookies {
    /// `Secure`, where the response goes out over TLS.
    pub(crate) secure: bool,
    /// `HttpOnly`.
    pub(crate) http_only: bool,
    /// `SameSite` and its value.
    pub(crate) same_site: Option<SameSite>,
    /// Names of cookies that are left as they are.
    pub(crate) exempt: Vec<String>,
}

/// A value of `SameSite` that makes a cookie safer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SameSite {
    /// With links to the site, too.
    Lax,
    /// With requests of the site's own only.
    Strict,
}

impl Cookies {
    /// Completes every `Set-Cookie`.
    pub(super) fn apply(&self, headers: &mut HeaderMap, over_tls: bool) {
        let Entry::Occupied(mut cookies) = headers.entry(SET_COOKIE) else { return };
        for cookie in cookies.iter_mut() {
            if let Some(complete) = self.complete(cookie, over_tls) {
                *cookie = complete;
            }
        }
    }

    /// The cookie with what it lacks, if anything.
    fn complete(&self, cookie: &HeaderValue, over_tls: bool) -> Option<HeaderValue> {
        let bytes = cookie.as_bytes();
        let mut parts = bytes.split(|byte| *byte == b';');
        let pair = parts.next().unwrap_or_default();
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        if self.exempt.iter().any(|exempt| exempt.as_bytes() == name) {
            return None;
        }
        let (mut secure, mut http_only, mut same_site) = (false, false, false);
        for attribute in parts {
            let mut attribute = attribute.splitn(2, |byte| *byte == b'=').map(<[u8]>::trim_ascii);
            let name = attribute.next().unwrap_or_default();
            let value = attribute.next().unwrap_or_default();
            secure |= name.eq_ignore_ascii_case(b"secure");
            http_only |= name.eq_ignore_ascii_case(b"httponly");
            // Of any other value browsers make what they like (RFC 6265bis, 5.6.7).
            let is_known = ["lax", "strict", "none"]
                .into_iter()
                .any(|known| value.eq_ignore_ascii_case(known.as_bytes()));
            same_site |= is_known && name.eq_ignore_ascii_case(b"samesite");
        }
        let mut missing = Vec::new();
        if self.secure && over_tls && !secure {
            missing.extend_from_slice(b"; Secure");
        }
        if self.http_only && !http_only {
            missing.extend_from_slice(b"; HttpOnly");
        }
        match self.same_site.filter(|_| !same_site) {
            Some(SameSite::Lax) => missing.extend_from_slice(b"; SameSite=Lax"),
            Some(SameSite::Strict) => missing.extend_from_slice(b"; SameSite=Strict"),
            None => {}
        }
        if missing.is_empty() {
            return None;
        }
        HeaderValue::from_bytes(&[bytes.trim_ascii_end(), &missing].concat()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_added_and_nothing_is_changed() {
        let cookies = Cookies {
            secure: true,
            http_only: true,
            same_site: Some(SameSite::Lax),
            exempt: vec!["XSRF-TOKEN".to_owned()],
        };
        for (before, after) in [
            ("a=b", "a=b; Secure; HttpOnly; SameSite=Lax"),
            ("a=b; Path=/; secure", "a=b; Path=/; secure; HttpOnly; SameSite=Lax"),
            ("a=b; SameSite=None", "a=b; SameSite=None; Secure; HttpOnly"),
            ("a=b;Secure;HttpOnly;SameSite=Strict", "a=b;Secure;HttpOnly;SameSite=Strict"),
            ("a=b; SameSite=maybe", "a=b; SameSite=maybe; Secure; HttpOnly; SameSite=Lax"),
            ("a=b; samesite = NONE ;Secure", "a=b; samesite = NONE ;Secure; HttpOnly"),
            ("a=secure; HTTPONLY", "a=secure; HTTPONLY; Secure; SameSite=Lax"),
            ("__Host-a=b; Path=/", "__Host-a=b; Path=/; Secure; HttpOnly; SameSite=Lax"),
            ("__Secure-a=b; Domain=c", "__Secure-a=b; Domain=c; Secure; HttpOnly; SameSite=Lax"),
            ("XSRF-TOKEN=x", "XSRF-TOKEN=x"),
            ("xsrf-token=x; Secure", "xsrf-token=x; Secure; HttpOnly; SameSite=Lax"),
            ("", "; Secure; HttpOnly; SameSite=Lax"),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(SET_COOKIE, before.parse().unwrap());
            headers.append(SET_COOKIE, "second=1".parse().unwrap());
            cookies.apply(&mut headers, true);
            let found: Vec<_> = headers.get_all(SET_COOKIE).iter().collect();
            assert_eq!(found, [after, "second=1; Secure; HttpOnly; SameSite=Lax"]);
        }
    }

    #[test]
    fn secure_is_said_over_tls_only() {
        let cookies =
            Cookies { secure: true, http_only: false, same_site: None, exempt: Vec::new() };
        let mut headers = HeaderMap::new();
        headers.append(SET_COOKIE, "a=b".parse().unwrap());
        cookies.apply(&mut headers, false);
        assert_eq!(headers[SET_COOKIE], "a=b");
    }
}
