//! The document as a tree of our own: strings expanded, integers read, entries in the order of the
//! file, and at every node the place it came from, so that files can be joined and still be told
//! apart.

use std::path::Path;
use std::rc::Rc;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::expand::{Environment, expand};
use super::fault::Findings;
use super::source::{Place, Source};

/// Keys whose values are never printed.
const SECRETS: [&str; 6] = ["encryption_key", "hmac_key", "jwt_secret", "redis", "secret", "token"];

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// A TOML value.
#[derive(Debug)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Boolean(bool),
    Float,
    Datetime,
    List(Vec<Node>),
    Table(Table),
    /// A value whose fault is already noted; readers pass over it in silence.
    Broken,
}

/// The entries of a table, in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) entries: Vec<Entry>,
}

/// A key and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_place: Place,
    pub(super) node: Node,
}

impl Table {
    /// The first entry of this name.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

impl Value {
    /// What the value is, with its article.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Boolean(_) => "a boolean",
            Self::Float => "a number with a fraction",
            Self::Datetime => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Broken => "a broken value",
        }
    }
}

/// Parses a source. Every syntax error is noted, or else every string that cannot be expanded;
/// half a document is not returned, for what follows from it would hide its syntax errors.
pub(super) fn parse(
    source: &Rc<Source>,
    folder: &Path,
    environment: Environment<'_>,
    findings: &Findings,
) -> Option<Table> {
    let (document, errors) = DeTable::parse_recoverable(&source.text);
    hide_secrets(document.get_ref(), source);
    for error in &errors {
        let place = Place::new(source, error.span().unwrap_or_default());
        syntax_error(&place, error.message(), findings);
    }
    if !errors.is_empty() {
        return None;
    }
    let growing = Growing { source, folder, environment, findings };
    Some(growing.table(document.into_inner()))
}

/// Keeps the values of secret keys out of faults, before there can be any, wherever they stand.
fn hide_secrets(table: &DeTable<'_>, source: &Rc<Source>) {
    for (key, value) in table {
        match SECRETS.contains(&key.get_ref().as_ref()) {
            true => Place::new(source, value.span()).hide(),
            false => hide_secrets_below(value.get_ref(), source),
        }
    }
}

fn hide_secrets_below(value: &DeValue<'_>, source: &Rc<Source>) {
    if let DeValue::Table(table) = value {
        hide_secrets(table, source);
    } else if let DeValue::Array(items) = value {
        items.iter().for_each(|item| hide_secrets_below(item.get_ref(), source));
    }
}

/// Notes what the TOML parser says; it appends what it expected to its message.
fn syntax_error(place: &Place, message: &str, findings: &Findings) {
    if message == "duplicate key" {
        return twice_in_one_file(place, findings);
    }
    let (message, remedy) = match message.split_once(", expected ") {
        Some((message, "nothing")) => (message, "remove this".to_owned()),
        Some((message, expected)) => (message, format!("expected {expected}")),
        None => (message, "see https://toml.io".to_owned()),
    };
    findings.error(place, format!("not TOML: {message}"), remedy);
}

/// The parser does not say where the first of two equal keys stands; of two equal headers it is
/// easily found.
fn twice_in_one_file(place: &Place, findings: &Findings) {
    let text = &place.source.text;
    let key = text.get(place.span.clone()).unwrap_or_default();
    let header = place.excerpt();
    let header = header.trim();
    let first = header.starts_with('[').then(|| text.find(header)).flatten();
    match first.filter(|first| *first < place.span.start) {
        Some(first) => {
            let first = Place::new(&place.source, first..first + header.len());
            let message = format!("{header} is defined twice");
            findings.clash(place, message, "merge the two", "first defined", &first);
        }
        None => findings.error(place, format!("`{key}` is defined twice"), "keep one of them"),
    }
}

/// Turns the parser's values into nodes.
struct Growing<'a> {
    source: &'a Rc<Source>,
    folder: &'a Path,
    environment: Environment<'a>,
    findings: &'a Findings,
}

impl Growing<'_> {
    fn table(&self, table: DeTable<'_>) -> Table {
        let mut entries: Vec<Entry> = table
            .into_iter()
            .map(|(key, value)| Entry {
                key_place: Place::new(self.source, key.span()),
                key: key.into_inner().into_owned(),
                node: self.node(value),
            })
            .collect();
        entries.sort_by_key(|entry| entry.key_place.span.start);
        Table { entries }
    }

    fn node(&self, value: Spanned<DeValue<'_>>) -> Node {
        let place = Place::new(self.source, value.span());
        let value = match value.into_inner() {
            DeValue::String(text) => self.text(&text, &place),
            DeValue::Integer(integer) => self.integer(&integer, &place),
            DeValue::Float(_) => Value::Float,
            DeValue::Boolean(boolean) => Value::Boolean(boolean),
            DeValue::Datetime(_) => Value::Datetime,
            DeValue::Array(items) => {
                Value::List(items.into_iter().map(|item| self.node(item)).collect())
            }
            DeValue::Table(table) => Value::Table(self.table(table)),
        };
        Node { place, value }
    }

    fn text(&self, text: &str, place: &Place) -> Value {
        match expand(text, self.environment, self.folder) {
            Ok(text) => Value::Text(text),
            Err(faults) => {
                for fault in faults {
                    self.findings.error(place, fault.message, fault.remedy);
                }
                Value::Broken
            }
        }
    }

    fn integer(&self, integer: &DeInteger<'_>, place: &Place) -> Value {
        match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(integer) => Value::Integer(integer),
            Err(_) => {
                let message = format!("`{integer}` is not a 64-bit integer");
                self.findings.error(place, message, "write a smaller number");
                Value::Broken
            }
        }
    }
}
