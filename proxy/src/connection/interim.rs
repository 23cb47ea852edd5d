//! Interim responses of an upstream (1xx, RFC 9110, 15.2) on their way to the client.
//!
//! Over HTTP/2 a stream sends them by itself (see [`super::stream`]).
//!
//! # Why
//!
//! hyper sends no interim response over HTTP/1.1 but `100 Continue`, which is between Gatehouse and
//! its client, and not the upstream's. So there they are written below hyper, at the one moment
//! when nothing of its own is half written: when it flushes. A final response that has come with
//! them waits for that once, and no longer.

use std::cell::{Cell, RefCell};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};

use crate::upstream::forward;

/// What the upstream has said ahead of its response to the request that is being polled: over
/// HTTP/1.1 a connection's only one.
#[derive(Debug, Default)]
pub(crate) struct Interim {
    /// Looked at whenever something is flushed.
    pending: Cell<bool>,
    heads: RefCell<Heads>,
}

#[derive(Debug, Default)]
struct Heads {
    list: Vec<Response<()>>,
    bytes: usize,
}

impl Interim {
    /// Bytes that are kept for a client that does not read.
    pub(super) const MOST: usize = 32 << 10;

    /// Takes one that has come.
    pub(crate) fn add(&self, status: StatusCode, fields: &HeaderMap) {
        if matches!(status, StatusCode::CONTINUE | StatusCode::SWITCHING_PROTOCOLS) {
            return;
        }
        let mut head = Response::new(());
        (*head.status_mut(), *head.headers_mut()) = (status, forward::interim(fields));
        let length = length(&head);
        let mut heads = self.heads.borrow_mut();
        if heads.bytes + length <= Self::MOST {
            heads.bytes += length;
            heads.list.push(head);
            self.pending.set(true);
        }
    }

    pub(super) fn is_pending(&self) -> bool {
        self.pending.get()
    }

    /// What is to be sent now.
    pub(super) fn take(&self) -> Vec<Response<()>> {
        if !self.pending.take() {
            return Vec::new();
        }
        self.heads.take().list
    }
}

/// What tells a client to send its body (RFC 9110, 15.2.1).
pub(super) fn go_on() -> Response<()> {
    let mut head = Response::new(());
    *head.status_mut() = StatusCode::CONTINUE;
    head
}

/// Bytes of a head, and a little more.
pub(super) fn length(head: &Response<()>) -> usize {
    head.headers().iter().fold(32, |all, (name, value)| all + name.as_str().len() + value.len() + 4)
}

/// The heads as HTTP/1.1 writes them.
pub(super) fn write(heads: &[Response<()>]) -> Bytes {
    let mut bytes = Vec::new();
    for head in heads {
        let (status, reason) = (head.status(), head.status().canonical_reason());
        let line = format!("HTTP/1.1 {} {}\r\n", status.as_u16(), reason.unwrap_or_default());
        bytes.extend_from_slice(line.as_bytes());
        for (name, value) in head.headers() {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                bytes.extend_from_slice(part);
            }
        }
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header};

    use super::*;

    fn fields() -> HeaderMap {
        let mut fields = HeaderMap::new();
        fields.insert(header::LINK, HeaderValue::from_static("</a.css>; rel=preload"));
        fields.insert(header::CONNECTION, HeaderValue::from_static("x-hop"));
        fields.insert("x-hop", HeaderValue::from_static("1"));
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from_static("5"));
        fields
    }

    #[test]
    fn only_what_is_meant_for_the_client_is_written_and_once() {
        let interim = Interim::default();
        assert!(interim.take().is_empty());
        interim.add(StatusCode::CONTINUE, &fields());
        interim.add(StatusCode::SWITCHING_PROTOCOLS, &fields());
        interim.add(StatusCode::EARLY_HINTS, &fields());
        interim.add(StatusCode::PROCESSING, &HeaderMap::new());
        let expected = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n\
                        HTTP/1.1 102 Processing\r\n\r\n";
        assert_eq!(write(&interim.take()), expected);
        assert!(interim.take().is_empty());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let interim = Interim::default();
        (0..10_000).for_each(|_| interim.add(StatusCode::EARLY_HINTS, &fields()));
        assert!((1..=Interim::MOST).contains(&write(&interim.take()).len()));
    }
}
