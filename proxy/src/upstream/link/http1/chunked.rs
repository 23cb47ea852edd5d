//! A chunked body (RFC 9112, 7.1), piece by piece.

use bytes::{Buf as _, Bytes, BytesMut};
use http_body::Frame;

use super::head;
use crate::upstream::link::Broken;

/// Bytes of a body's chunk extensions, all together, and of its trailers.
const EXTENSIONS: usize = 16 << 10;
const TRAILERS: usize = 16 << 10;

/// The end of a body without trailers, with that of the chunk before it.
const LAST: &[u8] = b"\r\n0\r\n\r\n";

/// How far a body has come.
#[derive(Debug, Default)]
pub(super) struct Chunked {
    next: Next,
    /// Bytes of chunk extensions so far.
    extensions: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Next {
    #[default]
    Size,
    /// So much of a chunk.
    Data(u64),
    /// The line end behind a chunk.
    DataEnd,
    Trailers,
    Nothing,
}

/// What comes of looking at what has been read.
#[derive(Debug)]
pub(super) enum Step {
    Piece(Frame<Bytes>),
    End,
    /// More has to be read first.
    More,
}

/// Takes what has been read, but no more than is `left`.
pub(super) fn take(unread: &mut BytesMut, left: &mut u64) -> Bytes {
    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(unread.len());
    *left -= length as u64;
    unread.split_to(length).freeze()
}

impl Chunked {
    /// Whether the body has been read to its end.
    pub(super) fn is_over(&self) -> bool {
        self.next == Next::Nothing
    }

    pub(super) fn next(&mut self, unread: &mut BytesMut) -> Result<Step, Broken> {
        loop {
            let whole = match self.next {
                Next::Size => self.size(unread)?,
                Next::DataEnd => self.data_end(unread)?,
                Next::Data(_) if unread.is_empty() => false,
                Next::Data(mut left) => {
                    let piece = take(unread, &mut left);
                    self.next = if left > 0 { Next::Data(left) } else { Next::DataEnd };
                    if left == 0 && unread.starts_with(LAST) {
                        unread.advance(LAST.len());
                        self.next = Next::Nothing;
                    }
                    return Ok(Step::Piece(Frame::data(piece)));
                }
                Next::Trailers => match trailers(unread)? {
                    None => false,
                    Some(bytes) => {
                        self.next = Next::Nothing;
                        if bytes.is_empty() {
                            return Ok(Step::End);
                        }
                        return Ok(Step::Piece(Frame::trailers(head::trailers(&bytes)?)));
                    }
                },
                Next::Nothing => return Ok(Step::End),
            };
            if !whole {
                return Ok(Step::More);
            }
        }
    }

    /// Reads the line that says how long the next chunk is. False if it is not there whole.
    fn size(&mut self, unread: &mut BytesMut) -> Result<bool, Broken> {
        let Some(end) = memchr::memchr(b'\n', unread) else {
            return if unread.len() > EXTENSIONS { Err(Broken::Framing) } else { Ok(false) };
        };
        let line = unread.get(..end).and_then(|line| line.strip_suffix(b"\r"));
        let line = line.ok_or(Broken::Framing)?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (digits, rest) = line.split_at_checked(digits).ok_or(Broken::Framing)?;
        let size =
            std::str::from_utf8(digits).ok().and_then(|hex| u64::from_str_radix(hex, 16).ok());
        let size = size.ok_or(Broken::Framing)?;
        self.extensions += rest.len();
        let is_extension = matches!(rest.trim_ascii_start().first(), None | Some(b';'));
        if !is_extension || rest.contains(&b'\r') || self.extensions > EXTENSIONS {
            return Err(Broken::Framing);
        }
        unread.advance(end + 1);
        self.next = if size > 0 { Next::Data(size) } else { Next::Trailers };
        Ok(true)
    }

    fn data_end(&mut self, unread: &mut BytesMut) -> Result<bool, Broken> {
        let (seen, end) = (unread.len().min(2), b"\r\n");
        if unread.get(..seen) != end.get(..seen) {
            return Err(Broken::Framing);
        }
        if seen == 2 {
            unread.advance(2);
            self.next = Next::Size;
        }
        Ok(seen == 2)
    }
}

/// Takes the trailers with the empty line behind them; nothing if there is only that.
fn trailers(unread: &mut BytesMut) -> Result<Option<Bytes>, Broken> {
    if unread.starts_with(b"\r\n") {
        unread.advance(2);
        return Ok(Some(Bytes::new()));
    }
    let seen = unread.get(..unread.len().min(TRAILERS)).unwrap_or_default();
    match memchr::memmem::find(seen, b"\r\n\r\n") {
        Some(end) => Ok(Some(unread.split_to(end + 4).freeze())),
        None if unread.len() > TRAILERS => Err(Broken::TooLarge),
        None => Ok(None),
    }
}

#[cfg(test)]
#[path = "chunked_tests.rs"]
mod tests;
