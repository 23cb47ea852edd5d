//! How far an execution is, for its owner.

use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::{Store, StoreError, on_pool, sql};
use crate::domain::timestamp::Timestamp;
use crate::domain::user::UserId;

/// How an execution stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, FromRow)]
pub struct Standing {
    /// `queued`, `running`, `passed`, `failed` or `cancelled`.
    pub status: String,
    /// Why it failed.
    pub failure: Option<String>,
}

impl Standing {
    /// Whether nothing follows.
    #[must_use]
    pub fn is_over(&self) -> bool {
        !matches!(self.status.as_str(), "queued" | "running")
    }
}

/// What came of one step.
#[derive(Clone, Debug, Serialize, FromRow)]
#[serde(rename_all = "camelCase")]
pub struct StepProgress {
    /// Which beginning of the execution, from 1. A greater one replaces all steps before it.
    pub attempt: i32,
    /// Which step, from 0.
    pub position: i32,
    /// What it does.
    pub action: String,
    /// `passed` or `failed`.
    pub status: String,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<i64>,
    /// Why it failed.
    pub message: Option<String>,
    /// Whether there is a picture of the page.
    pub has_screenshot: bool,
}

/// True of the execution `$1` of the user `$2`.
macro_rules! owned {
    ($select:literal) => {
        concat!(
            $select,
            " FROM test_executions AS e JOIN tests AS t ON t.id = e.test_id \
             JOIN projects AS p ON p.id = t.project_id WHERE e.id = $1 AND p.user_id = $2"
        )
    };
}

sql! {
    const STANDING: &str = owned!("SELECT e.status, e.failure");
    const STEPS_AFTER: &str = "\
        SELECT e.attempt, s.position, s.action, s.status, s.started_at, s.duration_ms, s.message, \
        s.screenshot IS NOT NULL AS has_screenshot \
        FROM test_executions AS e JOIN execution_steps AS s ON s.execution_id = e.id \
        WHERE e.id = $1 AND s.position > CASE WHEN e.attempt = $2 THEN $3 ELSE -1 END \
        ORDER BY s.position LIMIT 100";
    const SCREENSHOT: &str = owned!(
            "SELECT (SELECT s.screenshot FROM execution_steps AS s \
        WHERE s.execution_id = e.id AND s.position = $3)"
        );
}

impl Store {
    /// How an execution of `owner` stands.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn standing(
        &self,
        owner: UserId,
        execution: Uuid,
    ) -> Result<Option<Standing>, StoreError> {
        Ok(on_pool!(self, pool => sqlx::query_as(STANDING)
            .bind(execution).bind(owner).fetch_optional(pool).await)?)
    }

    /// The steps of an execution after the one at `position` of `attempt`, in order; all of them if
    /// it is at another attempt now. Ask [`Store::standing`] first: it says whose the execution
    /// is, and after its end these are all.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn steps_after(
        &self,
        execution: Uuid,
        (attempt, position): (i32, i32),
    ) -> Result<Vec<StepProgress>, StoreError> {
        Ok(on_pool!(self, pool => sqlx::query_as(STEPS_AFTER)
            .bind(execution).bind(attempt).bind(position).fetch_all(pool).await)?)
    }

    /// The picture of one step of an execution of `owner`, as PNG.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn screenshot(
        &self,
        owner: UserId,
        execution: Uuid,
        position: i32,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let found: Option<Option<Vec<u8>>> = on_pool!(self, pool => sqlx::query_scalar(SCREENSHOT)
            .bind(execution).bind(owner).bind(position).fetch_optional(pool).await)?;
        Ok(found.flatten())
    }
}
