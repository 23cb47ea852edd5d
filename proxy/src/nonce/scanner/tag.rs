//! Names of tags as numbers, and the attributes of one.

/// A name in small letters, its bytes in a row; all ones for one that is longer than any that
/// matters.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Name(u128);

impl Name {
    pub(super) const EMPTY: Self = Self(0);
    const TOO_LONG: Self = Self(u128::MAX);

    /// Of 15 bytes at most.
    pub(super) const fn of(text: &str) -> Self {
        let (mut name, mut rest) = (0, text.as_bytes());
        while let [byte, after @ ..] = rest {
            name = name << 8 | *byte as u128;
            rest = after;
        }
        Self(name)
    }

    pub(super) fn push(&mut self, byte: u8) {
        let full = self.0 >> 120 != 0;
        self.0 = match full {
            true => Self::TOO_LONG.0,
            false => self.0 << 8 | u128::from(byte.to_ascii_lowercase()),
        };
    }
}

/// What HTML calls whitespace.
pub(super) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0c')
}

/// What ends the name of a tag.
pub(super) const fn ends_name(byte: u8) -> bool {
    is_space(byte) || matches!(byte, b'/' | b'>')
}

/// Where a tag is, behind its name (HTML, 13.2.5.32 to 13.2.5.40).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Attributes {
    Before,
    Name,
    After,
    BeforeValue,
    Quoted(u8),
    Unquoted,
    /// Behind a `/` that may close the element.
    Slash,
}

impl Attributes {
    /// Where the tag ends, and whether it closes its element; `None` if not in these bytes.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<(usize, bool)> {
        let mut at = 0;
        loop {
            let rest = bytes.get(at..)?;
            let byte = *rest.first()?;
            // What is not taken is looked at again in the next state.
            let (next, taken) = match *self {
                Self::Before | Self::After if is_space(byte) => (*self, 1),
                Self::Before | Self::Name | Self::After | Self::Slash if byte == b'>' => {
                    return Some((at + 1, *self == Self::Slash));
                }
                Self::BeforeValue | Self::Unquoted if byte == b'>' => return Some((at + 1, false)),
                Self::Before | Self::Name | Self::After if byte == b'/' => (Self::Slash, 1),
                Self::Name | Self::After if byte == b'=' => (Self::BeforeValue, 1),
                Self::Before | Self::After => (Self::Name, 1),
                Self::Slash => (Self::Before, 0),
                Self::Name if is_space(byte) => (Self::After, 1),
                Self::Name => (Self::Name, 1),
                Self::BeforeValue if is_space(byte) => (Self::BeforeValue, 1),
                Self::BeforeValue if matches!(byte, b'"' | b'\'') => (Self::Quoted(byte), 1),
                Self::BeforeValue => (Self::Unquoted, 0),
                Self::Quoted(quote) => (Self::Before, memchr::memchr(quote, rest)? + 1),
                Self::Unquoted if is_space(byte) => (Self::Before, 1),
                Self::Unquoted => (Self::Unquoted, 1),
            };
            *self = next;
            at += taken;
        }
    }
}

/// The value of an attribute in what stands between the name of a tag and its end, and where it
/// begins; of two that have the same name, the first.
pub(in crate::nonce) fn attribute<'t>(tag: &'t [u8], name: &str) -> Option<(usize, &'t [u8])> {
    let mut at = 0;
    let skip = |at: &mut usize, these: &dyn Fn(u8) -> bool| {
        let rest = tag.get(*at..).unwrap_or_default();
        let length = rest.iter().position(|byte| !these(*byte)).unwrap_or(rest.len());
        *at += length;
        rest.get(..length).unwrap_or_default()
    };
    loop {
        skip(&mut at, &|byte| is_space(byte) || byte == b'/');
        if matches!(tag.get(at), None | Some(b'>')) {
            return None;
        }
        let begin = at;
        at += 1; // which may be a `=`
        skip(&mut at, &|byte| !ends_name(byte) && byte != b'=');
        let found = tag.get(begin..at).unwrap_or_default();
        let end = at;
        skip(&mut at, &is_space);
        let mut value = (end, &b""[..]);
        if tag.get(at) == Some(&b'=') {
            at += 1;
            skip(&mut at, &is_space);
            value = match tag.get(at) {
                Some(quote @ (b'"' | b'\'')) => {
                    at += 1;
                    let begin = at;
                    let value = skip(&mut at, &|byte| byte != *quote);
                    at += 1;
                    (begin, value)
                }
                _ => (at, skip(&mut at, &|byte| !is_space(byte) && byte != b'>')),
            };
        }
        if found.eq_ignore_ascii_case(name.as_bytes()) {
            return Some(value);
        }
    }
}
