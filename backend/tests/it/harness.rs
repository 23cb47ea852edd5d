//! Databases and servers for one test each.

use std::ffi::OsString;
use std::future::Future;
use std::time::{Duration, Instant};

use nomation::config::{Bind, Config};
use nomation::server::Server;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use tempfile::TempDir;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::client::Client;

/// What tokens are signed with in tests.
pub(crate) const JWT_SECRET: &str = "k3VfQm0ZxT9bLw7sYdR2uHcJ5aNpE8gO1iKzXvBt";

/// Makes two tests of each story, an async function that takes a [`TestServer`]. One that is not
/// listed is dead code, which the compiler reports.
macro_rules! on_both_engines {
    ($($story:ident),+ $(,)?) => {$(
        mod $story {
            use crate::harness::{Engine, tell};

            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                tell(Engine::Sqlite, super::$story).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                tell(Engine::Postgres, super::$story).await;
            }
        }
    )+};
}

/// Where a server is that only `cargo xtask test` starts.
pub(crate) fn server_url(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_missing| {
        panic!("{name} is not set: run cargo xtask test, which starts PostgreSQL and Redis")
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

/// A database of the test's own.
pub(crate) struct TestDatabase {
    pub(crate) url: String,
    kind: Kind,
}

enum Kind {
    File(TempDir),
    OnServer { server: String, name: String },
}

impl TestDatabase {
    pub(crate) async fn create(engine: Engine) -> Self {
        match engine {
            Engine::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                let url = format!("sqlite://{}/made/nomation.db", folder.path().display());
                Self { url, kind: Kind::File(folder) }
            }
            Engine::Postgres => {
                let server = server_url("TEST_DATABASE_URL");
                let name = format!("nomation_test_{}", Uuid::now_v7().simple());
                administer(&server, format!("CREATE DATABASE {name}")).await;
                let url = with_database(&server, &name);
                Self { url, kind: Kind::OnServer { server, name } }
            }
        }
    }

    pub(crate) async fn remove(self) {
        match self.kind {
            // A connection that is still closing may write beside what is being removed.
            Kind::File(folder) => {
                let deadline = Instant::now() + Duration::from_secs(10);
                while let Err(error) = std::fs::remove_dir_all(folder.path()) {
                    assert!(Instant::now() < deadline, "{error}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            Kind::OnServer { server, name } => {
                administer(&server, format!("DROP DATABASE {name} WITH (FORCE)")).await;
            }
        }
    }
}

async fn administer(server: &str, statement: String) {
    let options: sqlx::postgres::PgConnectOptions = server.parse().unwrap();
    let mut connection = options.connect().await.expect("TEST_DATABASE_URL answers");
    connection.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
    connection.close().await.unwrap();
}

/// The same server's URL with another database.
fn with_database(server: &str, name: &str) -> String {
    let (scheme, rest) = server.split_once("://").unwrap();
    let (address, query) = rest.split_once('?').map_or((rest, None), |(a, q)| (a, Some(q)));
    let authority = address.split('/').next().unwrap();
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{scheme}://{authority}/{name}{query}")
}

/// A server in this process, on a port of its own.
pub(crate) struct TestServer {
    pub(crate) client: Client,
    pub(crate) database_url: String,
    _stop: oneshot::Sender<()>,
}

impl TestServer {
    /// Starts on `database_url`, with more environment if wanted.
    pub(crate) async fn start(database_url: &str, environment: &[(&str, &str)]) -> Self {
        let standard =
            [("BIND", "127.0.0.1:0"), ("DATABASE_URL", database_url), ("JWT_SECRET", JWT_SECRET)];
        let lookup = |name: &str| {
            let found = environment.iter().chain(&standard).find(|(n, _)| *n == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let (config, _log) = Config::read(&lookup).unwrap();
        let server = Server::prepare(config).await.unwrap();
        let Bind::Tcp(address) = *server.address() else { panic!("a test server listens on TCP") };
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(server.run(async move {
            let _ = stopped.await;
        }));
        let client = Client::new(&address.to_string());
        Self { client, database_url: database_url.to_owned(), _stop: stop }
    }
}

/// Runs `story` on a new server and database, and removes the database whatever comes of it.
pub(crate) async fn tell<F>(engine: Engine, story: impl FnOnce(TestServer) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let database = TestDatabase::create(engine).await;
    // What is asked for stays as it was asked for; the stories of the worker start their own.
    let server = TestServer::start(&database.url, &[("WORKER", "apart")]).await;
    let outcome = tokio::spawn(story(server)).await;
    database.remove().await;
    if let Err(failure) = outcome {
        std::panic::resume_unwind(failure.into_panic());
    }
}
