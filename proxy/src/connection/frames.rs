//! What the frames of an HTTP/2 client cost beyond the requests they carry (RFC 9113, 10.5).
//!
//! The protocol's library bounds what a connection holds; it does not bound how often a client may
//! make it work for nothing. So the headers of the frames are counted as they pass: nine bytes of
//! each frame are looked at, payloads are skipped. Nor does it tell of streams that it resets of
//! itself: those are found among the frames that leave.

use h2::Reason;

use crate::config::Limits;

/// Milliseconds in which the bounds hold.
const WINDOW: u64 = 10_000;

/// The client's connection preface (RFC 9113, 3.4), which is no frame.
const PREFACE: usize = 24;

const HEADER: usize = 9;

/// RST_STREAM, whose payload is an error code of four bytes (RFC 9113, 6.4).
const RST_STREAM: u8 = 3;

/// Where bytes are among the frames they belong to.
#[derive(Debug, Default)]
struct Place {
    /// Bytes until the next frame's header.
    skip: usize,
    /// The header, and the error code of a reset.
    header: [u8; HEADER + 4],
    /// Bytes of it that are there.
    have: usize,
}

impl Place {
    /// Goes on to the next header among `bytes`: its frame's payload is skipped when it is asked
    /// for again.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<&[u8; HEADER + 4]> {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        *bytes = bytes.split_at(skipped).1;
        loop {
            let wanted = if self.have >= HEADER { HEADER + 4 } else { HEADER };
            let taken = (wanted - self.have).min(bytes.len());
            let (part, rest) = bytes.split_at(taken);
            self.header.iter_mut().skip(self.have).zip(part).for_each(|(to, from)| *to = *from);
            (self.have, *bytes) = (self.have + taken, rest);
            if self.have < wanted {
                return None;
            }
            let [high, middle, low, kind, ..] = self.header;
            let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
            if wanted == HEADER && kind == RST_STREAM && length == 4 {
                continue;
            }
            (self.skip, self.have) = (if wanted == HEADER { length } else { 0 }, 0);
            return Some(&self.header);
        }
    }
}

/// Why streams were reset by the library (RFC 9113, 7).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resets {
    /// The client broke the protocol.
    pub(super) malformed: u64,
    /// It opened more streams than it may.
    pub(super) refused: u64,
}

/// Where a connection's bytes are among its frames, and what it has brought in this window.
#[derive(Debug)]
pub(super) struct Frames {
    arriving: Place,
    leaving: Place,
    /// When the window ends, in milliseconds of the worker's deadlines.
    until: u64,
    resets: u32,
    controls: u32,
    /// The last that the client has opened.
    stream: u32,
}

impl Frames {
    pub(super) fn new() -> Self {
        let arriving = Place { skip: PREFACE, ..Place::default() };
        let leaving = Place::default();
        Self { arriving, leaving, until: 0, resets: 0, controls: 0, stream: 0 }
    }

    /// The GOAWAY with which a flood ends: ENHANCE_YOUR_CALM (RFC 9113, 6.8 and 7).
    pub(super) fn goaway(&self) -> [u8; 17] {
        let [a, b, c, d] = self.stream.to_be_bytes();
        [0, 0, 8, 7, 0, 0, 0, 0, 0, a, b, c, d, 0, 0, 0, 11]
    }

    /// Takes note of bytes that have arrived. False when the client has gone too far.
    pub(super) fn passed(&mut self, mut bytes: &[u8], now: u64, limits: &Limits) -> bool {
        if now >= self.until {
            (self.until, self.resets, self.controls) = (now.saturating_add(WINDOW), 0, 0);
        }
        while let Some(&[high, middle, low, kind, flags, a, b, c, d, ..]) =
            self.arriving.next(&mut bytes)
        {
            const END_STREAM: u8 = 1;
            match kind {
                1 => self.stream = self.stream.max(u32::from_be_bytes([a & 0x7f, b, c, d])),
                // A window's update comes with every response that is large.
                8 => {}
                0 if [high, middle, low] != [0; 3] || flags & END_STREAM != 0 => {}
                RST_STREAM => self.resets = self.resets.saturating_add(1),
                _ => self.controls = self.controls.saturating_add(1),
            }
        }
        self.resets <= limits.http2_resets && self.controls <= limits.http2_control_frames
    }

    /// Takes note of bytes that have left: which resets are the library's own, and why.
    pub(super) fn left(&mut self, mut bytes: &[u8]) -> Resets {
        let mut resets = Resets::default();
        while let Some(&[.., kind, _, _, _, _, _, a, b, c, d]) = self.leaving.next(&mut bytes) {
            if kind != RST_STREAM {
                continue;
            }
            match Reason::from(u32::from_be_bytes([a, b, c, d])) {
                // With these Gatehouse resets streams itself.
                Reason::NO_ERROR | Reason::INTERNAL_ERROR | Reason::CANCEL => {}
                Reason::REFUSED_STREAM => resets.refused += 1,
                _ => resets.malformed += 1,
            }
        }
        resets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        let text = "[[site]]\nhosts = [\"localhost\"]\nissuer = \"internal\"\n\
                    upstream = \"http://127.0.0.1:1\"\n[limits]\nhttp2_resets = 2\n\
                    http2_control_frames = 3\n";
        let file = std::path::Path::new("gatehouse.toml");
        crate::config::load_text(file, text, &|_| None).unwrap().limits
    }

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.extend(std::iter::repeat_n(3, length.into()));
        frame
    }

    /// How many of the same frame may pass in one window, cut into pieces of `size` bytes.
    fn pass(kind: u8, flags: u8, length: u8, size: usize) -> usize {
        let (mut frames, limits) = (Frames::new(), limits());
        assert!(frames.passed(&[6; PREFACE], 0, &limits));
        let fits = |_: &usize| {
            let frame = frame(kind, flags, length);
            frame.chunks(size).all(|piece| frames.passed(piece, 1, &limits))
        };
        (0..100).take_while(fits).count()
    }

    #[test]
    fn frames_are_counted_by_what_they_are_however_they_are_cut() {
        for size in [1, 4, 9, 100] {
            for control in [2, 4, 6, 9, 0xff] {
                assert_eq!(pass(control, 0, 8, size), 3, "frame {control}, pieces of {size}");
            }
            assert_eq!(pass(3, 0, 4, size), 2, "resets");
            assert_eq!(pass(0, 0, 0, size), 3, "empty DATA");
            for (kind, flags, length) in [(0, 0, 1), (0, 1, 0), (1, 5, 20), (8, 0, 4)] {
                assert_eq!(pass(kind, flags, length, size), 100, "frame {kind}");
            }
        }
    }

    #[test]
    fn the_librarys_resets_are_found_among_what_leaves() {
        let reset = |code| vec![0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, code];
        // Between frames that look like them.
        let data = [vec![0, 0, 13, 0, 0, 0, 0, 0, 1], reset(1)].concat();
        let frames = [data, reset(1), frame(4, 1, 0), reset(0), reset(2), reset(8), reset(7)];
        let (bytes, expected) = (frames.concat().repeat(2), Resets { malformed: 2, refused: 2 });
        for size in [1, 4, 9, 12, 100] {
            let (mut frames, mut found) = (Frames::new(), Resets::default());
            for piece in bytes.chunks(size) {
                let Resets { malformed, refused } = frames.left(piece);
                (found.malformed, found.refused) =
                    (found.malformed + malformed, found.refused + refused);
            }
            assert_eq!(found, expected, "pieces of {size}");
        }
    }

    #[test]
    fn a_new_window_begins_when_the_last_is_over() {
        let (mut frames, limits) = (Frames::new(), limits());
        assert!(frames.passed(&[0; PREFACE], 0, &limits));
        for now in [0, WINDOW, 2 * WINDOW] {
            assert!((0..2).all(|_| frames.passed(&frame(3, 0, 4), now, &limits)));
        }
        assert!(!frames.passed(&frame(3, 0, 4), 3 * WINDOW - 1, &limits));
    }
}
