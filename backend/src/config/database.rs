//! `DATABASE_URL`, and the bounds of the pool of connections to it.

use std::ops::RangeInclusive;
use std::str::FromStr as _;
use std::time::Duration;

use super::{Environment, Secret};
use crate::store::{Database, PoolLimits};

/// A connection of PostgreSQL is a process there; a thousand is more than any server is given.
const CONNECTIONS: RangeInclusive<u32> = 1..=1000;
/// From an answer at once to half of what a request may take.
const TIMEOUT_MS: RangeInclusive<u32> = 10..=15_000;

/// Reads the three bounds; what is not set is as [`PoolLimits::default`] says.
pub(super) fn read_limits(env: &mut Environment<'_>) -> PoolLimits {
    let mut milliseconds = |name, default: Duration| {
        let default = u32::try_from(default.as_millis()).unwrap_or(u32::MAX);
        Duration::from_millis(env.number(name, TIMEOUT_MS, default).into())
    };
    let PoolLimits { acquire, statement, .. } = PoolLimits::default();
    PoolLimits {
        acquire: milliseconds("DATABASE_ACQUIRE_TIMEOUT_MS", acquire),
        statement: milliseconds("DATABASE_STATEMENT_TIMEOUT_MS", statement),
        connections: env.optional_number("DATABASE_CONNECTIONS", CONNECTIONS),
    }
}

/// Reads `DATABASE_URL`.
pub(super) fn read(env: &mut Environment<'_>) -> Database {
    let url = env.secret("DATABASE_URL");
    let url = url.as_ref().map_or("sqlite://data/nomation.db", Secret::expose);
    let scheme = url.split(':').next().unwrap_or_default();
    // The parsers' own messages are not passed on: they may quote the URL, and with it the
    // password.
    let (what, remedy) = match scheme {
        "sqlite" if url.contains(":memory:") || url.contains("mode=memory") => (
            "is an in-memory database, of which every connection would have its own",
            "name a file: DATABASE_URL=sqlite://data/nomation.db",
        ),
        "sqlite" => match sqlx::sqlite::SqliteConnectOptions::from_str(url) {
            Ok(options) => return Database::Sqlite(Box::new(options)),
            Err(_quotes_the_url) => (
                "is not a SQLite URL",
                "DATABASE_URL=sqlite://data/nomation.db, or sqlite:///var/lib/nomation/nomation.db",
            ),
        },
        "postgres" | "postgresql" => match sqlx::postgres::PgConnectOptions::from_str(url) {
            Ok(options) => {
                return Database::Postgres(Box::new(options.application_name("nomation")));
            }
            Err(_quotes_the_url) => (
                "is not a PostgreSQL URL",
                "DATABASE_URL=postgres://user:password@host:5432/nomation?sslmode=verify-full; \
                 percent-encode special characters of the password",
            ),
        },
        _ => {
            ("names no database that Nomation knows", "begin it with sqlite:// or with postgres://")
        }
    };
    env.fault("DATABASE_URL", what, remedy);
    Database::Sqlite(Box::default())
}
