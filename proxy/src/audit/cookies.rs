//! Cookies: `Secure`, `HttpOnly` and `SameSite` of whatever the page sets.

use http::{HeaderMap, header};

use super::Finding;

/// One `Set-Cookie` (RFC 6265, 4.1).
#[derive(Default)]
struct Cookie<'a> {
    name: &'a str,
    secure: bool,
    http_only: bool,
    same_site: Option<&'a str>,
}

impl<'a> Cookie<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next().and_then(|pair| pair.split('=').next()).unwrap_or_default();
        let mut cookie = Self { name, ..Self::default() };
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            match key.to_ascii_lowercase().as_str() {
                "secure" => cookie.secure = true,
                "httponly" => cookie.http_only = true,
                "samesite" => cookie.same_site = Some(value),
                _ => {}
            }
        }
        cookie
    }

    fn is_named(&self, parts: &[&str]) -> bool {
        let name = self.name.to_ascii_lowercase();
        parts.iter().any(|part| name.contains(part))
    }

    /// Whether it stands for whoever is logged in.
    fn is_session(&self) -> bool {
        self.is_named(&["login", "sess"])
    }

    fn same_site_is(&self, values: &[&str]) -> bool {
        self.same_site.is_some_and(|own| values.iter().any(|v| own.eq_ignore_ascii_case(v)))
    }
}

/// The worst of all cookies decides.
pub(super) fn judge(headers: &HeaderMap) -> Finding {
    let test = "cookies";
    let all = headers.get_all(header::SET_COOKIE);
    let cookies: Vec<_> =
        all.iter().filter_map(|value| value.to_str().ok()).map(Cookie::parse).collect();
    if cookies.is_empty() {
        return Finding::good(test, "cookies-not-found", 0, "none are set");
    }
    let hsts = headers.contains_key(header::STRICT_TRANSPORT_SECURITY);
    let remedy = "cookies are hardened by default; see `cookies` of [headers.NAME]";
    let worst = cookies.iter().filter_map(|cookie| fault(cookie, hsts)).min();
    if let Some((score, result, what)) = worst {
        return Finding::bad(test, result, score, what, remedy);
    }
    let everywhere = cookies.iter().all(|cookie| cookie.same_site_is(&["lax", "strict"]));
    match everywhere {
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

/// The worst that is to be said of a cookie: score, result, sentence.
fn fault(cookie: &Cookie<'_>, hsts: bool) -> Option<(i32, &'static str, String)> {
    let Cookie { name, .. } = cookie;
    let session = cookie.is_session();
    let say = |score, result, what: &str| Some((score, result, format!("`{name}` {what}")));
    match (cookie.secure, session, hsts) {
        (false, true, false) => {
            say(-40, "cookies-session-without-secure-flag", "is a session's and not Secure")
        }
        _ if session && !cookie.http_only => {
            say(-30, "cookies-session-without-httponly-flag", "is a session's and not HttpOnly")
        }
        (false, false, false) => say(-20, "cookies-without-secure-flag", "is not Secure"),
        _ if cookie.same_site.is_some() && !cookie.same_site_is(&["lax", "strict", "none"]) => {
            say(-20, "cookies-samesite-flag-invalid", "has an unknown SameSite")
        }
        _ if cookie.is_named(&["csrf", "xsrf"]) && cookie.same_site.is_none() => {
            say(-20, "cookies-anticsrf-without-samesite-flag", "guards forms without SameSite")
        }
        (false, true, true) => {
            let result = "cookies-session-without-secure-flag-but-protected-by-hsts";
            say(-10, result, "is a session's and Secure only by HSTS")
        }
        (false, false, true) => {
            let result = "cookies-without-secure-flag-but-protected-by-hsts";
            say(-5, result, "is Secure only by HSTS")
        }
        (true, ..) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::fields;
    use super::*;

    fn score(cookies: &[&str], hsts: bool) -> i32 {
        let mut all: Vec<_> = cookies.iter().map(|cookie| ("set-cookie", *cookie)).collect();
        if hsts {
            all.push(("strict-transport-security", "max-age=1"));
        }
        judge(&fields(&all)).score
    }

    #[test]
    fn the_worst_cookie_decides() {
        assert_eq!(score(&[], true), 0);
        assert_eq!(score(&["a=1; Secure; SameSite=Lax"], false), 5);
        assert_eq!(
            score(&["a=1; secure", "sessid=2; Secure; HttpOnly; SameSite=Strict"], false),
            0
        );
        assert_eq!(score(&["sessid=1; HttpOnly"], false), -40);
        assert_eq!(score(&["sessid=1; HttpOnly"], true), -10);
        assert_eq!(score(&["sessid=1; Secure", "a=1"], true), -30);
        assert_eq!(score(&["a=1"], false), -20);
        assert_eq!(score(&["a=1"], true), -5);
        assert_eq!(score(&["a=1; Secure; SameSite=maybe"], true), -20);
        assert_eq!(score(&["csrftoken=1; Secure"], true), -20);
    }
}
