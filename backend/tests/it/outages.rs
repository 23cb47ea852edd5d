//! The database or the queue goes away and comes back, and the server needs no restart.

use serde_json::json;
use sqlx::{ConnectOptions as _, Executor as _};

use crate::browser::OnlyOne;
use crate::harness::{Engine, TestDatabase, TestServer, server_url};
use crate::program::{Program, run};
use crate::relay::Relay;

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_goes_away_and_comes_back() {
    let database = TestDatabase::create(Engine::Postgres).await;
    let (relay, url) = Relay::to(&database.url).await;
    let server = TestServer::start(&url, &[]).await;
    let ada = server.client.registered("ada@example.com").await;
    ada.until("/health/ready", 200, 30).await;

    relay.cut();
    assert_eq!(ada.get("/health/ready").await.status, 503);
    assert_eq!(ada.get("/health").await.status, 200, "alive all the same");
    assert_eq!(ada.get("/api/projects").await.status, 503);
    assert_eq!(ada.post("/api/projects", &json!({ "name": "x" })).await.status, 503);
    let body = json!({ "email": "ada@example.com", "password": "correct horse" });
    assert_eq!(ada.post("/api/auth/login", &body).await.status, 503);

    relay.mend();
    ada.until("/health/ready", 200, 30).await;
    assert_eq!(ada.post("/api/projects", &json!({ "name": "x" })).await.status, 201);
    database.remove().await;
}

/// SQLite's outage: another program keeps the file locked for longer than a writer waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_sqlite_file_is_an_outage_for_writers_only() {
    let database = TestDatabase::create(Engine::Sqlite).await;
    let server = TestServer::start(&database.url, &[]).await;
    let ada = server.client.registered("ada@example.com").await;
    let options: sqlx::sqlite::SqliteConnectOptions = database.url.parse().unwrap();
    let mut other = options.connect().await.unwrap();

    other.execute("BEGIN IMMEDIATE").await.unwrap();
    assert_eq!(ada.post("/api/projects", &json!({ "name": "x" })).await.status, 503);
    assert_eq!(ada.get("/api/projects").await.status, 200);

    other.execute("ROLLBACK").await.unwrap();
    assert_eq!(ada.post("/api/projects", &json!({ "name": "x" })).await.status, 201);
    database.remove().await;
}

/// PostgreSQL's: a statement waits for a lock for longer than a statement may take.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_postgresql_table_is_an_outage_for_writers_only() {
    let database = TestDatabase::create(Engine::Postgres).await;
    let server = TestServer::start(&database.url, &[]).await;
    let ada = server.client.registered("ada@example.com").await;
    let options: sqlx::postgres::PgConnectOptions = database.url.parse().unwrap();
    let mut other = options.connect().await.unwrap();

    other.execute("BEGIN; LOCK TABLE projects IN EXCLUSIVE MODE").await.unwrap();
    assert_eq!(ada.post("/api/projects", &json!({ "name": "x" })).await.status, 503);
    assert_eq!(ada.get("/api/projects").await.status, 200);

    other.execute("ROLLBACK").await.unwrap();
    assert_eq!(ada.post("/api/projects", &json!({ "name": "x" })).await.status, 201);
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_the_server_is_alive_and_not_ready() {
    let database = TestDatabase::create(Engine::Sqlite).await;
    let (relay, url) = Relay::to(&server_url("TEST_REDIS_URL")).await;
    let server = TestServer::start(&database.url, &[("REDIS_URL", &url)]).await;
    server.client.until("/health/ready", 200, 30).await;

    relay.cut();
    let answer = server.client.get("/health/ready").await;
    assert_eq!(
        (answer.status.as_u16(), answer.text("/detail").as_str()),
        (503, "The queue does not answer.")
    );
    assert_eq!(server.client.get("/health").await.status, 200);

    relay.mend();
    server.client.until("/health/ready", 200, 30).await;
    database.remove().await;
}

/// The queue may be started after the program.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_was_never_there_only_means_not_ready() {
    let database = TestDatabase::create(Engine::Sqlite).await;
    let (relay, url) = Relay::to(&server_url("TEST_REDIS_URL")).await;
    relay.cut();
    let server = TestServer::start(&database.url, &[("REDIS_URL", &url)]).await;
    assert_eq!(server.client.get("/health/ready").await.status, 503);
    relay.mend();
    server.client.until("/health/ready", 200, 30).await;
    database.remove().await;
}

/// What the health check of a worker's container sees.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_ready_with_a_database_and_a_browser() {
    let database = TestDatabase::create(Engine::Postgres).await;
    let (relay, url) = Relay::to(&database.url).await;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("worker.sock");
    let bind = format!("unix:{}", socket.display());
    let asked = || run(&["health", "--worker"], &[("WORKER_BIND", &bind)]);
    let (code, _, told) = run(&["health", "--worker"], &[]);
    assert_eq!((code, told.contains("WORKER_BIND is not set")), (2, true), "{told}");
    assert_eq!(asked().0, 1, "nobody is there");

    let [browser, _] = OnlyOne::each();
    let environment =
        [("DATABASE_URL", url.as_str()), ("WORKER_BIND", &bind), ("PATH", browser.path())];
    let mut worker = Program::worker(&environment);
    assert_eq!(asked(), (0, String::new(), String::new()));
    relay.cut();
    assert_eq!(asked().0, 1, "the database is away");
    relay.mend();
    worker.terminate();
    assert_eq!(worker.exit_code(), Some(0));
    assert!(!socket.exists());

    let mut without = Program::worker(&environment[..2]);
    let (code, _, told) = asked();
    assert_eq!((code, told.contains("503")), (1, true), "there is no browser: {told}");
    let (code, _, told) = run(&["worker"], &environment[..2]);
    assert_eq!((code, told.contains("set WORKER_BIND")), (2, true), "{told}");
    without.kill();
    database.remove().await;
}
