//! Messages that no backend may see, because two programs could read them differently (RFC 9112,
//! 11.2).

use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderName, HeaderValue, Method, Uri, Version, header};
use http_body::Body as _;

use super::Origin;
use crate::body::{self, ClientBody, UnclearFraming};
use crate::connection::Hidden;
use crate::rejection::Rejection;

/// Whether a target has the scheme that its request came by: what asks for another is nothing that
/// can be had here (RFC 9110, 7.4). Over HTTP/1.1 only the absolute form has one (RFC 9112, 3.2.2).
/// Over HTTP/2 each has, but the library keeps it only beside an authority.
fn fits_scheme(uri: &Uri, secure: bool) -> bool {
    let own = if secure { Scheme::HTTPS } else { Scheme::HTTP };
    uri.scheme().is_none_or(|scheme| *scheme == own)
}

/// What the library does not look at: a value that begins or ends with a space is none (RFC 9113,
/// 8.2.1).
fn is_padded(value: &HeaderValue) -> bool {
    let (first, last) = (value.as_bytes().first(), value.as_bytes().last());
    [first, last].into_iter().flatten().any(|byte| matches!(byte, b' ' | b'\t'))
}

/// Bytes of a head as HTTP/1.1 writes it, whichever protocol it came by.
fn size(head: &Parts) -> usize {
    let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let host = head.uri.authority().map_or(0, |host| "host: \r\n".len() + host.as_str().len());
    let line = head.method.as_str().len() + target + "  HTTP/1.1\r\n".len();
    let field = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
    line + host + head.headers.iter().map(field).sum::<usize>()
}

/// Refuses them. The framing itself is hyper's to parse; what it accepts and should not,
/// or no longer shows, is refused here.
pub(super) fn check(
    head: &Parts,
    origin: &Origin,
    body: Option<&ClientBody>,
    secure: bool,
    switches: bool,
) -> Result<(), Rejection> {
    let limits = origin.worker.limits();
    if origin.watch.is_crowded(&limits) {
        return Err(Rejection::ConnectionSaturated);
    }
    let has_body = body.is_some_and(|body| !body.is_end_stream());
    let hidden = match head.version {
        Version::HTTP_2 => Some(Hidden::default()),
        _ => origin.watch.head.take(&head.method, head.headers.len(), has_body),
    };
    let is_http2 = head.version == Version::HTTP_2;
    if !fits_scheme(&head.uri, secure) || is_http2 && head.headers.values().any(is_padded) {
        return Err(Rejection::Malformed);
    }
    if size(head) > limits.header_bytes || head.headers.len() > limits.header_count {
        return Err(Rejection::HeadTooLarge);
    }
    if switches && has_body {
        return Err(Rejection::FramingInvalid);
    }
    if matches!(head.method, Method::CONNECT | Method::TRACE) && !switches {
        return Err(Rejection::MethodRefused);
    }
    let chunked =
        body::is_chunked(&head.headers).map_err(|UnclearFraming| Rejection::FramingInvalid)?;
    let clear = match hidden {
        Some(hidden) => !(hidden.bare_lf || chunked && hidden.content_length),
        None => !chunked,
    };
    if !clear {
        return Err(Rejection::FramingInvalid);
    }
    let expectations = head.headers.get_all(header::EXPECT).iter();
    if { expectations }.any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Rejection::ExpectationUnknown);
    }
    Ok(())
}
