//! Every route, registered together with its documentation, and the OpenAPI document that this
//! makes.

use std::sync::Arc;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi as Document, Ref, ResponseBuilder};
use utoipa::{OpenApi, ToSchema as _};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{MEDIA_TYPE, Problem};
use super::{App, auth, health, projects};

#[derive(OpenApi)]
#[openapi(
    info(title = "Nomation", description = "The test-automation API behind Gatehouse."),
    components(schemas(Problem))
)]
struct Description;

/// The routes, and the document that describes them at `/api/openapi.json`.
pub(super) fn documented_routes() -> Router<Arc<App>> {
    let (router, mut document) = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(auth::register))
        .routes(routes!(auth::login))
        .routes(routes!(projects::list, projects::create))
        .routes(routes!(projects::read, projects::update, projects::delete))
        .split_for_parts();
    complete(&mut document);
    let json: Arc<str> = serde_json::json!(document).to_string().into();
    router.route(
        "/api/openapi.json",
        get(async move || ([(CONTENT_TYPE, "application/json")], json.to_string())),
    )
}

/// Adds what is true of all operations: the token's form, and that every other status is a problem.
fn complete(document: &mut Document) {
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    document
        .components
        .get_or_insert_default()
        .add_security_scheme("token", SecurityScheme::Http(bearer));
    let problem = ResponseBuilder::new()
        .description("What went wrong")
        .content(
            MEDIA_TYPE,
            ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name()))).build(),
        )
        .build();
    for item in document.paths.paths.values_mut() {
        let operations: [&mut Option<Operation>; 4] =
            [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            operation.responses.responses.insert("default".to_owned(), problem.clone().into());
        }
    }
}
