//! Forgetting what has had its time: sessions with their tokens, idempotency keys, jobs that are
//! over.
//!
//! Each pass deletes a bounded number of rows in statements of their own, so that nobody waits for
//! a long one; who calls repeats it until there is nothing left.

use super::executions::KEY_SECONDS;
use super::{Store, StoreError, on_pool, sql};
use crate::domain::timestamp::Timestamp;

/// Most rows of one kind that one pass forgets; the statements repeat it, because a planner that
/// knows the number takes the index.
const BATCH: u64 = 500;
/// How long a job is kept after its end, in seconds: a week, for whoever asks what went wrong. The
/// execution, which is the user's, stays.
const JOB_SECONDS: i64 = 7 * 24 * 60 * 60;

sql! {
    /// Sessions that ended by `$1`; their refresh tokens go with them.
    const SESSIONS: &str = "\
        DELETE FROM sessions WHERE id IN (SELECT id FROM sessions \
        WHERE expires_at <= $1 ORDER BY expires_at LIMIT 500)";
    const KEYS: &str = "\
        DELETE FROM idempotency_keys WHERE (user_id, key) IN (SELECT user_id, key \
        FROM idempotency_keys WHERE created_at <= $1 ORDER BY created_at LIMIT 500)";
    const FINISHED_JOBS: &str = "\
        DELETE FROM jobs WHERE id IN (SELECT id FROM jobs \
        WHERE state = 'finished' AND run_at <= $1 ORDER BY run_at LIMIT 500)";
    const CANCELLED_JOBS: &str = "\
        DELETE FROM jobs WHERE id IN (SELECT id FROM jobs \
        WHERE state = 'cancelled' AND run_at <= $1 ORDER BY run_at LIMIT 500)";
}

impl Store {
    /// Forgets one batch of everything that had its time before `now`; says whether there is more.
    ///
    /// # Errors
    /// A failure of the database; what was deleted before it stays so.
    pub async fn forget_expired(&self, now: Timestamp) -> Result<bool, StoreError> {
        let mut more = false;
        for (sql, seconds) in [
            (SESSIONS, 0),
            (KEYS, KEY_SECONDS),
            (FINISHED_JOBS, JOB_SECONDS),
            (CANCELLED_JOBS, JOB_SECONDS),
        ] {
            let before = now.plus_seconds(-seconds);
            let forgotten = on_pool!(self, pool => sqlx::query(sql)
                .bind(before).execute(pool).await.map(|done| done.rows_affected()))?;
            more |= forgotten >= BATCH;
        }
        Ok(more)
    }
}
