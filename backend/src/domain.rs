//! What Nomation is about, free of HTTP and SQL statements.
//!
//! [`user`] and the rules that the secrets of a login follow ([`password`], [`token`]); everything
//! below a user is a [`resource`], one file each from [`project`] to [`execution`], whose fields
//! have the kinds of [`value`]; the steps of a test are a language of their own ([`step`]).
//!
//! Values are parsed, not checked: an [`Email`](user::Email) can only come from
//! [`Email::parse`](user::Email::parse) or from the database, so nothing below the HTTP layer
//! validates again.

pub mod auth_flow;
pub mod browser_session;
pub mod element;
pub mod execution;
pub mod failure;
pub mod page_state;
pub mod password;
pub mod project;
pub mod project_url;
pub mod resource;
pub mod session;
pub mod step;
pub mod suite;
pub mod test;
pub mod text;
pub mod timestamp;
pub mod token;
pub mod url;
pub mod user;
pub mod value;

/// All resources, parents first.
pub static RESOURCES: [&resource::Resource; 10] = [
    &project::PROJECT,
    &project_url::PROJECT_URL,
    &auth_flow::AUTH_FLOW,
    &page_state::PAGE_STATE,
    &element::ELEMENT,
    &browser_session::BROWSER_SESSION,
    &test::TEST,
    &suite::SUITE,
    &execution::TEST_EXECUTION,
    &execution::SUITE_EXECUTION,
];
