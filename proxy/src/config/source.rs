//! Source texts: a file that was read, and places in it.
//!
//! A [`Place`] carries the text it points into, so a fault can be rendered wherever it is found.
//! Lines and columns count from 1; columns count characters, as editors do.

use std::cell::RefCell;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;

/// The largest configuration file in bytes; what is larger is the wrong file.
const LARGEST_FILE: u64 = 8 << 20;

/// The largest page of an error in bytes: every worker holds it.
const LARGEST_PAGE: u64 = 256 << 10;

/// The largest file that `${file:…}` reads, in bytes; what is larger is no secret.
const LARGEST_SECRET: u64 = 64 << 10;

/// One configuration file.
#[derive(Debug)]
pub(super) struct Source {
    /// As the operator wrote it, for faults.
    pub(super) name: String,
    /// The order in which files were read: faults are sorted by it.
    pub(super) order: usize,
    /// What the file says.
    pub(super) text: String,
    /// Spans of values that must not be printed.
    secrets: RefCell<Vec<Range<usize>>>,
}

impl Source {
    pub(super) fn new(name: String, order: usize, text: String) -> Rc<Self> {
        Rc::new(Self { name, order, text, secrets: RefCell::default() })
    }

    /// Whether the byte at `index` belongs to a secret.
    fn is_secret(&self, index: usize) -> bool {
        self.secrets.borrow().iter().any(|span| span.contains(&index))
    }
}

/// A span of a source.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The file.
    pub(super) source: Rc<Source>,
    /// Bytes of its text.
    pub(super) span: Range<usize>,
}

/// A place as a person reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// From 1.
    pub(super) line: usize,
    /// From 1, in characters.
    pub(super) column: usize,
    /// Characters of the span on its first line, at least 1.
    pub(super) width: usize,
}

impl Place {
    pub(super) fn new(source: &Rc<Source>, span: Range<usize>) -> Self {
        Self { source: Rc::clone(source), span }
    }

    /// Keeps the text from this place to the end of its last line out of every fault: in a broken
    /// file nobody knows where a value ends.
    pub(super) fn hide(&self) {
        let Range { start, end } = self.span;
        let rest = self.source.text.get(end..).and_then(|rest| rest.lines().next());
        let end = end + rest.map_or(0, str::len);
        self.source.secrets.borrow_mut().push(start..end);
    }

    /// Line, column and width.
    pub(super) fn position(&self) -> Position {
        let (start, line) = self.line();
        let text = &self.source.text;
        let column = characters(text, start..self.span.start);
        let line_end = start + line.len();
        let width = characters(text, self.span.start..self.span.end.min(line_end)).max(1);
        let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
        Position { line, column: column + 1, width }
    }

    /// The first line of the span, one character per character of the file: tabs and control
    /// characters become spaces, secrets become `*`.
    pub(super) fn excerpt(&self) -> String {
        let (start, line) = self.line();
        line.char_indices()
            .map(|(offset, character)| match character {
                _ if self.source.is_secret(start + offset) => '*',
                character if character.is_control() => ' ',
                character => character,
            })
            .collect()
    }

    /// Where the first line of the span starts, and its text without the end of line.
    fn line(&self) -> (usize, &str) {
        let text = self.source.text.as_str();
        let before = text.get(..self.span.start).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (start, text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default())
    }
}

/// How many characters begin in a range of bytes.
fn characters(text: &str, range: Range<usize>) -> usize {
    text.get(range).map_or(0, |part| part.chars().count())
}

/// Reads a file of at most `largest` bytes; the error is a pair of what is wrong and what to do.
fn read_bounded(path: &Path, largest: u64) -> Result<String, (String, &'static str)> {
    let cannot = |error: std::io::Error| {
        (format!("cannot read the file: {error}"), "name a file that this user may read")
    };
    let file = File::open(path).map_err(cannot)?;
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(("this is a directory".to_owned(), "name a file in it"));
    }
    let mut bytes = Vec::new();
    file.take(largest + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > largest {
        return Err((format!("the file is larger than {largest} bytes"), "name another file"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        (format!("the file is not UTF-8 (at byte {at})"), "save it as UTF-8")
    })
}

/// Reads a configuration file.
pub(super) fn read_file(path: &Path) -> Result<String, (String, &'static str)> {
    read_bounded(path, LARGEST_FILE)
}

/// Reads a page of HTML.
pub(super) fn read_page(path: &Path) -> Result<String, (String, &'static str)> {
    read_bounded(path, LARGEST_PAGE)
}

/// Reads the file of a `${file:…}`, without the newline that editors leave at the end.
pub(super) fn read_secret(path: &Path) -> Result<String, (String, &'static str)> {
    let mut text = read_bounded(path, LARGEST_SECRET)?;
    let end = text.trim_end_matches(['\n', '\r']).len();
    text.truncate(end);
    Ok(text)
}
