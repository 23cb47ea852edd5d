//! Asking for executions and calling them off: the execution and its job change together or not at
//! all.

use sqlx::{AssertSqlSafe, Row as _};
use uuid::Uuid;

use super::turns::{JOBS_MAX, OF_USER, SERVED};
use super::{Store, StoreError, on_pool, sql};
use crate::domain::execution::{SUITE_EXECUTION, TEST_EXECUTION};
use crate::domain::resource::Resource;
use crate::domain::timestamp::Timestamp;
use crate::domain::user::UserId;

/// How long an idempotency key is remembered, in seconds.
pub(super) const KEY_SECONDS: i64 = 24 * 60 * 60;

/// What is executed: one test, or a suite of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Executed {
    /// A test.
    Test,
    /// A suite.
    Suite,
}

impl Executed {
    /// The resource of its executions.
    #[must_use]
    pub const fn resource(self) -> &'static Resource {
        match self {
            Self::Test => &TEST_EXECUTION,
            Self::Suite => &SUITE_EXECUTION,
        }
    }

    /// Adds, at `$3`, the job `$1` of the execution `$2`: the user's `$4`, and its turn `$5`.
    const fn enqueue(self) -> &'static str {
        match self {
            Self::Test => ENQUEUE_TEST,
            Self::Suite => ENQUEUE_SUITE,
        }
    }

    /// Ends, at `$2`, the job of the execution `$1`.
    const fn cancel_job(self) -> &'static str {
        match self {
            Self::Test => CANCEL_TEST_JOB,
            Self::Suite => CANCEL_SUITE_JOB,
        }
    }
}

sql! {
    const ENQUEUE_TEST: &str = "\
        INSERT INTO jobs (id, kind, test_execution_id, user_id, turn, payload, state, attempts, \
        run_at, created_at) VALUES ($1, 'test', $2, $4, $5, '{}', 'queued', 0, $3, $3)";
    const ENQUEUE_SUITE: &str = "\
        INSERT INTO jobs (id, kind, suite_execution_id, user_id, turn, payload, state, attempts, \
        run_at, created_at) VALUES ($1, 'suite', $2, $4, $5, '{}', 'queued', 0, $3, $3)";
    const CANCEL_TEST_JOB: &str = "\
        UPDATE jobs SET state = 'cancelled', finished_at = $2 \
        WHERE test_execution_id = $1 AND state IN ('queued', 'running')";
    const CANCEL_SUITE_JOB: &str = "\
        UPDATE jobs SET state = 'cancelled', finished_at = $2 \
        WHERE suite_execution_id = $1 AND state IN ('queued', 'running')";
    /// Ends, at `$2`, the executions of the tests of the suite execution `$1`.
    const CANCEL_MEMBERS: &str = "\
        UPDATE test_executions SET status = 'cancelled', version = version + 1, \
        updated_at = CASE WHEN $2 > updated_at THEN $2 ELSE updated_at END, \
        finished_at = CASE WHEN started_at > $2 THEN started_at ELSE $2 END \
        WHERE suite_execution_id = $1 AND status IN ('queued', 'running')";
    const FORGET_KEYS: &str = "DELETE FROM idempotency_keys WHERE user_id = $1 AND created_at < $2";
    const REMEMBER_KEY: &str = "\
        INSERT INTO idempotency_keys (user_id, key, target, execution_id, created_at) \
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT (user_id, key) DO NOTHING";
    const RECALL_KEY: &str =
        "SELECT target, execution_id FROM idempotency_keys WHERE user_id = $1 AND key = $2";
}

/// What an execution is made from; each names it by its key.
#[derive(Clone, Copy, Debug)]
pub enum Origin {
    /// The test or suite, as it is now.
    Definition(Uuid),
    /// An execution that is over: once more what it did.
    Execution(Uuid),
}

/// What came of asking for an execution.
#[derive(Debug, PartialEq, Eq)]
pub enum Started {
    /// There is a new execution, and a job for it.
    New {
        /// The key of the execution.
        execution: Uuid,
        /// The key of the job.
        job: Uuid,
    },
    /// The same request came before, and made this one.
    Before(Uuid),
    /// There is nothing of this user that it could be made from.
    NotFound,
    /// As many of this user's as there may be are not over.
    TooMany,
    /// The same idempotency key came with another request.
    KeyReused,
}

/// A client's name for its request, and what the request asks for.
#[derive(Clone, Copy, Debug)]
pub struct IdempotencyKey<'a> {
    /// The value of the header.
    pub key: &'a str,
    /// The path of the request.
    pub target: &'a str,
}

impl Store {
    /// Asks for an execution, once per idempotency key.
    ///
    /// # Errors
    /// [`StoreError::OwnerGone`] when the user is not in the database, or a failure of the
    /// database; then nothing has been asked for.
    pub async fn start(
        &self,
        executed: Executed,
        owner: UserId,
        origin: Origin,
        idempotency: Option<IdempotencyKey<'_>>,
        now: Timestamp,
    ) -> Result<Started, StoreError> {
        let (execution, job) = (Uuid::now_v7(), Uuid::now_v7());
        let insert = executed.insert(origin);
        let (Origin::Definition(id) | Origin::Execution(id)) = origin;
        let started = on_pool!(self, pool => {
            let mut transaction = pool.begin_with(self.begin()).await?;
            let user =
                sqlx::query(self.lock_user()).bind(owner).fetch_optional(&mut *transaction).await?;
            if user.is_none() {
                return Err(StoreError::OwnerGone);
            }
            if let Some(IdempotencyKey { key, target }) = idempotency {
                sqlx::query(FORGET_KEYS)
                    .bind(owner)
                    .bind(now.plus_seconds(-KEY_SECONDS))
                    .execute(&mut *transaction)
                    .await?;
                let remembered = sqlx::query(REMEMBER_KEY)
                    .bind(owner)
                    .bind(key)
                    .bind(target)
                    .bind(execution)
                    .bind(now)
                    .execute(&mut *transaction)
                    .await?;
                if remembered.rows_affected() == 0 {
                    let row = sqlx::query(RECALL_KEY)
                        .bind(owner)
                        .bind(key)
                        .fetch_one(&mut *transaction)
                        .await?;
                    let same = row.try_get::<String, _>("target")? == target;
                    let before = row.try_get("execution_id")?;
                    return Ok(if same { Started::Before(before) } else { Started::KeyReused });
                }
            }
            let inserted = sqlx::query(AssertSqlSafe(insert))
                .bind(execution)
                .bind(id)
                .bind(owner)
                .bind(now)
                .execute(&mut *transaction)
                .await?;
            if inserted.rows_affected() == 0 {
                return Ok(Started::NotFound);
            }
            let (mine, last): (i64, Option<i64>) =
                sqlx::query_as(OF_USER).bind(owner).fetch_one(&mut *transaction).await?;
            if mine >= JOBS_MAX {
                return Ok(Started::TooMany);
            }
            let served: i64 = sqlx::query_scalar(SERVED).fetch_one(&mut *transaction).await?;
            sqlx::query(executed.enqueue())
                .bind(job)
                .bind(execution)
                .bind(now)
                .bind(owner)
                .bind(last.map_or(served, |last| served.max(last + 1)))
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Started::New { execution, job }
        });
        Ok(started)
    }

    /// Calls off an execution that is not over, with its job and its tests; says whether there was
    /// one.
    ///
    /// # Errors
    /// A failure of the database; then nothing has changed.
    pub async fn cancel(
        &self,
        executed: Executed,
        owner: UserId,
        id: Uuid,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let cancel = executed.cancel();
        on_pool!(self, pool => {
            let mut transaction = pool.begin_with(self.begin()).await?;
            let cancelled = sqlx::query(AssertSqlSafe(cancel))
                .bind(id)
                .bind(owner)
                .bind(now)
                .execute(&mut *transaction)
                .await?;
            if cancelled.rows_affected() == 0 {
                return Ok(false);
            }
            sqlx::query(executed.cancel_job())
                .bind(id)
                .bind(now)
                .execute(&mut *transaction)
                .await?;
            if executed == Executed::Suite {
                sqlx::query(CANCEL_MEMBERS).bind(id).bind(now).execute(&mut *transaction).await?;
            }
            transaction.commit().await?;
        });
        Ok(true)
    }
}
