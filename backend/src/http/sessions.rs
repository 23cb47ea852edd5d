//! Sessions after the login: refreshing, logging out, a new password.
//!
//! The refresh token travels in a cookie that only these paths see and no script reads, so what an
//! injected script can steal is an access token of a few minutes. `SameSite=Strict` keeps other
//! sites from using it.
//!
//! # Why an access token outlives its session
//! It says by itself whose it is, so that a request costs no statement more. After a logout or a
//! new password it is good for what is left of its quarter of an hour, and the session behind it
//! gives no other.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

use super::App;
use super::auth::{CurrentUser, Session};
use super::body::{Field, JsonObject, Reader};
use super::problem::Problem;
use crate::domain::password::{NewPassword, PasswordHash};
use crate::domain::session::{RefreshToken, SESSION_SECONDS};
use crate::domain::timestamp::Timestamp;
use crate::domain::user::User;

const NAME: &str = "nomation_refresh";

/// The header that hands the client its refresh token.
pub(super) type Cookie = [(HeaderName, String); 1];

fn cookie(value: &str, seconds: i64) -> Cookie {
    let attributes = "Path=/api/auth; HttpOnly; Secure; SameSite=Strict";
    [(SET_COOKIE, format!("{NAME}={value}; Max-Age={seconds}; {attributes}"))]
}

/// Opens a session of `user`: both tokens; nothing if the password whose hash was verified is
/// another by now.
pub(super) async fn open(
    app: &App,
    user: User,
    verified: &PasswordHash,
) -> Result<Option<(Cookie, Json<Session>)>, Problem> {
    let (token, now) = (RefreshToken::random()?, Timestamp::now());
    if !app.store.open_session((user.id, verified), &token.hash(), now).await? {
        return Ok(None);
    }
    let session = Session::issue(app, user, now)?;
    Ok(Some((cookie(token.expose(), SESSION_SECONDS), Json(session))))
}

/// The refresh token of the request, if it has one.
pub(super) struct Refresh(Option<RefreshToken>);

impl FromRequestParts<Arc<App>> for Refresh {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _app: &Arc<App>) -> Result<Self, Problem> {
        let lines = parts.headers.get_all(COOKIE).into_iter().filter_map(|line| line.to_str().ok());
        let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|p| p.split_once('='));
        let found = pairs.find(|(name, _)| name.trim() == NAME);
        Ok(Self(found.and_then(|(_, value)| RefreshToken::parse(value.trim()))))
    }
}

/// Exchanges the refresh cookie for a new access token and the next cookie.
///
/// The cookie is called `nomation_refresh`, and clients send it over https only. Each is good once.
/// One that comes a second time ends the session.
#[utoipa::path(
    post, path = "/api/auth/refresh", tag = "auth",
    responses(
        (status = 200, description = "Refreshed", body = Session,
         headers(("Set-Cookie" = String, description = "The next refresh token"))),
        (status = 401, description = "No session", body = Problem,
         content_type = "application/problem+json"),
    ),
)]
pub(super) async fn refresh(
    State(app): State<Arc<App>>,
    Refresh(token): Refresh,
) -> Result<(Cookie, Json<Session>), Problem> {
    let gone =
        || Problem::new(StatusCode::UNAUTHORIZED).detail("The session is over; log in again.");
    let token = token.ok_or_else(gone)?;
    let (next, now) = (RefreshToken::random()?, Timestamp::now());
    let user = app.store.exchange(&token.hash(), &next.hash(), now).await?.ok_or_else(gone)?;
    let session = Session::issue(&app, user, now)?;
    Ok((cookie(next.expose(), SESSION_SECONDS), Json(session)))
}

/// Ends the session of the refresh cookie, if there is one.
#[utoipa::path(
    post, path = "/api/auth/logout", tag = "auth",
    responses((status = 204, description = "Logged out",
               headers(("Set-Cookie" = String, description = "Removes the refresh token")))),
)]
pub(super) async fn logout(
    State(app): State<Arc<App>>,
    Refresh(token): Refresh,
) -> Result<(StatusCode, Cookie), Problem> {
    if let Some(token) = token {
        app.store.end_session(&token.hash(), Timestamp::now()).await?;
    }
    Ok((StatusCode::NO_CONTENT, cookie("", 0)))
}

/// A new password, and the one it replaces.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChangePassword {
    #[serde(default)]
    #[schema(value_type = String, required = true, format = Password)]
    current_password: Field<String>,
    #[serde(default)]
    #[schema(value_type = String, required, min_length = 8, max_length = 128, format = Password)]
    new_password: Field<String>,
}

/// Changes the password, ends all sessions and opens a new one.
#[utoipa::path(
    post, path = "/api/auth/password", tag = "auth", request_body = ChangePassword,
    security(("token" = [])),
    responses(
        (status = 200, description = "Changed", body = Session,
         headers(("Set-Cookie" = String, description = "The new session's refresh token"))),
        (status = 403, description = "The current password is another", body = Problem,
         content_type = "application/problem+json"),
    ),
)]
pub(super) async fn change_password(
    State(app): State<Arc<App>>,
    CurrentUser(id): CurrentUser,
    JsonObject(body): JsonObject<ChangePassword>,
) -> Result<(Cookie, Json<Session>), Problem> {
    let mut reader = Reader::default();
    let as_typed = |raw: &str| Ok(raw.to_owned());
    let current = reader.required("currentPassword", &body.current_password, as_typed);
    let new = reader.required("newPassword", &body.new_password, NewPassword::parse);
    let (Some(current), Some(new)) = (current, new) else {
        return Err(reader.problem());
    };
    let wrong = || Problem::new(StatusCode::FORBIDDEN).detail("The current password is another.");
    let found = app.store.credentials_of(id).await?.ok_or_else(Problem::unauthorized)?;
    if !app.hasher.verify(current, Some(found.password_hash.clone())).await? {
        return Err(wrong());
    }
    let hash = app.hasher.hash(new).await?;
    let now = Timestamp::now();
    if !app.store.change_password(id, &found.password_hash, &hash, now).await? {
        return Err(wrong());
    }
    open(&app, found.user, &hash).await?.ok_or_else(wrong)
}
