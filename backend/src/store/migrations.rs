//! The schema's history, embedded from `migrations/`: append-only, each step with its way back.
//!
//! They run on a connection of their own, because building an index may take longer than any
//! statement of a request may.

use std::sync::LazyLock;

use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::{Connection, PgConnection, SqliteConnection};

use super::pool::{connect, sqlite_options};
use super::{Database, StoreError};

static SQLITE: LazyLock<Migrator> =
    LazyLock::new(|| newer_allowed(sqlx::migrate!("../migrations/sqlite")));
static POSTGRES: LazyLock<Migrator> =
    LazyLock::new(|| newer_allowed(sqlx::migrate!("../migrations/postgres")));

/// Where sqlx keeps the history, in the database itself.
const HISTORY: &str = "_sqlx_migrations";

/// The migrations cannot be read or applied.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The database cannot be reached.
    #[error("the database does not answer")]
    Unreachable(#[from] StoreError),
    /// A step failed, or one that was applied has changed since.
    #[error("the database cannot be migrated")]
    Failed(#[from] MigrateError),
}

/// Applies what is pending and returns its names, in order.
///
/// # Errors
/// When the database cannot be reached, a step fails (it is rolled back), or an applied step is
/// altered.
pub async fn run(database: &Database) -> Result<Vec<String>, MigrationError> {
    match database {
        Database::Sqlite(options) => {
            let mut connection: SqliteConnection = connect(&sqlite_options(options)?).await?;
            let pending = pending_on(&SQLITE, &mut connection).await?;
            SQLITE.run(&mut connection).await?;
            connection.close().await.map_err(StoreError::from)?;
            Ok(pending)
        }
        Database::Postgres(options) => {
            let mut connection: PgConnection = connect(options.as_ref()).await?;
            let pending = pending_on(&POSTGRES, &mut connection).await?;
            POSTGRES.run(&mut connection).await?;
            connection.close().await.map_err(StoreError::from)?;
            Ok(pending)
        }
    }
}

/// The names of the steps that the database lacks, in order; changes nothing.
///
/// # Errors
/// When the database cannot be reached.
pub async fn pending(database: &Database) -> Result<Vec<String>, MigrationError> {
    match database {
        Database::Sqlite(options) => {
            let mut connection: SqliteConnection = connect(&sqlite_options(options)?).await?;
            pending_on(&SQLITE, &mut connection).await
        }
        Database::Postgres(options) => {
            let mut connection: PgConnection = connect(options.as_ref()).await?;
            pending_on(&POSTGRES, &mut connection).await
        }
    }
}

/// A step that only a newer version knows is no fault: it stays when an upgrade is taken back.
fn newer_allowed(mut steps: Migrator) -> Migrator {
    steps.set_ignore_missing(true);
    steps
}

async fn pending_on(
    migrator: &Migrator,
    connection: &mut impl Migrate,
) -> Result<Vec<String>, MigrationError> {
    let applied = match connection.list_applied_migrations(HISTORY).await {
        Ok(applied) => applied,
        Err(error) if is_missing_table(&error) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let is_pending = |version| !applied.iter().any(|step| step.version == version);
    Ok(migrator
        .iter()
        .filter(|step| step.migration_type.is_up_migration() && is_pending(step.version))
        .map(|step| format!("{:04} {}", step.version, step.description))
        .collect())
}

/// Whether the history's own table is not there yet. Creating it to look would need rights that a
/// server in production should not have.
fn is_missing_table(error: &MigrateError) -> bool {
    let MigrateError::Execute(error) = error else { return false };
    error.as_database_error().is_some_and(|refusal| {
        refusal.code().as_deref() == Some("42P01") || refusal.message().starts_with("no such table")
    })
}

#[cfg(test)]
mod tests {
    use super::{POSTGRES, SQLITE};

    #[test]
    fn both_engines_have_the_same_steps_and_each_step_its_way_back() {
        let steps = |migrator: &sqlx::migrate::Migrator| -> Vec<(i64, String, bool)> {
            let step = |m: &sqlx::migrate::Migration| {
                (m.version, m.description.to_string(), m.migration_type.is_down_migration())
            };
            migrator.iter().map(step).collect()
        };
        assert_eq!(steps(&SQLITE), steps(&POSTGRES));
        let (ups, downs): (Vec<_>, Vec<_>) =
            steps(&SQLITE).into_iter().partition(|(_, _, down)| !down);
        assert_eq!(ups.len(), downs.len());
    }
}
