//! Watching an execution: its progress as server-sent events, and the pictures that it took.
//!
//! Each step that is done is one event `step`. Its id is the attempt and the position, so that a
//! client that lost its connection goes on where it was (`Last-Event-ID`), or is told all of an
//! attempt that began meanwhile. The last event is `end`; whoever connects again after it gets it
//! again.
//!
//! # Bounds
//! [`WATCHERS_MAX`] streams at once in this process, [`PER_USER`] of them of one user,
//! [`WATCH_MAX`] each.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream;
use tokio::time::Instant;
use uuid::Uuid;

use super::App;
use super::auth::CurrentUser;
use super::problem::Problem;
use crate::domain::user::UserId;

/// Most streams at once.
const WATCHERS_MAX: usize = 200;
/// Most streams of one user at once.
const PER_USER: usize = 10;
/// How long one stream lasts; the client connects again.
const WATCH_MAX: Duration = Duration::from_secs(10 * 60);
/// How often the database is asked.
const POLL: Duration = Duration::from_millis(500);
/// Seconds after which another stream may have ended.
const RETRY_SECONDS: u16 = 5;

/// Who watches, by user. Nobody is without a stream.
#[derive(Debug, Default)]
pub struct Watchers(Mutex<HashMap<UserId, usize>>);

/// One stream's place among [`Watchers`], free again when dropped.
struct Place {
    app: Arc<App>,
    user: UserId,
}

impl Place {
    fn take(app: &Arc<App>, user: UserId) -> Result<Self, Problem> {
        let mut watchers = app.watchers.lock();
        let streams: usize = watchers.values().sum();
        let own = watchers.get(&user).copied().unwrap_or_default();
        if own >= PER_USER {
            let detail = "You watch as many executions as one user may.";
            return Err(Problem::too_many(detail, RETRY_SECONDS));
        }
        if streams >= WATCHERS_MAX {
            let detail = "Too many executions are being watched.";
            return Err(Problem::unavailable(detail, RETRY_SECONDS));
        }
        watchers.insert(user, own + 1);
        Ok(Self { app: Arc::clone(app), user })
    }
}

impl Watchers {
    /// A panic elsewhere leaves counts that are as good as before.
    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut own) = self.app.watchers.lock().entry(self.user) {
            *own.get_mut() -= 1;
            if *own.get() == 0 {
                own.remove();
            }
        }
    }
}

/// One client that watches one execution.
struct Watcher {
    place: Place,
    execution: Uuid,
    /// Attempt and position of the last step that was told.
    told: (i32, i32),
    ready: VecDeque<Event>,
    is_over: bool,
    until: Instant,
}

/// The id of an event: `2.0` is the first step of the second attempt.
fn read_id(id: &str) -> Option<(i32, i32)> {
    let (attempt, position) = id.split_once('.')?;
    Some((attempt.parse().ok()?, position.parse().ok()?))
}

/// Streams the progress of an execution, until it is over; of one that is, all at once.
///
/// The data of a `step` is an object with `attempt`, `position` (from 0), `action`, `status`
/// (`passed` or `failed`), `startedAt`, `durationMs`, `message` (why it failed) and
/// `hasScreenshot`; that of `end` has `status` and `failure`.
///
/// When its worker is lost, another begins the execution again: `attempt` in a step is greater than
/// before, and what was told of the attempt before it no longer counts.
#[utoipa::path(
    get, path = "/api/executions/{id}/events", tag = "executions",
    params(("id" = Uuid, Path), ("Last-Event-ID" = Option<String>, Header)),
    security(("token" = [])),
    responses(
        (status = 200, description = "Events `step`, then `end`",
         body = String, content_type = "text/event-stream"),
        (status = 404, description = "No such execution", body = Problem,
         content_type = "application/problem+json"),
        (status = 429, description = "This user watches as many as one may", body = Problem,
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
    // What is no id of ours is told everything, as if it were the first time.
    let told = headers.get("last-event-id").and_then(|id| read_id(id.to_str().ok()?));
    let watcher = Watcher {
        place: Place::take(&app, owner)?,
        execution,
        told: told.unwrap_or((0, -1)),
        ready: VecDeque::new(),
        is_over: false,
        until: Instant::now() + WATCH_MAX,
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
        let store = &self.place.app.store;
        let Some(standing) = store.standing(self.place.user, self.execution).await? else {
            return Ok(false);
        };
        for step in store.steps_after(self.execution, self.told).await? {
            self.told = (step.attempt, step.position);
            let id = format!("{}.{}", step.attempt, step.position);
            let event = Event::default().event("step").id(id);
            self.ready.extend(event.json_data(&step));
        }
        if standing.is_over() {
            self.is_over = true;
            self.ready.extend(Event::default().event("end").json_data(&standing));
        }
        Ok(true)
    }
}

/// Shows the picture that a step of an execution took; the position of the first step is 0.
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
