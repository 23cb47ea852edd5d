//! The text of elements in which tags are none: all but their own end (HTML, 13.2.5.2 to 31).

use memchr::memchr;

use super::tag::{Name, ends_name};

/// Where in the text of an element it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Text {
    element: Name,
    state: State,
    /// What has been read of a name.
    name: Name,
    /// In a script: how often `<!--` and `<script` have hidden its end.
    hidden: u8,
    /// In a script that is hidden: how many `-` come before, up to 2.
    dashes: u8,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Text,
    /// Behind `<`.
    Open,
    /// In the name behind `</`.
    End,
    /// Behind `<!`, and behind `<!-`.
    Bang,
    BangDash,
    /// In a name that hides the end of a script once more, or no longer.
    Script,
}

const SCRIPT: Name = Name::of("script");
const PLAINTEXT: Name = Name::of("plaintext");

impl Text {
    /// The text of an element, if it is of this kind.
    pub(super) fn of(element: Name) -> Option<Self> {
        const KNOWN: [Name; 10] = [
            SCRIPT,
            Name::of("style"),
            Name::of("title"),
            Name::of("textarea"),
            Name::of("noscript"),
            Name::of("iframe"),
            Name::of("noframes"),
            Name::of("noembed"),
            Name::of("xmp"),
            PLAINTEXT,
        ];
        let text = Self { element, state: State::Text, name: Name::EMPTY, hidden: 0, dashes: 0 };
        KNOWN.contains(&element).then_some(text)
    }

    /// Where the name of its end tag ends; `None` if not in these bytes.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.element == PLAINTEXT {
            return None;
        }
        let mut at = 0;
        loop {
            let rest = bytes.get(at..)?;
            let byte = *rest.first()?;
            // What is not taken is looked at again in the next state.
            let (next, taken) = match self.state {
                State::Text if self.hidden == 0 => (State::Open, memchr(b'<', rest)? + 1),
                State::Text => (self.dash(byte), 1),
                State::Open => self.open(byte),
                State::End if byte.is_ascii_alphabetic() => (State::End, self.push(byte)),
                State::End if self.name == self.element && ends_name(byte) => return Some(at),
                State::Bang if byte == b'-' => (State::BangDash, 1),
                State::BangDash if byte == b'-' => {
                    (self.hidden, self.dashes) = (1, 2);
                    (State::Text, 1)
                }
                State::Script if byte.is_ascii_alphabetic() => (State::Script, self.push(byte)),
                State::Script if ends_name(byte) => {
                    if self.name == SCRIPT {
                        self.hidden = 3 - self.hidden;
                    }
                    (State::Text, 1)
                }
                State::End | State::Bang | State::BangDash | State::Script => (State::Text, 0),
            };
            self.state = next;
            at += taken;
        }
    }

    fn push(&mut self, byte: u8) -> usize {
        self.name.push(byte);
        1
    }

    /// Behind a `<`.
    fn open(&mut self, byte: u8) -> (State, usize) {
        self.name = Name::EMPTY;
        let is_script = self.element == SCRIPT;
        match (byte, self.hidden) {
            (b'/', 0 | 1) => (State::End, 1),
            (b'/', _) => (State::Script, 1),
            (b'!', 0) if is_script => (State::Bang, 1),
            (byte, 1) if byte.is_ascii_alphabetic() => (State::Script, 0),
            _ => (State::Text, 0),
        }
    }

    /// In a script that is hidden, which `-->` ends.
    fn dash(&mut self, byte: u8) -> State {
        let dashes = std::mem::take(&mut self.dashes);
        match byte {
            b'<' => return State::Open,
            b'-' => self.dashes = 2.min(dashes + 1),
            b'>' if dashes == 2 => self.hidden = 0,
            _ => {}
        }
        State::Text
    }
}
