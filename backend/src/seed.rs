//! `nomation seed`: a database as it might look after a year, of any size, the same every time.
//!
//! Rows are made inside the database by numbering them ([`rows`]): the key, the parent and every
//! value of row `i` follow from `i`, so that nothing is sent and nothing is random. Running it
//! again adds only what an interrupted run left out; a database that was seeded with another size
//! is refused, since parents follow from the size.
//!
//! # Shape
//! For N rows there are N elements and as many executions; a hundredth of that in projects, and
//! everything else in proportion. A tenth of each belongs to one user's first project: the large
//! customer that every real database has.

mod history;
mod rows;
mod tables;

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};

use crate::domain::password::PasswordHash;
use crate::store::pool::{connect, sqlite_options};
use crate::store::{Database, StoreError};
use history::{
    EXECUTIONS, IDEMPOTENCY_KEYS, JOBS, SESSIONS, STEP_RESULTS, SUITE_EXECUTIONS, TOKENS,
};
use rows::{Dialect, Table};
use tables::{BROWSERS, ELEMENTS, FLOWS, MEMBERS, PROJECTS, STATES, SUITES, TESTS, URLS, USERS};

/// Rows of one statement: enough to be fast, few enough to show progress.
const BATCH: i64 = 10_000;

/// The address of the user who has the most.
pub const EMAIL: &str = "user0@seed.example";
/// The password of every user that is seeded.
pub const PASSWORD: &str = "correct horse battery";

/// All tables, parents first.
static TABLES: [&Table; 17] = [
    &USERS,
    &PROJECTS,
    &URLS,
    &FLOWS,
    &STATES,
    &ELEMENTS,
    &BROWSERS,
    &TESTS,
    &SUITES,
    &MEMBERS,
    &SUITE_EXECUTIONS,
    &EXECUTIONS,
    &STEP_RESULTS,
    &JOBS,
    &SESSIONS,
    &TOKENS,
    &IDEMPOTENCY_KEYS,
];

/// Why there is no seeded database.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The database was seeded before, with another size.
    #[error("the database was seeded before, with another size ({0}); seed a new one")]
    OtherSize(String),
    /// The database does not answer, or refuses.
    #[error("the database does not answer")]
    Store(#[from] StoreError),
}

/// How many of everything.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Elements, and executions.
    rows: i64,
    projects: i64,
    users: i64,
}

impl Size {
    /// A database with so many elements, and as many executions.
    #[must_use]
    pub fn of(rows: u32) -> Self {
        let rows = i64::from(rows);
        Self { rows, projects: (rows / 100).max(1), users: (rows / 1000).max(1) }
    }

    /// What every project says of the seed.
    fn note(self) -> String {
        format!("Seeded, one of {}.", self.projects)
    }

    /// Rows in all tables together.
    #[must_use]
    pub fn total(self) -> u64 {
        TABLES.iter().map(|table| (table.count)(self).unsigned_abs()).sum()
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The table that is being filled.
    pub table: &'static str,
    /// Its rows that are there.
    pub rows: u64,
    /// Whether it is full.
    pub is_full: bool,
    /// The rows of all tables that are there.
    pub total: u64,
}

enum Link {
    Sqlite(Box<SqliteConnection>),
    Postgres(Box<PgConnection>),
}

impl Link {
    async fn open(database: &Database) -> Result<Self, StoreError> {
        match database {
            Database::Sqlite(options) => {
                Ok(Self::Sqlite(Box::new(connect(&sqlite_options(options)?).await?)))
            }
            Database::Postgres(options) => {
                // What a power cut takes is made again by running it again.
                let options = options.as_ref().clone().options([("synchronous_commit", "off")]);
                let mut connection: PgConnection = connect(&options).await?;
                // Parents are there by construction, and asking for each costs more than half of
                // the time. Only a superuser may leave it out; for others it just takes longer.
                let _ = connection.execute("SET session_replication_role = replica").await;
                Ok(Self::Postgres(Box::new(connection)))
            }
        }
    }

    const fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// What an earlier seed noted.
    async fn note(&mut self) -> Result<Option<String>, StoreError> {
        const SQL: &str = "SELECT projects.description FROM projects JOIN users \
                           ON users.id = projects.user_id WHERE users.email = $1 \
                           ORDER BY projects.id LIMIT 1";
        macro_rules! fetch {
            ($connection:expr) => {
                sqlx::query_scalar(SQL).bind(EMAIL).fetch_optional(&mut **$connection).await?
            };
        }
        Ok(match self {
            Self::Sqlite(connection) => fetch!(connection),
            Self::Postgres(connection) => fetch!(connection),
        })
    }

    /// Runs a statement on the rows from `first` to `last`.
    async fn run(
        &mut self,
        sql: &str,
        (first, last): (i64, i64),
        hash: &PasswordHash,
    ) -> Result<(), StoreError> {
        macro_rules! execute {
            ($connection:expr) => {{
                let query = sqlx::query(AssertSqlSafe(sql)).bind(first).bind(last);
                let query = if sql.contains("$3") { query.bind(hash) } else { query };
                query.execute(&mut **$connection).await.map(drop)?
            }};
        }
        match self {
            Self::Sqlite(connection) => execute!(connection),
            Self::Postgres(connection) => execute!(connection),
        }
        Ok(())
    }

    /// Lets the planner count what there is, and closes the connection.
    async fn finish(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(mut connection) => {
                sqlx::query("ANALYZE").execute(&mut *connection).await?;
                connection.close().await?;
            }
            Self::Postgres(mut connection) => {
                sqlx::query("VACUUM ANALYZE").execute(&mut *connection).await?;
                connection.close().await?;
            }
        }
        Ok(())
    }
}

/// Fills a migrated `database`; every user has the password that `hash` is of.
///
/// # Errors
/// A failure of the database. What is there by then stays, and the next run goes on from it.
pub async fn seed(
    database: &Database,
    size: Size,
    hash: &PasswordHash,
    mut told: impl FnMut(Progress),
) -> Result<(), SeedError> {
    let mut link = Link::open(database).await?;
    if let Some(note) = link.note().await?.filter(|note| *note != size.note()) {
        return Err(SeedError::OtherSize(note));
    }
    let mut total = 0;
    for table in &TABLES {
        let sql = table.insert(link.dialect(), size);
        let count = (table.count)(size);
        let mut first = 0;
        while first < count {
            let last = (first + BATCH).min(count) - 1;
            link.run(&sql, (first, last), hash).await?;
            total += (last + 1 - first).unsigned_abs();
            first = last + 1;
            let (rows, is_full) = (first.unsigned_abs(), first == count);
            told(Progress { table: table.name, rows, is_full, total });
        }
    }
    Ok(link.finish().await?)
}
