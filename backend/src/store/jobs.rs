//! The queue: jobs that are taken under a lease, extended, given back and ended.
//!
//! Taking a job sets `run_at` to the end of the lease: once that has come, the worker is lost and
//! the job due again by itself. Everything that a worker writes names its [`Lease`]: a worker that
//! lost it changes nothing any more.
//!
//! # Why
//! The row that is committed with the execution is the queue, so an accepted job cannot be lost
//! between a database and a queue beside it. Leases are measured by the database's clock
//! ([`Store::clock`]), which all workers share, unlike their own.

use sqlx::FromRow;
use uuid::Uuid;

use super::{Store, StoreError, on_pool, sql};
use crate::domain::failure::Failure;
use crate::domain::timestamp::Timestamp;

/// One taking of a job, by one worker. Never the same twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease(pub(super) String);

impl Lease {
    /// A lease that nobody has had.
    #[must_use]
    pub fn unique() -> Self {
        Self(Uuid::now_v7().to_string())
    }
}

/// A job that was taken.
#[derive(Clone, Debug, FromRow)]
pub struct Job {
    /// Its key.
    pub id: Uuid,
    /// The execution of one test.
    pub test_execution_id: Option<Uuid>,
    /// Or that of a suite.
    pub suite_execution_id: Option<Uuid>,
    /// Whose it is.
    pub user_id: Option<Uuid>,
    /// How often it has been taken, this time counted.
    pub attempts: i32,
}

/// How long the queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Jobs that nobody has taken, 10,000 at most.
    pub queued: i64,
    /// Jobs that somebody has, 10,000 at most.
    pub running: i64,
}

/// How an execution ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every step did what it should.
    Passed,
    /// A step failed, time ran out, or there was no browser; why, for the test's author.
    Failed(Failure),
}

impl Outcome {
    pub(super) fn columns(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Passed => ("passed", None),
            Self::Failed(reason) => ("failed", Some(reason.as_str())),
        }
    }
}

/// Which of the two tables of executions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Test,
    Suite,
}

impl Job {
    fn execution(&self) -> Option<(Table, Uuid)> {
        let test = self.test_execution_id.map(|id| (Table::Test, id));
        test.or_else(|| self.suite_execution_id.map(|id| (Table::Suite, id)))
    }
}

/// Marks an execution as over; `$5` counts what came of it.
macro_rules! end_of {
    ($table:literal) => {
        concat!(
            "UPDATE ",
            $table,
            " SET status = $2, failure = $3, results = $5, version = version + 1, \
             finished_at = CASE WHEN $4 > started_at THEN $4 \
             ELSE COALESCE(started_at, updated_at) END, \
             updated_at = CASE WHEN $4 > updated_at THEN $4 ELSE updated_at END \
             WHERE id = $1 AND status IN ('queued', 'running')"
        )
    };
}

sql! {
    pub(super) const END_TEST: &str = end_of!("test_executions");
    const END_SUITE: &str = end_of!("test_suite_executions");
    /// What a suite did not come to, once it is over.
    const CANCEL_REST: &str = "\
        UPDATE test_executions SET status = 'cancelled', \
        version = version + 1, \
        finished_at = CASE WHEN $2 > started_at THEN $2 \
        ELSE COALESCE(started_at, updated_at) END, \
        updated_at = CASE WHEN $2 > updated_at THEN $2 ELSE updated_at END \
        WHERE suite_execution_id = $1 AND status IN ('queued', 'running')";
    /// True while job `$1` is held under lease `$2`. The row stays locked for the transaction.
    pub(super) const HOLD: &str = "\
        UPDATE jobs SET locked_by = $2 \
        WHERE id = $1 AND locked_by = $2 AND state = 'running'";
    const COUNT: &str = "\
        SELECT count(*) FROM \
        (SELECT 1 FROM jobs WHERE state = $1 LIMIT 10000) AS counted";
    const EXTEND: &str = "\
        UPDATE jobs SET run_at = $3, locked_until = $3 \
        WHERE id = $1 AND locked_by = $2 AND state = 'running'";
    const RELEASE: &str = "\
        UPDATE jobs SET state = 'queued', attempts = attempts - 1, \
        locked_until = NULL, locked_by = NULL \
        WHERE id = $1 AND locked_by = $2 AND state = 'running'";
    /// Gives a job back if somebody else's is due before its next turn.
    const PASS: &str = "\
        UPDATE jobs SET state = 'queued', attempts = attempts - 1, \
        turn = turn + 1, locked_until = NULL, locked_by = NULL \
        WHERE id = $1 AND locked_by = $2 AND state = 'running' \
        AND EXISTS (SELECT 1 FROM jobs AS other WHERE other.state = 'queued' \
        AND other.turn <= jobs.turn + 1 AND other.user_id IS DISTINCT FROM jobs.user_id)";
    const END: &str = "\
        UPDATE jobs SET state = 'finished', failure = $3, finished_at = $4, \
        locked_until = NULL, locked_by = NULL \
        WHERE id = $1 AND locked_by = $2 AND state = 'running'";
}

impl Store {
    /// How long the queue is, counted as far as it is cheap.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn depth(&self) -> Result<Depth, StoreError> {
        let count = async |state| {
            on_pool!(self, pool => sqlx::query_scalar(COUNT)
            .bind(state).fetch_one(pool).await)
        };
        Ok(Depth { queued: count("queued").await?, running: count("running").await? })
    }

    /// Holds a job for `seconds` from now; says whether it is still this worker's.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn extend_lease(
        &self,
        job: &Job,
        lease: &Lease,
        seconds: i64,
    ) -> Result<bool, StoreError> {
        let until = self.clock().await?.plus_seconds(seconds);
        let held = on_pool!(self, pool => sqlx::query(EXTEND)
            .bind(job.id).bind(&lease.0).bind(until)
            .execute(pool).await.map(|done| done.rows_affected()))?;
        Ok(held > 0)
    }

    /// Gives a job back, so that another worker takes it at once and none of its attempts is lost.
    ///
    /// # Errors
    /// A failure of the database; then it is due when its lease ends.
    pub async fn release_job(&self, job: &Job, lease: &Lease) -> Result<(), StoreError> {
        Ok(on_pool!(self, pool => sqlx::query(RELEASE)
            .bind(job.id).bind(&lease.0).execute(pool).await.map(drop))?)
    }

    /// Gives a job back, as [`Self::release_job`] does, if it is somebody else's turn; says
    /// whether it was.
    ///
    /// # Errors
    /// A failure of the database; then it is due when its lease ends.
    pub async fn pass_turn(&self, job: &Job, lease: &Lease) -> Result<bool, StoreError> {
        let passed = on_pool!(self, pool => sqlx::query(PASS)
            .bind(job.id).bind(&lease.0).execute(pool).await.map(|done| done.rows_affected()))?;
        Ok(passed > 0)
    }

    /// A job and its execution are over, at once.
    ///
    /// # Errors
    /// A failure of the database; then the job is done again when its lease ends.
    pub async fn end_job(
        &self,
        (job, lease): (&Job, &Lease),
        outcome: &Outcome,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let Some((table, id)) = job.execution() else { return Ok(()) };
        let (status, failure) = outcome.columns();
        let results = self.results(table, id).await?;
        let end = match table {
            Table::Test => END_TEST,
            Table::Suite => END_SUITE,
        };
        on_pool!(self, pool => {
            let mut all = pool.begin().await?;
            let ended = sqlx::query(END)
                .bind(job.id).bind(&lease.0).bind(failure).bind(now)
                .execute(&mut *all).await?;
            if ended.rows_affected() == 0 {
                return Ok(());
            }
            sqlx::query(end)
                .bind(id).bind(status).bind(failure).bind(now).bind(&results)
                .execute(&mut *all).await?;
            if table == Table::Suite {
                sqlx::query(CANCEL_REST).bind(id).bind(now).execute(&mut *all).await?;
            }
            all.commit().await?;
        });
        Ok(())
    }
}
