//! An element of a page: what can be clicked, typed into or asserted.

use super::project::PROJECT;
use super::resource::{Field, Resource};
use super::value::Kind;

const ELEMENT_TYPES: &[&str] = &[
    "button", "link", "input", "select", "checkbox", "radio", "textarea", "form", "text", "image",
    "other",
];
const DISCOVERY_STATES: &[&str] = &["discovered", "verified", "stale", "rejected"];

/// `confidence` is how sure its finder is that the selector means it.
pub static ELEMENT: Resource = Resource {
    noun: "element",
    schema: "Element",
    table: "project_elements",
    path: "/api/elements",
    segment: "elements",
    parent: Some(&PROJECT),
    parent_column: "project_id",
    parent_name: "projectId",
    writable: true,
    fields: &[
        Field::required("selector", "selector", Kind::Line(1, 1000)),
        Field::required("elementType", "element_type", Kind::Choice(ELEMENT_TYPES)),
        Field::required("confidence", "confidence", Kind::Number(0.0, 1.0))
            .or("1")
            .filtered()
            .sorted(),
        Field::required("discoveryState", "discovery_state", Kind::Choice(DISCOVERY_STATES))
            .or("\"discovered\"")
            .filtered(),
        Field::required("sourceUrlId", "source_url_id", Kind::Key("project_urls"))
            .nullable()
            .filtered(),
        Field::required("authFlowId", "auth_flow_id", Kind::Key("auth_flows"))
            .nullable()
            .filtered(),
        Field::required("pageStateId", "page_state_id", Kind::Key("page_states"))
            .nullable()
            .filtered(),
        Field::required("attributes", "attributes", Kind::Object).or("{}"),
    ],
};
