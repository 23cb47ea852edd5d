//! A page of a project, by its URL; no project has the same twice.

use super::project::PROJECT;
use super::resource::{Field, Resource};
use super::value::Kind;

/// `analyzed` says that its elements have been looked for.
pub static PROJECT_URL: Resource = Resource {
    noun: "URL",
    schema: "ProjectUrl",
    table: "project_urls",
    path: "/api/urls",
    segment: "urls",
    parent: Some(&PROJECT),
    parent_column: "project_id",
    parent_name: "projectId",
    writable: true,
    fields: &[
        Field::required("url", "url", Kind::Url),
        Field::required("title", "title", Kind::Line(0, 200)).or("\"\""),
        Field::required("analyzed", "analyzed", Kind::Flag).or("false").filtered(),
        Field::required("analyzedAt", "analyzed_at", Kind::Instant).nullable(),
    ],
};
