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
mod jobs;
mod members;
pub mod migrations;
mod performed;
mod progress;
mod resources;
mod sessions;
mod statements;
mod users;

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, PgConnection, PgPool, SqliteConnection, SqlitePool};

pub use error::StoreError;
pub use executions::{Executed, IdempotencyKey, Started};
pub use jobs::{Job, Lease, Outcome};
pub use performed::Work;
pub use progress::{Standing, StepProgress};
pub use resources::Page;
pub use statements::Statements;
pub use users::Credentials;

/// How long a request waits for a connection before it is told to come back.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long SQLite waits for another writer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long PostgreSQL works on one statement.
const STATEMENT_TIMEOUT: &str = "5s";
/// How long the first connection at start may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// SQLite has one writer at a time; more connections only serve readers.
const SQLITE_CONNECTIONS: u32 = 8;
/// A fifth of PostgreSQL's default of 100, so that several instances fit beside each other.
const POSTGRES_CONNECTIONS: u32 = 20;

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
    /// Connects once, so that a wrong address or password is known at start and by its real reason,
    /// then opens the pool.
    ///
    /// # Errors
    /// When the database cannot be reached within five seconds, or refuses.
    pub async fn open(database: &Database) -> Result<Self, StoreError> {
        match database {
            Database::Sqlite(options) => {
                let options = sqlite_options(options)?;
                connect::<SqliteConnection>(&options).await?.close().await?;
                let pool = SqlitePoolOptions::new()
                    .max_connections(SQLITE_CONNECTIONS)
                    .acquire_timeout(ACQUIRE_TIMEOUT);
                Ok(Self::Sqlite(pool.connect_lazy_with(options)))
            }
            Database::Postgres(options) => {
                let options =
                    options.as_ref().clone().options([("statement_timeout", STATEMENT_TIMEOUT)]);
                connect::<PgConnection>(&options).await?.close().await?;
                let pool = PgPoolOptions::new()
                    .max_connections(POSTGRES_CONNECTIONS)
                    .acquire_timeout(ACQUIRE_TIMEOUT);
                Ok(Self::Postgres(pool.connect_lazy_with(options)))
            }
        }
    }

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

    /// Closes all connections; SQLite folds its write-ahead log into the file.
    pub async fn close(&self) {
        on_pool!(self, pool => pool.close().await);
    }
}

/// Creates the folder of the file, readable by nobody else: it holds the hashes.
fn make_folder(options: &SqliteConnectOptions) -> Result<(), StoreError> {
    if let Some(folder) = options.get_filename().parent().filter(|f| !f.as_os_str().is_empty()) {
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(folder).map_err(sqlx::Error::Io)?;
    }
    Ok(())
}

/// The settings that every SQLite connection has.
fn sqlite_options(options: &SqliteConnectOptions) -> Result<SqliteConnectOptions, StoreError> {
    make_folder(options)?;
    Ok(options
        .clone()
        .create_if_missing(true)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        // With a write-ahead log, NORMAL can lose the last transactions to a power cut but never
        // corrupts.
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(BUSY_TIMEOUT))
}

/// Opens one connection.
async fn connect<C: Connection>(options: &C::Options) -> Result<C, StoreError> {
    let connection = tokio::time::timeout(CONNECT_TIMEOUT, C::connect_with(options))
        .await
        .map_err(|_elapsed| sqlx::Error::PoolTimedOut)??;
    Ok(connection)
}
