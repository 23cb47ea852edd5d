//! A nonce for each page: in the header of its Content-Security-Policy, and in every `script`,
//! `style` and `link` element of its HTML.
//!
//! Only `text/html` is rewritten, as it streams by. What the upstream has compressed is decoded
//! first and coded again afterwards. A page with a nonce is another one each time, so it loses its
//! length, its validators and its digests, and no shared cache may keep it. Where the application
//! has put a nonce into a policy of its own, that one is taken, and the page stays as it is.
//!
//! What cannot be rewritten (an unknown coding, `no-transform`, a part of a page, UTF-16) goes out
//! under the policy without a nonce: its inline scripts do not run.
//!
//! # Not here
//!
//! Trust in what the application sends. A script that an attacker can make the *server* write into
//! its page gets a nonce like any other; what is injected in the browser does not, nor do handlers
//! in attributes.

mod decoder;
mod page;
mod rewriter;
mod scanner;

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body::{Body, Frame, SizeHint};

use self::decoder::Decoder;
pub(crate) use self::page::{Broken, Page};
pub use self::rewriter::Rewriter;
use crate::compression::{self, Coding};
use crate::policy::headers::{HeaderPolicy, Nonce, nonces_of_application};
use crate::telemetry::Counters;
use crate::upstream::{Cut, UpstreamBody};

/// Takes the conditions from a request for a page: a cached page has the nonce of another response,
/// or none, so that it cannot be confirmed (RFC 9110, 13.1).
pub(crate) fn make_unconditional(policy: &HeaderPolicy, method: &Method, fields: &mut HeaderMap) {
    if policy.has_nonces()
        && matches!(*method, Method::GET | Method::HEAD)
        && fields.get_all(header::ACCEPT).iter().any(names_html)
    {
        fields.remove(header::IF_NONE_MATCH);
        fields.remove(header::IF_MODIFIED_SINCE);
    }
}

fn names_html(accept: &HeaderValue) -> bool {
    accept.to_str().is_ok_and(|accept| accept.to_ascii_lowercase().contains("text/html"))
}

/// The body of an upstream's response, in no coding of Gatehouse's.
pub(crate) enum Plain {
    /// As it came.
    Upstream(UpstreamBody),
    /// With nonces.
    Page(Box<Page>),
}

impl Plain {
    pub(crate) fn new(body: UpstreamBody, rewriting: Option<Rewriting>) -> Self {
        match rewriting {
            Some(rewriting) => Self::Page(Box::new(Page::new(body, rewriting))),
            None => Self::Upstream(body),
        }
    }
}

impl Body for Plain {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self.get_mut() {
            Self::Upstream(body) => Pin::new(body).poll_frame(cx),
            Self::Page(page) => page.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Upstream(body) => body.is_end_stream(),
            Self::Page(page) => page.has_ended(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Upstream(body) => body.size_hint(),
            Self::Page(_) => SizeHint::default(),
        }
    }
}

/// What becomes of a response.
pub(crate) struct Prepared {
    /// What takes the places of nonces in the policy; without it, the policy goes out without any.
    pub(crate) sources: Option<String>,
    pub(crate) rewriting: Option<Rewriting>,
}

/// What a page has to go through.
pub(crate) struct Rewriting {
    nonce: Nonce,
    decoder: Option<Decoder>,
    /// What the upstream had coded it in.
    pub(crate) coding: Option<Coding>,
    slot: Slot,
}

/// Decides about a response, and puts its fields right if it is rewritten.
pub(crate) fn prepare(policy: &HeaderPolicy, head: &mut Parts, room: &Rc<Room>) -> Prepared {
    let plain = Prepared { sources: None, rewriting: None };
    if !policy.has_nonces() || !is_page(head) {
        return plain;
    }
    if let Some(sources) = nonces_of_application(&head.headers) {
        return Prepared { sources: Some(sources), rewriting: None };
    }
    let Some(rewriting) = begin(&head.headers, room) else { return plain };
    mark(&mut head.headers, rewriting.decoder.is_some());
    Prepared { sources: Some(rewriting.nonce.source()), rewriting: Some(rewriting) }
}

fn begin(fields: &HeaderMap, room: &Rc<Room>) -> Option<Rewriting> {
    if compression::forbids_transformation(fields) {
        return None;
    }
    let mut codings = fields.get_all(header::CONTENT_ENCODING).iter();
    let coding = match (codings.next().map(HeaderValue::as_bytes), codings.next()) {
        (None | Some(b"identity"), None) => None,
        (Some(name), None) => Some(Coding::named(name)?),
        (_, Some(_)) => return None,
    };
    let slot = Slot::take(room, coding.is_some())?;
    let decoder = coding.map(Decoder::new).transpose().ok()?;
    Some(Rewriting { nonce: Nonce::fresh()?, decoder, coding, slot })
}

/// Parts of the labels of encodings in which a `<` need not be one (Encoding Standard, 4.2).
const NOT_ASCII: [&str; 4] = ["utf-16", "unicode", "ucs-2", "2022"];

/// Whether it is a whole page of HTML in an encoding in which tags are ASCII.
fn is_page(head: &Parts) -> bool {
    let status = head.status;
    let is_whole = !status.is_informational()
        && !matches!(
            status,
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
        );
    let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    is_whole
        && content_type.is_some_and(|content_type| {
            let (media, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
            if !media.trim().eq_ignore_ascii_case("text/html") {
                return false;
            }
            let parameters = parameters.to_ascii_lowercase();
            !NOT_ASCII.iter().any(|label| parameters.contains(label))
        })
}

/// Fields that hold for the upstream's bytes only.
const OF_THE_BYTES: [HeaderName; 8] = [
    header::CONTENT_LENGTH,
    header::ACCEPT_RANGES,
    header::ETAG,
    header::LAST_MODIFIED,
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("repr-digest"),
];

/// Fields by which shared caches are told apart from browsers (RFC 9213).
const OF_SHARED_CACHES: [HeaderName; 2] =
    [HeaderName::from_static("cdn-cache-control"), HeaderName::from_static("surrogate-control")];

/// Says that the page is another one each time.
fn mark(fields: &mut HeaderMap, decoded: bool) {
    for name in OF_THE_BYTES.iter().chain(&OF_SHARED_CACHES) {
        fields.remove(name);
    }
    if decoded {
        fields.remove(header::CONTENT_ENCODING);
    }
    let values = fields.get_all(header::CACHE_CONTROL).iter();
    let directives = values.flat_map(|value| value.to_str().unwrap_or_default().split(','));
    let mut kept: Vec<&str> = Vec::new();
    for directive in directives.map(str::trim).filter(|text| !text.is_empty()) {
        let name = directive.split('=').next().unwrap_or_default().to_ascii_lowercase();
        match name.as_str() {
            "no-store" => return,
            "public" | "s-maxage" | "private" | "proxy-revalidate" => {}
            _ => kept.push(directive),
        }
    }
    kept.insert(0, "private");
    if let Ok(value) = HeaderValue::try_from(kept.join(", ")) {
        fields.insert(header::CACHE_CONTROL, value);
    }
}

/// The pages of one worker that are being rewritten.
pub(crate) struct Room {
    used: Cell<usize>,
    counters: Arc<Counters>,
}

impl Room {
    /// What all of them may weigh; what comes on top goes out under the policy without a nonce.
    const MOST: usize = 1_024;
    /// A page of text costs up to 64 KiB.
    const REWRITER: usize = 1;
    /// A decoder holds up to 16 MiB, though rarely more than 1.
    const DECODER: usize = 16;

    pub(crate) fn new(counters: &Arc<Counters>) -> Rc<Self> {
        Rc::new(Self { used: Cell::new(0), counters: Arc::clone(counters) })
    }
}

struct Slot {
    room: Rc<Room>,
    weight: usize,
}

impl Slot {
    fn take(room: &Rc<Room>, decodes: bool) -> Option<Self> {
        let weight = if decodes { Room::DECODER } else { Room::REWRITER };
        let used = room.used.get() + weight;
        if used > Room::MOST {
            room.counters.nonces_refused.add(1);
            return None;
        }
        room.used.set(used);
        Some(Self { room: Rc::clone(room), weight })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.room.used.set(self.room.used.get().saturating_sub(self.weight));
    }
}

#[cfg(test)]
mod tests;
