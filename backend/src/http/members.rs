//! Which tests a suite has, in which order: one list, replaced as a whole.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::App;
use super::auth::CurrentUser;
use super::body::{Field, JsonObject};
use super::problem::{FieldFault, Problem};
use super::resources::InPath;
use crate::domain::suite::SUITE;

/// Most tests in a suite.
const MEMBERS_MAX: usize = 500;

/// The tests of a suite, in order.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Members {
    /// Their keys, none twice.
    #[schema(max_items = 500)]
    test_ids: Vec<Uuid>,
}

/// The tests that a suite shall have.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReplaceMembers {
    #[serde(default)]
    #[schema(value_type = Vec<Uuid>, required = true, max_items = 500)]
    test_ids: Field<Vec<Uuid>>,
}

/// Lists the tests of a suite.
#[utoipa::path(
    get, path = "/api/suites/{id}/tests", tag = "suite", operation_id = "listSuiteTests",
    params(("id" = Uuid, Path)), security(("token" = [])),
    responses((status = 200, description = "Its tests, in order", body = Members)),
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    CurrentUser(user): CurrentUser,
    InPath(suite): InPath,
) -> Result<Json<Members>, Problem> {
    if !app.store.owns(&SUITE, user, suite).await? {
        return Err(Problem::not_found());
    }
    Ok(Json(Members { test_ids: app.store.members(suite).await? }))
}

/// Replaces the tests of a suite.
#[utoipa::path(
    put, path = "/api/suites/{id}/tests", tag = "suite", operation_id = "replaceSuiteTests",
    params(("id" = Uuid, Path)), request_body = ReplaceMembers, security(("token" = [])),
    responses((status = 200, description = "Its tests now", body = Members)),
)]
pub(super) async fn replace(
    State(app): State<Arc<App>>,
    CurrentUser(user): CurrentUser,
    InPath(suite): InPath,
    JsonObject(body): JsonObject<ReplaceMembers>,
) -> Result<Json<Members>, Problem> {
    if !app.store.owns(&SUITE, user, suite).await? {
        return Err(Problem::not_found());
    }
    let Field::Given(test_ids) = body.test_ids else {
        return Err(invalid([(String::new(), "must be a list of the keys of tests")]));
    };
    if test_ids.len() > MEMBERS_MAX {
        return Err(invalid([(String::new(), "must have at most 500 tests")]));
    }
    let mut seen = HashSet::new();
    let twice = test_ids.iter().enumerate().filter(|(_, id)| !seen.insert(**id));
    let twice: Vec<_> = twice.map(|(place, _)| (format!("/{place}"), "comes twice")).collect();
    if !twice.is_empty() {
        return Err(invalid(twice));
    }
    let strangers = app.store.replace_members(suite, &test_ids).await?;
    if !strangers.is_empty() {
        let fault = |place| (format!("/{place}"), "names no test of this project");
        return Err(invalid(strangers.into_iter().map(fault)));
    }
    Ok(Json(Members { test_ids }))
}

fn invalid(faults: impl IntoIterator<Item = (String, &'static str)>) -> Problem {
    let fault = |(place, detail): (String, &str)| FieldFault {
        pointer: Some(format!("#/testIds{place}")),
        parameter: None,
        detail: detail.to_owned(),
    };
    Problem::invalid(faults.into_iter().map(fault).collect())
}
