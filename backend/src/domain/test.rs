//! A test: steps for a browser, which its executions perform.

use super::project::PROJECT;
use super::resource::{Field, Resource};
use super::value::Kind;

/// `timeoutSeconds` bounds a whole execution.
pub static TEST: Resource = Resource {
    noun: "test",
    schema: "Test",
    table: "tests",
    path: "/api/tests",
    segment: "tests",
    parent: Some(&PROJECT),
    parent_column: "project_id",
    parent_name: "projectId",
    writable: true,
    fields: &[
        Field::required("name", "name", Kind::Line(1, 100)),
        Field::required("description", "description", Kind::Prose(2000)).or("\"\""),
        Field::required("steps", "steps", Kind::Steps).or("[]"),
        Field::required("timeoutSeconds", "timeout_seconds", Kind::Whole(1, 3600)).or("60"),
    ],
};
