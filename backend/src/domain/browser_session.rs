//! A browser kept open, or its cookies, for tests to begin from.

use super::project::PROJECT;
use super::resource::{Field, Resource};
use super::value::Kind;

/// `state` holds cookies and storage; only the owner reads it.
pub static BROWSER_SESSION: Resource = Resource {
    noun: "browser session",
    schema: "BrowserSession",
    table: "browser_sessions",
    path: "/api/browser-sessions",
    segment: "browser-sessions",
    parent: Some(&PROJECT),
    parent_column: "project_id",
    parent_name: "projectId",
    writable: true,
    fields: &[
        Field::required("name", "name", Kind::Line(1, 100)),
        Field::required("status", "status", Kind::Choice(&["active", "expired", "closed"]))
            .or("\"active\""),
        Field::required("authFlowId", "auth_flow_id", Kind::Key("auth_flows"))
            .nullable()
            .filtered(),
        Field::required("state", "state", Kind::Object).or("{}"),
        Field::required("expiresAt", "expires_at", Kind::Instant).nullable(),
    ],
};
