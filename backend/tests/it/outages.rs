//! The database or the queue goes away and comes back, and the server needs no restart.

use serde_json::{Value, json};
use sqlx::{ConnectOptions as _, Executor as _};

use crate::browser::OnlyOne;
use crate::harness::{Engine, JWT_SECRET, TestDatabase, TestServer, server_url};
use crate::program::{Program, run};
use crate::relay::Relay;
use crate::servers::Server;
use crate::tables::Tables;

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

/// The disk is full: what was answered is kept, the rest is told to come back, and when there is
/// room again everything goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_that_was_accepted() {
    let database = TestDatabase::create(Engine::Sqlite).await;
    let nowhere = tempfile::tempdir().unwrap();
    let program = Program::serve(&[
        ("DATABASE_URL", &database.url),
        ("JWT_SECRET", JWT_SECRET),
        ("PATH", nowhere.path().to_str().unwrap()),
        ("FILE_BLOCKS", "4096"),
    ]);
    let ada = program.client.registered("ada@example.com").await;
    let project = ada.made("/api/projects", &json!({ "name": "Shop" })).await;
    let test = ada.made(&format!("{project}/tests"), &json!({ "name": "t" })).await;
    let state = json!({ "name": "0", "url": "http://a/" });
    let page_state = ada.made(&format!("{project}/page-states"), &state).await;
    let (mut name, mut accepted, mut refused) = (0, Vec::new(), 0);
    for attempt in 1..=200 {
        let large = json!({ "name": attempt.to_string(), "state": { "a": "x".repeat(50_000) } });
        match ada.patch(&page_state, &large).await.status.as_u16() {
            200 => name = attempt,
            503 => refused += 1,
            other => panic!("{other}"),
        }
        let asked = ada.post(&format!("{test}/executions"), &Value::Null).await;
        match asked.status.as_u16() {
            202 => accepted.push(asked.header("location").to_owned()),
            429 | 503 => {}
            other => panic!("{other}: {}", asked.body),
        }
        if refused == 5 {
            break;
        }
    }
    assert_eq!(refused, 5, "the disk is full");
    assert_eq!(ada.get(&page_state).await.text("/name"), name.to_string(), "as it was answered");

    let unlimited = rustix::process::Rlimit { current: None, maximum: None };
    let pid = rustix::process::Pid::from_raw(program.id().try_into().unwrap());
    rustix::process::prlimit(pid, rustix::process::Resource::Fsize, unlimited).unwrap();
    assert_eq!(ada.patch(&page_state, &json!({ "name": "again" })).await.status, 200);
    let tables = Tables::of(&database).await;
    for path in accepted {
        let execution = path.rsplit_once('/').unwrap().1.parse().unwrap();
        tables.until("failed", execution).await;
        let why = tables.failure(execution).await.unwrap();
        assert!(why.contains("is not installed"), "{why}");
    }
    drop(program);
    database.remove().await;
}

/// A database that is stopped, not ended: its connections stay, and nothing comes over them.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_hangs_is_away_until_it_goes_on() {
    let mut database = Server::postgres();
    database.start();
    let server = TestServer::start(&database.url(), &[]).await;
    let ada = server.client.registered("ada@example.com").await;
    let project = ada.made("/api/projects", &json!({ "name": "Shop" })).await;

    database.signal("STOP");
    let ask = |_| {
        let (ada, project) = (ada.clone(), project.clone());
        tokio::spawn(async move { ada.get(&project).await.status.as_u16() })
    };
    let asked: Vec<_> = (0..30).map(ask).collect();
    assert_eq!(ada.get("/health/ready").await.status, 503);
    assert_eq!(ada.get("/health").await.status, 200);
    for asked in asked {
        assert_eq!(asked.await.unwrap(), 503);
    }
    database.signal("CONT");
    ada.until("/health/ready", 200, 60).await;
    assert_eq!(ada.get(&project).await.status, 200);
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
