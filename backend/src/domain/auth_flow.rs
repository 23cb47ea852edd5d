//! A way to log in to the site under test.

use super::project::PROJECT;
use super::resource::{Field, Resource};
use super::value::Kind;

/// Its steps bring a browser from the login page to the logged-in state.
pub static AUTH_FLOW: Resource = Resource {
    noun: "auth flow",
    schema: "AuthFlow",
    table: "auth_flows",
    path: "/api/auth-flows",
    segment: "auth-flows",
    parent: Some(&PROJECT),
    parent_column: "project_id",
    parent_name: "projectId",
    writable: true,
    fields: &[
        Field::required("name", "name", Kind::Line(1, 100)),
        Field::required("kind", "kind", Kind::Choice(&["form", "basic", "token", "oauth"])),
        Field::required("loginUrl", "login_url", Kind::Url),
        Field::required("steps", "steps", Kind::Steps).or("[]"),
    ],
};
