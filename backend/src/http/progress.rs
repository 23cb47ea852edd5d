//! Watching an execution: its progress as server-sent events, and the pictures that it took.
//!
//! Each step that is done is one event `step` with its position as id, so that a client that lost
//! its connection goes on where it was (`Last-Event-ID`). The last event is `end`; whoever connects
//! again after it gets it again.
//!
//! # Bounds
//! [`WATCHERS_MAX`] streams at once in this process, [`WATCH_MAX`] each.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use uuid::Uuid;

use super::App;
use super::auth::CurrentUser;
use super::problem::Problem;
use crate::domain::user::UserId;

/// Most streams at once.
const WATCHERS_MAX: usize = 200;
/// How long one stream lasts; the client connects again.
const WATCH_MAX: Duration = Duration::from_secs(10 * 60);
/// How often the database is asked.
const POLL: Duration = Duration::from_millis(500);
/// Seconds after which another stream may have ended.
const RETRY_SECONDS: u16 = 5;

static WATCHERS: Semaphore = Semaphore::const_new(WATCHERS_MAX);

/// One client that watches one execution.
struct Watcher {
    app: Arc<App>,
    owner: UserId,
    execution: Uuid,
    /// Position of the last step that was told.
    told: i32,
    ready: VecDeque<Event>,
    is_over: bool,
    until: Instant,
    _permit: SemaphorePermit<'static>,
}

/// Streams the progress of an execution, until it is over.
#[utoipa::path(
    get, path = "/api/executions/{id}/events", tag = "executions",
    params(("id" = Uuid, Path), ("Last-Event-ID" = Option<String>, Header)),
    security(("token" = [])),
    responses(
        (status = 200, description = "Events `step`, then `end`",
         body = String, content_type = "text/event-stream"),
        (status = 404, description = "No such execution", body = Problem,
         content_type = "application/problem+json"),
    ),
)]
pub(super) async fn events(
    State(app): State<Arc<App>>,
    CurrentUser(owner): CurrentUser,
    path: Result<Path<Uuid>, PathRejection>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let Path(execution) = path.map_err(|_no_key| Problem::not_found())?;
    app.store.standing(owner, execution).await?.ok_or_else(Problem::not_found)?;
    let permit = WATCHERS.try_acquire().map_err(|_full| {
        Problem::unavailable("Too many executions are being watched.", RETRY_SECONDS)
    })?;
    // What is no id of ours is told everything, as if it were the first time.
    let told = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let watcher = Watcher {
        app,
        owner,
        execution,
        told: told.unwrap_or(-1),
        ready: VecDeque::new(),
        is_over: false,
        until: Instant::now() + WATCH_MAX,
        _permit: permit,
    };
    let events = stream::unfold(watcher, async |mut watcher| {
        watcher.next().await.map(|event| (Ok::<_, Infallible>(event), watcher))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

impl Watcher {
    /// The next event, once there is one; nothing after the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.is_over || Instant::now() >= self.until {
                return None;
            }
            match self.look().await {
                Ok(true) => {}
                // Deleted meanwhile.
                Ok(false) => return None,
                // The database is away; the next look may find it again.
                Err(_away) => tokio::time::sleep(POLL).await,
            }
            if self.ready.is_empty() {
                tokio::time::sleep(POLL).await;
            }
        }
    }

    /// Collects what is new; says whether the execution is there.
    async fn look(&mut self) -> Result<bool, crate::store::StoreError> {
        let store = &self.app.store;
        let Some(standing) = store.standing(self.owner, self.execution).await? else {
            return Ok(false);
        };
        for step in store.steps_after(self.execution, self.told).await? {
            self.told = step.position;
            let event = Event::default().event("step").id(step.position.to_string());
            self.ready.extend(event.json_data(&step));
        }
        if standing.is_over() {
            self.is_over = true;
            self.ready.extend(Event::default().event("end").json_data(&standing));
        }
        Ok(true)
    }
}

/// Shows the picture that a step of an execution took.
#[utoipa::path(
    get, path = "/api/executions/{id}/steps/{position}/screenshot", tag = "executions",
    params(("id" = Uuid, Path), ("position" = i32, Path)),
    security(("token" = [])),
    responses(
        (status = 200, description = "The page", body = Vec<u8>, content_type = "image/png"),
        (status = 404, description = "No such picture", body = Problem,
         content_type = "application/problem+json"),
    ),
)]
pub(super) async fn screenshot(
    State(app): State<Arc<App>>,
    CurrentUser(owner): CurrentUser,
    path: Result<Path<(Uuid, i32)>, PathRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Path((execution, position)) = path.map_err(|_no_key| Problem::not_found())?;
    let picture = app.store.screenshot(owner, execution, position).await?;
    picture.map(|png| ([(CONTENT_TYPE, "image/png")], png)).ok_or_else(Problem::not_found)
}
