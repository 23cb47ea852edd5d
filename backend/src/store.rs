//! Where everything lives: SQLite or PostgreSQL, behind one set of statements.
//!
//! [`Store`] is an enum of the two typed pools. A statement is written once, with `$1` placeholders
//! that both engines take, and [`on_pool!`] runs it on whichever pool is there; the same tests run
//! on both engines. The tables come from [`migrations`].
//!
//! # Why
//! sqlx's `Any` driver knows nine kinds of value and neither UUIDs nor instants; a trait with two
//! implementations would write every statement twice.

pub mod backup;
pub mod error;
mod executions;
mod expired;
mod jobs;
mod members;
pub mod migrations;
mod performed;
pub(crate) mod pool;
mod progress;
pub mod registry;
mod resources;
mod sessions;
mod statements;
mod turns;
mod users;

use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{PgPool, SqlitePool};

use crate::domain::timestamp::Timestamp;
pub use error::StoreError;
pub use executions::{Executed, IdempotencyKey, Origin, Started};
pub use jobs::{Depth, Job, Lease, Outcome};
pub use performed::Work;
pub use pool::{PoolLimits, PoolUse};
pub use progress::{Standing, StepProgress};
pub use resources::{Filter, PAGE_BYTES, Page, Place, Relation};
pub use statements::Statements;
pub use users::Credentials;

/// Which database, and how to reach it. Made by [`Config`](crate::config::Config).
#[derive(Clone)]
pub enum Database {
    /// A file; its folder is created.
    Sqlite(Box<SqliteConnectOptions>),
    /// A server.
    Postgres(Box<PgConnectOptions>),
}

impl std::fmt::Debug for Database {
    /// Shows where the database is and never the password, which sqlx's own `Debug` prints.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(options) => write!(f, "SQLite {}", options.get_filename().display()),
            Self::Postgres(options) => write!(
                f,
                "PostgreSQL {}:{}/{}",
                options.get_host(),
                options.get_port(),
                options.get_database().unwrap_or_else(|| options.get_username()),
            ),
        }
    }
}

/// The database in use.
#[derive(Clone, Debug)]
pub enum Store {
    /// Embedded, one process.
    Sqlite(SqlitePool),
    /// A server, shared by instances.
    Postgres(PgPool),
}

/// Declares the statements of a module. A test lets both databases explain each of them, and sees
/// that no SQL stands elsewhere.
macro_rules! sql {
    ($($(#[$about:meta])* $sight:vis const $name:ident: &str = $text:expr;)+) => {
        $($(#[$about])* $sight const $name: &str = $text;)+
        /// All of this module.
        pub(super) const STATEMENTS: &[&str] = &[$($name),+];
    };
}
use sql;

/// Runs an expression with the pool that is there. Both arms are the same text but different types.
macro_rules! on_pool {
    ($store:expr, $pool:ident => $run:expr) => {
        match $store {
            $crate::store::Store::Sqlite($pool) => $run,
            $crate::store::Store::Postgres($pool) => $run,
        }
    };
}
use on_pool;

impl Store {
    /// How a transaction begins that will write. SQLite takes the writer's lock at once: a reader
    /// that became a writer later would fail when another was faster.
    const fn begin(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "BEGIN IMMEDIATE",
            Self::Postgres(_) => "BEGIN",
        }
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        on_pool!(self, pool => sqlx::query("SELECT 1").execute(pool).await.map(drop))?;
        Ok(())
    }

    /// The instant by the database's clock; SQLite's is this machine's.
    ///
    /// # Errors
    /// When it does not answer.
    async fn clock(&self) -> Result<Timestamp, StoreError> {
        match self {
            Self::Sqlite(_) => Ok(Timestamp::now()),
            Self::Postgres(pool) => {
                Ok(sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(pool).await?)
            }
        }
    }

    /// Closes all connections; SQLite folds its write-ahead log into the file.
    pub async fn close(&self) {
        on_pool!(self, pool => pool.close().await);
    }
}
