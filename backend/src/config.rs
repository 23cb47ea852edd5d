//! The environment, read once into what the program uses.
//!
//! [`Config::read`] looks at every variable before it gives up, so that all faults are told at
//! once, each with its remedy. A variable that is empty counts as not set, which is what Compose's
//! `${NAME:-}` makes of a missing one. A secret `NAME` may instead be the content of the file that
//! `NAME_FILE` names.

mod cost;
mod cors;
mod environment;
mod secret;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr as _;

use axum::http::HeaderValue;
use tracing_subscriber::EnvFilter;

use environment::Environment;
pub use environment::Faults;
pub use secret::Secret;

use crate::store::Database;

/// Shortest signing secret in production, in bytes: the output of HMAC-SHA-256, below which
/// guessing gets cheaper than the algorithm promises (RFC 7518, 3.2).
const SECRET_MIN: usize = 32;

/// Where the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppEnv {
    /// Migrates at start and makes up a missing secret; logs text.
    Development,
    /// Refuses what is only convenient; logs JSON.
    Production,
}

impl fmt::Display for AppEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Development => "development",
            Self::Production => "production",
        })
    }
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    /// An address of this machine; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A socket file, reachable by its user and group.
    Unix(PathBuf),
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What `nomation serve` needs to know.
#[derive(Debug)]
pub struct Config {
    /// `APP_ENV`.
    pub app_env: AppEnv,
    /// `BIND`.
    pub bind: Bind,
    /// `DATABASE_URL`.
    pub database: Database,
    /// `JWT_SECRET`; always there in production.
    pub jwt_secret: Option<Secret>,
    /// `JWT_SECRET_PREVIOUS`: verifies what was signed before the secret was replaced.
    pub jwt_previous: Option<Secret>,
    /// `ARGON2_MEMORY_KIB`, `ARGON2_ITERATIONS`, `ARGON2_PARALLELISM`: what a new hash costs.
    pub hash_cost: argon2::Params,
    /// `CORS_ORIGIN`: the origins whose pages may call the API; none by default.
    pub cors_origins: Vec<HeaderValue>,
    /// `REDIS_URL`, parsed.
    pub redis: Option<redis::Client>,
    /// `WORKER`: whether this process also performs executions.
    pub worker: bool,
}

/// What every command needs to know.
#[derive(Debug)]
pub struct LogConfig {
    /// `APP_ENV`, which decides the form.
    pub app_env: AppEnv,
    /// `RUST_LOG`, which decides how much.
    pub filter: EnvFilter,
}

impl Config {
    /// Reads what `nomation serve` needs; `lookup` is [`std::env::var_os`] except in tests.
    ///
    /// # Errors
    /// Every fault of the environment.
    pub fn read(lookup: Lookup<'_>) -> Result<(Self, LogConfig), Faults> {
        let mut env = Environment::new(lookup);
        let app_env = read_app_env(&mut env);
        let log = LogConfig { app_env, filter: read_filter(&mut env) };
        let config = Self {
            app_env,
            bind: read_bind(&mut env),
            database: read_database(&mut env),
            jwt_secret: read_jwt_secret(&mut env, app_env),
            jwt_previous: read_jwt_previous(&mut env, app_env),
            hash_cost: cost::read(&mut env),
            cors_origins: cors::read(&mut env),
            redis: read_redis(&mut env, app_env),
            worker: read_worker(&mut env),
        };
        env.finish((config, log))
    }

    /// Reads where the server listens, all that `nomation health` needs.
    ///
    /// # Errors
    /// What is wrong with `BIND`.
    pub fn read_address(lookup: Lookup<'_>) -> Result<Bind, Faults> {
        let mut env = Environment::new(lookup);
        let bind = read_bind(&mut env);
        env.finish(bind)
    }

    /// Reads what the commands on the database alone need, so that whoever runs them
    /// is given no other secret.
    ///
    /// # Errors
    /// Every fault of these variables.
    pub fn read_database_alone(lookup: Lookup<'_>) -> Result<(Database, LogConfig), Faults> {
        let mut env = Environment::new(lookup);
        let log = LogConfig { app_env: read_app_env(&mut env), filter: read_filter(&mut env) };
        let database = read_database(&mut env);
        env.finish((database, log))
    }
}

/// Gives the value of an environment variable.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<std::ffi::OsString>;

fn read_app_env(env: &mut Environment<'_>) -> AppEnv {
    match env.text("APP_ENV").as_deref() {
        None | Some("development") => AppEnv::Development,
        Some("production") => AppEnv::Production,
        Some(other) => {
            env.fault("APP_ENV", format!("is {other:?}"), "set it to development or to production");
            // The stricter one, so that what production would refuse is told now and not at the
            // next attempt.
            AppEnv::Production
        }
    }
}

fn read_filter(env: &mut Environment<'_>) -> EnvFilter {
    let directives = env.text("RUST_LOG").unwrap_or_else(|| "info".to_owned());
    EnvFilter::builder().parse(&directives).unwrap_or_else(|error| {
        env.fault(
            "RUST_LOG",
            format!("is not a filter: {error}"),
            "RUST_LOG=info, or nomation=debug,info",
        );
        EnvFilter::default()
    })
}

fn read_bind(env: &mut Environment<'_>) -> Bind {
    let value = env.text("BIND").unwrap_or_else(|| "127.0.0.1:3002".to_owned());
    if let Some(path) = value.strip_prefix("unix:").filter(|path| !path.is_empty()) {
        return Bind::Unix(path.into());
    }
    value.parse().map_or_else(
        |_not_an_address| {
            env.fault(
                "BIND",
                format!("is {value:?}, which is no address"),
                "BIND=127.0.0.1:3002 (a number, not a name), or BIND=unix:/run/nomation.sock",
            );
            Bind::Unix(PathBuf::new())
        },
        Bind::Tcp,
    )
}

fn read_database(env: &mut Environment<'_>) -> Database {
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

fn read_jwt_secret(env: &mut Environment<'_>, app_env: AppEnv) -> Option<Secret> {
    const REMEDY: &str = "make one with `openssl rand -base64 48`, and set JWT_SECRET to it, \
                          or JWT_SECRET_FILE to the path of a file that holds it";
    let secret = env.secret("JWT_SECRET");
    if app_env == AppEnv::Production {
        match &secret {
            _ if env.is_faulty("JWT_SECRET") => {}
            None => {
                env.fault("JWT_SECRET", "is not set, and production makes up no secret", REMEDY);
            }
            Some(secret) => refuse_weak(env, "JWT_SECRET", secret, REMEDY),
        }
    }
    secret
}

/// The secret before the present one. It still opens doors, so production wants it as strong.
fn read_jwt_previous(env: &mut Environment<'_>, app_env: AppEnv) -> Option<Secret> {
    const NAME: &str = "JWT_SECRET_PREVIOUS";
    let secret = env.secret(NAME)?;
    if app_env == AppEnv::Production {
        refuse_weak(env, NAME, &secret, "leave it out: whoever is logged in refreshes once more");
    }
    Some(secret)
}

fn refuse_weak(env: &mut Environment<'_>, name: &'static str, secret: &Secret, remedy: &str) {
    let length = secret.expose().len();
    if length < SECRET_MIN {
        env.fault(name, format!("has {length} bytes; production needs {SECRET_MIN}"), remedy);
    } else if secret.is_guessable() {
        env.fault(name, "is an example or a pattern, not a random secret", remedy);
    }
}

fn read_redis(env: &mut Environment<'_>, app_env: AppEnv) -> Option<redis::Client> {
    let url = env.secret("REDIS_URL")?;
    let client = redis::Client::open(url.expose())
        .map_err(|_may_quote_the_url| {
            env.fault(
                "REDIS_URL",
                "is not a Redis URL",
                "REDIS_URL=redis://:password@host:6379/0, or rediss:// for TLS",
            );
        })
        .ok()?;
    let has_password = client.get_connection_info().redis_settings().password().is_some();
    if app_env == AppEnv::Production && !has_password {
        env.fault(
            "REDIS_URL",
            "has no password, and production does not talk to an open Redis",
            "set requirepass there, and REDIS_URL=redis://:password@host:6379/0 here",
        );
    }
    Some(client)
}

fn read_worker(env: &mut Environment<'_>) -> bool {
    match env.text("WORKER").as_deref() {
        None | Some("inside") => true,
        Some("apart") => false,
        Some(other) => {
            let remedy = "set it to inside, or to apart where `nomation worker` runs";
            env.fault("WORKER", format!("is {other:?}"), remedy);
            true
        }
    }
}

#[cfg(test)]
mod tests;
