//! The JSON schemas of a [`Resource`]: what a client sends, and what an answer shows.

use serde_json::{Map, Value as Json, json};

use crate::domain::resource::{Field, Presence, Resource};
use crate::domain::step::STEPS_MAX;
use crate::domain::url;
use crate::domain::value::{Kind, URL_MAX};

pub(super) fn reference(schema: &str) -> Json {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

/// What a client sends: a whole new one, or a change of some fields.
pub(super) fn body(resource: &Resource, new: bool) -> Json {
    let mut properties = Map::new();
    for field in resource.fields {
        let nullable = match field.presence {
            Presence::Nullable => true,
            Presence::Default(_) => new,
            Presence::Required => false,
        };
        properties.insert(field.name.to_owned(), property(field, nullable));
    }
    let required = |field: &&Field| new && field.presence == Presence::Required;
    let required: Vec<&str> =
        resource.fields.iter().filter(required).map(|field| field.name).collect();
    json!({
        "type": "object", "properties": properties, "required": required,
        "additionalProperties": false,
    })
}

pub(super) fn answer(resource: &Resource) -> Json {
    let key = json!({ "type": "string", "format": "uuid" });
    let instant = schema(Kind::Instant);
    let mut properties = Map::new();
    properties.insert("id".to_owned(), key.clone());
    if !resource.parent_name.is_empty() {
        properties.insert(resource.parent_name.to_owned(), key);
    }
    for field in resource.fields {
        let nullable = field.presence == Presence::Nullable;
        properties.insert(field.name.to_owned(), property(field, nullable));
    }
    properties.insert("version".to_owned(), json!({ "type": "integer", "minimum": 1 }));
    properties.insert("createdAt".to_owned(), instant.clone());
    properties.insert("updatedAt".to_owned(), instant);
    let required: Vec<&String> = properties.keys().collect();
    json!({ "type": "object", "required": required, "properties": properties.clone() })
}

fn property(field: &Field, nullable: bool) -> Json {
    let schema = schema(field.kind);
    if nullable { json!({ "oneOf": [{ "type": "null" }, schema] }) } else { schema }
}

pub(super) fn schema(kind: Kind) -> Json {
    match kind {
        // Blanks at the ends do not count.
        Kind::Line(0, max) => json!({
            "type": "string", "maxLength": max, "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$",
        }),
        Kind::Line(min, max) => json!({
            "type": "string", "minLength": min, "maxLength": max,
            "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*[^\\s\\u0000-\\u001f\\u007f-\\u009f]\
                        [^\\u0000-\\u001f\\u007f-\\u009f]*$",
        }),
        Kind::Prose(max) => json!({
            "type": "string", "maxLength": max,
            "pattern": "^[^\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f]*$",
        }),
        Kind::Url => json!({
            "type": "string", "maxLength": URL_MAX,
            "pattern": url::ASCII_PATTERN,
        }),
        Kind::Choice(words) => json!({ "type": "string", "enum": words }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Whole(min, max) => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Number(min, max) => json!({ "type": "number", "minimum": min, "maximum": max }),
        Kind::Object => json!({ "type": "object" }),
        Kind::Steps => json!({
            "type": "array", "maxItems": STEPS_MAX, "items": reference("Step"),
        }),
        Kind::Instant => json!({ "type": "string", "format": "date-time" }),
        Kind::Key(_) => json!({ "type": "string", "format": "uuid" }),
    }
}
