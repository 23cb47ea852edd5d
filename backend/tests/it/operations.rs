//! What an operator sees and sets: metrics, the bounds of the pool, what is forgotten by itself.

use http_body_util::Full;
use hyper::Method;
use nomation::domain::timestamp::Timestamp;
use serde_json::json;
use sqlx::{ConnectOptions as _, Executor as _};

use crate::harness::{Engine, TestDatabase, TestServer};
use crate::tables::{Tables, on_pool};

on_both_engines![metrics_count_what_happened,];

async fn metrics_count_what_happened(server: TestServer) {
    let ada = server.client.registered("ada@example.com").await;
    let project = ada.made("/api/projects", &json!({ "name": "Shop" })).await;
    let test = ada.made(&format!("{project}/tests"), &json!({ "name": "t" })).await;
    assert_eq!(ada.post(&format!("{test}/executions"), &json!(null)).await.status, 202);
    assert_eq!(ada.get("/nowhere").await.status, 404);
    let shown = server.client.get_text("/metrics").await;
    for line in [
        "nomation_requests_total{method=\"POST\",route=\"/api/auth/register\",status=\"201\"} 1",
        "nomation_requests_total{method=\"GET\",route=\"none\",status=\"404\"} 1",
        "nomation_request_duration_seconds_count{method=\"POST\",route=\"/api/projects\"} 1",
        "nomation_database_up 1",
        "nomation_queue_jobs{state=\"queued\"} 1",
        "nomation_passwords{state=\"waiting\"} 0",
        "nomation_passwords_refused_total 0",
        "nomation_jobs_in_hand 0",
    ] {
        assert!(shown.contains(&format!("\n{line}\n")), "{line} in {shown}");
    }
    assert!(shown.contains("nomation_database_connections{state=\"idle\"} "), "{shown}");
    assert!(!shown.contains(&project), "a path is counted by its route: {shown}");

    for header in ["x-forwarded-for", "forwarded"] {
        let from_outside = server.client.request(Method::GET, "/metrics").header(header, "x");
        let answer = server.client.send(from_outside.body(Full::default()).unwrap()).await;
        assert_eq!(answer.status, 404, "{header}");
    }
}

/// The pool has one connection, and a statement a tenth of a second.
#[tokio::test(flavor = "multi_thread")]
async fn the_bounds_of_the_pool_are_those_that_were_set() {
    let database = TestDatabase::create(Engine::Postgres).await;
    let bounds = [
        ("DATABASE_CONNECTIONS", "1"),
        ("DATABASE_ACQUIRE_TIMEOUT_MS", "10000"),
        ("DATABASE_STATEMENT_TIMEOUT_MS", "100"),
        ("WORKER", "apart"),
    ];
    let server = TestServer::start(&database.url, &bounds).await;
    let ada = server.client.registered("ada@example.com").await;
    let shown = server.client.get_text("/metrics").await;
    assert!(shown.contains("\nnomation_database_connections_max 1\n"), "{shown}");

    let options: sqlx::postgres::PgConnectOptions = database.url.parse().unwrap();
    let mut other = options.connect().await.unwrap();
    other.execute("BEGIN; LOCK TABLE projects IN EXCLUSIVE MODE").await.unwrap();
    let body = json!({ "name": "x" });
    // One after the other on the one connection, each ended by its own bound.
    let (one, two) =
        tokio::join!(ada.post("/api/projects", &body), ada.post("/api/projects", &body));
    assert_eq!((one.status.as_u16(), two.status.as_u16()), (503, 503));
    other.execute("ROLLBACK").await.unwrap();
    assert_eq!(ada.post("/api/projects", &body).await.status, 201);
    database.remove().await;
}

async fn what_has_had_its_time_is_forgotten(engine: Engine) {
    const SESSIONS: &str = "SELECT count(*) FROM sessions";
    const TOKENS: &str = "SELECT count(*) FROM refresh_tokens";
    const KEYS: &str = "SELECT count(*) FROM idempotency_keys";
    const JOBS: &str = "SELECT count(*) FROM jobs";
    let database = TestDatabase::create(engine).await;
    let server = TestServer::start(&database.url, &[("WORKER", "apart")]).await;
    let ada = server.client.registered("ada@example.com").await;
    ada.logged_in("ada@example.com").await;
    let project = ada.made("/api/projects", &json!({ "name": "Shop" })).await;
    let test = ada.made(&format!("{project}/tests"), &json!({ "name": "t" })).await;
    let path = format!("{test}/executions");
    for key in ["old", "new"] {
        let key = ("idempotency-key", key);
        let started = ada.send_with((Method::POST, &path), key, &json!(null)).await;
        let cancel = format!("{}/cancel", started.header("location"));
        assert_eq!(ada.post(&cancel, &json!(null)).await.status, 200);
    }
    let tables = Tables::of(&database).await;
    for (count, sql) in [(2, SESSIONS), (2, TOKENS), (2, KEYS), (2, JOBS)] {
        tables.until_count(count, sql).await;
    }

    // One of each is made old, and the next server finds it.
    let now = Timestamp::now();
    tables
        .execute(
            "UPDATE sessions SET expires_at = $1 WHERE id = (SELECT id FROM sessions ORDER BY id \
             LIMIT 1)",
            now,
        )
        .await;
    let day = now.plus_seconds(-24 * 60 * 60 - 1);
    tables.execute("UPDATE idempotency_keys SET created_at = $1 WHERE key = 'old'", day).await;
    let week = now.plus_seconds(-7 * 24 * 60 * 60 - 1);
    tables
        .execute(
            "UPDATE jobs SET run_at = $1 WHERE id = (SELECT id FROM jobs ORDER BY id LIMIT 1)",
            week,
        )
        .await;
    let _next = TestServer::start(&database.url, &[("WORKER", "apart")]).await;
    for (count, sql) in [(1, SESSIONS), (1, TOKENS), (1, KEYS), (1, JOBS)] {
        tables.until_count(count, sql).await;
    }
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_had_its_time_is_forgotten_on_sqlite() {
    what_has_had_its_time_is_forgotten(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_had_its_time_is_forgotten_on_postgres() {
    what_has_had_its_time_is_forgotten(Engine::Postgres).await;
}

/// A login brings the hash to the cost that is set now, and the session before it lives on.
#[tokio::test(flavor = "multi_thread")]
async fn a_hash_is_made_again_at_the_present_cost() {
    const HASH: &str = "SELECT password_hash FROM users";
    let database = TestDatabase::create(Engine::Sqlite).await;
    let cheap = [("ARGON2_MEMORY_KIB", "7168"), ("ARGON2_ITERATIONS", "1")];
    let before = TestServer::start(&database.url, &cheap).await;
    let ada = before.client.registered("ada@example.com").await;
    let tables = Tables::of(&database).await;
    let hash = async || -> String {
        on_pool!(&tables.0, pool => sqlx::query_scalar(HASH).fetch_one(pool))
    };
    assert!(hash().await.contains("m=7168,t=1,"));

    let after = TestServer::start(&database.url, &[]).await;
    let wrong = json!({ "email": "ada@example.com", "password": "wrong horse" });
    assert_eq!(after.client.post("/api/auth/login", &wrong).await.status, 401);
    assert!(hash().await.contains("m=7168,t=1,"), "only the right password is known");
    after.client.logged_in("ada@example.com").await;
    let new = hash().await;
    assert!(new.contains("m=19456,t=2,"), "{new}");
    after.client.logged_in("ada@example.com").await;
    assert_eq!(hash().await, new, "once is enough");
    assert_eq!(ada.get("/api/projects").await.status, 200);
    database.remove().await;
}
