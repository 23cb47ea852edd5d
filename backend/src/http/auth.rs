//! Registration, login, and who a request comes from.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use super::body::{Field, JsonObject, Reader};
use super::problem::{Causes, Problem};
use super::sessions::{self, Cookie};
use crate::domain::password::{NewPassword, PasswordHash};
use crate::domain::timestamp::Timestamp;
use crate::domain::user::{Email, User, UserId, UserName};
use crate::store::Credentials;

/// Who wants to register.
#[derive(Deserialize, ToSchema)]
pub(super) struct RegisterRequest {
    #[serde(default)]
    #[schema(value_type = Email, required = true)]
    email: Field<String>,
    #[serde(default)]
    #[schema(value_type = String, required, min_length = 8, max_length = 128, format = Password)]
    password: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<UserName>)]
    name: Field<String>,
}

/// Who wants to log in.
#[derive(Deserialize, ToSchema)]
pub(super) struct LoginRequest {
    #[serde(default)]
    #[schema(value_type = String, required = true)]
    email: Field<String>,
    #[serde(default)]
    #[schema(value_type = String, required = true, format = Password)]
    password: Field<String>,
}

/// A user, with the token that proves it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Session {
    /// For `Authorization: Bearer`; good for a quarter of an hour.
    access_token: String,
    user: User,
}

/// Creates an account and logs it in.
#[utoipa::path(
    post, path = "/api/auth/register", tag = "auth", request_body = RegisterRequest,
    responses(
        (status = 201, description = "Registered and logged in", body = Session,
         headers(("Set-Cookie" = String, description = "The refresh token"))),
        (status = 409, description = "The address is taken", body = Problem,
         content_type = "application/problem+json"),
    ),
)]
pub(super) async fn register(
    State(app): State<Arc<App>>,
    JsonObject(body): JsonObject<RegisterRequest>,
) -> Result<(StatusCode, (Cookie, Json<Session>)), Problem> {
    let mut reader = Reader::default();
    let email = reader.required("email", &body.email, Email::parse);
    let password = reader.required("password", &body.password, NewPassword::parse);
    let name = reader.optional("name", &body.name, UserName::parse);
    let (Some(email), Some(password), Some(name)) = (email, password, name) else {
        return Err(reader.problem());
    };
    let hash = app.hasher.hash(password).await?;
    let user = User { id: UserId::new(), email, name, created_at: Timestamp::now() };
    app.store.insert_user(&user, &hash).await?;
    let session = sessions::open(&app, user, &hash).await?.ok_or_else(Problem::unauthorized)?;
    Ok((StatusCode::CREATED, session))
}

/// Logs in.
#[utoipa::path(
    post, path = "/api/auth/login", tag = "auth", request_body = LoginRequest,
    responses(
        (status = 200, description = "Logged in", body = Session,
         headers(("Set-Cookie" = String, description = "The refresh token"))),
        (status = 401, description = "No such address and password", body = Problem,
         content_type = "application/problem+json"),
    ),
)]
pub(super) async fn login(
    State(app): State<Arc<App>>,
    JsonObject(body): JsonObject<LoginRequest>,
) -> Result<(Cookie, Json<Session>), Problem> {
    let mut reader = Reader::default();
    // What could never have been registered is not told apart here: it is simply nobody's.
    let as_typed = |raw: &str| Ok(raw.to_owned());
    let email = reader.required("email", &body.email, as_typed);
    let password = reader.required("password", &body.password, as_typed);
    let (Some(email), Some(password)) = (email, password) else {
        return Err(reader.problem());
    };
    for _attempt in 0..2 {
        let found = match Email::parse(&email) {
            Ok(email) => app.store.credentials(&email).await?,
            Err(_nobodys) => None,
        };
        let (user, hash) =
            found.map(|Credentials { user, password_hash }| (user, password_hash)).unzip();
        let verified = app.hasher.verify(password.clone(), hash.clone()).await?;
        let Some((user, hash)) = user.zip(hash).filter(|_| verified) else { break };
        let hash = bring_up_to_cost(&app, user.id, password.clone(), hash).await;
        if let Some(session) = sessions::open(&app, user, &hash).await? {
            return Ok(session);
        }
        // The hash has been replaced meanwhile: what was verified is worth nothing any more.
    }
    Err(Problem::new(StatusCode::UNAUTHORIZED)
        .detail("There is no user with this e-mail address and password."))
}

/// Hashes the password anew where the cost has changed since, and gives the hash that is there now.
/// Only now is the password known; and a login does not fail for it, there will be another.
async fn bring_up_to_cost(
    app: &App,
    user: UserId,
    password: String,
    hash: PasswordHash,
) -> PasswordHash {
    if !app.hasher.is_outdated(&hash) {
        return hash;
    }
    let Ok(new) = app.hasher.hash_again(password).await else { return hash };
    match app.store.replace_hash(user, &hash, &new).await {
        Ok(true) => new,
        Ok(false) => hash,
        Err(error) => {
            tracing::warn!(cause = %Causes(&error), "an outdated hash stays for now");
            hash
        }
    }
}

impl Session {
    /// An access token for `user`.
    pub(super) fn issue(app: &App, user: User, now: Timestamp) -> Result<Self, Problem> {
        Ok(Self { access_token: app.tokens.issue(user.id, now)?, user })
    }
}

/// Whom the request's token names. Taken as an argument, it makes a handler answer 401 to everybody
/// else.
pub(super) struct CurrentUser(pub(super) UserId);

impl FromRequestParts<Arc<App>> for CurrentUser {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        header
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer"))
            .and_then(|(_, token)| app.tokens.user(token.trim(), Timestamp::now()))
            .map(Self)
            .ok_or_else(Problem::unauthorized)
    }
}
