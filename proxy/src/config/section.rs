//! A typed view of one table: each key is asked for once, by name and type; what nobody asked for
//! is unknown.
//!
//! No reading fails: a fault is noted, `None` or the default stands in, and the reading goes on to
//! find the next fault. The result is used only if there was none.

use super::fault::Findings;
use super::nearest::suggestion;
use super::source::Place;
use super::tree::{Entry, Node, Table, Value};
use super::values::List;

/// The longest name that an operator may give, in characters.
const LONGEST_NAME: usize = 64;

/// A table being read.
pub(super) struct Section<'t> {
    /// `[listen]`, `[[site]]`: how faults call it.
    pub(super) title: String,
    /// Where it begins; an absent section is at its parent's place.
    pub(super) place: Place,
    pub(super) findings: &'t Findings,
    entries: &'t [Entry],
    known: Vec<&'static str>,
}

impl<'t> Section<'t> {
    pub(super) fn new(
        title: String,
        place: Place,
        entries: &'t [Entry],
        findings: &'t Findings,
    ) -> Self {
        Self { title, place, findings, entries, known: Vec::new() }
    }

    /// The same table, to be read once more; what is at fault in it is noted once.
    pub(super) fn again(&self) -> Self {
        Self::new(self.title.clone(), self.place.clone(), self.entries, self.findings)
    }

    /// Notes an error at a place of this table.
    pub(super) fn error(
        &self,
        place: &Place,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.findings.error(place, message, remedy);
    }

    /// Notes a key that must be there and is not.
    pub(super) fn require(&mut self, key: &'static str, example: &str) {
        if self.node(key).is_none() {
            let message = format!("{} without `{key}`", self.title);
            self.error(&self.place, message, format!("add {example}"));
        }
    }

    /// Notes that a list was written and has no item, although it must.
    pub(super) fn note_empty<T>(&self, key: &str, list: &List<T>, remedy: &str) {
        if list.empty {
            self.error(&list.place, format!("`{key}` in {} is empty", self.title), remedy);
        }
    }

    /// Notes a name of the operator's that cannot travel in header fields, records and metrics.
    pub(super) fn check_name(&self, name: &str, place: &Place) {
        let plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
        if !(1..=LONGEST_NAME).contains(&name.len()) || !name.bytes().all(plain) {
            let message = format!("bad name `{}`", quoted(name));
            let remedy = format!(
                "write 1 to {LONGEST_NAME} printable ASCII characters other than `\"` and `\\`"
            );
            self.error(place, message, remedy);
        }
    }

    /// The value of a key, whatever it is.
    pub(super) fn node(&mut self, key: &'static str) -> Option<&'t Node> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// A table below this one; an absent one is empty.
    pub(super) fn section(&mut self, key: &'static str, title: &str) -> Self {
        self.section_or(key, title, "a table")
    }

    /// The same; `wanted` is what to write if it is no table.
    pub(super) fn section_or(&mut self, key: &'static str, title: &str, wanted: &str) -> Self {
        let node = self.node(key);
        let place = node.map_or(&self.place, |node| &node.place).clone();
        let entries = node.and_then(|node| self.table_at(key, node, wanted));
        Self::new(title.to_owned(), place, entries.unwrap_or_default(), self.findings)
    }

    /// A list of tables below this one.
    pub(super) fn sections(&mut self, key: &'static str, title: &str) -> Vec<Self> {
        let Some(node) = self.node(key) else { return Vec::new() };
        let Value::List(items) = &node.value else {
            self.wrong_type(key, node, &format!("a list of tables, {title}"));
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in items {
            if let Some(entries) = self.table_at(key, item, "a table") {
                let place = item.place.clone();
                sections.push(Self::new(title.to_owned(), place, entries, self.findings));
            }
        }
        sections
    }

    /// The tables of a table whose keys are names, with those names.
    pub(super) fn named_sections(&mut self, key: &'static str) -> Vec<(&'t str, Self)> {
        let mut sections = Vec::new();
        let table = self.section(key, &format!("[{key}]"));
        for Entry { key: name, key_place, node } in table.entries {
            self.check_name(name, key_place);
            let title = format!("[{key}.{}]", quoted(name));
            if let Some(entries) = table.table_at(name, node, &format!("a table, {title}")) {
                let section = Self::new(title, key_place.clone(), entries, self.findings);
                sections.push((name.as_str(), section));
            }
        }
        sections
    }

    /// The entries of a table whose keys the operator makes up.
    pub(super) fn named(&mut self, key: &'static str) -> &'t [Entry] {
        let node = self.node(key);
        node.and_then(|node| self.table_at(key, node, "a table")).unwrap_or_default()
    }

    /// Whether nothing stands in it.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Notes every key that nobody asked for.
    pub(super) fn finish(self) {
        for entry in self.entries {
            if !self.known.contains(&entry.key.as_str()) {
                let message = format!("unknown key `{}` in {}", quoted(&entry.key), self.title);
                let remedy = suggestion(&entry.key, self.known.iter().copied());
                self.error(&entry.key_place, message, remedy);
            }
        }
    }

    fn table_at(&self, key: &str, node: &'t Node, wanted: &str) -> Option<&'t [Entry]> {
        let Value::Table(Table { entries }) = &node.value else {
            self.wrong_type(key, node, wanted);
            return None;
        };
        Some(entries)
    }

    /// Notes that a value has another type; a broken value has been noted before.
    pub(super) fn wrong_type(&self, key: &str, node: &Node, wanted: &str) {
        if !matches!(node.value, Value::Broken) {
            let message = format!("`{key}` in {} is {}", self.title, node.value.kind());
            self.error(&node.place, message, format!("write {wanted}"));
        }
    }
}

/// The longest part of a value that a message repeats, in characters.
const LONGEST_QUOTE: usize = 60;

/// A value for a message: escaped, and not too long.
pub(super) fn quoted(text: &str) -> String {
    let end = text.char_indices().nth(LONGEST_QUOTE).map_or(text.len(), |(end, _)| end);
    let mut quoted = String::new();
    for character in text.chars().take(LONGEST_QUOTE) {
        match character.is_control() {
            true => quoted.extend(character.escape_default()),
            false => quoted.push(character),
        }
    }
    if end < text.len() {
        quoted.push('…');
    }
    quoted
}
