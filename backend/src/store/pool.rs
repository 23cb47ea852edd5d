//! The pool of connections: opened, bounded, and how it stands.

use std::time::{Duration, Instant};

use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, PgConnection, SqliteConnection};

use super::{Database, Store, StoreError, on_pool};

/// How long the first connection at start may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// SQLite has one writer at a time; more connections only serve readers.
const SQLITE_CONNECTIONS: u32 = 8;
/// A fifth of PostgreSQL's default of 100, so that several instances fit beside each other.
const POSTGRES_CONNECTIONS: u32 = 20;

/// Steps of SQLite's virtual machine between two looks at the clock: a tenth of a millisecond's.
const STEPS: i32 = 4_096;

/// What PostgreSQL is told that a page out of order costs, next to 1 for the following one. Its
/// standard of 4 is that of a turning disk, where it rather reads a table backwards, throwing rows
/// away, than a page of a list from the index that has it in order.
const RANDOM_PAGE_COST: &str = "1.1";

/// How many connections there may be, and how long each thing may take.
#[derive(Clone, Copy, Debug)]
pub struct PoolLimits {
    /// Most connections; `None` is 8 on SQLite and 20 on PostgreSQL.
    pub connections: Option<u32>,
    /// How long a request waits for a connection before it is told to come back.
    pub acquire: Duration,
    /// How long PostgreSQL works on one statement (its `statement_timeout`). On SQLite, how long
    /// whoever has taken a connection may have it work in all, and how long a writer waits for
    /// another.
    pub statement: Duration,
}

impl Default for PoolLimits {
    fn default() -> Self {
        let (acquire, statement) = (Duration::from_secs(3), Duration::from_secs(5));
        Self { connections: None, acquire, statement }
    }
}

/// How the pool stands.
#[derive(Clone, Copy, Debug)]
pub struct PoolUse {
    /// Connections that are open.
    pub open: u32,
    /// Of these, how many nobody uses.
    pub idle: u32,
    /// How many there may be.
    pub most: u32,
}

impl Store {
    /// Connects once, so that a wrong address or password is known at start and by its real reason,
    /// then opens the pool.
    ///
    /// # Errors
    /// When the database cannot be reached within five seconds, or refuses.
    pub async fn open(database: &Database, limits: PoolLimits) -> Result<Self, StoreError> {
        match database {
            Database::Sqlite(options) => {
                let options = sqlite_options(options)?.busy_timeout(limits.statement);
                connect::<SqliteConnection>(&options).await?.close().await?;
                let pool = SqlitePoolOptions::new()
                    .max_connections(limits.connections.unwrap_or(SQLITE_CONNECTIONS))
                    .acquire_timeout(limits.acquire)
                    .after_connect(move |connection, _| {
                        Box::pin(bound(connection, limits.statement))
                    })
                    .before_acquire(move |connection, _| {
                        Box::pin(
                            async move { bound(connection, limits.statement).await.map(|()| true) },
                        )
                    })
                    .after_release(|connection, _| Box::pin(is_whole(connection)));
                Ok(Self::Sqlite(pool.connect_lazy_with(options)))
            }
            Database::Postgres(options) => {
                let timeout = format!("{}ms", limits.statement.as_millis());
                let options = options.as_ref().clone().options([
                    ("statement_timeout", timeout.as_str()),
                    ("random_page_cost", RANDOM_PAGE_COST),
                    // A plan for any value fits the average project, and takes a second on the
                    // largest; one for the value at hand costs a tenth of a millisecond.
                    ("plan_cache_mode", "force_custom_plan"),
                ]);
                connect::<PgConnection>(&options).await?.close().await?;
                let pool = PgPoolOptions::new()
                    .max_connections(limits.connections.unwrap_or(POSTGRES_CONNECTIONS))
                    .acquire_timeout(limits.acquire);
                Ok(Self::Postgres(pool.connect_lazy_with(options)))
            }
        }
    }

    /// How the pool stands now.
    #[must_use]
    pub fn pool_use(&self) -> PoolUse {
        on_pool!(self, pool => PoolUse {
            open: pool.size(),
            idle: u32::try_from(pool.num_idle()).unwrap_or(u32::MAX),
            most: pool.options().get_max_connections(),
        })
    }
}

/// Creates the folder of the file, readable by nobody else: it holds the hashes.
pub(super) fn make_folder(options: &SqliteConnectOptions) -> Result<(), StoreError> {
    if let Some(folder) = options.get_filename().parent().filter(|f| !f.as_os_str().is_empty()) {
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(folder).map_err(sqlx::Error::Io)?;
    }
    Ok(())
}

/// The settings that every SQLite connection has.
pub(crate) fn sqlite_options(
    options: &SqliteConnectOptions,
) -> Result<SqliteConnectOptions, StoreError> {
    make_folder(options)?;
    Ok(options
        .clone()
        .create_if_missing(true)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        // With a write-ahead log, NORMAL can lose the last transactions to a power cut but never
        // corrupts.
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(PoolLimits::default().statement))
}

/// Interrupts, once `patience` is over, what SQLite works on for whoever has taken the connection
/// now: unlike PostgreSQL it has no bound of its own.
async fn bound(connection: &mut SqliteConnection, patience: Duration) -> sqlx::Result<()> {
    let end = Instant::now() + patience;
    let mut handle = connection.lock_handle().await?;
    handle.set_progress_handler(STEPS, move || Instant::now() < end);
    Ok(())
}

/// Whether no transaction is left over on a connection that comes back. Where the disk is full, or
/// a statement is interrupted, SQLite itself ends the transaction, and sqlx, which finds nothing to
/// roll back, takes it for open ever after: what begins next fails, or locks the file for good.
async fn is_whole(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    // Comes after a rollback that is still on its way.
    drop(connection.lock_handle().await?);
    Ok(!connection.is_in_transaction())
}

/// Opens one connection.
pub(crate) async fn connect<C: Connection>(options: &C::Options) -> Result<C, StoreError> {
    let connection = tokio::time::timeout(CONNECT_TIMEOUT, C::connect_with(options))
        .await
        .map_err(|_elapsed| sqlx::Error::PoolTimedOut)??;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use super::*;

    #[tokio::test]
    async fn sqlite_is_interrupted_when_its_time_is_over_and_goes_on() {
        const ENDLESS: &str =
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bound.db");
        let options = SqliteConnectOptions::from_str(&format!("sqlite://{}", file.display()));
        let limits = PoolLimits {
            connections: Some(1),
            statement: Duration::from_millis(50),
            ..PoolLimits::default()
        };
        let store = Store::open(&Database::Sqlite(Box::new(options.unwrap())), limits).await;
        let Store::Sqlite(pool) = store.unwrap() else { panic!("not SQLite") };
        for _ in 0..2 {
            // The first on a new connection, the second on one that is taken again.
            let error = sqlx::query(ENDLESS).execute(&pool).await.unwrap_err();
            assert!(matches!(error.into(), StoreError::Unavailable(_)));
            assert_eq!(sqlx::query_scalar::<_, i64>("SELECT 7").fetch_one(&pool).await.unwrap(), 7);
        }
        sqlx::query("CREATE TABLE numbers (n INTEGER)").execute(&pool).await.unwrap();
        for _ in 0..2 {
            let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
            let endless = sqlx::AssertSqlSafe(format!("INSERT INTO numbers {ENDLESS}"));
            let error = sqlx::query(endless).execute(&mut *transaction).await.unwrap_err();
            assert!(matches!(error.into(), StoreError::Unavailable(_)));
        }
        pool.close().await;
    }
}
