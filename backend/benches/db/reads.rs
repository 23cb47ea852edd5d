//! How much a query reads: rows on PostgreSQL, by its own statistics; steps of its virtual machine
//! on SQLite, which counts nothing else that a program may ask for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nomation::store::{Database, PoolLimits, Store};
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{Connection as _, PgConnection};

use crate::queries::{Query, Subjects};

/// The large customer, and somebody else.
const TURNS: usize = 2;

/// What one of these queries reads, on average.
pub(crate) async fn count(database: &Database, query: &Query, subjects: &Subjects) -> u64 {
    let all = match database {
        Database::Sqlite(options) => {
            let steps = Arc::new(AtomicU64::new(0));
            let counted = Arc::clone(&steps);
            // A pool of its own, since the program's bounds time where this counts.
            let pool = SqlitePoolOptions::new().max_connections(1);
            let pool = pool.connect_with(options.as_ref().clone()).await.unwrap();
            let mut connection = pool.acquire().await.unwrap();
            connection.lock_handle().await.unwrap().set_progress_handler(1, move || {
                counted.fetch_add(1, Ordering::Relaxed);
                true
            });
            drop(connection);
            let store = Store::Sqlite(pool);
            // The first time it reads the schema, too.
            run(&store, query, subjects).await;
            let before = steps.load(Ordering::Relaxed);
            run(&store, query, subjects).await;
            store.close().await;
            let all = steps.load(Ordering::Relaxed) - before;
            assert!(all > 0, "{} takes steps", query.title);
            all
        }
        Database::Postgres(options) => {
            let limits = PoolLimits { connections: Some(1), ..crate::patient() };
            let store = Store::open(database, limits).await.unwrap();
            let mut connection = PgConnection::connect_with(options.as_ref()).await.unwrap();
            let before = rows_read(&mut connection).await;
            run(&store, query, subjects).await;
            // A connection tells what it did when it ends.
            store.close().await;
            until_alone(&mut connection).await;
            rows_read(&mut connection).await - before
        }
    };
    all / TURNS as u64
}

async fn run(store: &Store, query: &Query, subjects: &Subjects) {
    for turn in 0..TURNS {
        (query.run)(store, subjects, turn).await;
    }
}

async fn rows_read(connection: &mut PgConnection) -> u64 {
    const SQL: &str = "SELECT CAST(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) AS bigint) \
                       FROM pg_stat_user_tables";
    sqlx::query("SELECT pg_stat_clear_snapshot()").execute(&mut *connection).await.unwrap();
    let rows: i64 = sqlx::query_scalar(SQL).fetch_one(connection).await.unwrap();
    rows.unsigned_abs()
}

/// Waits until the connections of the pool are gone from the server, too.
async fn until_alone(connection: &mut PgConnection) {
    const OTHERS: &str = "SELECT count(*) FROM pg_stat_activity \
                          WHERE datname = current_database() AND application_name = 'nomation' \
                          AND pid <> pg_backend_pid()";
    loop {
        let others: i64 = sqlx::query_scalar(OTHERS).fetch_one(&mut *connection).await.unwrap();
        if others == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
