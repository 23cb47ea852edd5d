//! Projects of the user who asks. Someone else's project answers like one that does not exist.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::http::request::Parts;
use serde::Deserialize;
use utoipa::ToSchema;

use super::App;
use super::auth::CurrentUser;
use super::body::{Field, JsonObject, Reader};
use super::problem::{FieldFault, Problem};
use crate::domain::project::{Project, ProjectChange, ProjectDescription, ProjectId, ProjectName};
use crate::domain::timestamp::Timestamp;

/// Projects in a list, unless the client says.
const LIMIT_DEFAULT: u16 = 50;
/// Most projects in a list.
const LIMIT_MAX: u16 = 200;

/// How long a list is wanted.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Most projects in the answer.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 200, default = 50)]
    limit: Option<String>,
}

/// A project to create.
#[derive(Deserialize, ToSchema)]
pub(super) struct CreateProject {
    #[serde(default)]
    #[schema(value_type = ProjectName, required = true)]
    name: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<ProjectDescription>)]
    description: Field<String>,
}

/// What to change in a project; what is left out stays.
#[derive(Deserialize, ToSchema)]
pub(super) struct UpdateProject {
    #[serde(default)]
    #[schema(value_type = ProjectName)]
    name: Field<String>,
    #[serde(default)]
    #[schema(value_type = ProjectDescription)]
    description: Field<String>,
}

/// The key in the path. What is no key at all names no project: 404, like any other that is not
/// there.
pub(super) struct InPath(ProjectId);

impl FromRequestParts<Arc<App>> for InPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let path = Path::<ProjectId>::from_request_parts(parts, app).await;
        path.map(|Path(id)| Self(id)).map_err(|_no_key| Problem::not_found())
    }
}

/// Lists the newest projects, newest first.
#[utoipa::path(
    get, path = "/api/projects", tag = "projects", params(ListQuery),
    security(("token" = [])),
    responses((status = 200, description = "The projects", body = Vec<Project>)),
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    CurrentUser(user): CurrentUser,
    Query(query): Query<ListQuery>,
) -> Result<Json<Vec<Project>>, Problem> {
    let limit = query.limit.map_or(Some(LIMIT_DEFAULT), |limit| limit.parse().ok());
    let Some(limit) = limit.filter(|limit| (1..=LIMIT_MAX).contains(limit)) else {
        let detail = format!("must be a number from 1 to {LIMIT_MAX}");
        return Err(Problem::invalid(vec![FieldFault {
            pointer: None,
            parameter: Some("limit"),
            detail,
        }]));
    };
    Ok(Json(app.store.projects(user, limit).await?))
}

/// Creates a project.
#[utoipa::path(
    post, path = "/api/projects", tag = "projects", request_body = CreateProject,
    security(("token" = [])),
    responses((
        status = 201, description = "Created", body = Project,
        headers(("Location" = String, description = "Where the project is")),
    )),
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    CurrentUser(user_id): CurrentUser,
    JsonObject(body): JsonObject<CreateProject>,
) -> Result<(StatusCode, [(axum::http::HeaderName, String); 1], Json<Project>), Problem> {
    let mut reader = Reader::default();
    let name = reader.required("name", &body.name, ProjectName::parse);
    let description = reader.optional("description", &body.description, ProjectDescription::parse);
    let (Some(name), Some(description)) = (name, description) else {
        return Err(reader.problem());
    };
    let now = Timestamp::now();
    let project = Project {
        id: ProjectId::new(),
        user_id,
        name,
        description: description.unwrap_or_default(),
        created_at: now,
        updated_at: now,
    };
    app.store.insert_project(&project).await?;
    let location = format!("/api/projects/{}", project.id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(project)))
}

/// Reads a project.
#[utoipa::path(
    get, path = "/api/projects/{id}", tag = "projects", params(("id" = ProjectId, Path)),
    security(("token" = [])),
    responses((status = 200, description = "The project", body = Project)),
)]
pub(super) async fn read(
    State(app): State<Arc<App>>,
    CurrentUser(user): CurrentUser,
    InPath(id): InPath,
) -> Result<Json<Project>, Problem> {
    app.store.project(user, id).await?.map(Json).ok_or_else(Problem::not_found)
}

/// Changes a project.
#[utoipa::path(
    patch, path = "/api/projects/{id}", tag = "projects", params(("id" = ProjectId, Path)),
    request_body = UpdateProject,
    security(("token" = [])),
    responses((status = 200, description = "The project as it is now", body = Project)),
)]
pub(super) async fn update(
    State(app): State<Arc<App>>,
    CurrentUser(user): CurrentUser,
    InPath(id): InPath,
    JsonObject(body): JsonObject<UpdateProject>,
) -> Result<Json<Project>, Problem> {
    let mut reader = Reader::default();
    let name = reader.change("name", &body.name, ProjectName::parse);
    let description = reader.change("description", &body.description, ProjectDescription::parse);
    let (Some(name), Some(description)) = (name, description) else {
        return Err(reader.problem());
    };
    let change = ProjectChange { name, description };
    let updated = app.store.update_project(user, id, &change, Timestamp::now()).await?;
    updated.map(Json).ok_or_else(Problem::not_found)
}

/// Deletes a project and everything below it.
#[utoipa::path(
    delete, path = "/api/projects/{id}", tag = "projects", params(("id" = ProjectId, Path)),
    security(("token" = [])),
    responses((status = 204, description = "Deleted")),
)]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    CurrentUser(user): CurrentUser,
    InPath(id): InPath,
) -> Result<StatusCode, Problem> {
    if app.store.delete_project(user, id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found())
    }
}
