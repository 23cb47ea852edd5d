//! A project: what a user's pages, tests and suites belong to.

use super::resource::{Field, Resource};
use super::value::Kind;

/// Only its owner sees it.
pub static PROJECT: Resource = Resource {
    noun: "project",
    schema: "Project",
    table: "projects",
    path: "/api/projects",
    segment: "projects",
    parent: None,
    parent_column: "user_id",
    parent_name: "",
    writable: true,
    fields: &[
        Field::required("name", "name", Kind::Line(1, 100)),
        Field::required("description", "description", Kind::Prose(2000)).or("\"\""),
    ],
};
