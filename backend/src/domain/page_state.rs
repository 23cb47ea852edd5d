//! A page as it looks in one situation, such as logged in.

use super::project::PROJECT;
use super::resource::{Field, Resource};
use super::value::Kind;

/// `state` is whatever tells it from the others.
pub static PAGE_STATE: Resource = Resource {
    noun: "page state",
    schema: "PageState",
    table: "page_states",
    path: "/api/page-states",
    segment: "page-states",
    parent: Some(&PROJECT),
    parent_column: "project_id",
    parent_name: "projectId",
    writable: true,
    fields: &[
        Field::required("name", "name", Kind::Line(1, 100)),
        Field::required("url", "url", Kind::Url),
        Field::required("authFlowId", "auth_flow_id", Kind::Key("auth_flows"))
            .nullable()
            .filtered(),
        Field::required("state", "state", Kind::Object).or("{}"),
    ],
};
