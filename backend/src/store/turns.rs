//! Which job is next: users take turns, however many jobs each has waiting.
//!
//! This is start-time fair queueing. A job's `turn` is one more than that of its owner's last job
//! that is not over, but not less than the turn that is being served. So the first job of whoever
//! comes late is not taken after the hundredth of somebody else, nor does that one wait for ever
//! because others come. A suite takes a turn for each of its tests ([`Store::pass_turn`]).
//!
//! A job that a worker left behind comes before all that wait: it has had its turn.

use uuid::Uuid;

use super::{Job, Lease, Store, StoreError, on_pool, sql};

/// Most jobs of one user that are not over.
pub(super) const JOBS_MAX: i64 = 100;

/// The first job that waits, of anybody but the user `$1`.
macro_rules! waiting {
    () => {
        "SELECT id FROM jobs WHERE state = 'queued' AND user_id IS DISTINCT FROM $1 \
         ORDER BY turn, id LIMIT 1"
    };
}

/// The first job whose lease has ended by `$now`, or ends after `$far` as no lease does, of anybody
/// but the user `$1`.
macro_rules! left_behind {
    ($now:literal, $far:literal) => {
        concat!(
            "SELECT id FROM jobs WHERE state = 'running' AND user_id IS DISTINCT FROM $1 \
             AND (run_at <= ",
            $now,
            " OR run_at > ",
            $far,
            ") ORDER BY run_at, id LIMIT 1"
        )
    };
}

/// Takes it until `$2` under the lease `$3`.
macro_rules! take {
    ($first:ident!($($place:literal),*), $lock:literal) => {
        concat!(
            "UPDATE jobs SET state = 'running', attempts = attempts + 1, run_at = $2, \
             locked_until = $2, locked_by = $3 WHERE id = (",
            $first!($($place),*),
            $lock,
            ") RETURNING id, test_execution_id, suite_execution_id, user_id, attempts"
        )
    };
}

sql! {
    const WAITING: &str = waiting!();
    const LEFT_BEHIND: &str = left_behind!("$2", "$3");
    const TAKE_WAITING: &str = take!(waiting!(), "");
    const TAKE_LEFT_BEHIND: &str = take!(left_behind!("$4", "$5"), "");
    /// As above; PostgreSQL passes over what another worker is taking at this moment.
    const TAKE_WAITING_UNLOCKED: &str = take!(waiting!(), " FOR UPDATE SKIP LOCKED");
    const TAKE_LEFT_BEHIND_UNLOCKED: &str =
        take!(left_behind!("$4", "$5"), " FOR UPDATE SKIP LOCKED");
    /// How many jobs of the user `$1` are not over, and the last turn among them.
    pub(super) const OF_USER: &str = "\
        SELECT count(*), max(turn) FROM jobs \
        WHERE user_id = $1 AND state IN ('queued', 'running')";
    /// The turn that is being served.
    pub(super) const SERVED: &str = "\
        SELECT COALESCE((SELECT max(turn) FROM jobs WHERE state = 'running'), \
        (SELECT min(turn) FROM jobs WHERE state = 'queued'), 0)";
}

impl Store {
    /// Takes, for `seconds`, a job of anybody but `passed_over`: first one that a worker left
    /// behind, then the one whose turn it is.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn take_job(
        &self,
        lease: &Lease,
        seconds: i64,
        passed_over: Option<Uuid>,
    ) -> Result<Option<Job>, StoreError> {
        let (but, now) = (passed_over.unwrap_or_default(), self.clock().await?);
        let until = now.plus_seconds(seconds);
        // A clock that was set back has left leases in a future that may be hours away.
        let far = now.plus_seconds(2 * seconds);
        // Looking first costs no write lock, of which SQLite has one.
        let left = on_pool!(self, pool => sqlx::query(LEFT_BEHIND)
            .bind(but).bind(now).bind(far).fetch_optional(pool).await.map(|row| row.is_some()))?;
        if left {
            let sql = self.taking(TAKE_LEFT_BEHIND, TAKE_LEFT_BEHIND_UNLOCKED);
            let mut taken = on_pool!(self, pool => sqlx::query_as(sql)
                .bind(but).bind(until).bind(&lease.0).bind(now).bind(far)
                .fetch_all(pool).await)?;
            if let Some(job) = taken.pop() {
                return Ok(Some(job));
            }
        }
        let waits = on_pool!(self, pool => sqlx::query(WAITING)
            .bind(but).fetch_optional(pool).await.map(|row| row.is_some()))?;
        if !waits {
            return Ok(None);
        }
        let sql = self.taking(TAKE_WAITING, TAKE_WAITING_UNLOCKED);
        // To its end: with the row alone, nobody knows yet whether the taking was committed.
        let mut taken = on_pool!(self, pool => sqlx::query_as(sql)
            .bind(but).bind(until).bind(&lease.0).fetch_all(pool).await)?;
        Ok(taken.pop())
    }

    const fn taking(&self, one_writer: &'static str, many: &'static str) -> &'static str {
        match self {
            Self::Sqlite(_) => one_writer,
            Self::Postgres(_) => many,
        }
    }
}
