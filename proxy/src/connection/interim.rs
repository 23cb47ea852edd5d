//! Interim responses of an upstream (1xx, RFC 9110, 15.2) on their way to an HTTP/1.1 client.
//!
//! # Why
//!
//! hyper sends no interim response but `100 Continue`, which is between Gatehouse and its client,
//! and not the upstream's. So these are written below hyper, at the one moment when nothing of its
//! own is half written: when it flushes. One that the final response overtakes is dropped.
//!
//! # Not here
//!
//! HTTP/2, on either side: hyper keeps the streams to itself, and tells of no interim response.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};

use crate::upstream::forward;

/// What the upstream of a connection's request has said ahead of its response. hyper wants to be
/// able to send it between threads, which it never is.
#[derive(Debug, Default)]
pub(crate) struct Interim {
    /// Looked at whenever something is flushed.
    pending: AtomicBool,
    bytes: Mutex<Vec<u8>>,
}

impl Interim {
    /// Bytes that are kept for a client that does not read.
    const MOST: usize = 32 << 10;

    /// Asks for the interim responses to a request that goes upstream.
    pub(crate) fn of<B>(self: Arc<Self>, request: &mut Request<B>) {
        hyper::ext::on_informational(request, move |response| {
            self.add(response.status(), response.headers());
        });
    }

    fn add(&self, status: StatusCode, fields: &HeaderMap) {
        if status == StatusCode::CONTINUE {
            return;
        }
        let mut head = Vec::new();
        let reason = status.canonical_reason().unwrap_or_default();
        head.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).as_bytes());
        for (name, value) in &forward::interim(fields) {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
        head.extend_from_slice(b"\r\n");
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes.len() + head.len() <= Self::MOST {
            bytes.append(&mut head);
            self.pending.store(true, Ordering::Relaxed);
        }
    }

    /// What is to be written now.
    pub(super) fn take(&self) -> Bytes {
        if !self.pending.swap(false, Ordering::Relaxed) {
            return Bytes::new();
        }
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *bytes).into()
    }
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
        interim.add(StatusCode::EARLY_HINTS, &fields());
        interim.add(StatusCode::PROCESSING, &HeaderMap::new());
        let expected = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n\
                        HTTP/1.1 102 Processing\r\n\r\n";
        assert_eq!(interim.take(), expected);
        assert!(interim.take().is_empty());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let interim = Interim::default();
        (0..10_000).for_each(|_| interim.add(StatusCode::EARLY_HINTS, &fields()));
        assert!((1..=Interim::MOST).contains(&interim.take().len()));
    }
}
