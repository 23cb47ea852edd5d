//! The tables behind a server, read and written past the API.

use std::time::Duration;

use nomation::config::Config;
use nomation::domain::timestamp::Timestamp;
use nomation::store::{PoolLimits, Store};
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use crate::harness::TestDatabase;

/// Runs an expression on the pool that is there.
macro_rules! on_pool {
    ($store:expr, $pool:ident => $run:expr) => {
        match $store {
            nomation::store::Store::Sqlite($pool) => $run.await.unwrap(),
            nomation::store::Store::Postgres($pool) => $run.await.unwrap(),
        }
    };
}
pub(crate) use on_pool;

/// The tables behind a server, written to as the API does.
pub(crate) struct Tables(pub(crate) Store);

impl Tables {
    pub(crate) async fn of(database: &TestDatabase) -> Self {
        Self::at(&database.url).await
    }

    pub(crate) async fn at(url: &str) -> Self {
        let lookup = |name: &str| (name == "DATABASE_URL").then(|| url.into());
        let (database, _log) = Config::read_database_alone(&lookup).unwrap();
        Self(Store::open(&database, PoolLimits::default()).await.unwrap())
    }

    /// Writes one row; `$1` is its key.
    pub(crate) async fn insert(&self, sql: &'static str, parent: Uuid, steps: &Value) -> Uuid {
        let id = Uuid::now_v7();
        on_pool!(&self.0, pool => async {
            let query = sqlx::query(sql).bind(id).bind(parent).bind(Timestamp::now());
            query.bind(Json(steps)).execute(pool).await.map(drop)
        });
        id
    }

    pub(crate) async fn test(&self, project: Uuid, steps: &Value) -> Uuid {
        const SQL: &str = "INSERT INTO tests (id, project_id, name, description, steps, \
                           timeout_seconds, version, created_at, updated_at) \
                           VALUES ($1, $2, 't', '', $4, 60, 1, $3, $3)";
        self.insert(SQL, project, steps).await
    }

    /// An execution of a test, and its job.
    pub(crate) async fn execution(&self, project: Uuid, steps: &Value) -> Uuid {
        const EXECUTION: &str = "INSERT INTO test_executions (id, test_id, status, steps, \
                                 timeout_seconds, results, version, created_at, updated_at) \
                                 VALUES ($1, $2, 'queued', $4, 60, '{}', 1, $3, $3)";
        const JOB: &str = "INSERT INTO jobs (id, kind, test_execution_id, payload, state, \
                           attempts, run_at, created_at) \
                           SELECT $1, 'test', $2, '{}', 'queued', 0, $3, $3 \
                           WHERE CAST($4 AS text) IS NOT NULL";
        let test = self.test(project, steps).await;
        let execution = self.insert(EXECUTION, test, steps).await;
        self.insert(JOB, execution, steps).await;
        execution
    }

    /// An execution is begun, as a worker does.
    pub(crate) async fn begin(&self, execution: Uuid, at: Timestamp) {
        const SQL: &str =
            "UPDATE test_executions SET status = 'running', started_at = $2 WHERE id = $1";
        on_pool!(&self.0, pool => async {
            sqlx::query(SQL).bind(execution).bind(at).execute(pool).await.map(drop)
        });
    }

    pub(crate) async fn text(&self, sql: &'static str, id: Uuid) -> Option<String> {
        on_pool!(&self.0, pool => sqlx::query_scalar(sql).bind(id).fetch_one(pool))
    }

    pub(crate) async fn count(&self, sql: &'static str, id: Uuid) -> i64 {
        on_pool!(&self.0, pool => sqlx::query_scalar(sql).bind(id).fetch_one(pool))
    }

    /// Waits until an execution has a status; generous, since it only passes when a test fails.
    pub(crate) async fn until(&self, status: &str, id: Uuid) {
        const STATUS: &str = "SELECT status FROM test_executions WHERE id = $1";
        let changed = async {
            while self.text(STATUS, id).await.unwrap() != status {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(120), changed).await;
        let now = self.text(STATUS, id).await;
        waited.unwrap_or_else(|_| panic!("never {status}, but {now:?}"));
    }

    /// Waits until an execution is over, however it ends.
    pub(crate) async fn until_over(&self, id: Uuid) {
        const OVER: &str =
            "SELECT count(*) FROM test_executions WHERE id = $1 AND finished_at IS NOT NULL";
        let over = async {
            while self.count(OVER, id).await == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(150), over).await.expect("it ends");
    }

    pub(crate) async fn failure(&self, id: Uuid) -> Option<String> {
        self.text("SELECT failure FROM test_executions WHERE id = $1", id).await
    }

    pub(crate) async fn steps(&self, id: Uuid) -> i64 {
        self.count("SELECT count(*) FROM execution_steps WHERE execution_id = $1", id).await
    }

    /// Runs one statement; `$1` is an instant.
    pub(crate) async fn execute(&self, sql: &'static str, at: Timestamp) {
        on_pool!(&self.0, pool => async {
            sqlx::query(sql).bind(at).execute(pool).await.map(drop)
        });
    }

    /// Waits until a count is `wanted`.
    pub(crate) async fn until_count(&self, wanted: i64, sql: &'static str) {
        self.until_counted(sql, &format!("{wanted}"), |count| count == wanted).await;
    }

    /// Waits until a count has come to `wanted`.
    pub(crate) async fn until_at_least(&self, wanted: i64, sql: &'static str) {
        self.until_counted(sql, &format!("{wanted} or more"), |count| count >= wanted).await;
    }

    async fn until_counted(&self, sql: &'static str, wanted: &str, is_it: impl Fn(i64) -> bool) {
        let count =
            async || -> i64 { on_pool!(&self.0, pool => sqlx::query_scalar(sql).fetch_one(pool)) };
        let reached = async {
            while !is_it(count().await) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(120), reached).await;
        let now = count().await;
        waited.unwrap_or_else(|_| panic!("never {wanted} but {now}: {sql}"));
    }
}
