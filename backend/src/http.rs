//! The HTTP face: routes, and what surrounds every one of them.
//!
//! From the outside in, a request meets: the access [`record`], the answer to a panic, the
//! [`deadline`], CORS, the body limit, [`problem::ensure`] (an error never leaves without a problem
//! document), the handler. A handler parses, asks the store and answers; failures become a
//! [`Problem`] by `?`.
//!
//! # Not here
//! TLS, rate limits, security headers, slow clients: Gatehouse stands in front and owns them.

mod auth;
mod body;
mod document;
mod executions;
pub mod health;
mod members;
pub mod metrics;
mod openapi;
mod page;
mod precondition;
pub mod problem;
mod progress;
mod record;
mod resources;
mod schemas;
mod sessions;

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::header::{
    AUTHORIZATION, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, LINK, LOCATION, RETRY_AFTER,
};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state, map_response};
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::CorsLayer;

pub use openapi::openapi;

use crate::domain::password::Hasher;
use crate::domain::token::Tokens;
use crate::queue::Queue;
use crate::store::Store;
use crate::worker::Tally;
use metrics::Requests;
use problem::Problem;
pub use progress::Watchers;

/// Largest request body, in bytes.
const BODY_MAX: usize = 1024 * 1024;
/// Longest time from a request's head to its answer. The database gives up after five seconds and a
/// login waits about one, so what reaches this is a body that trickles, or a database that was
/// stopped in the middle of a statement.
const REQUEST_MAX: Duration = Duration::from_secs(30);
/// Seconds after which what did not answer is worth another attempt.
const RETRY_SECONDS: u16 = 5;
/// How long a browser may remember what CORS allows.
const CORS_MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// What the handlers share.
#[derive(Debug)]
pub struct App {
    /// Users and everything that is theirs.
    pub store: Store,
    /// Hashes and verifies passwords.
    pub hasher: Hasher,
    /// Issues and reads access tokens.
    pub tokens: Tokens,
    /// The queue's server, if there is one.
    pub queue: Option<Queue>,
    /// How requests went.
    pub requests: Requests,
    /// How jobs of the worker inside went.
    pub tally: Arc<Tally>,
    /// Who watches executions.
    pub watchers: Watchers,
}

/// The whole API over `app`, callable by pages of `cors_origins`.
pub fn router(app: Arc<App>, cors_origins: Vec<HeaderValue>) -> Router {
    let mut router = openapi::documented_routes()
        .with_state(Arc::clone(&app))
        .layer(map_response(problem::ensure))
        .layer(DefaultBodyLimit::max(BODY_MAX));
    if !cors_origins.is_empty() {
        let methods = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        let cors = CorsLayer::new()
            .allow_origin(cors_origins)
            .allow_methods(methods)
            .allow_headers([
                AUTHORIZATION,
                CONTENT_TYPE,
                IF_MATCH,
                IF_NONE_MATCH,
                HeaderName::from_static(executions::IDEMPOTENCY_KEY),
            ])
            .expose_headers([ETAG, LINK, LOCATION, RETRY_AFTER])
            // The refresh cookie, to the origins that are named and no other.
            .allow_credentials(true)
            .max_age(CORS_MAX_AGE);
        router = router.layer(cors);
    }
    router
        .layer(from_fn(deadline))
        .layer(CatchPanicLayer::custom(after_panic))
        .layer(from_fn_with_state(app, record::record))
}

async fn deadline(request: Request, next: Next) -> Response {
    let has_arrived = Arc::new(AtomicBool::new(request.body().is_end_stream()));
    let arrived = Arc::clone(&has_arrived);
    let request = request.map(|body| {
        Body::new(body.with_trailers(async move {
            arrived.store(true, Ordering::Relaxed);
            None
        }))
    });
    let answer = tokio::time::timeout(REQUEST_MAX, next.run(request)).await;
    answer.unwrap_or_else(|_elapsed| {
        let problem = if has_arrived.load(Ordering::Relaxed) {
            Problem::unavailable("The answer takes too long.", RETRY_SECONDS)
        } else {
            Problem::new(StatusCode::REQUEST_TIMEOUT).detail("The request took too long to arrive.")
        };
        problem.into_response()
    })
}

/// A panic is a broken invariant of ours: the client learns that, the log learns what.
#[expect(clippy::needless_pass_by_value, reason = "the signature is tower-http's")]
fn after_panic(panic: Box<dyn Any + Send>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a message");
    tracing::error!(panic = message, "a handler panicked");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR).into_response()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::Bytes;
    use axum::http::header::CONTENT_TYPE;
    use futures_util::stream;
    use tower::ServiceExt as _;

    use super::*;

    #[test]
    fn a_panic_is_told_to_the_log_and_not_to_the_client() {
        let response = after_panic(Box::new("the invariant that broke"));
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()[CONTENT_TYPE], problem::MEDIA_TYPE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_trickles_is_ended_and_so_is_an_answer_that_does_not_come() {
        let slow = async |body: Body| {
            let _ = body.collect().await;
            std::future::pending::<()>().await;
        };
        let trickle = || Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        for (body, status) in [(trickle(), 408), (Body::from("x"), 503), (Body::empty(), 503)] {
            let router = Router::new().fallback(slow).layer(from_fn(deadline));
            let started = tokio::time::Instant::now();
            let response = router.oneshot(Request::new(body)).await.unwrap();
            assert_eq!(response.status(), status);
            assert_eq!(response.headers().contains_key(RETRY_AFTER), status == 503);
            assert_eq!(started.elapsed(), REQUEST_MAX);
        }
    }
}
