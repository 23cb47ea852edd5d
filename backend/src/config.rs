//! The environment, read once into what the program uses.
//!
//! [`Config::read`] looks at every variable before it gives up, so that all faults are told at
//! once, each with its remedy. A variable that is empty counts as not set, which is what Compose's
//! `${NAME:-}` makes of a missing one. A secret `NAME` may instead be the content of the file that
//! `NAME_FILE` names.

mod cost;
mod cors;
mod database;
mod environment;
mod jwt;
mod secret;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use axum::http::HeaderValue;
use tracing_subscriber::EnvFilter;

use environment::Environment;
pub use environment::Faults;
pub use secret::Secret;

use crate::store::{Database, PoolLimits};

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
    /// `DATABASE_CONNECTIONS`, `DATABASE_ACQUIRE_TIMEOUT_MS`, `DATABASE_STATEMENT_TIMEOUT_MS`.
    pub pool: PoolLimits,
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

/// What `nomation worker` needs to know; each is as in [`Config`].
#[derive(Debug)]
pub struct WorkerConfig {
    /// `DATABASE_URL`.
    pub database: Database,
    /// The bounds of its pool.
    pub pool: PoolLimits,
    /// `REDIS_URL`, parsed.
    pub redis: Option<redis::Client>,
    /// `WORKER_BIND`: where it says whether it is ready; nowhere by default.
    pub bind: Option<Bind>,
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
            database: database::read(&mut env),
            pool: database::read_limits(&mut env),
            jwt_secret: jwt::read_secret(&mut env, app_env),
            jwt_previous: jwt::read_previous(&mut env, app_env),
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

    /// Reads where a worker listens, all that `nomation health --worker` needs.
    ///
    /// # Errors
    /// What is wrong with `WORKER_BIND`, or that it is not set.
    pub fn read_worker_address(lookup: Lookup<'_>) -> Result<Bind, Faults> {
        let mut env = Environment::new(lookup);
        let bind = read_worker_bind(&mut env).unwrap_or_else(|| {
            env.fault("WORKER_BIND", "is not set", "set it as it is for the worker");
            Bind::Unix(PathBuf::new())
        });
        env.finish(bind)
    }

    /// Reads what `nomation worker` needs, which knows nothing of tokens.
    ///
    /// # Errors
    /// Every fault of these variables.
    pub fn read_worker(lookup: Lookup<'_>) -> Result<(WorkerConfig, LogConfig), Faults> {
        let mut env = Environment::new(lookup);
        let app_env = read_app_env(&mut env);
        let log = LogConfig { app_env, filter: read_filter(&mut env) };
        let config = WorkerConfig {
            database: database::read(&mut env),
            pool: database::read_limits(&mut env),
            redis: read_redis(&mut env, app_env),
            bind: read_worker_bind(&mut env),
        };
        env.finish((config, log))
    }

    /// Reads what the commands on the database alone need, so that whoever runs them
    /// is given no other secret.
    ///
    /// # Errors
    /// Every fault of these variables.
    pub fn read_database_alone(lookup: Lookup<'_>) -> Result<(Database, LogConfig), Faults> {
        let mut env = Environment::new(lookup);
        let log = LogConfig { app_env: read_app_env(&mut env), filter: read_filter(&mut env) };
        let database = database::read(&mut env);
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
    parse_bind(env, "BIND", &value)
}

fn read_worker_bind(env: &mut Environment<'_>) -> Option<Bind> {
    let value = env.text("WORKER_BIND")?;
    Some(parse_bind(env, "WORKER_BIND", &value))
}

fn parse_bind(env: &mut Environment<'_>, name: &'static str, value: &str) -> Bind {
    if let Some(path) = value.strip_prefix("unix:").filter(|path| !path.is_empty()) {
        return Bind::Unix(path.into());
    }
    value.parse().map_or_else(
        |_not_an_address| {
            env.fault(
                name,
                format!("is {value:?}, which is no address"),
                "an IP address and a port, as in 127.0.0.1:3002, or unix:/run/nomation.sock",
            );
            Bind::Unix(PathBuf::new())
        },
        Bind::Tcp,
    )
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
