//! Responses made smaller on their way to the client: which of them, in which content coding, and
//! what their fields say then (RFC 9110, 8.4 and 12.5.3).
//!
//! A response is a candidate if its route names codings, its type is text of some kind, it is not
//! coded yet, nobody forbids a transformation, and it is large enough to be worth it. A candidate
//! says `Vary: Accept-Encoding` whatever this client gets; one that is coded loses its length, its
//! `Accept-Ranges`, and the strength of its `ETag`, since its bytes are no longer the upstream's.
//!
//! # BREACH
//!
//! Where a page holds a secret and repeats what an attacker sends, the length of its compressed
//! form tells the secret. `compress = []` on such a route ends that. `compress_padding = true` adds
//! a random number of bytes where the format has room for them, which makes the attack many times
//! slower and does not end it; brotli's encoder has no such place, so padded routes do without it.

mod accept;
mod body;
mod encoder;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use http::response::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};

pub(crate) use self::body::Coded;
use self::encoder::Encoder;
use crate::telemetry::Counters;

/// A content coding that Gatehouse can give a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// RFC 8878.
    Zstd,
    /// RFC 7932.
    Brotli,
    /// RFC 1952.
    Gzip,
}

impl Coding {
    /// Every coding.
    pub(crate) const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// The coding of a registered name, in any case (RFC 9110, 8.4.1).
    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        let name = if name.eq_ignore_ascii_case(b"x-gzip") { b"gzip" } else { name };
        Self::ALL.into_iter().find(|coding| name.eq_ignore_ascii_case(coding.name().as_bytes()))
    }

    /// Its registered name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }
}

/// What the responses of a route are compressed with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compression {
    /// The one that is preferred first; none switches compression off.
    pub codings: Vec<Coding>,
    /// Whether the length is blurred by random bytes.
    pub padding: bool,
}

/// What a client takes of what its route offers.
pub(crate) struct Choice {
    /// `None` if it takes none: the response varies all the same.
    coding: Option<Coding>,
    padding: bool,
    room: Rc<Room>,
}

impl Compression {
    /// `None` if the route compresses nothing.
    pub(crate) fn choose(&self, request: &HeaderMap, room: &Rc<Room>) -> Option<Choice> {
        if self.codings.is_empty() || forbids_transformation(request) {
            return None;
        }
        let padding = self.padding;
        let offered = self.codings.iter().copied();
        let offered = offered.filter(|coding| !padding || *coding != Coding::Brotli);
        let coding = accept::choose(offered, request);
        Some(Choice { coding, padding, room: Rc::clone(room) })
    }
}

impl Choice {
    /// The coding that the upstream had chosen, for what was decoded on the way.
    pub(crate) fn again(coding: Coding, room: &Rc<Room>) -> Self {
        Self { coding: Some(coding), padding: false, room: Rc::clone(room) }
    }

    /// Whether the client takes any.
    pub(crate) fn codes(&self) -> bool {
        self.coding.is_some()
    }

    /// Rewrites the head of a response that is a candidate. What comes back is the encoder that its
    /// body has to go through.
    pub(crate) fn apply(self, head: &mut Parts) -> Option<Encoding> {
        if !is_candidate(head) {
            return None;
        }
        let fields = &mut head.headers;
        vary(fields);
        let coding = self.coding?;
        let slot = Slot::take(&self.room)?;
        // The library has no memory left: the response goes out as it is.
        let encoder = Encoder::new(coding, self.padding).ok()?;
        fields.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        fields.remove(header::CONTENT_LENGTH);
        fields.remove(header::ACCEPT_RANGES);
        weaken(fields);
        Some(Encoding { encoder, slot })
    }
}

/// What a body has to go through, and its place among those of the worker.
pub(crate) struct Encoding {
    encoder: Encoder,
    slot: Slot,
}

/// The encoders of one worker.
pub(crate) struct Room {
    used: Cell<usize>,
    counters: Arc<Counters>,
}

impl Room {
    /// Responses that are being compressed at a time; what comes on top goes out as it is. An
    /// encoder holds up to 1.5 MiB.
    const ENCODERS: usize = 64;

    pub(crate) fn new(counters: &Arc<Counters>) -> Rc<Self> {
        Rc::new(Self { used: Cell::new(0), counters: Arc::clone(counters) })
    }
}

struct Slot(Rc<Room>);

impl Slot {
    fn take(room: &Rc<Room>) -> Option<Self> {
        if room.used.get() >= Room::ENCODERS {
            room.counters.compression_refused.add(1);
            return None;
        }
        room.used.set(room.used.get() + 1);
        Some(Self(Rc::clone(room)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.used.set(self.0.used.get() - 1);
    }
}

/// Bytes below which a response is left alone: it fits into one packet either way.
const SMALLEST: u64 = 1_024;

/// Whether a response may be compressed, and is worth it.
fn is_candidate(head: &Parts) -> bool {
    let fields = &head.headers;
    let has_body = !head.status.is_informational()
        && !matches!(
            head.status,
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
        );
    // A digest would be of other bytes than those that the client gets (RFC 9530).
    let fixed = [
        header::CONTENT_ENCODING,
        header::CONTENT_RANGE,
        header::HeaderName::from_static("content-digest"),
        header::HeaderName::from_static("content-md5"),
        header::HeaderName::from_static("digest"),
    ];
    let length = fields.get(header::CONTENT_LENGTH).map(|value| value.to_str().unwrap_or("0"));
    has_body
        && length.is_none_or(|length| length.parse().unwrap_or(0) >= SMALLEST)
        && fields.get(header::CONTENT_TYPE).is_some_and(|value| is_text(value.as_bytes()))
        && !fixed.iter().any(|name| fields.contains_key(name))
        && !forbids_transformation(fields)
}

/// `Cache-Control: no-transform`, of a request or a response (RFC 9111, 5.2).
pub(crate) fn forbids_transformation(fields: &HeaderMap) -> bool {
    let values = fields.get_all(header::CACHE_CONTROL).iter();
    let mut directives = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    directives.any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
}

/// Whether a media type shrinks. Everything else is compressed by its own format or unknown; an
/// event stream has to arrive event by event, however small.
fn is_text(content_type: &[u8]) -> bool {
    let media = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    let media = media.trim_ascii().to_ascii_lowercase();
    let named: [&[u8]; 13] = [
        b"application/javascript",
        b"application/json",
        b"application/manifest+json",
        b"application/wasm",
        b"application/x-javascript",
        b"application/x-ndjson",
        b"application/xml",
        b"font/otf",
        b"font/ttf",
        b"image/bmp",
        b"image/svg+xml",
        b"image/vnd.microsoft.icon",
        b"image/x-icon",
    ];
    let suffixed = media.ends_with(b"+json") || media.ends_with(b"+xml");
    media != b"text/event-stream"
        && (media.starts_with(b"text/") || suffixed || named.contains(&media.as_slice()))
}

/// Adds `Accept-Encoding` to `Vary`, if it does not stand there.
fn vary(fields: &mut HeaderMap) {
    let values = fields.get_all(header::VARY).iter();
    let mut names = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let is_said = |name: &[u8]| {
        let name = name.trim_ascii();
        name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding")
    };
    if !names.any(is_said) {
        fields.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// Another coding is another representation, byte for byte: only a weak tag still holds for both
/// (RFC 9110, 8.8.1).
fn weaken(fields: &mut HeaderMap) {
    let Some(tag) = fields.get(header::ETAG).filter(|tag| tag.as_bytes().starts_with(b"\"")) else {
        return;
    };
    if let Ok(weak) = HeaderValue::try_from([b"W/", tag.as_bytes()].concat()) {
        fields.insert(header::ETAG, weak);
    }
}

#[cfg(test)]
mod tests;
