//! Trailer fields: what may come behind a body, in either direction (RFC 9110, 6.5).
//!
//! Some recipients merge trailers into the fields of the head, long after everybody on the way has
//! made decisions by those. So nothing passes that says how a message is framed, routed,
//! authenticated, cached or shown; nor what a client may not say of itself, in any spelling.
//!
//! HTTP/2 sends trailers as they come. HTTP/1.1 sends those that the head's `Trailer` has named, in
//! chunked messages, and to a client only if it said `TE: trailers`; so does Gatehouse over both.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::upstream::forward;

/// Whether the sender of these fields takes trailers (RFC 9110, 10.1.4).
pub(crate) fn are_taken(fields: &HeaderMap) -> bool {
    let values = fields.get_all(header::TE).iter().filter_map(|value| value.to_str().ok());
    { values }
        .any(|value| value.split(',').any(|item| item.trim().eq_ignore_ascii_case("trailers")))
}

/// The trailers that may pass; `None` if there is none.
pub(crate) fn passing(mut trailers: HeaderMap) -> Option<HeaderMap> {
    let doomed: Vec<HeaderName> =
        trailers.keys().filter(|name| !may_pass(name.as_str())).cloned().collect();
    for name in doomed {
        trailers.remove(name);
    }
    (!trailers.is_empty()).then_some(trailers)
}

/// Leaves only names of trailers that may pass in the `Trailer` of a head.
pub(crate) fn declare(fields: &mut HeaderMap) {
    if !fields.contains_key(header::TRAILER) {
        return;
    }
    let values = fields.get_all(header::TRAILER).iter().filter_map(|value| value.to_str().ok());
    let names = values.flat_map(|value| value.split(',')).map(str::trim);
    let lower = names.map(str::to_ascii_lowercase);
    let passing: Vec<String> = lower.filter(|name| !name.is_empty() && may_pass(name)).collect();
    match HeaderValue::try_from(passing.join(", ")) {
        Ok(value) if !value.is_empty() => _ = fields.insert(header::TRAILER, value),
        _ => _ = fields.remove(header::TRAILER),
    }
}

/// `name` is in lower case.
fn may_pass(name: &str) -> bool {
    const FAMILIES: [&str; 9] = [
        "accept",
        "access-control-",
        "content-",
        "cross-origin-",
        "if-",
        "proxy-",
        "ratelimit",
        "sec-",
        "x-content-",
    ];
    forward::is_plain(name)
        && !forward::is_claim(name)
        && !forward::is_hop_by_hop(name)
        && !FAMILIES.iter().any(|family| name.starts_with(family))
        && !is_for_the_head(name)
}

/// Fields by which requests are routed, authenticated or changed, and responses kept or shown.
fn is_for_the_head(name: &str) -> bool {
    matches!(
        name,
        "age"
            | "alt-svc"
            | "authorization"
            | "cache-control"
            | "clear-site-data"
            | "cookie"
            | "date"
            | "early-data"
            | "expires"
            | "from"
            | "host"
            | "last-modified"
            | "link"
            | "location"
            | "max-forwards"
            | "origin"
            | "origin-agent-cluster"
            | "permissions-policy"
            | "pragma"
            | "priority"
            | "range"
            | "referer"
            | "referrer-policy"
            | "refresh"
            | "retry-after"
            | "server"
            | "set-cookie"
            | "strict-transport-security"
            | "trailer"
            | "user-agent"
            | "vary"
            | "via"
            | "warning"
            | "www-authenticate"
            | "x-api-key"
            | "x-csrf-token"
            | "x-frame-options"
            | "x-http-method"
            | "x-http-method-override"
            | "x-method-override"
            | "x-original-url"
            | "x-rewrite-url"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let fields = list
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let mut map = HeaderMap::new();
        fields.for_each(|(name, value)| _ = map.append(name, value));
        map
    }

    #[test]
    fn what_a_head_is_for_never_comes_behind_a_body() {
        for name in [
            "content-length",
            "transfer-encoding",
            "content-type",
            "host",
            "authorization",
            "cookie",
            "set-cookie",
            "x-forwarded-for",
            "x_forwarded_for",
            "forwarded",
            "x-real-ip",
            "x-request-id",
            "connection",
            "te",
            "trailer",
            "content-security-policy",
            "grpc_status",
            "cache-control",
        ] {
            assert_eq!(passing(fields(&[(name, "1")])), None, "{name}");
            let mut head = fields(&[("trailer", name)]);
            declare(&mut head);
            assert!(head.is_empty(), "{name}");
        }
        let kept = fields(&[("grpc-status", "0"), ("x-checksum", "a"), ("x-checksum", "b")]);
        assert_eq!(passing(kept.clone()), Some(kept));
    }

    #[test]
    fn only_names_that_may_pass_are_declared() {
        let mut head = fields(&[("trailer", "X-Checksum, Host"), ("trailer", "etag,,")]);
        declare(&mut head);
        assert_eq!(head, fields(&[("trailer", "x-checksum, etag")]));
        assert!(are_taken(&fields(&[("te", "deflate;q=0.5, Trailers")])));
        assert!(!are_taken(&fields(&[("te", "deflate")])));
    }
}
