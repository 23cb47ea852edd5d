//! What a worker writes of the executions that it performs, for as long as it holds their job.

use sqlx::types::Json;
use uuid::Uuid;

use super::jobs::{END_TEST, HOLD, Table};
use super::{Job, Lease, Outcome, Store, StoreError, on_pool, sql};
use crate::browser::StepResult;
use crate::domain::step::{Step, Steps};
use crate::domain::timestamp::Timestamp;

/// Most tests of a suite, as many as a suite has places.
const SUITE_MAX: i64 = 1000;

/// What a worker performs.
#[derive(Clone, Debug)]
pub struct Work {
    /// The steps, as they were when the execution was asked for.
    pub steps: Steps,
    /// How long all of them may take, in seconds.
    pub timeout_seconds: i32,
}

sql! {
    const BEGIN_SUITE: &str = "\
        UPDATE test_suite_executions SET status = 'running', \
        version = version + 1, started_at = COALESCE(started_at, $2), \
        updated_at = CASE WHEN $2 > updated_at THEN $2 ELSE updated_at END \
        WHERE id = $1 AND status IN ('queued', 'running') \
        RETURNING suite_id";
    const MEMBERS: &str = "\
        SELECT test_id FROM test_suite_tests WHERE suite_id = $1 \
        ORDER BY position";
    /// Keys of version 7 sort as they were made: in the suite's order.
    const BEGUN: &str = "\
        SELECT id, status IN ('queued', 'running') AS is_open FROM test_executions \
        WHERE suite_execution_id = $1 ORDER BY id LIMIT $2";
    const ADD: &str = "\
        INSERT INTO test_executions (id, test_id, suite_execution_id, status, \
        steps, timeout_seconds, results, version, created_at, updated_at) \
        SELECT $1, id, $3, 'queued', steps, timeout_seconds, '{}', 1, $4, $4 \
        FROM tests WHERE id = $2";
    const BEGIN: &str = "\
        UPDATE test_executions SET status = 'running', attempt = attempt + 1, \
        version = version + 1, started_at = COALESCE(started_at, $2), \
        updated_at = CASE WHEN $2 > updated_at THEN $2 ELSE updated_at END \
        WHERE id = $1 AND status IN ('queued', 'running') \
        RETURNING steps, timeout_seconds";
    const CLEAR: &str = "DELETE FROM execution_steps WHERE execution_id = $1";
    const RECORD: &str = "\
        INSERT INTO execution_steps (execution_id, position, action, status, \
        started_at, duration_ms, message, screenshot) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    const UNPASSED: &str = "\
        SELECT count(*) FROM test_executions \
        WHERE suite_execution_id = $1 AND status <> 'passed'";
    const OF_TEST: &str =
        "SELECT status, count(*) FROM execution_steps WHERE execution_id = $1 GROUP BY status";
    const OF_SUITE: &str = "\
        SELECT status, count(*) FROM test_executions \
        WHERE suite_execution_id = $1 GROUP BY status";
}

impl Store {
    /// The suite of a job begins, with an execution for each of its tests, or goes on; those that
    /// are not over come back, in the suite's order.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn begin_suite(
        &self,
        (job, lease): (&Job, &Lease),
        id: Uuid,
        now: Timestamp,
    ) -> Result<Vec<Uuid>, StoreError> {
        on_pool!(self, pool => {
            let mut all = pool.begin().await?;
            let held = sqlx::query(HOLD).bind(job.id).bind(&lease.0).execute(&mut *all).await?;
            let begun = sqlx::query_scalar(BEGIN_SUITE).bind(id).bind(now);
            let suite: Option<Uuid> = begun.fetch_optional(&mut *all).await?;
            let Some(suite) = suite.filter(|_| held.rows_affected() > 0) else {
                return Ok(Vec::new());
            };
            let begun: Vec<(Uuid, bool)> = sqlx::query_as(BEGUN)
                .bind(id).bind(SUITE_MAX).fetch_all(&mut *all).await?;
            let is_new = begun.is_empty();
            let mut executions: Vec<Uuid> =
                begun.into_iter().filter_map(|(id, is_open)| is_open.then_some(id)).collect();
            if is_new {
                let members: Vec<Uuid> =
                    sqlx::query_scalar(MEMBERS).bind(suite).fetch_all(&mut *all).await?;
                for test in members {
                    let execution = Uuid::now_v7();
                    sqlx::query(ADD)
                        .bind(execution).bind(test).bind(id).bind(now)
                        .execute(&mut *all).await?;
                    executions.push(execution);
                }
            }
            all.commit().await?;
            Ok(executions)
        })
    }

    /// An execution begins, for the first time or again: what there is of an earlier attempt goes.
    /// Nothing if it is over, or the lease is lost.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn begin_execution(
        &self,
        (job, lease): (&Job, &Lease),
        id: Uuid,
        now: Timestamp,
    ) -> Result<Option<Work>, StoreError> {
        let begun: Option<(Json<Steps>, i32)> = on_pool!(self, pool => {
            let mut all = pool.begin().await?;
            let held = sqlx::query(HOLD).bind(job.id).bind(&lease.0).execute(&mut *all).await?;
            if held.rows_affected() == 0 {
                return Ok(None);
            }
            sqlx::query(CLEAR).bind(id).execute(&mut *all).await?;
            let begun =
                sqlx::query_as(BEGIN).bind(id).bind(now).fetch_optional(&mut *all).await?;
            all.commit().await?;
            begun
        });
        Ok(begun.map(|(Json(steps), timeout_seconds)| Work { steps, timeout_seconds }))
    }

    /// Keeps what came of one step; says whether the job is still this worker's.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn record_step(
        &self,
        (job, lease): (&Job, &Lease),
        execution: Uuid,
        step: &Step,
        result: &StepResult,
    ) -> Result<bool, StoreError> {
        let position = i32::try_from(result.index).unwrap_or(i32::MAX);
        let duration = i64::try_from(result.duration.as_millis()).unwrap_or(i64::MAX);
        let status = if result.failure.is_some() { "failed" } else { "passed" };
        on_pool!(self, pool => {
            let mut all = pool.begin().await?;
            let held = sqlx::query(HOLD).bind(job.id).bind(&lease.0).execute(&mut *all).await?;
            if held.rows_affected() == 0 {
                return Ok(false);
            }
            sqlx::query(RECORD)
                .bind(execution).bind(position).bind(step.action()).bind(status)
                .bind(result.started_at).bind(duration)
                .bind(&result.failure).bind(&result.picture)
                .execute(&mut *all).await?;
            all.commit().await?;
        });
        Ok(true)
    }

    /// One execution of a suite is over; the suite goes on.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn end_execution(
        &self,
        (job, lease): (&Job, &Lease),
        id: Uuid,
        outcome: &Outcome,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (status, failure) = outcome.columns();
        let results = self.results(Table::Test, id).await?;
        on_pool!(self, pool => {
            let mut all = pool.begin().await?;
            let held = sqlx::query(HOLD).bind(job.id).bind(&lease.0).execute(&mut *all).await?;
            if held.rows_affected() == 0 {
                return Ok(());
            }
            sqlx::query(END_TEST)
                .bind(id).bind(status).bind(failure).bind(now).bind(&results)
                .execute(&mut *all).await?;
            all.commit().await?;
        });
        Ok(())
    }

    /// How many tests of a suite's execution have not passed.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn unpassed(&self, suite: Uuid) -> Result<i64, StoreError> {
        Ok(on_pool!(self, pool => sqlx::query_scalar(UNPASSED).bind(suite).fetch_one(pool).await)?)
    }

    /// How many parts of an execution passed and failed.
    pub(super) async fn results(
        &self,
        table: Table,
        id: Uuid,
    ) -> Result<Json<serde_json::Value>, StoreError> {
        let sql = match table {
            Table::Test => OF_TEST,
            Table::Suite => OF_SUITE,
        };
        let counts: Vec<(String, i64)> =
            on_pool!(self, pool => sqlx::query_as(sql).bind(id).fetch_all(pool).await)?;
        let count = |status| counts.iter().find(|(s, _)| s == status).map_or(0, |(_, n)| *n);
        Ok(Json(serde_json::json!({ "passed": count("passed"), "failed": count("failed") })))
    }
}
