//! A compressed page made plain again, a bounded piece at a time however far it expands.

use std::cell::RefCell;
use std::io::{self, Read};
use std::rc::Rc;

use bytes::Bytes;

use crate::compression::Coding;

/// Decodes what it is fed.
pub(super) struct Decoder {
    feed: Rc<RefCell<Feed>>,
    reader: Box<dyn Read>,
}

/// What has arrived and was not read.
#[derive(Default)]
struct Feed {
    bytes: Bytes,
    ended: bool,
    /// Whether it is Brotli of which nothing has been read.
    is_brotli: bool,
}

/// What large windows of Brotli begin with, in the low bits; to RFC 7932, 9.1, it is invalid, but
/// the decoder would take windows of up to 1 GiB.
const LARGE_WINDOW: u8 = 0x11;

/// The end of a feed that a decoder reads.
struct Source(Rc<RefCell<Feed>>);

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut feed = self.0.borrow_mut();
        let length = feed.bytes.len().min(buffer.len());
        if length == 0 && !feed.ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let piece = feed.bytes.split_to(length);
        if let Some(first) = piece.first()
            && std::mem::take(&mut feed.is_brotli)
            && first & 0x7f == LARGE_WINDOW
        {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its window is too large"));
        }
        buffer.iter_mut().zip(&piece).for_each(|(to, from)| *to = *from);
        Ok(length)
    }
}

impl Decoder {
    /// Bytes that a decoder reads at a time.
    const BUFFER: usize = 4 << 10;
    /// The largest window of zstd that is taken: RFC 8878 asks for 8 MiB.
    const ZSTD_WINDOW_BITS: u32 = 23;

    pub(super) fn new(coding: Coding) -> io::Result<Self> {
        let feed = Feed { is_brotli: coding == Coding::Brotli, ..Feed::default() };
        let feed = Rc::new(RefCell::new(feed));
        let source = io::BufReader::with_capacity(Self::BUFFER, Source(Rc::clone(&feed)));
        let reader: Box<dyn Read> = match coding {
            Coding::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(source)),
            Coding::Brotli => Box::new(brotli::Decompressor::new(source, Self::BUFFER)),
            Coding::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
                decoder.window_log_max(Self::ZSTD_WINDOW_BITS)?;
                Box::new(decoder)
            }
        };
        Ok(Self { feed, reader })
    }

    /// Takes a piece; the one before has been decoded.
    pub(super) fn feed(&self, bytes: Bytes) {
        self.feed.borrow_mut().bytes = bytes;
    }

    /// Nothing more will come.
    pub(super) fn end(&self) {
        self.feed.borrow_mut().ended = true;
    }

    /// Fills a part of `buffer`; `None` if it has to be fed first, 0 at the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.reader.read(buffer) {
            Ok(length) => Ok(Some(length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}
