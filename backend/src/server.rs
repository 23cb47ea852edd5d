//! From a configuration to a running server, and back to a stopped one.
//!
//! [`Server::prepare`] does everything that can fail: the database, its migrations, the address.
//! What it returns is already listening, so whoever waits for it may connect. [`Server::run`]
//! answers until told to stop. [`work`] is the same for a worker apart from the server.

mod apart;
mod listener;
mod sweep;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::sync::oneshot;

use crate::config::{AppEnv, Config, Secret};
use crate::domain::password::{HashError, Hasher};
use crate::domain::token::Tokens;
use crate::http::metrics::Requests;
use crate::http::{App, Watchers, router};
use crate::queue::Queue;
use crate::store::migrations::{self, MigrationError};
use crate::store::{Database, Store, StoreError};
use crate::supervisor;
use crate::worker::{Tally, Worker};
pub use apart::work;
pub use listener::BindError;
use listener::BoundListener;

/// How long requests in flight may take to finish after a stop.
const STOP_MAX: Duration = Duration::from_secs(10);
/// Length of the secret that development makes for itself, in bytes.
const MADE_SECRET_BYTES: usize = 32;

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database lacks steps and this is production, where nobody migrates by accident.
    #[error(
        "the database lacks {} migration(s): {}\n  \
         remedy: run `nomation migrate` with the same DATABASE_URL, then start again",
        .0.len(), .0.join(", ")
    )]
    Pending(Vec<String>),
    /// The address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The database cannot be reached.
    #[error("{0} cannot be opened")]
    Store(Database, #[source] StoreError),
    /// The database cannot be migrated.
    #[error("{0} cannot be migrated")]
    Migration(Database, #[source] MigrationError),
    /// No decoy hash.
    #[error("the password hasher cannot start")]
    Hasher(#[from] HashError),
    /// No random bytes.
    #[error("no signing secret can be made")]
    Secret(#[from] getrandom::Error),
    /// The queue's client refuses its own settings.
    #[error("the queue's client cannot start")]
    Queue(#[from] redis::RedisError),
}

/// A server that listens and does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: BoundListener,
    router: Router,
    store: Store,
    worker: Option<Worker>,
}

impl Server {
    /// Opens the database (in development, migrates it), then listens.
    ///
    /// # Errors
    /// As [`StartError`] says; nothing is left open.
    pub async fn prepare(config: Config) -> Result<Self, StartError> {
        let Config {
            app_env,
            bind,
            database,
            pool,
            jwt_secret,
            jwt_previous,
            hash_cost,
            cors_origins,
            redis,
            worker,
        } = config;
        warn_of_sqlite(app_env, &database);
        migrate_or_refuse(app_env, &database).await?;
        let store = Store::open(&database, pool)
            .await
            .map_err(|error| StartError::Store(database.clone(), error))?;
        let (queue, tally) = (redis.map(Queue::new).transpose()?, Arc::new(Tally::default()));
        let app = App {
            store: store.clone(),
            hasher: Hasher::new(hash_cost)?,
            tokens: Tokens::new(
                signing_secret(jwt_secret)?.expose().as_bytes(),
                jwt_previous.as_ref().map(|secret| secret.expose().as_bytes()),
            ),
            queue: queue.clone(),
            requests: Requests::default(),
            tally: Arc::clone(&tally),
            watchers: Watchers::default(),
        };
        let listener = BoundListener::bind("BIND", &bind).await?;
        tracing::info!(address = %listener.address(), %database, %app_env, "listening");
        let worker = worker.then(|| Worker::new(store.clone(), queue, tally));
        Ok(Self { listener, router: router(Arc::new(app), cors_origins), store, worker })
    }

    /// Where the server listens: the address asked for, with the port that was really taken.
    #[must_use]
    pub fn address(&self) -> &crate::config::Bind {
        self.listener.address()
    }

    /// Answers until `stop` resolves, then finishes what is in flight: requests for ten seconds at
    /// most, jobs for [`STOP_MAX`](crate::worker::STOP_MAX).
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { listener, router, store, worker } = self;
        let (tell, told) = oneshot::channel::<()>();
        let (tell_worker, worker_told) = oneshot::channel::<()>();
        let working = tokio::spawn(async move {
            if let Some(worker) = worker {
                // An error means that the sender is gone, which is just as good a reason to stop.
                worker.run(async { drop(worker_told.await) }).await;
            }
        });
        let serving = listener.serve(router, async move {
            // An error means that the sender is gone, which is just as good a reason to stop.
            let _ = told.await;
        });
        tokio::pin!(serving);
        supervisor::serves();
        tokio::select! {
            () = &mut serving => {}
            () = sweep::run(&store) => {}
            () = stop => {
                supervisor::stops();
                tracing::info!("stopping: no new connections, requests in flight finish");
                drop(tell);
                drop(tell_worker);
                if tokio::time::timeout(STOP_MAX, serving).await.is_err() {
                    tracing::warn!(after = ?STOP_MAX, "requests still in flight are cut off");
                }
            }
        }
        if let Err(panic) = working.await {
            tracing::error!(cause = %panic, "the worker broke");
        }
        store.close().await;
        tracing::info!("stopped");
    }
}

/// One file serves one machine: production may want that, and should know.
fn warn_of_sqlite(app_env: AppEnv, database: &Database) {
    if app_env == AppEnv::Production && matches!(database, Database::Sqlite(_)) {
        tracing::warn!(
            %database,
            "production on a SQLite file: one process, one disk; \
             remedy: DATABASE_URL=postgres://..., or back the file up"
        );
    }
}

async fn migrate_or_refuse(app_env: AppEnv, database: &Database) -> Result<(), StartError> {
    let failed = |error| StartError::Migration(database.clone(), error);
    match app_env {
        AppEnv::Development => {
            let applied = migrations::run(database).await.map_err(failed)?;
            if !applied.is_empty() {
                tracing::info!(?applied, "migrated");
            }
            Ok(())
        }
        AppEnv::Production => {
            let pending = migrations::pending(database).await.map_err(failed)?;
            if pending.is_empty() { Ok(()) } else { Err(StartError::Pending(pending)) }
        }
    }
}

/// The secret given, or one made up: the configuration only lets development come here without.
fn signing_secret(given: Option<Secret>) -> Result<Secret, getrandom::Error> {
    if let Some(secret) = given {
        return Ok(secret);
    }
    tracing::info!("JWT_SECRET is not set: made a random one, so tokens end with this process");
    let mut bytes = [0; MADE_SECRET_BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(Secret::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
}
