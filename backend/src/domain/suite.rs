//! A suite: tests in an order, executed together.

use super::project::PROJECT;
use super::resource::{Field, Resource};
use super::value::Kind;

/// Its members are a list of their own.
pub static SUITE: Resource = Resource {
    noun: "suite",
    schema: "Suite",
    table: "test_suites",
    path: "/api/suites",
    segment: "suites",
    parent: Some(&PROJECT),
    parent_column: "project_id",
    parent_name: "projectId",
    writable: true,
    fields: &[
        Field::required("name", "name", Kind::Line(1, 100)),
        Field::required("description", "description", Kind::Prose(2000)).or("\"\""),
    ],
};
