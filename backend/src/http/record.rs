//! The access record: one line per request, under the id that Gatehouse gave it, and its place in
//! the counts.
//!
//! The line is written when the [`Record`] is dropped, so that a client that hangs up, which ends
//! the handler in the middle, leaves one as well.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use tracing::{Instrument as _, Span, info, info_span};
use uuid::Uuid;

use super::App;

/// Longest path and request id in a line, in bytes.
const LOGGED_MAX: usize = 256;

struct Record {
    app: Arc<App>,
    span: Span,
    method: Method,
    path: String,
    route: Option<MatchedPath>,
    started: Instant,
    status: Option<StatusCode>,
}

impl Drop for Record {
    fn drop(&mut self) {
        let _entered = self.span.enter();
        let duration = self.started.elapsed();
        let route = self.route.as_ref().map(MatchedPath::as_str);
        self.app.requests.count(&self.method, route, self.status, duration);
        let duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let (method, path) = (self.method.as_str(), self.path.as_str());
        match self.status {
            Some(status) => info!(method, path, status = status.as_u16(), duration_us, "request"),
            None => info!(method, path, duration_us, "request abandoned by the client"),
        }
    }
}

/// Runs the request inside a span with its id, and leaves its record.
pub(super) async fn record(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let span = info_span!("request", id = request_id(request.headers()));
    let path = request.uri().path();
    let mut record = Record {
        app,
        span: span.clone(),
        method: request.method().clone(),
        path: path.get(..path.floor_char_boundary(LOGGED_MAX)).unwrap_or_default().to_owned(),
        route: request.extensions().get().cloned(),
        started: Instant::now(),
        status: None,
    };
    let response = next.run(request).instrument(span).await;
    record.status = Some(response.status());
    response
}

/// The id from `X-Request-Id`; a new one when there is none, or none that belongs in a log.
fn request_id(headers: &HeaderMap) -> String {
    headers
        .get("x-request-id")
        .and_then(|value| value.to_str().ok())
        .filter(|id| {
            (1..=LOGGED_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())
        })
        .map_or_else(|| Uuid::now_v7().to_string(), ToOwned::to_owned)
}
