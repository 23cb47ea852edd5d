//! `nomation backup` and `nomation restore`: the whole database as one file, while it is in use.
//!
//! SQLite writes a copy of itself (`VACUUM INTO`); PostgreSQL's own `pg_dump` and `pg_restore`
//! write and read their custom format. A backup appears under its name when it is whole, readable
//! by its owner alone. Only a database that holds nothing is restored into: what is there is for a
//! person to move away, not for a program to overwrite.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use percent_encoding::percent_decode_str;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, SqliteConnection};
use tokio::process::Command;

use super::pool::{connect, make_folder};
use super::{Database, StoreError};

/// Why there is no backup, or nothing restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file to write is there.
    #[error("{0} exists; name another file, or move it away")]
    Exists(PathBuf),
    /// The database to restore into is not empty.
    #[error("{0} already holds something; restore into a new one, then point DATABASE_URL at it")]
    NotEmpty(Database),
    /// The file to restore is no backup of such a database, or a damaged one.
    #[error("{0} is not a whole backup of a Nomation database on SQLite")]
    NotABackup(PathBuf),
    /// A file cannot be read or written.
    #[error("{0}")]
    File(PathBuf, #[source] io::Error),
    /// PostgreSQL's own program is not there.
    #[error("{0} cannot be run; it must be as new as the server (Debian: postgresql-client)")]
    Program(&'static str, #[source] io::Error),
    /// PostgreSQL's own program failed.
    #[error("{0} failed: {1}")]
    Failed(&'static str, String),
    /// The database does not answer, or refuses.
    #[error("the database does not answer")]
    Store(#[from] StoreError),
}

/// Writes all of `database` to a new file.
///
/// # Errors
/// As [`BackupError`] says; then there is no file.
pub async fn backup(database: &Database, file: &Path) -> Result<(), BackupError> {
    let folder =
        file.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let unwritten = |error| BackupError::File(file.to_owned(), error);
    if file.try_exists().map_err(unwritten)? {
        return Err(BackupError::Exists(file.to_owned()));
    }
    // Made with mode 0600, and removed should anything fail.
    let draft = tempfile::NamedTempFile::new_in(folder).map_err(unwritten)?;
    match database {
        Database::Sqlite(options) => copy_sqlite(options, draft.path()).await?,
        Database::Postgres(options) => {
            let mut dump = postgres_program("pg_dump", options);
            dump.args(["--format=custom", "--no-owner", "--no-privileges", "--file"]);
            run("pg_dump", dump.arg(draft.path())).await?;
        }
    }
    draft.as_file().sync_all().map_err(unwritten)?;
    draft.persist_noclobber(file).map_err(|refused| {
        let is_there = refused.error.kind() == io::ErrorKind::AlreadyExists;
        if is_there { BackupError::Exists(file.to_owned()) } else { unwritten(refused.error) }
    })?;
    Ok(())
}

/// Fills an empty `database` from a backup.
///
/// # Errors
/// As [`BackupError`] says; then the database is as empty as before.
pub async fn restore(database: &Database, file: &Path) -> Result<(), BackupError> {
    std::fs::File::open(file).map_err(|error| BackupError::File(file.to_owned(), error))?;
    match database {
        Database::Sqlite(options) => {
            let target = options.get_filename();
            if target.try_exists().map_err(|error| BackupError::File(target.into(), error))? {
                return Err(BackupError::NotEmpty(database.clone()));
            }
            let source = SqliteConnectOptions::new().filename(file).read_only(true);
            check_sqlite(&source).await.map_err(|_told| BackupError::NotABackup(file.into()))?;
            make_folder(options)?;
            // A copy made by SQLite is written like a backup: whole or not at all.
            Box::pin(backup(&Database::Sqlite(Box::new(source)), target)).await
        }
        Database::Postgres(options) => {
            const TABLES: &str = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
            let mut connection: PgConnection = connect(options.as_ref()).await?;
            let tables: i64 = sqlx::query_scalar(TABLES)
                .fetch_one(&mut connection)
                .await
                .map_err(StoreError::from)?;
            connection.close().await.map_err(StoreError::from)?;
            if tables > 0 {
                return Err(BackupError::NotEmpty(database.clone()));
            }
            let mut restore = postgres_program("pg_restore", options);
            restore.args(["--no-owner", "--no-privileges", "--single-transaction"]);
            restore.args(["--exit-on-error", "--dbname"]).arg(database_name(options)).arg(file);
            run("pg_restore", &mut restore).await
        }
    }
}

async fn copy_sqlite(options: &SqliteConnectOptions, to: &Path) -> Result<(), BackupError> {
    let mut connection: SqliteConnection = connect(options).await?;
    sqlx::query("VACUUM INTO $1")
        .bind(to.to_string_lossy().into_owned())
        .execute(&mut connection)
        .await
        .map_err(StoreError::from)?;
    connection.close().await.map_err(StoreError::from)?;
    Ok(())
}

/// Whether a file is a database of ours in which nothing is damaged.
async fn check_sqlite(options: &SqliteConnectOptions) -> Result<(), StoreError> {
    let mut connection: SqliteConnection = connect(options).await?;
    let told: String =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection).await?;
    if told != "ok" {
        return Err(StoreError::Fault(sqlx::Error::Protocol(told)));
    }
    sqlx::query("SELECT id FROM users LIMIT 1").execute(&mut connection).await?;
    Ok(())
}

fn database_name(options: &PgConnectOptions) -> &str {
    options.get_database().unwrap_or_else(|| options.get_username())
}

/// One of PostgreSQL's programs, told by its environment where the server is: arguments can be read
/// by every user of the machine, and the password is among what it is told.
fn postgres_program(program: &'static str, options: &PgConnectOptions) -> Command {
    let mut command = Command::new(program);
    let url = options.to_url_lossy();
    let socket = options.get_socket().map(|path| path.as_os_str());
    command
        .env("PGHOST", socket.unwrap_or_else(|| options.get_host().as_ref()))
        .env("PGPORT", options.get_port().to_string())
        .env("PGUSER", options.get_username())
        .env("PGDATABASE", database_name(options))
        .env("PGSSLMODE", ssl_mode(options.get_ssl_mode()))
        .stdin(Stdio::null());
    if let Some(password) = url.password() {
        let password = percent_decode_str(password).decode_utf8_lossy().into_owned();
        command.env("PGPASSWORD", password);
    }
    if let Some((_, certificate)) = url.query_pairs().find(|(name, _)| name == "sslrootcert") {
        command.env("PGSSLROOTCERT", certificate.into_owned());
    }
    command
}

const fn ssl_mode(mode: PgSslMode) -> &'static str {
    match mode {
        PgSslMode::Disable => "disable",
        PgSslMode::Allow => "allow",
        PgSslMode::Prefer => "prefer",
        PgSslMode::Require => "require",
        PgSslMode::VerifyCa => "verify-ca",
        PgSslMode::VerifyFull => "verify-full",
    }
}

async fn run(name: &'static str, command: &mut Command) -> Result<(), BackupError> {
    let done =
        command.kill_on_drop(true).output().await.map_err(|e| BackupError::Program(name, e))?;
    if done.status.success() {
        return Ok(());
    }
    Err(BackupError::Failed(name, String::from_utf8_lossy(&done.stderr).trim().to_owned()))
}
