//! Whether the program is alive, and whether it is of use: the server, and a worker apart from it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::problem::{Causes, Problem};
use crate::browser::Browser;
use crate::store::{Store, StoreError};

/// How long the database and the queue have to answer. A proxy that asks every few seconds wants a
/// verdict, not patience.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// Seconds after which it is worth asking again.
const RETRY_SECONDS: u16 = 5;

/// How things stand.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    /// `alive` or `ready`.
    #[schema(value_type = String)]
    status: &'static str,
}

/// Says that the program runs; asks nothing else of it.
#[utoipa::path(
    get, path = "/health", tag = "health",
    responses((status = 200, description = "Alive", body = Health)),
)]
pub(super) async fn alive() -> Json<Health> {
    Json(Health { status: "alive" })
}

/// Says whether the database and the queue answer.
#[utoipa::path(
    get, path = "/health/ready", tag = "health",
    responses(
        (status = 200, description = "Ready", body = Health),
        (status = 503, description = "Not ready", body = Problem,
         content_type = "application/problem+json"),
    ),
)]
pub(super) async fn ready(State(app): State<Arc<App>>) -> Result<Json<Health>, Problem> {
    let database = database(&app.store);
    let queue = async {
        match &app.queue {
            Some(queue) => tokio::time::timeout(ANSWER_MAX, queue.ping()).await,
            None => Ok(Ok(())),
        }
    };
    let (database, queue) = tokio::join!(database, queue);
    database?;
    match queue {
        Ok(Ok(())) => Ok(Json(Health { status: "ready" })),
        Ok(Err(error)) => {
            tracing::warn!(cause = %Causes(&error), "the queue does not answer");
            Err(queue_away())
        }
        Err(_elapsed) => {
            tracing::warn!(cause = "time ran out", "the queue does not answer");
            Err(queue_away())
        }
    }
}

async fn database(store: &Store) -> Result<(), StoreError> {
    let answer = tokio::time::timeout(ANSWER_MAX, store.ping()).await;
    answer.unwrap_or_else(|_elapsed| Err(sqlx::Error::PoolTimedOut.into()))
}

/// The same two pages for a worker, which nobody else asks for anything.
pub fn of_worker(store: Store) -> Router {
    Router::new()
        .route("/health", get(alive))
        .route("/health/ready", get(ready_to_work))
        .with_state(store)
}

/// Says whether the database answers, and whether there is a browser. The queue may be away: jobs
/// are found in the database, too.
async fn ready_to_work(State(store): State<Store>) -> Result<Json<Health>, Problem> {
    database(&store).await?;
    Browser::find_in_path().map_err(|missing| {
        tracing::warn!(cause = %missing, "there is no browser");
        Problem::unavailable("There is no browser.", RETRY_SECONDS)
    })?;
    Ok(Json(Health { status: "ready" }))
}

fn queue_away() -> Problem {
    Problem::unavailable("The queue does not answer.", RETRY_SECONDS)
}
