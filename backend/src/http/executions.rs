//! Asking for an execution, calling it off, and asking for it once more. Listing and reading are
//! those of every resource.
//!
//! What is asked for is accepted (202) once the execution and its job are in the database; a worker
//! does the rest.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, post};

use super::App;
use super::auth::CurrentUser;
use super::problem::Problem;
use super::resources::{InPath, shown};
use crate::domain::timestamp::Timestamp;
use crate::domain::user::UserId;
use crate::store::{Executed, IdempotencyKey, Origin, Started};

/// The header that makes asking twice the same as asking once.
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Longest value of it.
pub(super) const KEY_MAX: usize = 255;
/// Seconds after which one of a user's many executions may be over.
const TOO_MANY_RETRY_SECONDS: u16 = 30;

/// Asks for an execution, below the test or suite.
pub(super) fn starting(executed: Executed) -> MethodRouter<Arc<App>> {
    post(
        async move |State(app): State<Arc<App>>,
                    user: CurrentUser,
                    id: InPath,
                    uri: Uri,
                    headers: HeaderMap| {
            let origin = Origin::Definition(id.0);
            let answer = start(executed, &app, (user.0, origin), uri.path(), &headers).await?;
            answer.ok_or_else(Problem::not_found)
        },
    )
}

/// Asks for what an execution did once more.
pub(super) fn retrying(executed: Executed) -> MethodRouter<Arc<App>> {
    post(
        async move |State(app): State<Arc<App>>,
                    user: CurrentUser,
                    id: InPath,
                    uri: Uri,
                    headers: HeaderMap| {
            let origin = Origin::Execution(id.0);
            let answer = start(executed, &app, (user.0, origin), uri.path(), &headers).await?;
            if answer.is_none() && app.store.owns(executed.resource(), user.0, id.0).await? {
                return Err(Problem::new(StatusCode::CONFLICT)
                    .detail("The execution is not over; cancel it first, or wait."));
            }
            answer.ok_or_else(Problem::not_found)
        },
    )
}

/// Calls an execution off.
pub(super) fn cancelling(executed: Executed) -> MethodRouter<Arc<App>> {
    post(async move |State(app): State<Arc<App>>, user: CurrentUser, id: InPath| {
        let cancelled = app.store.cancel(executed, user.0, id.0, Timestamp::now()).await?;
        let record = app.store.read(executed.resource(), user.0, id.0).await?;
        let record = record.ok_or_else(Problem::not_found)?;
        if cancelled {
            return Ok(shown(StatusCode::OK, executed.resource(), &record));
        }
        Err(Problem::new(StatusCode::CONFLICT).detail("The execution is over."))
    })
}

/// Nothing where there is nothing to execute.
async fn start(
    executed: Executed,
    app: &App,
    (user, origin): (UserId, Origin),
    target: &str,
    headers: &HeaderMap,
) -> Result<Option<Response>, Problem> {
    let key = idempotency_key(headers)?;
    let idempotency = key.map(|key| IdempotencyKey { key, target });
    let started = app.store.start(executed, user, origin, idempotency, Timestamp::now()).await?;
    let execution = match started {
        Started::New { execution, job } => {
            if let Some(queue) = &app.queue {
                queue.announce(job).await;
            }
            execution
        }
        Started::Before(execution) => execution,
        Started::NotFound => return Ok(None),
        Started::TooMany => {
            return Err(Problem::too_many(
                "Too many of your executions are not over; cancel some, or wait.",
                TOO_MANY_RETRY_SECONDS,
            ));
        }
        Started::KeyReused => {
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY)
                .detail("This Idempotency-Key was sent with another request."));
        }
    };
    let location = format!("{}/{execution}", executed.resource().path);
    let record = app.store.read(executed.resource(), user, execution).await?;
    let record = record.ok_or_else(|| {
        Problem::not_found().detail("What this Idempotency-Key asked for has been deleted since.")
    })?;
    let answer = shown(StatusCode::ACCEPTED, executed.resource(), &record);
    Ok(Some(([(LOCATION, location)], answer).into_response()))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).into_iter();
    let Some(first) = keys.next() else { return Ok(None) };
    let key = first.to_str().ok().map(str::trim);
    let is_sound = |key: &&str| {
        (1..=KEY_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    };
    match key.filter(is_sound).filter(|_| keys.next().is_none()) {
        Some(key) => Ok(Some(key)),
        None => Err(Problem::new(StatusCode::BAD_REQUEST)
            .detail("Idempotency-Key must come once, with 1 to 255 visible ASCII characters.")),
    }
}
