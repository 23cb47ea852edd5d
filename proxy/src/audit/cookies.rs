//! Cookies: `Secure`, `HttpOnly` and `SameSite` of whatever is set on the way to the page.

use std::collections::BTreeMap;

use http::HeaderValue;

use super::Finding;

/// A cookie by which a hosting company finds its own servers again, whatever the site does.
const NOT_THE_SITES: &str = "heroku-session-affinity";

/// One `Set-Cookie` (RFC 6265, 4.1).
#[derive(Default)]
struct Cookie<'a> {
    name: &'a str,
    secure: bool,
    http_only: bool,
    same_site: Option<String>,
}

impl<'a> Cookie<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next().and_then(|pair| pair.split('=').next()).unwrap_or_default();
        let mut cookie = Self { name, ..Self::default() };
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            match key.trim().to_ascii_lowercase().as_str() {
                "secure" => cookie.secure = true,
                "httponly" => cookie.http_only = true,
                "samesite" => cookie.same_site = Some(value.trim().to_ascii_lowercase()),
                _ => {}
            }
        }
        cookie
    }

    fn is_named(&self, parts: &[&str]) -> bool {
        let name = self.name.to_ascii_lowercase();
        parts.iter().any(|part| name.contains(part))
    }

    /// `SameSite`, if it has a meaning.
    fn same_site(&self) -> Option<&str> {
        let known = |value: &&str| ["lax", "strict", "none"].contains(value);
        self.same_site.as_deref().filter(known)
    }

    /// Everything that is to be said of it, in the Observatory's order: place, score, result,
    /// sentence.
    fn faults(&self, hsts: bool) -> impl Iterator<Item = (u8, i32, &'static str, &'static str)> {
        let session = self.is_named(&["login", "sess"]);
        let invalid = self.same_site.is_some() && self.same_site().is_none()
            || self.same_site() == Some("none") && !self.secure;
        let unguarded = self.is_named(&["csrf"]) && self.same_site().is_none();
        let (open, readable) = (!self.secure, session && !self.http_only);
        [
            (
                open && hsts,
                -5,
                "cookies-without-secure-flag-but-protected-by-hsts",
                "is Secure only by HSTS",
            ),
            (open && !hsts, -20, "cookies-without-secure-flag", "is not Secure"),
            (
                session && open && hsts,
                -10,
                "cookies-session-without-secure-flag-but-protected-by-hsts",
                "is a session's and Secure only by HSTS",
            ),
            (
                invalid,
                -20,
                "cookies-samesite-flag-invalid",
                "has a SameSite that browsers do not take",
            ),
            (
                unguarded,
                -20,
                "cookies-anticsrf-without-samesite-flag",
                "guards forms without SameSite",
            ),
            (
                readable,
                -30,
                "cookies-session-without-httponly-flag",
                "is a session's and not HttpOnly",
            ),
            (
                session && open && !hsts,
                -40,
                "cookies-session-without-secure-flag",
                "is a session's and not Secure",
            ),
        ]
        .into_iter()
        .zip(0_u8..)
        .filter(|((holds, ..), _)| *holds)
        .map(|((_, score, result, what), place)| (place, score, result, what))
    }
}

/// The worst of all cookies decides; `hsts` says whether HSTS is in order.
pub(super) fn judge(set: &[HeaderValue], hsts: bool) -> Finding {
    let test = "cookies";
    let texts = set.iter().filter_map(|value| value.to_str().ok());
    // The last of a name is the one that stays.
    let cookies: BTreeMap<_, _> =
        texts.map(Cookie::parse).map(|cookie| (cookie.name, cookie)).collect();
    let cookies: Vec<_> = cookies
        .into_values()
        .filter(|cookie| !cookie.name.is_empty() && cookie.name != NOT_THE_SITES)
        .collect();
    if cookies.is_empty() {
        return Finding::good(test, "cookies-not-found", 0, "none are set");
    }
    let faults =
        cookies.iter().flat_map(|cookie| cookie.faults(hsts).map(|fault| (fault, cookie.name)));
    if let Some(((_, score, result, what), name)) = faults.max() {
        let remedy =
            "cookies = { secure = true, http_only = true, same_site = \"lax\" } in [headers.NAME]";
        return Finding::bad(test, result, score, format!("`{name}` {what}"), remedy);
    }
    match cookies.iter().all(|cookie| cookie.same_site().is_some()) {
        true => {
            let result = "cookies-secure-with-httponly-sessions-and-samesite";
            Finding::good(test, result, 5, "all are Secure and SameSite")
        }
        false => {
            let result = "cookies-secure-with-httponly-sessions";
            Finding::good(test, result, 0, "all are Secure, not all are SameSite")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(cookies: &[&'static str], hsts: bool) -> i32 {
        let cookies: Vec<_> = cookies.iter().copied().map(HeaderValue::from_static).collect();
        judge(&cookies, hsts).score
    }

    #[test]
    fn the_worst_cookie_decides() {
        for (cookies, hsts, expected) in [
            (&[][..], true, 0),
            (&["heroku-session-affinity=1"], false, 0),
            (&["a=1; Secure; SameSite=Lax"], false, 5),
            (&["a=1; Secure; SameSite=None"], false, 5),
            (&["a=1; secure", "sessid=2; Secure; HttpOnly; SameSite=Strict"], false, 0),
            (&["sessid=1; HttpOnly"], false, -40),
            (&["sessid=1; HttpOnly"], true, -10),
            (&["sessid=1; Secure", "a=1"], true, -30),
            (&["a=1"], false, -20),
            (&["a=1"], true, -5),
            (&["a=1", "a=1; Secure; SameSite=Lax"], true, 5),
            (&["a=1; SameSite=None"], true, -20),
            (&["a=1; Secure; SameSite=maybe"], true, -20),
            (&["a=1; Secure; SameSite"], true, -20),
            (&["csrftoken=1; Secure"], true, -20),
        ] {
            assert_eq!(score(cookies, hsts), expected, "{cookies:?} {hsts}");
        }
    }
}
