//! A project: what a user's tests, pages and suites belong to.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::text;
use super::timestamp::Timestamp;
use super::user::UserId;

/// The key of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct ProjectId(Uuid);

impl ProjectId {
    /// A new key, greater than all before it.
    #[expect(clippy::new_without_default, reason = "a default would be the same every time")]
    #[must_use]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl std::fmt::Display for ProjectId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What a project is called, 1 to 100 characters on one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::Type, ToSchema)]
#[serde(transparent)]
#[sqlx(transparent)]
#[schema(min_length = 1, max_length = 100)]
pub struct ProjectName(String);

impl ProjectName {
    /// Reads a name that somebody typed.
    ///
    /// # Errors
    /// What is wrong, for the field's fault.
    pub fn parse(raw: &str) -> Result<Self, String> {
        text::parse(raw, 1, 100, false).map(Self)
    }
}

/// What a project is about, up to 2000 characters; empty when nobody said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, sqlx::Type, ToSchema)]
#[serde(transparent)]
#[sqlx(transparent)]
#[schema(max_length = 2000)]
pub struct ProjectDescription(String);

impl ProjectDescription {
    /// Reads a description that somebody typed.
    ///
    /// # Errors
    /// What is wrong, for the field's fault.
    pub fn parse(raw: &str) -> Result<Self, String> {
        text::parse(raw, 0, 2000, true).map(Self)
    }
}

/// A project. Only its owner sees it.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Project {
    /// The key.
    pub id: ProjectId,
    /// The owner; an answer leaves it out, because it only ever goes to the owner.
    #[serde(skip)]
    pub user_id: UserId,
    /// The name.
    pub name: ProjectName,
    /// The description.
    pub description: ProjectDescription,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed; never before `created_at`.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// What to change in a project; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct ProjectChange {
    /// The new name.
    pub name: Option<ProjectName>,
    /// The new description.
    pub description: Option<ProjectDescription>,
}
