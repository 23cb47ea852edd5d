//! Reads a JSON object, field by field, so that one answer lists everything that is wrong with it.
//!
//! [`JsonObject`] is the extractor; its fields are [`Field`]s, which take any JSON value, so that a
//! number where a text belongs is one fault among the others and not the end of reading. [`Reader`]
//! turns fields into domain values and collects the faults.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::problem::{FieldFault, Problem};

/// A body that is a JSON object, read as `T`, whose fields are [`Field`]s.
pub(super) struct JsonObject<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonObject<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Json(value) = Json::<Value>::from_request(request, state).await?;
        // serde would read a struct from an array, too.
        if !value.is_object() {
            return Err(no_such_object());
        }
        serde_json::from_value(value).map(Self).map_err(|_mistyped| no_such_object())
    }
}

fn no_such_object() -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY).detail("The body must be a JSON object.")
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        let problem = Self::new(rejection.status());
        match rejection.status() {
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                problem.detail("The body must be JSON, with Content-Type: application/json.")
            }
            StatusCode::PAYLOAD_TOO_LARGE => problem.detail("The body is larger than 1 MiB."),
            StatusCode::BAD_REQUEST => problem.detail("The body is not JSON."),
            _ => problem,
        }
    }
}

/// One field of a body.
#[derive(Debug, Default)]
pub(super) enum Field<T> {
    /// Not there.
    #[default]
    Absent,
    /// `null`.
    Null,
    /// There, and of the right JSON type.
    Given(T),
    /// There, and of another JSON type.
    Mistyped,
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if value.is_null() {
            return Ok(Self::Null);
        }
        Ok(serde_json::from_value(value).map_or(Self::Mistyped, Self::Given))
    }
}

/// Turns fields of text into domain values and collects what is wrong with them.
///
/// Each method gives `None` only after noting a fault, so `let (Some(a), Some(b)) = … else` is
/// where [`Reader::problem`] belongs.
#[derive(Default)]
pub(super) struct Reader {
    faults: Vec<FieldFault>,
}

impl Reader {
    /// A field that must be there.
    pub(super) fn required<T>(
        &mut self,
        name: &str,
        field: &Field<String>,
        parse: Parse<T>,
    ) -> Option<T> {
        match field {
            Field::Absent | Field::Null => self.fault(name, "is required".to_owned()),
            Field::Mistyped => self.fault(name, "must be text".to_owned()),
            Field::Given(raw) => parse(raw).map_or_else(|wrong| self.fault(name, wrong), Some),
        }
    }

    /// A field that may be missing or `null`.
    pub(super) fn optional<T>(
        &mut self,
        name: &str,
        field: &Field<String>,
        parse: Parse<T>,
    ) -> Option<Option<T>> {
        match field {
            Field::Absent | Field::Null => Some(None),
            Field::Given(_) | Field::Mistyped => self.required(name, field, parse).map(Some),
        }
    }

    /// Everything that was wrong.
    pub(super) fn problem(self) -> Problem {
        Problem::invalid(self.faults)
    }

    fn fault<T>(&mut self, name: &str, detail: String) -> Option<T> {
        self.faults.push(FieldFault {
            pointer: Some(format!("#/{name}")),
            parameter: None,
            detail,
        });
        None
    }
}

/// How a domain value is read from text; the error is the fault's detail.
type Parse<T> = fn(&str) -> Result<T, String>;
