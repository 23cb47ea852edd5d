//! Every route, registered together with its documentation, and the OpenAPI document that this
//! makes.

use std::sync::Arc;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use serde_json::{Value as Json, json};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::Problem;
use super::{
    App, auth, document, executions, health, members, metrics, progress, resources, sessions,
};
use crate::domain::RESOURCES;
use crate::domain::step::Step;
use crate::store::Executed;

const ABOUT: &str = "\
The test-automation API behind Gatehouse.

An access token is good for a quarter of an hour: a logout or a new password does not end it, but \
the refresh tokens at once, so that no other access token follows.

This document is served at `/api/openapi.json`. `/metrics` is no part of the API: it is for the \
operator, in Prometheus's text format, and not to be had through Gatehouse.";

#[derive(OpenApi)]
#[openapi(
    info(title = "Nomation", description = ABOUT),
    components(schemas(Problem, Step))
)]
struct Description;

/// The OpenAPI document, as JSON.
#[must_use]
pub fn openapi() -> Json {
    routes_and_document().1
}

/// The routes, and the document that describes them at `/api/openapi.json`. `/metrics` is none of
/// the API's: it is for the operator.
pub(super) fn documented_routes() -> Router<Arc<App>> {
    let (router, document) = routes_and_document();
    let json: Arc<str> = document.to_string().into();
    router.route("/metrics", get(metrics::show)).route(
        "/api/openapi.json",
        get(async move || ([(CONTENT_TYPE, "application/json")], json.to_string())),
    )
}

fn routes_and_document() -> (Router<Arc<App>>, Json) {
    let (mut router, document) = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(auth::register))
        .routes(routes!(auth::login))
        .routes(routes!(sessions::refresh))
        .routes(routes!(sessions::logout))
        .routes(routes!(sessions::change_password))
        .routes(routes!(members::list, members::replace))
        .routes(routes!(progress::events))
        .routes(routes!(progress::screenshot))
        .split_for_parts();
    let mut document = json!(document);
    for resource in RESOURCES {
        router = router
            .route(&document::collection_path(resource), resources::collection(resource))
            .route(&document::single_path(resource), resources::single(resource));
        document::describe(&mut document, resource);
    }
    for executed in [Executed::Test, Executed::Suite] {
        let start = document::collection_path(executed.resource());
        router = router
            .route(&start, executions::starting(executed))
            .route(&document::cancel_path(executed), executions::cancelling(executed))
            .route(&document::retry_path(executed), executions::retrying(executed));
        document::describe_execution(&mut document, executed);
    }
    document::complete(&mut document);
    (router, document)
}
