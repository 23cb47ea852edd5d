//! What the frames of an HTTP/2 client cost beyond the requests they carry (RFC 9113, 10.5).
//!
//! The protocol's library bounds what a connection holds; it does not bound how often a client may
//! make it work for nothing. So the headers of the frames are counted as they pass: nine bytes of
//! each frame are looked at, payloads are skipped.

use crate::config::Limits;

/// Milliseconds in which the bounds hold.
const WINDOW: u64 = 10_000;

/// The client's connection preface (RFC 9113, 3.4), which is no frame.
const PREFACE: usize = 24;

const HEADER: usize = 9;

/// Where a connection's bytes are among its frames, and what it has brought in this window.
#[derive(Debug)]
pub(super) struct Frames {
    /// Bytes until the next frame's header.
    skip: usize,
    header: [u8; HEADER],
    /// Bytes of the header that are there.
    have: usize,
    /// When the window ends, in milliseconds of the worker's deadlines.
    until: u64,
    resets: u32,
    controls: u32,
    /// The last that the client has opened.
    stream: u32,
}

impl Frames {
    pub(super) fn new() -> Self {
        let header = [0; HEADER];
        Self { skip: PREFACE, header, have: 0, until: 0, resets: 0, controls: 0, stream: 0 }
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
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.split_at(skipped).1;
            let taken = (HEADER - self.have).min(bytes.len());
            let (part, rest) = bytes.split_at(taken);
            self.header.iter_mut().skip(self.have).zip(part).for_each(|(to, from)| *to = *from);
            (self.have, bytes) = (self.have + taken, rest);
            if self.have < HEADER {
                break;
            }
            self.frame();
        }
        self.resets <= limits.http2_resets && self.controls <= limits.http2_control_frames
    }

    /// Counts the frame whose header is complete.
    fn frame(&mut self) {
        const END_STREAM: u8 = 1;
        let [high, middle, low, kind, flags, a, b, c, d] = self.header;
        self.have = 0;
        self.skip = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        match kind {
            1 => self.stream = self.stream.max(u32::from_be_bytes([a & 0x7f, b, c, d])),
            // A window's update comes with every response that is large.
            8 => {}
            0 if self.skip > 0 || flags & END_STREAM != 0 => {}
            3 => self.resets = self.resets.saturating_add(1),
            _ => self.controls = self.controls.saturating_add(1),
        }
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
    fn a_new_window_begins_when_the_last_is_over() {
        let (mut frames, limits) = (Frames::new(), limits());
        assert!(frames.passed(&[0; PREFACE], 0, &limits));
        for now in [0, WINDOW, 2 * WINDOW] {
            assert!((0..2).all(|_| frames.passed(&frame(3, 0, 4), now, &limits)));
        }
        assert!(!frames.passed(&frame(3, 0, 4), 3 * WINDOW - 1, &limits));
    }
}
