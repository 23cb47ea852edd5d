//! What a client is told when something goes wrong: `application/problem+json` (RFC 9457).
//!
//! A client learns a status and a fixed sentence. Causes go to the log, at the one place where a
//! failure becomes a problem.

use std::error::Error;

use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::password::HashError;
use crate::domain::token::SignError;
use crate::store::StoreError;

/// The media type of every error.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Seconds after which a database that was away is worth another attempt.
const DATABASE_RETRY_SECONDS: u16 = 5;
/// Seconds after which a full line of logins has moved on.
const BUSY_RETRY_SECONDS: u16 = 1;

/// An error, as the client sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// What kind of problem it is; `about:blank` when the status says it all.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    kind: &'static str,
    /// The kind in words.
    #[schema(value_type = String)]
    title: &'static str,
    /// The status, repeated.
    #[serde(serialize_with = "as_number")]
    #[schema(value_type = u16, example = 422)]
    status: StatusCode,
    /// What happened here, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    detail: Option<&'static str>,
    /// Everything that is wrong with the request's content, at once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<FieldFault>,
    #[serde(skip)]
    retry_after_seconds: Option<u16>,
}

/// One thing that is wrong with the request's content.
#[derive(Debug, Serialize, ToSchema)]
pub struct FieldFault {
    /// Where in the body, as a JSON pointer in a fragment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "#/email")]
    pub pointer: Option<String>,
    /// Which query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// What is wrong, as the second half of a sentence that begins with the field's name.
    #[schema(example = "must be an e-mail address such as ada@example.com")]
    pub detail: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    /// A problem that its status describes.
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status,
            detail: None,
            errors: Vec::new(),
            retry_after_seconds: None,
        }
    }

    /// Its status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// Adds what happened here.
    #[must_use]
    pub fn detail(self, detail: &'static str) -> Self {
        Self { detail: Some(detail), ..self }
    }

    /// 422: the request is readable and its content is wrong.
    #[must_use]
    pub fn invalid(errors: Vec<FieldFault>) -> Self {
        Self {
            kind: "urn:nomation:problem:invalid-content",
            title: "The request's content is not valid",
            errors,
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY)
        }
    }

    /// 401 for a missing or useless token, never saying which.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED).detail("A valid access token is required.")
    }

    /// 404, for what does not exist and for what is someone else's.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND)
    }

    /// 412: it has changed since the client read it.
    #[must_use]
    pub fn stale() -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED)
            .detail("It has changed since; read it again and repeat the change.")
    }

    /// 503: try again in `retry_after_seconds`.
    #[must_use]
    pub fn unavailable(detail: &'static str, retry_after_seconds: u16) -> Self {
        Self {
            retry_after_seconds: Some(retry_after_seconds),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE).detail(detail)
        }
    }

    /// 429: this user has as much as one user may have; try again in `retry_after_seconds`.
    #[must_use]
    pub fn too_many(detail: &'static str, retry_after_seconds: u16) -> Self {
        Self {
            retry_after_seconds: Some(retry_after_seconds),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS).detail(detail)
        }
    }

    /// 503: the database does not answer.
    #[must_use]
    pub fn database_away() -> Self {
        Self::unavailable("The database does not answer.", DATABASE_RETRY_SECONDS)
    }

    /// 500: a fault of ours, told to the log.
    fn fault(error: &dyn Error) -> Self {
        tracing::error!(cause = %Causes(error), "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// Gives an error that came from somewhere without a problem document (the router's 404 and 405, an
/// extractor) one of its own, and keeps its other headers, such as `Allow`.
pub async fn ensure(response: Response) -> Response {
    let status = response.status();
    let is_problem = response.headers().get(CONTENT_TYPE).is_some_and(|t| t == MEDIA_TYPE);
    if is_problem || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (mut bare, body) = Problem::new(status).into_response().into_parts();
    let mut headers = response.into_parts().0.headers;
    headers.remove(CONTENT_LENGTH);
    headers.extend(bare.headers);
    bare.headers = headers;
    Response::from_parts(bare, body)
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::EmailTaken => {
                Self::new(StatusCode::CONFLICT).detail("This e-mail address is already registered.")
            }
            StoreError::Taken => {
                Self::new(StatusCode::CONFLICT).detail("Another one has the same value already.")
            }
            StoreError::Gone => Self::new(StatusCode::CONFLICT)
                .detail("Something that this belongs or refers to has just been deleted."),
            // The token is genuine but names nobody, which is no more use than a forged one.
            StoreError::OwnerGone => Self::unauthorized(),
            StoreError::Unavailable(_) => {
                tracing::warn!(cause = %Causes(&error), "the database does not answer");
                Self::database_away()
            }
            StoreError::Fault(_) => Self::fault(&error),
        }
    }
}

impl From<HashError> for Problem {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Busy => {
                tracing::warn!("too many logins at once");
                Self::unavailable("Too many logins at once.", BUSY_RETRY_SECONDS)
            }
            HashError::Argon2(_) | HashError::Thread(_) => Self::fault(&error),
        }
    }
}

impl From<getrandom::Error> for Problem {
    fn from(error: getrandom::Error) -> Self {
        Self::fault(&error)
    }
}

impl From<SignError> for Problem {
    fn from(error: SignError) -> Self {
        Self::fault(&error)
    }
}

/// An error with everything that led to it, on one line.
pub struct Causes<'a>(pub &'a dyn Error);

impl std::fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
