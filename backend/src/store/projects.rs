//! Statements on `projects`. Every one names the owner, so that someone else's project is as absent
//! as none.

use sqlx::error::ErrorKind;

use super::{Store, StoreError, on_pool};
use crate::domain::project::{Project, ProjectChange, ProjectId};
use crate::domain::timestamp::Timestamp;
use crate::domain::user::UserId;

impl Store {
    /// Adds a project.
    ///
    /// # Errors
    /// [`StoreError::OwnerGone`] when the owner is not in the database, or a failure of the
    /// database.
    pub async fn insert_project(&self, project: &Project) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO projects \
                           (id, user_id, name, description, created_at, updated_at) \
                           VALUES ($1, $2, $3, $4, $5, $6)";
        on_pool!(self, pool => sqlx::query(SQL)
            .bind(project.id)
            .bind(project.user_id)
            .bind(&project.name)
            .bind(&project.description)
            .bind(project.created_at)
            .bind(project.updated_at)
            .execute(pool)
            .await
            .map(drop))
        .map_err(|error| {
            StoreError::on_broken_rule(
                error,
                &ErrorKind::ForeignKeyViolation,
                StoreError::OwnerGone,
            )
        })
    }

    /// The newest `limit` projects of `owner`, newest first.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn projects(&self, owner: UserId, limit: u16) -> Result<Vec<Project>, StoreError> {
        const SQL: &str = "SELECT id, user_id, name, description, created_at, updated_at \
                           FROM projects WHERE user_id = $1 ORDER BY id DESC LIMIT $2";
        Ok(on_pool!(self, pool => sqlx::query_as(SQL)
            .bind(owner)
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await)?)
    }

    /// One project of `owner`.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn project(
        &self,
        owner: UserId,
        id: ProjectId,
    ) -> Result<Option<Project>, StoreError> {
        const SQL: &str = "SELECT id, user_id, name, description, created_at, updated_at \
                           FROM projects WHERE id = $1 AND user_id = $2";
        Ok(on_pool!(self, pool => sqlx::query_as(SQL)
            .bind(id)
            .bind(owner)
            .fetch_optional(pool)
            .await)?)
    }

    /// Changes one project of `owner` and returns it as it is now.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn update_project(
        &self,
        owner: UserId,
        id: ProjectId,
        change: &ProjectChange,
        now: Timestamp,
    ) -> Result<Option<Project>, StoreError> {
        // A clock that was set back must not break the rule that a project is never older than its
        // last change.
        const SQL: &str = "UPDATE projects SET name = COALESCE($3, name), \
                           description = COALESCE($4, description), \
                           updated_at = CASE WHEN $5 > updated_at THEN $5 ELSE updated_at END \
                           WHERE id = $1 AND user_id = $2 \
                           RETURNING id, user_id, name, description, created_at, updated_at";
        Ok(on_pool!(self, pool => sqlx::query_as(SQL)
            .bind(id)
            .bind(owner)
            .bind(&change.name)
            .bind(&change.description)
            .bind(now)
            .fetch_optional(pool)
            .await)?)
    }

    /// Deletes one project of `owner`, with everything below it; says whether it was there.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn delete_project(&self, owner: UserId, id: ProjectId) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM projects WHERE id = $1 AND user_id = $2";
        let deleted = on_pool!(self, pool => sqlx::query(SQL)
            .bind(id)
            .bind(owner)
            .execute(pool)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(deleted > 0)
    }
}
