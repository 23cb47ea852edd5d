//! Reports in a small SQLite file of the certificate store, so that they outlive the process.
//!
//! It is bounded by rows, age and pages. Several processes may write to it, as while one takes over
//! from another: each adds what it has counted itself, and waits for the others so long. A file
//! that is no such file is set aside. One that cannot be used is said so once, and tried again with
//! the next batch; until then reports are kept in memory.

use std::fs::{OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::runtime::{Builder, Runtime};

use super::table::{Entry, Table, Violation};
use crate::tls::store::{Store, StoreError};

const NAME: &str = "csp-reports.sqlite";

/// Entries that were not reported for this long are forgotten, in seconds: 30 days.
pub(super) const OLDEST: u64 = 30 * 86_400;

/// How long another process may write before a batch is put off.
const PATIENCE: Duration = Duration::from_secs(2);

/// Pages of 4 KiB that the file may have: 16 MiB, several times what its rows need.
const PAGES: u32 = 4_096;

/// By which the file is told from another program's (<https://www.sqlite.org/fileformat2.html>,
/// 1.3.15): `Gate`, and the version of the table.
const APPLICATION: i64 = 0x4761_7465;
const VERSION: i64 = 1;

/// The file of reports in a folder.
pub(super) struct File {
    store: Store,
    /// Of the thread that keeps the reports; SQLite blocks, and nothing else runs here.
    runtime: Runtime,
    pages: u32,
    failed: bool,
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Sqlite(#[from] sqlx::Error),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("it is another program's, or a later version's")]
    Foreign,
}

impl Fault {
    /// Whether the file will never be of use.
    fn is_final(&self) -> bool {
        match self {
            Self::Foreign => true,
            Self::Sqlite(sqlx::Error::Database(error)) => {
                let code = error.code().and_then(|code| code.parse::<u32>().ok());
                // SQLITE_CORRUPT and SQLITE_NOTADB; what lies above the low byte says more of it.
                matches!(code.map(|code| code & 0xff), Some(11 | 26))
            }
            Self::Io(_) | Self::Sqlite(_) | Self::Store(_) => false,
        }
    }
}

impl File {
    /// # Errors
    ///
    /// When the system gives the thread nothing to wait with.
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_time().build()?;
        Ok(Self { store: Store::at(folder), runtime, pages: PAGES, failed: false })
    }

    /// Puts what earlier processes have kept into a table.
    pub(super) fn load(&mut self, table: &mut Table, now: u64) {
        let since = now.saturating_sub(OLDEST);
        match self.attempt(&async |connection: &mut _| load(connection, since).await) {
            Ok(entries) => entries.into_iter().for_each(|entry| table.restore(entry)),
            Err(fault) => self.note(&fault),
        }
    }

    /// Adds a batch to what is there; whether that has succeeded.
    pub(super) fn add(&mut self, batch: &[Entry], now: u64) -> bool {
        let since = now.saturating_sub(OLDEST);
        match self.attempt(&async |connection: &mut _| add(connection, batch, since).await) {
            Ok(()) => self.failed = false,
            Err(fault) => self.note(&fault),
        }
        !self.failed
    }

    /// Does something with the file; with a new one, if it is of no use.
    fn attempt<T>(
        &self,
        action: &impl AsyncFn(&mut SqliteConnection) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let once = || {
            self.runtime.block_on(async {
                let mut connection = open(&self.store.path(NAME), self.pages).await?;
                let done = action(&mut connection).await;
                let closed = connection.close().await;
                done.and_then(|done| Ok(closed.map(|()| done)?))
            })
        };
        match once() {
            Err(fault) if fault.is_final() => {
                let aside = self.store.set_aside(NAME)?;
                // What SQLite would otherwise play back into the new file.
                self.store.remove(&journal(NAME))?;
                let (path, aside) = (self.store.path(NAME), aside.display());
                tracing::warn!(path = %path.display(), %fault, %aside, "CSP reports begin anew");
                once()
            }
            done => done,
        }
    }

    fn note(&mut self, fault: &Fault) {
        if !std::mem::replace(&mut self.failed, true) {
            let path = self.store.path(NAME);
            tracing::warn!(path = %path.display(), %fault, "CSP reports stay in memory");
        }
    }
}

fn journal(name: &str) -> String {
    format!("{name}-journal")
}

/// Opens the file, with the table in it.
async fn open(path: &PathBuf, pages: u32) -> Result<SqliteConnection, Fault> {
    let mut file = OpenOptions::new();
    let file = file.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(PATIENCE)
        .pragma("max_page_count", pages.to_string())
        .disable_statement_logging();
    let mut connection = options.connect().await?;
    prepare(&mut connection).await?;
    Ok(connection)
}

/// Makes the table in an empty file, and knows it in any other.
async fn prepare(connection: &mut SqliteConnection) -> Result<(), Fault> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let number = async |connection: &mut SqliteConnection, query: &'static str| {
        sqlx::query_scalar::<_, i64>(query).fetch_one(connection).await
    };
    let application = number(&mut transaction, "PRAGMA application_id").await?;
    let version = number(&mut transaction, "PRAGMA user_version").await?;
    let things = number(&mut transaction, "SELECT count(*) FROM sqlite_schema").await?;
    match (application, version, things) {
        (APPLICATION, VERSION, _) => return Ok(transaction.rollback().await?),
        (0, 0, 0) => {}
        _ => return Err(Fault::Foreign),
    }
    sqlx::raw_sql(
        "CREATE TABLE report (
             site TEXT NOT NULL, page TEXT NOT NULL, directive TEXT NOT NULL,
             blocked TEXT NOT NULL, enforced INTEGER NOT NULL, source TEXT NOT NULL,
             count INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
             UNIQUE (site, page, directive, blocked, enforced, source)
         ) STRICT;
         PRAGMA application_id = 0x47617465;
         PRAGMA user_version = 1;",
    )
    .execute(&mut *transaction)
    .await?;
    Ok(transaction.commit().await?)
}

/// A row, in the order of the table.
type Row = (String, String, String, String, bool, String, i64, i64, i64);

async fn load(connection: &mut SqliteConnection, since: u64) -> Result<Vec<Entry>, Fault> {
    let query = "SELECT * FROM report WHERE last >= ? ORDER BY last DESC LIMIT ?";
    let rows: Vec<Row> = sqlx::query_as(query)
        .bind(stored(since))
        .bind(stored(Table::MOST as u64))
        .fetch_all(connection)
        .await?;
    let entry = |(site, page, directive, blocked, enforced, source, count, first, last): Row| {
        let violation = Violation { site, page, directive, blocked, enforced, source };
        let number = |value: i64| u64::try_from(value).unwrap_or(0);
        Entry { violation, count: number(count), first: number(first), last: number(last) }
    };
    Ok(rows.into_iter().map(entry).collect())
}

async fn add(connection: &mut SqliteConnection, batch: &[Entry], since: u64) -> Result<(), Fault> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    for Entry { violation, count, first, last } in batch {
        let Violation { site, page, directive, blocked, enforced, source } = violation;
        let query = "INSERT INTO report VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE \
                     SET count = count + excluded.count, last = max(last, excluded.last)";
        let query = sqlx::query(query).bind(site).bind(page).bind(directive).bind(blocked);
        let query = query.bind(enforced).bind(source);
        let query = query.bind(stored(*count)).bind(stored(*first)).bind(stored(*last));
        query.execute(&mut *transaction).await?;
    }
    let old = sqlx::query("DELETE FROM report WHERE last < ?").bind(stored(since));
    old.execute(&mut *transaction).await?;
    // Several processes may each have filled their tables.
    let query = "DELETE FROM report WHERE rowid IN \
                 (SELECT rowid FROM report ORDER BY last DESC, rowid DESC LIMIT -1 OFFSET ?)";
    let many = sqlx::query(query).bind(stored(Table::MOST as u64));
    many.execute(&mut *transaction).await?;
    Ok(transaction.commit().await?)
}

/// As SQLite has integers.
fn stored(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
