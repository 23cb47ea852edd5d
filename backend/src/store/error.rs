//! What can go wrong in the store, sorted by what the client should do about it.

use sqlx::error::ErrorKind;

/// A failure of the store. Its text and sources are for the log; a client gets a status and a fixed
/// sentence.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another user has this e-mail address.
    #[error("the e-mail address is taken")]
    EmailTaken,
    /// Another record has what must be unique.
    #[error("what must be unique is taken")]
    Taken,
    /// What the record refers to was deleted meanwhile.
    #[error("what the record refers to does not exist")]
    Gone,
    /// The owner is no longer in the database, though a token still names them.
    #[error("the owner does not exist")]
    OwnerGone,
    /// The database is away, overloaded or out of room. It may be back soon.
    #[error("the database does not answer")]
    Unavailable(#[source] sqlx::Error),
    /// A statement is wrong or a row unreadable: a fault of the program.
    #[error("the database refused a statement")]
    Fault(#[source] sqlx::Error),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if is_passing(&error) { Self::Unavailable(error) } else { Self::Fault(error) }
    }
}

impl StoreError {
    /// Reads a broken rule of a table as what it means; everything else as [`From`] does.
    pub(super) fn on_broken_rule(error: sqlx::Error, rule: &ErrorKind, meaning: Self) -> Self {
        match error.as_database_error() {
            Some(refusal) if refusal.kind() == *rule => meaning,
            _ => error.into(),
        }
    }
}

/// Whether the same statement could succeed later, with nothing changed in the program.
fn is_passing(error: &sqlx::Error) -> bool {
    if let Some(refusal) = error.as_database_error() {
        let code = refusal.code().unwrap_or_default();
        return if refusal.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
            is_passing_sqlstate(&code)
        } else {
            is_passing_sqlite(&code)
        };
    }
    matches!(
        error,
        sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
    )
}

/// PostgreSQL's classes 08 (connection), 28 and 3D (login and database, as during a restore), 40
/// (lost a race), 53 (out of resources), 57 (shutdown, statement timeout), 58 (I/O), and 25006,
/// what a standby says to a writer.
fn is_passing_sqlstate(code: &str) -> bool {
    code == "25006"
        || ["08", "28", "3D", "40", "53", "57", "58"].iter().any(|c| code.starts_with(c))
}

/// SQLite's primary codes (the low byte) BUSY 5, LOCKED 6, NOMEM 7, READONLY 8, INTERRUPT 9 (its
/// time is over), IOERR 10, FULL 13, CANTOPEN 14.
fn is_passing_sqlite(code: &str) -> bool {
    code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5..=10 | 13 | 14))
}

#[cfg(test)]
mod tests {
    use super::{is_passing_sqlite, is_passing_sqlstate};

    #[test]
    fn an_outage_passes_and_a_wrong_statement_does_not() {
        for passing in ["08006", "57P01", "57014", "53300", "40001", "25006"] {
            assert!(is_passing_sqlstate(passing), "{passing}");
        }
        for fault in ["42601", "22021", "23505", "25001"] {
            assert!(!is_passing_sqlstate(fault), "{fault}");
        }
        for passing in ["5", "517", "9", "13", "778"] {
            assert!(is_passing_sqlite(passing), "{passing}");
        }
        for fault in ["1", "11", "2067", ""] {
            assert!(!is_passing_sqlite(fault), "{fault}");
        }
    }
}
