//! The head of a response: parsed, and what it says of its body and of the connection.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version};
use hyper::ext::ReasonPhrase;

use super::Framing;
use super::chunked::Chunked;
use crate::body;
use crate::upstream::link::Broken;
use crate::worker::Worker;

/// Fields of a head, or of trailers.
const FIELDS: usize = 100;

/// Fields that Gatehouse adds to a response, more or less.
const ADDED: usize = 16;

/// A head that has come whole.
pub(super) struct Head {
    pub(super) response: Response<()>,
    /// The server would take another request on the connection (RFC 9112, 9.3).
    pub(super) keeps_alive: bool,
}

/// Takes a head from the front of `unread`, of which so much has been looked at in vain. `None` if
/// its end is missing.
pub(super) fn parse(unread: &mut BytesMut, looked_at: &mut usize) -> Result<Option<Head>, Broken> {
    let Some(end) = end(unread, *looked_at) else {
        *looked_at = unread.len();
        return if unread.len() < Worker::BUFFER { Ok(None) } else { Err(Broken::TooLarge) };
    };
    if end > Worker::BUFFER {
        return Err(Broken::TooLarge);
    }
    let head = unread.split_to(end).freeze();
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let parser = httparse::ParserConfig::default();
    let outcome = parser.parse_response_with_uninit_headers(&mut parsed, &head, &mut fields)?;
    if outcome.is_partial() {
        return Err(Broken::Head);
    }
    let mut response = Response::new(());
    let status = StatusCode::from_u16(parsed.code.unwrap_or_default());
    *response.status_mut() = status.map_err(|_| Broken::Head)?;
    let is_11 = parsed.version == Some(1);
    *response.version_mut() = if is_11 { Version::HTTP_11 } else { Version::HTTP_10 };
    let canonical = response.status().canonical_reason();
    if let Some(reason) =
        parsed.reason.filter(|reason| !reason.is_empty() && parsed.reason != canonical)
    {
        let reason = ReasonPhrase::try_from(reason.as_bytes());
        response.extensions_mut().insert(reason.map_err(|_| Broken::Head)?);
    }
    *response.headers_mut() = map(&head, parsed.headers, ADDED)?;
    let keeps_alive = keeps_alive(response.headers(), is_11) && !contradicts_itself(&response);
    Ok(Some(Head { response, keeps_alive }))
}

/// Where an empty line ends a head, if it comes after `looked_at`: one that is sent byte by byte is
/// not read from the beginning each time.
fn end(bytes: &[u8], looked_at: usize) -> Option<usize> {
    let from = looked_at.saturating_sub(3);
    let tail = bytes.get(from..)?;
    memchr::memchr_iter(b'\n', tail).find_map(|line| {
        let after = tail.get(line + 1..)?;
        let empty = [&b"\r\n"[..], b"\n"].into_iter().find(|end| after.starts_with(end))?;
        Some(from + line + 1 + empty.len())
    })
}

/// The fields of a head, with room for some `more`. Their values share its memory.
fn map(head: &Bytes, parsed: &[httparse::Header<'_>], more: usize) -> Result<HeaderMap, Broken> {
    let mut fields = HeaderMap::with_capacity(parsed.len() + more);
    for httparse::Header { name, value } in parsed {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Broken::Head)?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(value));
        fields.append(name, value.map_err(|_| Broken::Head)?);
    }
    Ok(fields)
}

/// The fields behind a body; `bytes` end with the empty line.
pub(super) fn trailers(bytes: &Bytes) -> Result<HeaderMap, Broken> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    match httparse::parse_headers(bytes, &mut fields)? {
        httparse::Status::Complete((_, parsed)) => map(bytes, parsed, 0),
        httparse::Status::Partial => Err(Broken::Head),
    }
}

/// Whether it is ahead of another head (RFC 9110, 15.2). After 101 there is no HTTP.
pub(super) fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

fn keeps_alive(fields: &HeaderMap, is_11: bool) -> bool {
    let (mut closes, mut keeps) = (false, is_11);
    for value in fields.get_all(CONNECTION) {
        for option in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            closes |= option.eq_ignore_ascii_case(b"close");
            keeps |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
    keeps && !closes
}

/// Whether a body is announced where there cannot be one: who knows what follows.
fn contradicts_itself(response: &Response<()>) -> bool {
    let fields = response.headers();
    let length = fields.get(CONTENT_LENGTH).map(HeaderValue::as_bytes);
    response.status() == StatusCode::NO_CONTENT
        && (fields.contains_key(TRANSFER_ENCODING) || length.is_some_and(|length| length != b"0"))
}

/// How the body of the response to a request with this method ends.
pub(super) fn framing(method: &Method, response: &Response<()>) -> Result<Framing, Broken> {
    let (status, fields) = (response.status(), response.headers());
    let is_bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if method == Method::HEAD || is_bodiless || status.is_informational() {
        return Ok(Framing::Length(0));
    }
    match body::is_chunked(fields) {
        // Nobody who speaks HTTP/1.0 can mean it (RFC 9112, 6.1).
        Ok(true) if response.version() == Version::HTTP_10 => Err(Broken::Framing),
        Ok(true) => Ok(Framing::Chunked(Chunked::default())),
        Err(_) => Err(Broken::Framing),
        Ok(false) => Ok(length(fields)?.map_or(Framing::Close, Framing::Length)),
    }
}

/// The length that all of `Content-Length` agree upon.
fn length(fields: &HeaderMap) -> Result<Option<u64>, Broken> {
    let values = fields.get_all(CONTENT_LENGTH).iter();
    let mut all = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let Some(first) = all.next() else { return Ok(None) };
    let first = number(first).ok_or(Broken::Framing)?;
    match all.all(|other| number(other) == Some(first)) {
        true => Ok(Some(first)),
        false => Err(Broken::Framing),
    }
}

/// Digits and nothing else, but for white space around them.
fn number(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    let digits = text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
