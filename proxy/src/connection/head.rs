//! The bytes of a request's head as they came, for what a parsed head no longer shows.
//!
//! # Why
//!
//! hyper drops a `Content-Length` that stands beside a `Transfer-Encoding`, and takes a line that
//! ends in a bare LF. Both are how requests are smuggled past a proxy that reads them differently
//! (RFC 9112, 2.2 and 6.3), and both are refused here. What goes upstream is written anew from the
//! parsed request in any case; this is for whoever sits in front of us and for whoever tries.
//!
//! Bytes are looked at as they pass, and kept only until their head has been parsed. Of a request
//! that is pipelined behind a body, the beginning may have passed as part of that body's bytes:
//! then there is no telling, and such a request may be anything but chunked. Whoever lets the bytes
//! that follow look like a head of their own is found out by the number of its fields.

use std::cell::{Cell, RefCell};

use http::Method;

use crate::config::Limits;
use crate::worker::Worker;

/// Bytes of a head that are read: one that is over the bound, but not by half, is refused by the
/// pipeline, with a record. By default they are what is read of a body at once.
pub(super) fn bytes(limits: &Limits) -> usize {
    let more = limits.header_bytes + limits.header_bytes / 2;
    (limits.header_bytes * 2).min(more.max(Worker::BUFFER))
}

/// What has been read of the head that comes next.
#[derive(Debug)]
pub(crate) struct RawHead {
    bytes: RefCell<Vec<u8>>,
    /// Whether what is read now is a head's, and no body's.
    reading: Cell<bool>,
}

/// What the bytes of a head say that its parsed form does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Hidden {
    /// A line ends in a bare LF.
    pub(crate) bare_lf: bool,
    /// There is a `Content-Length`.
    pub(crate) content_length: bool,
}

impl RawHead {
    pub(super) fn new() -> Self {
        Self { bytes: RefCell::default(), reading: Cell::new(true) }
    }

    pub(super) fn is_reading(&self) -> bool {
        self.reading.get()
    }

    /// Whether a byte has passed of a head that has not been taken.
    pub(super) fn has_begun(&self) -> bool {
        !self.bytes.borrow().is_empty()
    }

    /// Bytes have passed. More than `bound` of them are no head that anybody takes.
    pub(super) fn passed(&self, bytes: &[u8], bound: usize) {
        let mut held = self.bytes.borrow_mut();
        if held.len() + bytes.len() <= bound {
            held.extend_from_slice(bytes);
        }
    }

    /// Takes the head that has just been parsed, with so many `fields`. `None` if its bytes were
    /// not seen whole. What follows is the next head's, unless there is a body.
    pub(crate) fn take(&self, method: &Method, fields: usize, has_body: bool) -> Option<Hidden> {
        let mut held = self.bytes.borrow_mut();
        // Parsing removes no field but a `Content-Length`.
        let read =
            read(&held, method).filter(|seen| seen.hidden.content_length || seen.fields == fields);
        match read {
            Some(Seen { length, .. }) if !has_body => drop(held.drain(..length)),
            _ => held.clear(),
        }
        self.reading.set(!has_body);
        read.map(|seen| seen.hidden)
    }

    /// The request is over, and with it its body.
    pub(super) fn resume(&self) {
        self.reading.set(true);
    }

    /// Gives the memory back.
    pub(super) fn rest(&self) {
        self.bytes.take();
    }
}

/// What the bytes that are held show of a head.
#[derive(Debug, Clone, Copy)]
struct Seen {
    hidden: Hidden,
    fields: usize,
    /// In bytes.
    length: usize,
}

/// Reads lines up to the empty one.
fn read(bytes: &[u8], method: &Method) -> Option<Seen> {
    let mut hidden = Hidden::default();
    let mut begun = false;
    let (mut from, mut fields) = (0, 0);
    while let Some(end) = memchr::memchr(b'\n', bytes.get(from..)?) {
        let line = bytes.get(from..from + end)?;
        from += end + 1;
        let line = line.strip_suffix(b"\r").unwrap_or_else(|| {
            hidden.bare_lf = true;
            line
        });
        match (begun, line.is_empty()) {
            (false, true) => {} // allowed before a request (RFC 9112, 2.2)
            (false, false) if !line.starts_with(method.as_str().as_bytes()) => return None,
            (false, false) => begun = true,
            (true, true) => return Some(Seen { hidden, fields, length: from }),
            (true, false) => {
                fields += 1;
                hidden.content_length |= is_content_length(line);
            }
        }
    }
    None
}

fn is_content_length(line: &[u8]) -> bool {
    const NAME: &[u8] = b"content-length";
    line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME))
        && line.get(NAME.len()).is_some_and(|byte| matches!(byte, b':' | b' ' | b'\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(pieces: &[&str]) -> RawHead {
        let head = RawHead::new();
        pieces.iter().for_each(|piece| head.passed(piece.as_bytes(), 1_000));
        head
    }

    #[test]
    fn heads_tell_what_parsing_hides() {
        let hidden = |bare_lf, content_length| Some(Hidden { bare_lf, content_length });
        for (pieces, expected) in [
            (&["GET / HTTP/1.1\r\nHost: a\r\n\r\n"][..], hidden(false, false)),
            (&["\r\n\r\nGET / HTTP/1.1\r\n", "Host: a\r", "\n\r\n"], hidden(false, false)),
            (&["GET / HTTP/1.1\nHost: a\r\n\r\n"], hidden(true, false)),
            (&["GET / HTTP/1.1\r\nHost: a\r\n\n"], hidden(true, false)),
            (&["GET / HTTP/1.1\r\ncONTENT-lENGTH: 1\r\n\r\n"], hidden(false, true)),
            (&["GET / HTTP/1.1\r\nContent-", "Length:1\r\n\r\n"], hidden(false, true)),
            (&["GET / HTTP/1.1\r\nContent-Length-Host: 1\r\n\r\n"], hidden(false, false)),
            (&["GET / HTTP/1.1\r\n\r\nContent-Length: 1\r\n\r\n"], hidden(false, false)),
            (&["GET / HTTP/1.1\r\nHost: a\r\n"], None),
            (&["Length: 1\r\n\r\n"], None),
            (&[], None),
        ] {
            let fields = pieces.concat().to_lowercase().matches("host:").count();
            assert_eq!(seen(pieces).take(&Method::GET, fields, false), expected, "{pieces:?}");
        }
    }

    #[test]
    fn a_pipelined_head_is_seen_unless_a_body_hides_it() {
        let two = "GET /1 HTTP/1.1\r\n\r\nPOST /2 HTTP/1.1\r\nContent-Length: 1\r\n\r\n";
        let head = seen(&[two]);
        assert!(!head.take(&Method::GET, 0, false).unwrap().content_length);
        assert!(head.take(&Method::POST, 1, false).unwrap().content_length);
        let head = seen(&[two]);
        assert!(head.take(&Method::GET, 0, true).is_some());
        assert!(!head.is_reading());
        head.resume();
        assert_eq!(head.take(&Method::POST, 1, false), None);
    }

    /// The client sent the beginning behind a body: a length, and a field whose value begins here.
    #[test]
    fn the_rest_of_a_head_does_not_pass_for_a_whole_one() {
        let rest = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(seen(&[rest]).take(&Method::POST, 2, true).is_some());
        assert_eq!(seen(&[rest]).take(&Method::POST, 3, true), None);
    }

    #[test]
    fn what_is_held_is_bounded() {
        let head = RawHead::new();
        for _ in 0..1_000 {
            head.passed(b"GET / HTTP/1.1\r\n", 1_000);
        }
        assert!(head.bytes.borrow().len() <= 1_000);
    }
}
