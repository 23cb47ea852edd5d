//! What can be in a field: its kinds, how each is read from JSON and from a query, and shown.

use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::step::{StepFault, Steps};
use super::timestamp::Timestamp;
use super::{text, url};

/// Longest URL, in bytes; it fits an index entry of PostgreSQL.
pub const URL_MAX: usize = 2048;

/// What may be in a field.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Text on one line, of so many characters at least and at most.
    Line(usize, usize),
    /// Text with line breaks, of so many characters at most.
    Prose(usize),
    /// An `http` or `https` URL in ASCII.
    Url,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A whole number from one to the other.
    Whole(i32, i32),
    /// A number from one to the other.
    Number(f64, f64),
    /// A JSON object.
    Object,
    /// The steps of a test.
    Steps,
    /// An instant (RFC 3339).
    Instant,
    /// The key of a row in this table, of the same project.
    Key(&'static str),
}

/// Where something is wrong (for a field: its name, then a JSON pointer), and what.
pub type Faults = Vec<(String, String)>;

/// What is in a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of [`Kind::Key`].
    Id(Option<Uuid>),
    /// Of the kinds of text.
    Text(Option<String>),
    /// Of [`Kind::Flag`].
    Flag(Option<bool>),
    /// Of [`Kind::Whole`].
    Whole(Option<i32>),
    /// Of [`Kind::Number`].
    Number(Option<f64>),
    /// Of the kinds that are JSON.
    Json(Option<Json>),
    /// Of [`Kind::Instant`].
    Instant(Option<Timestamp>),
}

impl Kind {
    /// No value of this kind.
    #[must_use]
    pub const fn none(self) -> Value {
        match self {
            Self::Line(..) | Self::Prose(_) | Self::Url | Self::Choice(_) => Value::Text(None),
            Self::Flag => Value::Flag(None),
            Self::Whole(..) => Value::Whole(None),
            Self::Number(..) => Value::Number(None),
            Self::Object | Self::Steps => Value::Json(None),
            Self::Instant => Value::Instant(None),
            Self::Key(_) => Value::Id(None),
        }
    }

    /// Reads a value.
    ///
    /// # Errors
    /// Everything that is wrong, and where within the value.
    pub fn read(self, given: &Json) -> Result<Value, Faults> {
        if matches!(self, Self::Steps) {
            let within = |fault: StepFault| (fault.pointer, fault.detail);
            return Steps::parse(given)
                .map(|_steps| Value::Json(Some(given.clone())))
                .map_err(|faults| faults.into_iter().map(within).collect());
        }
        self.read_whole(given).map_err(|wrong| vec![(String::new(), wrong)])
    }

    fn read_whole(self, given: &Json) -> Result<Value, String> {
        match (self, given) {
            (Self::Flag, Json::Bool(flag)) => Ok(Value::Flag(Some(*flag))),
            (Self::Flag, _) => Err("must be true or false".to_owned()),
            (Self::Whole(min, max), _) => whole(given)
                .filter(|number| (min..=max).contains(number))
                .map(|number| Value::Whole(Some(number)))
                .ok_or_else(|| format!("must be a whole number from {min} to {max}")),
            (Self::Number(min, max), _) => given
                .as_f64()
                .filter(|number| (min..=max).contains(number))
                .map(|number| Value::Number(Some(number)))
                .ok_or_else(|| format!("must be a number from {min} to {max}")),
            (Self::Object, Json::Object(_)) if holds_nul(given) => {
                Err("must not contain the character U+0000".to_owned())
            }
            (Self::Object, Json::Object(_)) => Ok(Value::Json(Some(given.clone()))),
            (Self::Object, _) => Err("must be an object".to_owned()),
            (Self::Steps, _) => Err("must be a list of steps".to_owned()),
            (_, Json::String(raw)) => self.read_text(raw),
            _ => Err("must be text".to_owned()),
        }
    }

    /// Reads a value from the text of a query or of a JSON string.
    ///
    /// # Errors
    /// What is wrong, as the second half of a sentence that begins with the field's name.
    pub fn read_text(self, raw: &str) -> Result<Value, String> {
        match self {
            Self::Line(min, max) => text::parse(raw, min, max, false).map(some_text),
            Self::Prose(max) => text::parse(raw, 0, max, true).map(some_text),
            Self::Url => read_url(raw).map(some_text),
            Self::Choice(words) if words.contains(&raw) => Ok(some_text(raw.to_owned())),
            Self::Choice(words) => Err(format!("must be one of {}", words.join(", "))),
            Self::Instant => Timestamp::parse(raw)
                .map(|instant| Value::Instant(Some(instant)))
                .ok_or_else(|| "must be an instant such as 2026-01-31T12:00:00Z".to_owned()),
            Self::Key(_) => raw
                .parse()
                .map(|id| Value::Id(Some(id)))
                .map_err(|_no_key| "must be a key, a UUID".to_owned()),
            Self::Flag | Self::Whole(..) | Self::Number(..) | Self::Object | Self::Steps => {
                self.read_whole(&serde_json::from_str(raw).unwrap_or(Json::Null))
            }
        }
    }
}

impl Value {
    /// Whether there is none.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        match self {
            Self::Id(value) => value.is_none(),
            Self::Text(value) => value.is_none(),
            Self::Flag(value) => value.is_none(),
            Self::Whole(value) => value.is_none(),
            Self::Number(value) => value.is_none(),
            Self::Json(value) => value.is_none(),
            Self::Instant(value) => value.is_none(),
        }
    }

    /// How much memory it takes, about, where that can be much.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(Some(text)) => text.len(),
            Self::Json(Some(json)) => json_bytes(json),
            Self::Text(None)
            | Self::Json(None)
            | Self::Id(_)
            | Self::Flag(_)
            | Self::Whole(_)
            | Self::Number(_)
            | Self::Instant(_) => 0,
        }
    }

    /// The value as an answer shows it.
    #[must_use]
    pub fn show(&self) -> Json {
        match self {
            Self::Id(value) => json!(value),
            Self::Text(value) => json!(value),
            Self::Flag(value) => json!(value),
            Self::Whole(value) => json!(value),
            Self::Number(value) => json!(value),
            Self::Json(value) => json!(value),
            Self::Instant(value) => json!(value),
        }
    }
}

const fn some_text(text: String) -> Value {
    Value::Text(Some(text))
}

fn read_url(raw: &str) -> Result<String, String> {
    let rest = raw.strip_prefix("https://").or_else(|| raw.strip_prefix("http://"));
    if rest.is_some_and(url::has_host)
        && raw.len() <= URL_MAX
        && raw.bytes().all(|byte| byte.is_ascii_graphic())
    {
        Ok(raw.to_owned())
    } else {
        Err(format!(
            "must be a URL such as https://shop.example/cart, http or https, in ASCII, of at most \
             {URL_MAX} bytes"
        ))
    }
}

/// A number without a fraction, however it is written: `60` and `60.0` are the same in JSON.
fn whole(given: &Json) -> Option<i32> {
    if let Some(number) = given.as_i64() {
        return i32::try_from(number).ok();
    }
    let number = given.as_f64().filter(|number| number.fract() == 0.0)?;
    // The text of a whole f64 has no point, and out of range it is no i32.
    number.to_string().parse().ok()
}

/// Small values take most: a list of empty lists has two bytes each as text, and many times that
/// in memory.
fn json_bytes(json: &Json) -> usize {
    let below = match json {
        Json::String(text) => text.len(),
        Json::Array(items) => items.iter().map(json_bytes).sum(),
        Json::Object(map) => map.iter().map(|(name, item)| name.len() + json_bytes(item)).sum(),
        Json::Null | Json::Bool(_) | Json::Number(_) => 0,
    };
    size_of::<Json>() + below
}

/// PostgreSQL cannot store NUL, not even within JSON.
fn holds_nul(json: &Json) -> bool {
    match json {
        Json::String(text) => text.contains('\0'),
        Json::Array(items) => items.iter().any(holds_nul),
        Json::Object(map) => map.iter().any(|(name, item)| name.contains('\0') || holds_nul(item)),
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_may_be_written_with_a_point_but_has_no_fraction() {
        let kind = Kind::Whole(1, 3600);
        assert_eq!(kind.read(&json!(60.0)), Ok(Value::Whole(Some(60))));
        assert_eq!(kind.read(&json!(60)), Ok(Value::Whole(Some(60))));
        for wrong in
            [json!(60.5), json!(0), json!(3601), json!(1e300), json!(u64::MAX), json!("60")]
        {
            assert!(kind.read(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_url_has_a_scheme_of_the_web_and_a_host() {
        let longest = format!("http://{}", "a".repeat(URL_MAX - 7));
        assert!(Kind::Url.read_text(&longest).is_ok());
        let too_long = format!("{longest}a");
        for wrong in ["", "http://", "http:///x", "ftp://a", "http://a b", "//a", &too_long] {
            assert!(Kind::Url.read_text(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_character_that_postgres_cannot_store_is_found_everywhere() {
        for hidden in [json!({ "a": ["\0"] }), json!({ "\0": 1 }), json!({ "a": { "b": "x\0" } })] {
            assert!(Kind::Object.read(&hidden).is_err(), "{hidden}");
        }
        assert!(Kind::Object.read(&json!({ "a": ["b", null, 1.5] })).is_ok());
    }
}
