//! What a resource is: a table of fields, each with its rule, below one parent.
//!
//! A resource is data, not code. Its file ([`super::test`], [`super::element`], …) lists its
//! fields; reading a body, the statements ([`crate::store`]), the routes and their documentation
//! ([`crate::http`]) are derived from that list, in one place each.
//!
//! # Why
//! Twelve tables with the same five operations, written out with a struct each, would be a hundred
//! near copies; in a list, what differs is all there is to read.

use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::timestamp::Timestamp;
use super::value::{Faults, Kind, Value};

/// A kind of thing that users keep.
#[derive(Debug)]
pub struct Resource {
    /// In a sentence and as operation name: `page state`.
    pub noun: &'static str,
    /// The name of its schema in the document: `PageState`.
    pub schema: &'static str,
    /// The table.
    pub table: &'static str,
    /// Where single ones are: `/api/page-states`.
    pub path: &'static str,
    /// Where they are below their parent: `page-states`.
    pub segment: &'static str,
    /// What they belong to; `None` is the user.
    pub parent: Option<&'static Self>,
    /// The column that holds the parent's key.
    pub parent_column: &'static str,
    /// The parent's key in an answer; empty leaves it out.
    pub parent_name: &'static str,
    /// Whether a client creates and changes them; otherwise the program does.
    pub writable: bool,
    /// Everything else.
    pub fields: &'static [Field],
}

/// One field of a resource.
#[derive(Debug)]
pub struct Field {
    /// In JSON and in queries.
    pub name: &'static str,
    /// In the table.
    pub column: &'static str,
    /// What may be in it.
    pub kind: Kind,
    /// What happens when it is left out of a new one.
    pub presence: Presence,
    /// A list can be asked for one value of it; an index answers.
    pub filtered: bool,
    /// A list can be sorted by it, and asked for a range of its values; an index answers.
    pub sorted: bool,
}

/// Whether a field has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It has to.
    Required,
    /// Otherwise it is this JSON text.
    Default(&'static str),
    /// Otherwise, and by `null`, there is no value.
    Nullable,
}

impl Field {
    /// A field that must be there.
    #[must_use]
    pub const fn required(name: &'static str, column: &'static str, kind: Kind) -> Self {
        Self { name, column, kind, presence: Presence::Required, filtered: false, sorted: false }
    }

    /// A field that is the JSON text `value` unless given.
    #[must_use]
    pub const fn or(self, value: &'static str) -> Self {
        Self { presence: Presence::Default(value), ..self }
    }

    /// A field that may have no value.
    #[must_use]
    pub const fn nullable(self) -> Self {
        Self { presence: Presence::Nullable, ..self }
    }

    /// A field that lists are filtered by.
    #[must_use]
    pub const fn filtered(self) -> Self {
        Self { filtered: true, ..self }
    }

    /// A field that lists are sorted by, and by ranges of which they are filtered.
    #[must_use]
    pub const fn sorted(self) -> Self {
        Self { sorted: true, ..self }
    }

    /// Reads the value that `body` has for this field, or else `kept`, or else what its presence
    /// says. A field that is already there cannot be left empty by `null` unless it is nullable.
    fn read(&self, body: &Map<String, Json>, kept: Option<&Value>) -> Result<Value, Faults> {
        let fault = |wrong: &str| Err(vec![(self.name.to_owned(), wrong.to_owned())]);
        let default;
        let given = match (body.get(self.name), kept, self.presence) {
            (None, Some(kept), _) => return Ok(kept.clone()),
            (None | Some(Json::Null), _, Presence::Nullable) => return Ok(self.kind.none()),
            (Some(Json::Null), Some(_), _) => {
                return fault("must not be null; leave it out to keep it");
            }
            (None | Some(Json::Null), _, Presence::Required) => return fault("is required"),
            (None | Some(Json::Null), None, Presence::Default(text)) => {
                default = serde_json::from_str(text).unwrap_or(Json::Null);
                &default
            }
            (Some(given), ..) => given,
        };
        self.kind.read(given).map_err(|faults| {
            let within = |(place, wrong)| (format!("{}{place}", self.name), wrong);
            faults.into_iter().map(within).collect()
        })
    }
}

/// One row of a resource's table.
#[derive(Clone, Debug)]
pub struct Record {
    /// The key, which sorts by creation.
    pub id: Uuid,
    /// The key of what it belongs to.
    pub parent: Uuid,
    /// The values of [`Resource::fields`], in their order.
    pub values: Vec<Value>,
    /// Counts the changes, from 1.
    pub version: i32,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Resource {
    /// Reads the values of all fields from `body`; what it leaves out is as in `kept`.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn read(
        &self,
        body: &Map<String, Json>,
        kept: Option<&[Value]>,
    ) -> Result<Vec<Value>, Faults> {
        let (mut values, mut faults) = (Vec::with_capacity(self.fields.len()), Vec::new());
        for (place, field) in self.fields.iter().enumerate() {
            match field.read(body, kept.and_then(|kept| kept.get(place))) {
                Ok(value) => values.push(value),
                Err(wrong) => faults.extend(wrong),
            }
        }
        for name in body.keys().filter(|name| self.field(name).is_none()) {
            faults.push((name.clone(), format!("is no field that can be set of a {}", self.noun)));
        }
        if faults.is_empty() { Ok(values) } else { Err(faults) }
    }

    /// The field of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// A record as an answer shows it.
    #[must_use]
    pub fn show(&self, record: &Record) -> Json {
        let mut shown = Map::new();
        shown.insert("id".to_owned(), json!(record.id));
        if !self.parent_name.is_empty() {
            shown.insert(self.parent_name.to_owned(), json!(record.parent));
        }
        for (field, value) in self.fields.iter().zip(&record.values) {
            shown.insert(field.name.to_owned(), value.show());
        }
        shown.insert("version".to_owned(), json!(record.version));
        shown.insert("createdAt".to_owned(), json!(record.created_at));
        shown.insert("updatedAt".to_owned(), json!(record.updated_at));
        Json::Object(shown)
    }
}

#[cfg(test)]
mod tests {
    use super::super::element::ELEMENT;
    use super::*;

    fn object(value: Json) -> Map<String, Json> {
        let Json::Object(map) = value else { panic!("an object") };
        map
    }

    #[test]
    fn all_faults_are_told_at_once_also_of_unknown_fields() {
        let body = object(json!({ "confidence": 2, "elementType": "x", "selektor": "#a" }));
        let faults = ELEMENT.read(&body, None).unwrap_err();
        let names: Vec<&str> = faults.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["selector", "elementType", "confidence", "selektor"]);
    }

    #[test]
    fn a_change_keeps_what_it_leaves_out_and_null_empties_only_what_may_be_empty() {
        let id = Uuid::now_v7();
        let body = json!({ "selector": "#a", "elementType": "link", "sourceUrlId": id });
        let first = ELEMENT.read(&object(body), None).unwrap();
        let kept = ELEMENT.read(&object(json!({})), Some(&first)).unwrap();
        assert_eq!(kept, first);
        let emptied = ELEMENT.read(&object(json!({ "sourceUrlId": null })), Some(&first)).unwrap();
        assert!(emptied.contains(&Value::Id(None)) && !emptied.contains(&Value::Id(Some(id))));
        let refused = ELEMENT.read(&object(json!({ "confidence": null })), Some(&first));
        assert_eq!(refused.unwrap_err().len(), 1);
    }
}
