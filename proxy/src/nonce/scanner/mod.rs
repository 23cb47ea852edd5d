//! Where a page has the start tags that matter, as it streams by: HTML's own tokenization (HTML,
//! 13.2.5), which knows tags from comments, from the text of scripts, and from values in quotes.

mod foreign;
mod markup;
mod tag;
mod text;

use memchr::memchr;

use self::foreign::Foreign;
use self::markup::Markup;
use self::tag::{Attributes, Name, ends_name};
use self::text::Text;

pub(super) use self::tag::attribute;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The name of a start tag has ended; its attributes follow.
    Named(Element),
    /// A tag has ended that was to be [kept](Scanner::keep).
    Ended,
}

/// An element that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    /// A `script`, `style` or `link`.
    Loading,
    Meta,
}

/// Reads a page piece by piece.
#[derive(Default)]
pub(super) struct Scanner {
    state: State,
    name: Name,
    /// Whether the tag is an end tag.
    ends: bool,
    foreign: Foreign,
    /// What has been read behind the name of a tag that is to be kept.
    kept: Vec<u8>,
    keeps: bool,
}

#[derive(Default)]
enum State {
    #[default]
    Data,
    /// Behind `<`.
    Open,
    /// Behind `</`.
    End,
    Name,
    Attributes(Attributes),
    Markup(Markup),
    Text(Text),
}

impl Scanner {
    /// Reads on from a place in a piece, to what is found next or to the end of the piece.
    pub(super) fn next(&mut self, piece: &[u8], at: &mut usize) -> Option<Found> {
        loop {
            let rest = piece.get(*at..).filter(|rest| !rest.is_empty())?;
            let (read, found) = self.step(rest);
            *at += read;
            if found.is_some() {
                return found;
            }
        }
    }

    /// One state: how many bytes it has read, and what it has found.
    fn step(&mut self, rest: &[u8]) -> (usize, Option<Found>) {
        let byte = rest.first().copied().unwrap_or_default();
        let (next, read) = match &mut self.state {
            State::Data => match self.data(rest) {
                Some(open) => match rest.get(open + 1) {
                    Some(byte) if byte.is_ascii_alphabetic() => (self.begin(false), open + 1),
                    _ => (State::Open, open + 1),
                },
                None => return (rest.len(), None),
            },
            State::Open if byte.is_ascii_alphabetic() => (self.begin(false), 0),
            State::Open => match byte {
                b'!' => (State::Markup(Markup::Open), 1),
                b'/' => (State::End, 1),
                b'?' => (State::Markup(Markup::Bogus), 0),
                _ => (State::Data, 0),
            },
            State::End if byte.is_ascii_alphabetic() => (self.begin(true), 0),
            State::End if byte == b'>' => (State::Data, 1),
            State::End => (State::Markup(Markup::Bogus), 0),
            State::Name => return self.name(rest),
            State::Attributes(attributes) => {
                let end = attributes.read(rest);
                let read = end.map_or(rest.len(), |(read, _)| read);
                if self.keeps {
                    self.kept.extend_from_slice(rest.get(..read).unwrap_or_default());
                }
                let Some((_, closed)) = end else { return (read, None) };
                self.state = self.finish(closed);
                return (read, std::mem::take(&mut self.keeps).then_some(Found::Ended));
            }
            State::Markup(markup) => match markup.read(rest, self.foreign.is_open()) {
                Some(end) => (State::Data, end),
                None => return (rest.len(), None),
            },
            State::Text(text) => match text.read(rest) {
                Some(name) => {
                    (self.name, self.ends) = (Name::EMPTY, true);
                    (State::Attributes(Attributes::Before), name)
                }
                None => return (rest.len(), None),
            },
        };
        self.state = next;
        (read, None)
    }

    /// The next `<`, but of plain tags that are nothing but a name.
    fn data(&self, rest: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            at += memchr(b'<', rest.get(at..)?)?;
            let tag = rest.get(at..).unwrap_or_default();
            match plain(tag).filter(|_| self.foreign.is_empty()) {
                Some(length) => at += length,
                None => return Some(at),
            }
        }
    }

    fn begin(&mut self, ends: bool) -> State {
        (self.name, self.ends) = (Name::EMPTY, ends);
        State::Name
    }

    fn name(&mut self, rest: &[u8]) -> (usize, Option<Found>) {
        let Some(read) = rest.iter().position(|byte| ends_name(*byte)) else {
            rest.iter().for_each(|byte| self.name.push(*byte));
            return (rest.len(), None);
        };
        rest.iter().take(read).for_each(|byte| self.name.push(*byte));
        self.state = State::Attributes(Attributes::Before);
        if self.ends {
            return (read, None);
        }
        if self.foreign.reads_attributes(self.name) {
            self.keep();
        }
        (read, element(self.name).map(Found::Named))
    }

    /// Keeps what follows of the tag whose name has ended.
    pub(super) fn keep(&mut self) {
        self.kept.clear();
        self.keeps = true;
    }

    /// How much has been kept.
    pub(super) fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Takes what was kept, and keeps no more of the tag.
    pub(super) fn take_kept(&mut self) -> Vec<u8> {
        self.keeps = false;
        std::mem::take(&mut self.kept)
    }

    /// The tag has ended: what follows it.
    fn finish(&mut self, closed: bool) -> State {
        if self.ends {
            self.foreign.end(self.name);
            return State::Data;
        }
        let is_html = !self.foreign.is_open();
        let kept = if self.keeps { &*self.kept } else { &[] };
        self.foreign.start(self.name, closed, kept);
        // What has broken out of SVG or MathML has no text of its own kind.
        let text = if is_html { Text::of(self.name) } else { None };
        text.map_or(State::Data, State::Text)
    }
}

/// The length of a whole tag that has no attributes and matters to nobody: an end tag, or a start
/// tag with a name of one or two letters, as no element has one that matters.
fn plain(tag: &[u8]) -> Option<usize> {
    let (begin, longest) = if tag.get(1) == Some(&b'/') { (2, 16) } else { (1, 2) };
    let name = tag.get(begin..)?;
    name.first().filter(|byte| byte.is_ascii_alphabetic())?;
    let length = name.iter().take(longest + 1).position(|byte| ends_name(*byte))?;
    (name.get(length) == Some(&b'>')).then_some(begin + length + 1)
}

fn element(name: Name) -> Option<Element> {
    const SCRIPT: Name = Name::of("script");
    const STYLE: Name = Name::of("style");
    const LINK: Name = Name::of("link");
    const META: Name = Name::of("meta");
    match name {
        SCRIPT | STYLE | LINK => Some(Element::Loading),
        META => Some(Element::Meta),
        _ => None,
    }
}
