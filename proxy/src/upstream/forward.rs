//! The head of a forwarded request, and of the response on its way back: what is dropped, what is
//! set.
//!
//! Hop-by-hop fields (RFC 9110, 7.6.1) end here. What a client says of itself ends here too, in
//! every spelling: names of anything but letters, digits and `-` are dropped, since a backend may
//! read them as others.
//! Gatehouse's own fields are set afterwards, so no `Connection` option can remove them.

use http::header::{self, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Uri, Version};
use smallvec::SmallVec;

use crate::body;
use crate::telemetry::Counter;
use crate::tls::client::ClientCertificate;
use crate::trailers;

/// What Gatehouse tells the upstream about the request.
pub(crate) struct Told<'a> {
    pub(crate) host: &'a HeaderValue,
    pub(crate) forwarded: &'a HeaderValue,
    pub(crate) forwarded_for: &'a HeaderValue,
    pub(crate) secure: bool,
    /// The request asks for a WebSocket.
    pub(crate) switches: bool,
    pub(crate) request_id: &'a HeaderValue,
    pub(crate) certificate: Option<&'a ClientCertificate>,
    /// Counts fields that are not passed on because of their names.
    pub(crate) dropped: &'a Counter,
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
const X_CLIENT_SUBJECT: HeaderName = HeaderName::from_static("x-client-subject");
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Turns a client's head into the one that goes upstream over HTTP/1.1.
pub(crate) fn request(head: &mut Parts, told: &Told<'_>) {
    let via = match head.version {
        Version::HTTP_2 => HeaderValue::from_static("2.0 gatehouse"),
        Version::HTTP_10 => HeaderValue::from_static("1.0 gatehouse"),
        _ => HeaderValue::from_static("1.1 gatehouse"),
    };
    head.version = Version::HTTP_11;
    if head.uri.authority().is_some() || head.uri.scheme().is_some() {
        let path = head.uri.path_and_query().cloned();
        head.uri = path.map_or_else(Uri::default, Uri::from);
    }
    // A query without a path, which absolute form may have: displayed, it is one with the root.
    if let Some(target) =
        head.uri.path_and_query().filter(|target| target.as_str().starts_with('?'))
    {
        head.uri = Uri::try_from(target.to_string()).unwrap_or_default();
    }
    let fields = &mut head.headers;
    let takes_trailers = trailers::are_taken(fields);
    trailers::declare(fields);
    strip(fields, |name| {
        let doomed = is_claim(name) || !is_plain(name);
        if doomed {
            told.dropped.add(1);
        }
        doomed
    });
    join_cookies(fields);
    fields.insert(header::HOST, told.host.clone());
    fields.insert(header::FORWARDED, told.forwarded.clone());
    fields.insert(X_FORWARDED_FOR, told.forwarded_for.clone());
    fields.insert(X_FORWARDED_HOST, told.host.clone());
    let proto = if told.secure { "https" } else { "http" };
    fields.insert(X_FORWARDED_PROTO, HeaderValue::from_static(proto));
    fields.insert(X_REQUEST_ID, told.request_id.clone());
    if let Some(certificate) = told.certificate {
        fields.insert(CLIENT_CERT, certificate.field.clone());
        fields.insert(X_CLIENT_SUBJECT, certificate.subject.clone());
    }
    fields.append(header::VIA, via);
    if takes_trailers && !told.switches {
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
        fields.insert(header::CONNECTION, HeaderValue::from_static("te")); // RFC 9110, 10.1.4
    }
}

/// Turns an upstream's head into the one that goes to the client. False if it cannot be passed on:
/// a switch of protocols that nobody asked for, or a body in a coding that is not understood here.
pub(crate) fn response(head: &mut http::response::Parts) -> bool {
    if head.status.is_informational() {
        return false;
    }
    // The version is a matter of each connection (RFC 9110, 2.5).
    head.version = Version::HTTP_11;
    let chunked = body::is_chunked(&head.headers);
    if let Ok(true) = chunked {
        // Passed on, it would cut the body.
        head.headers.remove(header::CONTENT_LENGTH);
    }
    trailers::declare(&mut head.headers);
    strip(&mut head.headers, |_| false);
    chunked.is_ok()
}

/// The fields of an interim response that go to the client.
pub(crate) fn interim(fields: &HeaderMap) -> HeaderMap {
    let mut fields = fields.clone();
    strip(&mut fields, |name| name == "content-length");
    fields
}

/// Turns the head by which an upstream switches protocols into the one that goes to the client.
pub(crate) fn switched(head: &mut http::response::Parts) {
    strip(&mut head.headers, |name| name == "content-length");
}

/// HTTP/2 may cut a cookie header into crumbs; HTTP/1.1 has one (RFC 9113, 8.2.3).
fn join_cookies(fields: &mut HeaderMap) {
    let mut crumbs = fields.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else { return };
    let mut whole = first.as_bytes().to_vec();
    for crumb in std::iter::once(second).chain(crumbs) {
        whole.extend_from_slice(b"; ");
        whole.extend_from_slice(crumb.as_bytes());
    }
    if let Ok(whole) = HeaderValue::try_from(whole) {
        fields.insert(header::COOKIE, whole);
    }
}

/// Removes hop-by-hop fields, those that `Connection` names, and those that `also` holds.
fn strip(fields: &mut HeaderMap, also: impl Fn(&str) -> bool) {
    let mut doomed: SmallVec<[HeaderName; 8]> = SmallVec::new();
    for name in fields.keys() {
        if is_hop_by_hop(name.as_str()) || also(name.as_str()) {
            doomed.push(name.clone());
        }
    }
    for value in fields.get_all(header::CONNECTION) {
        for option in value.to_str().unwrap_or_default().split(',') {
            let option = option.trim();
            if !is_hop_by_hop(option) && !is_end_to_end(option) {
                doomed.extend(HeaderName::from_bytes(option.as_bytes()));
            }
        }
    }
    for name in &doomed {
        fields.remove(name);
    }
}

pub(crate) fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
            | "expect"
    )
}

/// Fields that no `Connection` option may remove, because decisions or framing hang on them.
fn is_end_to_end(option: &str) -> bool {
    ["host", "content-length", "content-type", "authorization", "cookie", "cache-control", "close"]
        .iter()
        .any(|name| option.eq_ignore_ascii_case(name))
}

/// Whether a name is letters, digits and `-`. CGI-like backends read `_` and `.` as `-`, so a field
/// with one could pass for another that decisions were made on.
pub(crate) fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Whether a client says something of itself with this field that only a trusted proxy may say.
pub(crate) fn is_claim(name: &str) -> bool {
    name.starts_with("x-forwarded")
        || matches!(
            name,
            "forwarded"
                | "x-real-ip"
                | "x-client-ip"
                | "x-cluster-client-ip"
                | "x-request-id"
                | "x-original-forwarded-for"
                | "true-client-ip"
                | "cf-connecting-ip"
                | "remote-user"
                | "remote-addr"
                | "client-cert"
                | "client-cert-chain"
                | "x-client-subject"
        )
}

#[cfg(test)]
#[path = "forward_tests.rs"]
mod tests;
