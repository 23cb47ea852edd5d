//! The encoders of the three codings, and how hard each of them tries.
//!
//! # Why these levels
//!
//! Measured on 75 KiB of text on one core, in µs per KiB and per cent of the size that is left:
//!
//! | level | time | size | | level | time | size | | level | time | size |
//! |---|---|---|---|---|---|---|---|---|---|---|
//! | gzip 1 | 3.4 | 37.0 | | br 2 | 7.4 | 23.8 | | zstd 1 | 1.8 | 24.1 |
//! | **gzip 4** | 8.4 | 24.7 | | **br 3** | 8.6 | 23.6 | | **zstd 3** | 2.9 | 23.8 |
//! | gzip 6 | 11.5 | 24.2 | | br 4 | 13.3 | 23.2 | | zstd 6 | 9.2 | 22.9 |
//!
//! Beyond the chosen levels the time grows many times faster than the gain. Memory of an encoder in
//! the middle of a stream: gzip 0.3 MiB, zstd 1.2, br 1.3 (and 2.2 at level 4).
//!
//! Windows are 256 KiB: what a larger one would save on a page is little, and the bound on memory
//! holds for every response at once.

use std::io::{self, Write as _};

use bytes::Bytes;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};

use super::Coding;

/// Compresses what is written to it.
pub(super) enum Encoder {
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Gzip(GzEncoder<Vec<u8>>),
}

impl Encoder {
    const WINDOW_BITS: u32 = 18;
    const GZIP_LEVEL: u32 = 4;
    const BROTLI_QUALITY: u32 = 3;
    const ZSTD_LEVEL: i32 = 3;
    /// The most bytes of padding.
    const PADDING: u8 = 128;

    /// Padding goes where a decoder passes over it: gzip has a file name, zstd frames to skip.
    pub(super) fn new(coding: Coding, padding: bool) -> io::Result<Self> {
        let padding = if padding { random() } else { Vec::new() };
        Ok(match coding {
            Coding::Zstd => {
                let sink = skippable_frame(&padding);
                let mut encoder = zstd::stream::write::Encoder::new(sink, Self::ZSTD_LEVEL)?;
                encoder.window_log(Self::WINDOW_BITS)?;
                Self::Zstd(encoder)
            }
            Coding::Brotli => Self::Brotli(Box::new(brotli::CompressorWriter::new(
                Vec::new(),
                4_096,
                Self::BROTLI_QUALITY,
                Self::WINDOW_BITS,
            ))),
            Coding::Gzip => {
                let mut header = GzBuilder::new();
                if !padding.is_empty() {
                    header = header.filename(padding);
                }
                Self::Gzip(header.write(Vec::new(), Compression::new(Self::GZIP_LEVEL)))
            }
        })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Zstd(encoder) => encoder.write_all(bytes),
            Self::Brotli(encoder) => encoder.write_all(bytes),
            Self::Gzip(encoder) => encoder.write_all(bytes),
        }
    }

    /// Brings out everything that was written, so that a client can decode it.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Zstd(encoder) => encoder.flush(),
            Self::Brotli(encoder) => encoder.flush(),
            Self::Gzip(encoder) => encoder.flush(),
        }
    }

    /// Ends the stream; what it had not brought out yet is the rest.
    pub(super) fn finish(self) -> io::Result<Bytes> {
        match self {
            Self::Zstd(encoder) => encoder.finish().map(Bytes::from),
            Self::Brotli(encoder) => Ok(encoder.into_inner().into()),
            Self::Gzip(encoder) => encoder.finish().map(Bytes::from),
        }
    }

    /// Bytes that wait to be taken.
    pub(super) fn ready(&self) -> usize {
        match self {
            Self::Zstd(encoder) => encoder.get_ref().len(),
            Self::Brotli(encoder) => encoder.get_ref().len(),
            Self::Gzip(encoder) => encoder.get_ref().len(),
        }
    }

    /// Takes what has come out.
    pub(super) fn take(&mut self) -> Bytes {
        let sink = match self {
            Self::Zstd(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Gzip(encoder) => encoder.get_mut(),
        };
        std::mem::take(sink).into()
    }
}

/// Between 1 and [`Encoder::PADDING`] letters; their number is what matters.
fn random() -> Vec<u8> {
    let length = fastrand::u8(1..=Encoder::PADDING);
    std::iter::repeat_with(|| fastrand::alphanumeric() as u8).take(length.into()).collect()
}

/// RFC 8878, 3.1.2.
fn skippable_frame(content: &[u8]) -> Vec<u8> {
    if content.is_empty() {
        return Vec::new();
    }
    let length = u32::try_from(content.len()).unwrap_or_default();
    [&0x184D_2A50_u32.to_le_bytes(), &length.to_le_bytes(), content].concat()
}
