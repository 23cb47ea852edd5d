//! The queue: jobs that are taken under a lease, extended, given back and ended.
//!
//! A job is due when its `run_at` has come. Taking it sets `run_at` to the end of the lease, so a
//! job whose worker died is due again by itself, and one index serves both. Everything that a
//! worker writes names its [`Lease`]: a worker that lost it changes nothing any more.
//!
//! # Why
//! The row that is committed with the execution is the queue, so an accepted job cannot be lost
//! between a database and a queue beside it.

use sqlx::FromRow;
use uuid::Uuid;

use super::{Store, StoreError, on_pool, sql};
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
    /// How often it has been taken, this time counted.
    pub attempts: i32,
}

/// What came of reaching for a certain job.
#[derive(Clone, Debug)]
pub enum Taking {
    /// It is taken.
    Taken(Job),
    /// Somebody else has it.
    Held,
    /// It is over, or not there.
    Over,
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
    Failed(String),
}

impl Outcome {
    pub(super) fn columns(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Passed => ("passed", None),
            Self::Failed(reason) => ("failed", Some(reason)),
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

macro_rules! take {
    ($lock:literal) => {
        concat!(
            "UPDATE jobs SET state = 'running', attempts = attempts + 1, run_at = $3, \
             locked_until = $3, locked_by = $4 WHERE id = (SELECT id FROM jobs \
             WHERE state = $1 AND run_at <= $2 ORDER BY run_at, id LIMIT 1",
            $lock,
            ") RETURNING id, test_execution_id, suite_execution_id, attempts"
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
    const TAKE: &str = take!("");
    /// As above; PostgreSQL passes over what another worker is taking at this moment.
    const TAKE_UNLOCKED: &str = take!(" FOR UPDATE SKIP LOCKED");
    const DUE: &str =
        "SELECT id FROM jobs WHERE state = $1 AND run_at <= $2 ORDER BY run_at, id LIMIT 1";
    const TAKE_THIS: &str = "\
        UPDATE jobs SET state = 'running', attempts = attempts + 1, \
        run_at = $3, locked_until = $3, locked_by = $4 WHERE id = $1 \
        AND (state = 'queued' OR (state = 'running' AND run_at <= $2)) \
        RETURNING id, test_execution_id, suite_execution_id, attempts";
    const HELD: &str = "SELECT 1 FROM jobs WHERE id = $1 AND state IN ('queued', 'running')";
    const COUNT: &str = "\
        SELECT count(*) FROM \
        (SELECT 1 FROM jobs WHERE state = $1 LIMIT 10000) AS counted";
    const EXTEND: &str = "\
        UPDATE jobs SET run_at = $3, locked_until = $3 \
        WHERE id = $1 AND locked_by = $2 AND state = 'running'";
    const RELEASE: &str = "\
        UPDATE jobs SET state = 'queued', attempts = attempts - 1, \
        run_at = $3, locked_until = NULL, locked_by = NULL \
        WHERE id = $1 AND locked_by = $2 AND state = 'running'";
    const END: &str = "\
        UPDATE jobs SET state = 'finished', failure = $3, finished_at = $4, \
        locked_until = NULL, locked_by = NULL \
        WHERE id = $1 AND locked_by = $2 AND state = 'running'";
}

impl Store {
    /// Takes the job that has been due for longest, until `until`: first one that a worker left
    /// behind, then a new one.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn take_job(
        &self,
        lease: &Lease,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Job>, StoreError> {
        for state in ["running", "queued"] {
            // Looking first costs no write lock, of which SQLite has one.
            let due = on_pool!(self, pool => sqlx::query_scalar::<_, Uuid>(DUE)
                .bind(state).bind(now).fetch_optional(pool).await)?;
            if due.is_none() {
                continue;
            }
            let taken: Option<Job> = match self {
                Self::Sqlite(pool) => {
                    let take = sqlx::query_as(TAKE).bind(state).bind(now).bind(until);
                    take.bind(&lease.0).fetch_optional(pool).await?
                }
                Self::Postgres(pool) => {
                    let take = sqlx::query_as(TAKE_UNLOCKED).bind(state).bind(now).bind(until);
                    take.bind(&lease.0).fetch_optional(pool).await?
                }
            };
            if taken.is_some() {
                return Ok(taken);
            }
        }
        Ok(None)
    }

    /// Takes this one job until `until`, if nobody holds it.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn take_this_job(
        &self,
        id: Uuid,
        lease: &Lease,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Taking, StoreError> {
        let taken = on_pool!(self, pool => sqlx::query_as(TAKE_THIS)
            .bind(id).bind(now).bind(until).bind(&lease.0).fetch_optional(pool).await)?;
        if let Some(job) = taken {
            return Ok(Taking::Taken(job));
        }
        let held = on_pool!(self, pool => sqlx::query(HELD)
            .bind(id).fetch_optional(pool).await.map(|row| row.is_some()))?;
        Ok(if held { Taking::Held } else { Taking::Over })
    }

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

    /// Holds a job until `until`; says whether it is still this worker's.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn extend_lease(
        &self,
        job: &Job,
        lease: &Lease,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let held = on_pool!(self, pool => sqlx::query(EXTEND)
            .bind(job.id).bind(&lease.0).bind(until)
            .execute(pool).await.map(|done| done.rows_affected()))?;
        Ok(held > 0)
    }

    /// Gives a job back, so that another worker takes it at once and none of its attempts is lost.
    ///
    /// # Errors
    /// A failure of the database; then it is due when its lease ends.
    pub async fn release_job(
        &self,
        job: &Job,
        lease: &Lease,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        Ok(on_pool!(self, pool => sqlx::query(RELEASE)
            .bind(job.id).bind(&lease.0).bind(now).execute(pool).await.map(drop))?)
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
