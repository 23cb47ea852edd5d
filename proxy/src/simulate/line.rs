//! One line of an access log: Gatehouse's own JSON, Caddy's JSON, or the "combined" format of nginx
//! and Apache.

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::{REFERER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};
use serde::Deserialize;

/// A request as a log tells of it.
#[derive(Debug)]
pub(super) struct Entry {
    /// Nanoseconds since 1970, UTC.
    pub(super) time: u64,
    pub(super) client: IpAddr,
    pub(super) method: Method,
    /// As logged; not every format has it.
    pub(super) host: Option<String>,
    /// Without the query.
    pub(super) path: String,
    pub(super) status: Option<u16>,
    /// What little a log holds of them.
    pub(super) fields: HeaderMap,
    /// Whether Gatehouse answered before any rule was asked.
    pub(super) undecided: bool,
}

/// Reads a line; `None` if it is in none of the formats, or lacks what a rule needs.
pub(super) fn parse(line: &[u8]) -> Option<Entry> {
    let line = line.trim_ascii();
    match line.first()? {
        b'{' => {
            let json: Json<'_> = serde_json::from_slice(line).ok()?;
            if json.request.is_some() { json.caddy() } else { json.own() }
        }
        _ => combined(std::str::from_utf8(line).ok()?),
    }
}

/// The fields of both kinds of JSON that are looked at.
#[derive(Deserialize)]
struct Json<'a> {
    #[serde(borrow)]
    time: Option<Cow<'a, str>>,
    #[serde(borrow)]
    client: Option<Cow<'a, str>>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    host: Option<Cow<'a, str>>,
    #[serde(borrow)]
    path: Option<Cow<'a, str>>,
    status: Option<u16>,
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    route: Option<Cow<'a, str>>,
    /// Seconds since 1970, of Caddy.
    ts: Option<f64>,
    #[serde(borrow)]
    request: Option<CaddyRequest<'a>>,
}

#[derive(Deserialize)]
struct CaddyRequest<'a> {
    #[serde(borrow)]
    client_ip: Option<Cow<'a, str>>,
    #[serde(borrow)]
    remote_ip: Option<Cow<'a, str>>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    host: Option<Cow<'a, str>>,
    #[serde(borrow)]
    uri: Cow<'a, str>,
}

impl Json<'_> {
    fn own(self) -> Option<Entry> {
        let time: jiff::Timestamp = self.time?.parse().ok()?;
        // A rejection before the rules, or a redirect to https.
        let before = self.reason.is_some_and(|reason| {
            !matches!(&*reason, "rate_limited" | "client_gone") && !reason.starts_with("upstream_")
        });
        Some(Entry {
            time: u64::try_from(time.as_nanosecond()).ok()?,
            client: self.client?.parse().ok()?,
            method: self.method?.parse().ok()?,
            host: self.host.map(Cow::into_owned),
            path: without_query(&self.path?).to_owned(),
            status: self.status,
            fields: HeaderMap::new(),
            undecided: self.route.is_none() || before && self.status.is_none_or(|s| s < 500),
        })
    }

    fn caddy(self) -> Option<Entry> {
        let request = self.request?;
        let seconds = self.ts.filter(|seconds| *seconds >= 0.0 && *seconds < 1e10)?;
        Some(Entry {
            time: nanoseconds(seconds),
            client: request.client_ip.or(request.remote_ip)?.parse().ok()?,
            method: request.method.parse().ok()?,
            host: request.host.map(Cow::into_owned),
            path: without_query(&request.uri).to_owned(),
            status: self.status,
            fields: HeaderMap::new(),
            undecided: false,
        })
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 10^10 seconds")]
fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e6) as u64 * 1_000
}

/// `client - user [time] "METHOD target PROTOCOL" status bytes "referer" "user agent"`, perhaps
/// with the host before the client, as Apache's `vhost_combined` has it.
fn combined(line: &str) -> Option<Entry> {
    let (before, rest) = line.split_once(" [")?;
    let (time, rest) = rest.split_once("] \"")?;
    let (request, rest) = quoted(rest)?;
    let mut words = before.split(' ');
    let (host, client) = match words.next()? {
        first if first.parse::<IpAddr>().is_ok() => (None, first),
        first => (Some(first), words.next()?),
    };
    let mut parts = request.split(' ');
    let (method, target) = (parts.next()?, parts.next()?);
    let mut after = rest.trim_start().splitn(3, ' ');
    let (status, _bytes) = (after.next()?, after.next()?);
    let mut fields = HeaderMap::new();
    let mut texts = after.next().unwrap_or_default();
    for name in [REFERER, USER_AGENT] {
        let Some((text, rest)) = texts.trim_start().strip_prefix('"').and_then(quoted) else {
            break;
        };
        if text != "-"
            && let Ok(value) = HeaderValue::from_str(&text)
        {
            fields.insert(name, value);
        }
        texts = rest;
    }
    Some(Entry {
        time: clf_time(time)?,
        client: client.parse().ok()?,
        method: method.parse().ok()?,
        host: host.map(str::to_owned),
        path: without_query(target).to_owned(),
        status: status.parse().ok(),
        fields,
        undecided: false,
    })
}

/// The text up to the quote that ends it, unescaped, and what follows.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut escaped = false;
    let end = text.char_indices().find_map(|(at, c)| match c {
        '"' if !escaped => Some(at),
        _ => {
            escaped = c == '\\' && !escaped;
            None
        }
    })?;
    let (inside, rest) = (text.get(..end)?, text.get(end + 1..)?);
    let inside = match inside.contains('\\') {
        true => Cow::Owned(inside.replace("\\\"", "\"").replace("\\\\", "\\")),
        false => Cow::Borrowed(inside),
    };
    Some((inside, rest))
}

/// `24/Nov/2026:12:00:00 +0000`, in nanoseconds since 1970.
fn clf_time(text: &str) -> Option<u64> {
    let time = jiff::fmt::strtime::parse("%d/%b/%Y:%H:%M:%S %z", text).ok()?.to_timestamp().ok()?;
    u64::try_from(time.as_nanosecond()).ok()
}

/// The path of a target: without the query, and of an absolute URL without scheme and authority.
fn without_query(target: &str) -> &str {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    match path.split_once("://") {
        Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 1_795_521_600_000_000_000; // 2026-11-24 12:00:00 UTC

    #[test]
    fn every_format_is_read() {
        for (line, host, fields) in [
            (
                r#"{"time":"2026-11-24T12:00:00.000Z","request_id":"x","client":"192.0.2.1",
                    "method":"POST","host":"a.example","path":"/login?next","status":401,
                    "bytes_in":0,"route":"/{*rest}"}"#,
                Some("a.example"),
                0,
            ),
            (
                r#"{"level":"info","ts":1795521600.0,"logger":"http.log.access","request":{
                    "remote_ip":"192.0.2.9","client_ip":"192.0.2.1","method":"POST",
                    "host":"a.example","uri":"/login?next=1","headers":{"User-Agent":["x"]}},
                    "status":401,"duration":0.1}"#,
                Some("a.example"),
                0,
            ),
            (
                concat!(
                    r#"192.0.2.1 - - [24/Nov/2026:13:00:00 +0100] "#,
                    r#""POST /login?next=1 HTTP/1.1" 401 12 "-" "curl \"8\"""#,
                ),
                None,
                1,
            ),
            (
                concat!(
                    r#"a.example 192.0.2.1 - bob [24/Nov/2026:12:00:00 +0000] "#,
                    r#""POST http://a.example/login HTTP/1.1" 401 -"#,
                ),
                Some("a.example"),
                0,
            ),
        ] {
            let entry = parse(line.as_bytes()).unwrap_or_else(|| panic!("{line}"));
            assert_eq!((entry.time, entry.client.to_string().as_str()), (NOON, "192.0.2.1"));
            assert_eq!((entry.method, entry.path.as_str()), (Method::POST, "/login"), "{line}");
            assert_eq!((entry.status, entry.host.as_deref()), (Some(401), host), "{line}");
            assert_eq!((entry.fields.len(), entry.undecided), (fields, false), "{line}");
        }
    }

    #[test]
    fn what_no_rule_was_asked_of_is_known() {
        let line = |more: &str| {
            let start =
                r#"{"time":"2026-11-24T12:00:00Z","client":"::1","method":"GET","path":"/""#;
            parse(format!("{start},{more}}}").as_bytes()).unwrap().undecided
        };
        assert!(!line(r#""status":200,"route":"/""#));
        assert!(!line(r#""status":429,"route":"/","reason":"rate_limited""#));
        assert!(!line(r#""status":502,"route":"/","reason":"upstream_unreachable""#));
        assert!(line(r#""status":403,"route":"/","reason":"client_denied""#));
        assert!(line(r#""status":421,"reason":"host_unknown""#));
    }

    #[test]
    fn what_is_no_line_of_a_log_is_none() {
        for line in [
            "",
            "{",
            "{}",
            "hello",
            r#"- - - [24/Nov/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 1"#,
            r#"192.0.2.1 - - [yesterday] "GET / HTTP/1.1" 200 1"#,
            r#"192.0.2.1 - - [24/Nov/2026:12:00:00 +0000] "GET"#,
            r#"{"ts":-1,"request":{"client_ip":"192.0.2.1","method":"GET","uri":"/"}}"#,
        ] {
            assert!(parse(line.as_bytes()).is_none(), "{line}");
        }
        assert!(parse(&[0xff, 0xfe]).is_none());
    }
}
