//! The command line: which command, with which environment, ending in which exit code.

mod manual;
mod probe;
mod seed;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand, value_parser};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Config, Faults};
use crate::http::problem::Causes;
use crate::server::{self, Server, StartError};
use crate::store::{backup, migrations};
use crate::telemetry;

/// The server beside is not ready.
const UNHEALTHY: u8 = 1;
/// Wrong usage, or a configuration that cannot be used.
const UNUSABLE: u8 = 2;
/// A failure of our own, or of what we depend on (sysexits.h: `EX_SOFTWARE`).
const FAILURE: u8 = 70;

/// Most rows of a seed: with them, a large disk is full.
const ROWS_MAX: i64 = 10_000_000;

const ENVIRONMENT: &str = "\
Environment (every name marked * also as NAME_FILE, the path of a file that holds the value):
  APP_ENV         development (default) or production, which refuses what is only convenient
  BIND            127.0.0.1:3002 (default), or unix:/path/of/a.sock
  DATABASE_URL *  sqlite://data/nomation.db (default), or postgres://user:password@host/database
  DATABASE_CONNECTIONS, DATABASE_ACQUIRE_TIMEOUT_MS, DATABASE_STATEMENT_TIMEOUT_MS
                  bounds of the pool: 20 (SQLite: 8), 3000 and 5000 by default
  JWT_SECRET *    signs access tokens; production needs 32 random bytes: openssl rand -base64 48
  JWT_SECRET_PREVIOUS *  the secret before, which still verifies: replace secrets in two steps
  ARGON2_MEMORY_KIB, ARGON2_ITERATIONS, ARGON2_PARALLELISM
                  what a new password hash costs: 19456, 2 and 1 by default
  CORS_ORIGIN     origins whose pages may call the API, separated by commas; none by default
  REDIS_URL *     redis://:password@host:6379, whose stream tells workers of jobs; none by default
  WORKER_BIND     where `worker` answers `health --worker`, as BIND; nowhere by default
  WORKER          inside (default): `serve` also performs executions; apart: only `worker` does
  RUST_LOG        how much to log: info (default), or nomation=debug,info

Exit codes: 0 success, 1 not healthy, 2 wrong usage or unusable configuration, 70 own failure.";

/// The application behind Gatehouse: users, their projects and tests, over an internal HTTP API.
#[derive(Parser)]
#[command(name = "nomation", version, after_long_help = ENVIRONMENT, after_help = ENVIRONMENT)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answer requests until INT or TERM, then finish what is in flight.
    ///
    /// In development the database is migrated first. In production pending migrations are a reason
    /// not to start.
    Serve,
    /// Bring the database to this program's schema.
    ///
    /// Needs DATABASE_URL only. Safe to run twice; on PostgreSQL also from several machines at
    /// once.
    Migrate,
    /// Fill the database with as much as a year of use leaves behind, the same every time.
    ///
    /// Needs DATABASE_URL; migrates it first. Not for production: everybody knows the password of
    /// these users. Repeat it after an interruption, and it goes on.
    Seed {
        /// How many elements there shall be, and how many executions; of all else in proportion.
        #[arg(long, default_value_t = 1000, value_parser = value_parser!(u32).range(1..=ROWS_MAX))]
        rows: u32,
    },
    /// Print the OpenAPI 3.1 document of the API, which /api/openapi.json serves too.
    ///
    /// Needs no environment and no database.
    Openapi,
    /// Perform executions in Chromium until INT or TERM, then finish those in hand.
    ///
    /// Needs DATABASE_URL, REDIS_URL where the server has it, a browser and chromedriver. `serve`
    /// has such a worker inside unless WORKER=apart; as many more as wanted may run beside it, on
    /// other machines too.
    Worker,
    /// Write the whole database to a new file, while it is in use.
    ///
    /// Needs DATABASE_URL, and for PostgreSQL its own pg_dump.
    Backup {
        /// The file to write; it must not exist.
        file: PathBuf,
    },
    /// Fill an empty database from a backup.
    ///
    /// Needs DATABASE_URL, and for PostgreSQL its own pg_restore.
    Restore {
        /// A file that `nomation backup` wrote.
        file: PathBuf,
    },
    /// Say by the exit code whether the server that runs beside is ready: 0, or 1 and why not.
    ///
    /// Needs BIND only, or WORKER_BIND; made for the health check of a container.
    Health {
        /// Ask the worker instead.
        #[arg(long)]
        worker: bool,
    },
    /// Write man pages and shell completions into FOLDER, for packages.
    #[command(hide = true)]
    Manual { folder: PathBuf },
}

/// Runs the command that the process was started with.
#[must_use]
pub fn run() -> ExitCode {
    // clap prints its own faults and ends with 2, or prints help and ends with 0.
    let Arguments { command } = Arguments::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(FAILURE, &format!("the runtime cannot start: {error}")),
    };
    runtime.block_on(async {
        match command {
            Command::Serve => serve().await,
            Command::Migrate => migrate().await,
            Command::Seed { rows } => seed::run(rows).await,
            Command::Openapi => openapi(),
            Command::Worker => work().await,
            Command::Backup { file } => copy(Direction::Out, &file).await,
            Command::Restore { file } => copy(Direction::In, &file).await,
            Command::Health { worker } => health(worker).await,
            Command::Manual { folder } => match manual::write(&folder) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => failed(FAILURE, &format!("{}: {error}", folder.display())),
            },
        }
    })
}

async fn serve() -> ExitCode {
    let (config, log) = match Config::read(&|name| std::env::var_os(name)) {
        Ok(read) => read,
        Err(faults) => return unusable(&faults),
    };
    telemetry::install(log);
    // Before anything is opened, so that a signal during the start is not missed.
    let stop = match stop_signal() {
        Ok(stop) => stop,
        Err(error) => return failed(FAILURE, &format!("signals cannot be received: {error}")),
    };
    match Server::prepare(config).await {
        Ok(server) => {
            server.run(stop).await;
            ExitCode::SUCCESS
        }
        Err(error) => not_started(&error),
    }
}

fn not_started(error: &StartError) -> ExitCode {
    let code = match error {
        StartError::Pending(_) | StartError::Bind(_) => UNUSABLE,
        StartError::Store(..)
        | StartError::Migration(..)
        | StartError::Hasher(_)
        | StartError::Secret(_)
        | StartError::Queue(_) => FAILURE,
    };
    failed(code, &Causes(error).to_string())
}

async fn migrate() -> ExitCode {
    let (database, log) = match Config::read_database_alone(&|name| std::env::var_os(name)) {
        Ok(read) => read,
        Err(faults) => return unusable(&faults),
    };
    telemetry::install(log);
    match migrations::run(&database).await {
        Ok(applied) => {
            tracing::info!(%database, ?applied, "the database is up to date");
            ExitCode::SUCCESS
        }
        Err(error) => failed(FAILURE, &format!("{database}: {}", Causes(&error))),
    }
}

fn openapi() -> ExitCode {
    use std::io::Write as _;
    // A reader that closes the pipe early, such as `head`, has what it wanted.
    let _ = writeln!(std::io::stdout(), "{:#}", crate::http::openapi());
    ExitCode::SUCCESS
}

async fn work() -> ExitCode {
    let (config, log) = match Config::read_worker(&|name| std::env::var_os(name)) {
        Ok(read) => read,
        Err(faults) => return unusable(&faults),
    };
    telemetry::install(log);
    let stop = match stop_signal() {
        Ok(stop) => stop,
        Err(error) => return failed(FAILURE, &format!("signals cannot be received: {error}")),
    };
    match server::work(config, stop).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => not_started(&error),
    }
}

/// Which way a backup goes.
enum Direction {
    Out,
    In,
}

async fn copy(direction: Direction, file: &Path) -> ExitCode {
    let (database, _log) = match Config::read_database_alone(&|name| std::env::var_os(name)) {
        Ok(read) => read,
        Err(faults) => return unusable(&faults),
    };
    let copied = match direction {
        Direction::Out => backup::backup(&database, file).await,
        Direction::In => backup::restore(&database, file).await,
    };
    match copied {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(FAILURE, &format!("{database}: {}", Causes(&error))),
    }
}

async fn health(worker: bool) -> ExitCode {
    let read = if worker { Config::read_worker_address } else { Config::read_address };
    match read(&|name| std::env::var_os(name)) {
        Ok(bind) => match probe::ask(&bind).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => failed(UNHEALTHY, &why),
        },
        Err(faults) => unusable(&faults),
    }
}

/// Resolves at the first INT or TERM.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn unusable(faults: &Faults) -> ExitCode {
    failed(UNUSABLE, &faults.to_string())
}

fn failed(code: u8, message: &str) -> ExitCode {
    eprintln!("nomation: {message}");
    ExitCode::from(code)
}
