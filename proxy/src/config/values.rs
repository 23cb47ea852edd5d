//! The values of a table: strings, lists, numbers, sizes and durations, each with its range.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::quantity::{duration, format_duration, format_size, size};
use super::section::{Section, quoted};
use super::source::Place;
use super::tree::{Node, Value};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// A list and where it stands.
#[derive(Debug, Clone)]
pub(super) struct List<T> {
    /// The items that could be read.
    pub(super) items: Vec<At<T>>,
    /// Whether none was written.
    pub(super) empty: bool,
    pub(super) place: Place,
}

impl<T> List<T> {
    /// The items without their places.
    pub(super) fn into_values(self) -> Vec<T> {
        self.items.into_iter().map(|item| item.value).collect()
    }
}

impl<'t> Section<'t> {
    /// A string.
    pub(super) fn text(&mut self, key: &'static str) -> Option<At<&'t str>> {
        let node = self.node(key)?;
        self.text_at(key, node)
    }

    /// A string with a grammar of its own; the error of `parse` is the remedy.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        what: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<At<T>> {
        let text = self.text(key)?;
        self.parse(key, what, text, &parse)
    }

    /// One string or a list of them, each parsed; `None` if the key is absent.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        what: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<List<T>> {
        let node = self.node(key)?;
        self.list_at(key, node, what, parse)
    }

    /// As [`Self::list`], of a value that was already found.
    pub(super) fn list_at<T>(
        &self,
        key: &str,
        node: &'t Node,
        what: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<List<T>> {
        let items = if let Value::List(items) = &node.value {
            items.as_slice()
        } else if let Value::Text(_) = node.value {
            std::slice::from_ref(node)
        } else {
            self.wrong_type(key, node, "a list of strings");
            return None;
        };
        let mut read = Vec::new();
        for item in items {
            let text = self.text_at(key, item);
            read.extend(text.and_then(|text| self.parse(key, what, text, &parse)));
        }
        Some(List { items: read, empty: items.is_empty(), place: node.place.clone() })
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let node = self.node(key)?;
        let Value::Boolean(boolean) = node.value else {
            self.wrong_type(key, node, "`true` or `false`");
            return None;
        };
        Some(boolean)
    }

    /// A whole number within a range.
    pub(super) fn integer(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
    ) -> Option<At<u64>> {
        let node = self.node(key)?;
        let Value::Integer(integer) = node.value else {
            self.wrong_type(key, node, "a whole number");
            return None;
        };
        let value = u64::try_from(integer).ok().filter(|value| range.contains(value));
        if value.is_none() {
            self.out_of_range(key, node, &integer.to_string(), range.start(), range.end());
        }
        Some(At { value: value?, place: node.place.clone() })
    }

    /// A size in bytes, as a string with a unit or a number.
    pub(super) fn size(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let node = self.node(key)?;
        let (bytes, written) = if let Value::Integer(integer) = node.value {
            (u64::try_from(integer).ok(), integer.to_string())
        } else {
            let text = self.text_at(key, node)?;
            let written = text.value.to_owned();
            (Some(self.parse(key, "size", text, &size)?.value), written)
        };
        let bytes = bytes.filter(|bytes| range.contains(bytes));
        if bytes.is_none() {
            let (least, most) = (format_size(*range.start()), format_size(*range.end()));
            self.out_of_range(key, node, &written, least, most);
        }
        bytes
    }

    /// A duration within a range.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let node = self.node(key)?;
        let text = self.text_at(key, node)?;
        let written = text.value;
        let value = self.parse(key, "duration", text, &duration)?.value;
        if !range.contains(&value) {
            let (least, most) = (format_duration(*range.start()), format_duration(*range.end()));
            self.out_of_range(key, node, written, least, most);
            return None;
        }
        Some(value)
    }

    /// The string of a value that was already found.
    pub(super) fn text_at(&self, key: &str, node: &'t Node) -> Option<At<&'t str>> {
        let Value::Text(text) = &node.value else {
            self.wrong_type(key, node, "a string in quotes");
            return None;
        };
        Some(At { value: text, place: node.place.clone() })
    }

    fn parse<T>(
        &self,
        key: &str,
        what: &str,
        text: At<&str>,
        parse: &impl Fn(&str) -> Result<T, String>,
    ) -> Option<At<T>> {
        match parse(text.value) {
            Ok(value) => Some(At { value, place: text.place }),
            Err(remedy) => {
                let text_quoted = quoted(text.value);
                let message = format!("bad {what} `{text_quoted}` for `{key}` in {}", self.title);
                self.error(&text.place, message, remedy);
                None
            }
        }
    }

    fn out_of_range(
        &self,
        key: &str,
        node: &Node,
        written: &str,
        least: impl Display,
        most: impl Display,
    ) {
        let message = format!("`{key}` in {} is {written}", self.title);
        self.error(&node.place, message, format!("write {least} to {most}"));
    }
}
