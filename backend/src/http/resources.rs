//! The five operations on every [`Resource`]: list and create below the parent, read, change and
//! delete at its own path.
//!
//! Only the owner sees anything; a key that is not theirs, is not there or is no key is 404. What
//! each operation needs of a resource is in the resource's list of fields.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::header::{ETAG, LINK, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get};
use serde_json::{Map, Value as JsonValue};
use uuid::Uuid;

use super::App;
use super::auth::CurrentUser;
use super::body::JsonObject;
use super::page::{self, Pairs};
use super::precondition::{Precondition, etag, is_known};
use super::problem::{FieldFault, Problem};
use crate::domain::resource::{Record, Resource};
use crate::domain::timestamp::Timestamp;
use crate::domain::user::UserId;
use crate::domain::value::{Faults, Kind, Value};

/// How often a change without a precondition is tried against others that change the same record.
const ATTEMPTS_MAX: usize = 5;

type Body = JsonObject<Map<String, JsonValue>>;

/// The key in the path. What is no key at all names nothing: 404, like any other that is not there.
pub(super) struct InPath(pub(super) Uuid);

impl FromRequestParts<Arc<App>> for InPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let path = Path::<Uuid>::from_request_parts(parts, app).await;
        path.map(|Path(id)| Self(id)).map_err(|_no_key| Problem::not_found())
    }
}

/// Lists and creates records of `resource` below their parent.
pub(super) fn collection(resource: &'static Resource) -> MethodRouter<Arc<App>> {
    if resource.parent.is_none() {
        let listed = async move |State(app): State<Arc<App>>, user: CurrentUser, asked: Asked| {
            list(resource, &app, user.0.as_uuid(), asked).await
        };
        return get(listed).post(
            async move |State(app): State<Arc<App>>, user: CurrentUser, body: Body| {
                create(resource, &app, user.0.as_uuid(), &body.0).await
            },
        );
    }
    let listed =
        async move |State(app): State<Arc<App>>, user: CurrentUser, id: InPath, asked: Asked| {
            require_parent(resource, &app, user.0, id.0).await?;
            list(resource, &app, id.0, asked).await
        };
    if !resource.writable {
        return get(listed);
    }
    get(listed).post(
        async move |State(app): State<Arc<App>>, user: CurrentUser, id: InPath, body: Body| {
            require_parent(resource, &app, user.0, id.0).await?;
            create(resource, &app, id.0, &body.0).await
        },
    )
}

/// Reads, changes and deletes a record of `resource`.
pub(super) fn single(resource: &'static Resource) -> MethodRouter<Arc<App>> {
    let routes = get(
        async move |State(app): State<Arc<App>>,
                    user: CurrentUser,
                    id: InPath,
                    headers: HeaderMap| {
            let record = app.store.read(resource, user.0, id.0).await?;
            let record = record.ok_or_else(Problem::not_found)?;
            if is_known(&headers, record.version) {
                let tag = [(ETAG, etag(record.version))];
                return Ok((StatusCode::NOT_MODIFIED, tag).into_response());
            }
            Ok::<_, Problem>(shown(StatusCode::OK, resource, &record))
        },
    )
    .delete(
        async move |State(app): State<Arc<App>>,
                    user: CurrentUser,
                    id: InPath,
                    precondition: Precondition| {
            delete(resource, &app, user.0, id.0, &precondition).await
        },
    );
    if !resource.writable {
        return routes;
    }
    routes.patch(
        async move |State(app): State<Arc<App>>,
                    user: CurrentUser,
                    id: InPath,
                    precondition: Precondition,
                    body: Body| {
            update(resource, &app, (user.0, id.0), &precondition, &body.0).await
        },
    )
}

/// The query of a list, and the path that links to its other pages begin with.
struct Asked {
    pairs: Pairs,
    path: String,
}

impl FromRequestParts<Arc<App>> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _app: &Arc<App>) -> Result<Self, Problem> {
        let pairs = page::pairs(parts.uri.query().unwrap_or_default())?;
        Ok(Self { pairs, path: parts.uri.path().to_owned() })
    }
}

async fn require_parent(
    resource: &'static Resource,
    app: &App,
    user: UserId,
    id: Uuid,
) -> Result<(), Problem> {
    match resource.parent {
        Some(parent) if !app.store.owns(parent, user, id).await? => Err(Problem::not_found()),
        _ => Ok(()),
    }
}

async fn list(
    resource: &'static Resource,
    app: &App,
    parent: Uuid,
    asked: Asked,
) -> Result<Response, Problem> {
    let page = page::read(resource, &asked.pairs)?;
    let sort = page.sort;
    let (records, more) = app.store.list(resource, parent, page).await?;
    let next = records.last().filter(|_last| more);
    let link = page::link(resource, &asked.path, &asked.pairs, sort, next);
    let shown: Vec<JsonValue> = records.iter().map(|record| resource.show(record)).collect();
    Ok(([(LINK, link)], Json(shown)).into_response())
}

async fn create(
    resource: &'static Resource,
    app: &App,
    parent: Uuid,
    body: &Map<String, JsonValue>,
) -> Result<Response, Problem> {
    let values = resource.read(body, None).map_err(invalid)?;
    check_references(resource, app, parent, &values).await?;
    let now = Timestamp::now();
    let record =
        Record { id: Uuid::now_v7(), parent, values, version: 1, created_at: now, updated_at: now };
    app.store.insert(resource, &record).await?;
    let location = [(LOCATION, format!("{}/{}", resource.path, record.id))];
    Ok((location, shown(StatusCode::CREATED, resource, &record)).into_response())
}

async fn update(
    resource: &'static Resource,
    app: &App,
    (user, id): (UserId, Uuid),
    precondition: &Precondition,
    body: &Map<String, JsonValue>,
) -> Result<Response, Problem> {
    for _attempt in 0..ATTEMPTS_MAX {
        let found = app.store.read(resource, user, id).await?.ok_or_else(Problem::not_found)?;
        let values = resource.read(body, Some(&found.values)).map_err(invalid)?;
        check_references(resource, app, found.parent, &values).await?;
        // Last, since it is ignored where the answer would be an error anyway (RFC 9110, 13.2.1).
        precondition.check(found.version)?;
        let at = (id, found.version);
        let updated = app.store.update(resource, user, at, values, Timestamp::now()).await?;
        if let Some(record) = updated {
            return Ok(shown(StatusCode::OK, resource, &record));
        }
        // Somebody else was faster; a precondition that named what they changed fails above.
    }
    Err(Problem::new(StatusCode::CONFLICT).detail("Others keep changing it at the same time."))
}

async fn delete(
    resource: &'static Resource,
    app: &App,
    user: UserId,
    id: Uuid,
    precondition: &Precondition,
) -> Result<StatusCode, Problem> {
    let mut version = None;
    if precondition.is_given() {
        let found = app.store.read(resource, user, id).await?.ok_or_else(Problem::not_found)?;
        precondition.check(found.version)?;
        version = Some(found.version);
    }
    if app.store.delete(resource, user, id, version).await? {
        Ok(StatusCode::NO_CONTENT)
    } else if version.is_some() {
        Err(Problem::stale())
    } else {
        Err(Problem::not_found())
    }
}

/// A key in a body must name something of the same project: of another's it must not even tell
/// whether it exists.
async fn check_references(
    resource: &Resource,
    app: &App,
    project: Uuid,
    values: &[Value],
) -> Result<(), Problem> {
    let mut faults = Faults::new();
    for (field, value) in resource.fields.iter().zip(values) {
        if let (Kind::Key(table), Value::Id(Some(id))) = (field.kind, value)
            && !app.store.is_of_project(table, project, *id).await?
        {
            faults.push((field.name.to_owned(), "names nothing of this project".to_owned()));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(invalid(faults)) }
}

fn invalid(faults: Faults) -> Problem {
    let fault = |(place, detail): (String, String)| FieldFault {
        pointer: Some(format!("#/{place}")),
        parameter: None,
        detail,
    };
    Problem::invalid(faults.into_iter().map(fault).collect())
}

/// A record with the tag that a change of it may be conditional on.
pub(super) fn shown(status: StatusCode, resource: &Resource, record: &Record) -> Response {
    let tag = [(ETAG, etag(record.version))];
    (status, tag, Json(resource.show(record))).into_response()
}
