//! What begins like a tag and is none: comments, declarations, CDATA.

use memchr::memchr;

/// Where it is (HTML, 13.2.5.41 to 13.2.5.52 and 13.2.5.69 to 13.2.5.71).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Markup {
    /// Behind `<!`.
    Open,
    OpenDash,
    /// Behind so many bytes of [`CDATA`].
    OpenCdata(usize),
    /// To the next `>`, as declarations go, and what is no comment.
    Bogus,
    Start,
    StartDash,
    Comment,
    Dash,
    End,
    EndBang,
    Cdata,
    Bracket,
    Brackets,
}

const CDATA: &[u8] = b"[CDATA[";

impl Markup {
    /// Where it ends; `None` if not in these bytes. `foreign` says whether there can be CDATA.
    pub(super) fn read(&mut self, bytes: &[u8], foreign: bool) -> Option<usize> {
        let mut at = 0;
        loop {
            let rest = bytes.get(at..)?;
            let byte = *rest.first()?;
            // What is not taken is looked at again in the next state.
            let (next, taken) = match (*self, byte) {
                (Self::Start | Self::StartDash | Self::End | Self::EndBang, b'>')
                | (Self::Brackets, b'>') => return Some(at + 1),
                (Self::Open, b'-') => (Self::OpenDash, 1),
                (Self::OpenDash, b'-') => (Self::Start, 1),
                (Self::Open, b'[') if foreign => (Self::OpenCdata(1), 1),
                (Self::OpenCdata(read), _) if CDATA.get(read) == Some(&byte) => {
                    let is_open = read + 1 == CDATA.len();
                    (if is_open { Self::Cdata } else { Self::OpenCdata(read + 1) }, 1)
                }
                (Self::Open | Self::OpenDash | Self::OpenCdata(_), _) => (Self::Bogus, 0),
                (Self::Bogus, _) => return memchr(b'>', rest).map(|end| at + end + 1),
                (Self::Start, b'-') => (Self::StartDash, 1),
                (Self::StartDash | Self::Dash | Self::End, b'-') => (Self::End, 1),
                (Self::EndBang, b'-') => (Self::Dash, 1),
                (Self::End, b'!') => (Self::EndBang, 1),
                (Self::Start | Self::StartDash | Self::Dash | Self::End | Self::EndBang, _) => {
                    (Self::Comment, 0)
                }
                (Self::Comment, _) => (Self::Dash, memchr(b'-', rest)? + 1),
                (Self::Cdata, _) => (Self::Bracket, memchr(b']', rest)? + 1),
                (Self::Bracket | Self::Brackets, b']') => (Self::Brackets, 1),
                (Self::Bracket | Self::Brackets, _) => (Self::Cdata, 0),
            };
            *self = next;
            at += taken;
        }
    }
}
