//! Executions performed: by the worker inside, by workers apart, also by those that are killed.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::browser::pages;
use crate::client::Client;
use crate::harness::{Engine, JWT_SECRET, TestDatabase, TestServer};
use crate::program::Program;
use crate::tables::{Tables, on_pool};

/// Opens a stream of events.
async fn open_events(client: &Client, execution: Uuid, last_event_id: &str) -> TcpStream {
    let mut stream = TcpStream::connect(&client.address).await.unwrap();
    let token = client.token.as_ref().unwrap();
    let request = format!(
        "GET /api/executions/{execution}/events HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         authorization: Bearer {token}\r\nlast-event-id: {last_event_id}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Reads a stream until `text` has come.
async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut seen = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&seen).contains(text) {
            assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0, "it ends before {text}");
        }
    };
    tokio::time::timeout(Duration::from_secs(60), read).await.expect(text);
    String::from_utf8(seen).unwrap()
}

/// Reads a stream of events to its end.
async fn events(client: &Client, execution: Uuid, last_event_id: &str) -> String {
    let mut stream = open_events(client, execution, last_event_id).await;
    let mut answer = String::new();
    let read = tokio::time::timeout(Duration::from_secs(60), stream.read_to_string(&mut answer));
    read.await.expect("the stream ends with the execution").unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_streamed_to_the_owner_and_resumed_where_it_was() {
    let origin = pages().await;
    on_each_engine(async |database| {
        let server = TestServer::start(&database.url, &[]).await;
        let tables = Tables::of(database).await;
        let ada = server.client.registered("ada@example.com").await;
        let project = ada.post("/api/projects", &json!({ "name": "Shop" })).await.text("/id");
        let steps = json!([{ "action": "navigate", "url": origin }, { "action": "screenshot" }]);
        let execution = tables.execution(project.parse().unwrap(), &steps).await;

        let whole = events(&ada, execution, "").await;
        assert!(whole.contains("content-type: text/event-stream"), "{whole}");
        let order = ["id: 1.0", "\"navigate\"", "id: 1.1", "\"hasScreenshot\":true", "event: end"];
        let places: Vec<usize> = order.iter().map(|text| whole.find(text).unwrap()).collect();
        assert!(places.is_sorted(), "{whole}");
        assert!(whole.contains(r#"{"status":"passed","failure":null}"#), "{whole}");
        let rest = events(&ada, execution, "1.0").await;
        assert!(!rest.contains("id: 1.0") && rest.contains("id: 1.1"), "{rest}");
        let other = events(&ada, execution, "2.1").await;
        assert!(other.contains("id: 1.0") && other.contains("\"attempt\":1"), "{other}");

        let picture = format!("/api/executions/{execution}/steps/1/screenshot");
        let bob = server.client.registered("bob@example.com").await;
        let hidden = format!("/api/executions/{execution}/events");
        for path in [&*picture, &*hidden, "/api/executions/x/events"] {
            assert_eq!(bob.get(path).await.status, 404, "{path}");
        }
        assert_eq!(server.client.get(&hidden).await.status, 401);
        let none = format!("/api/executions/{execution}/steps/0/screenshot");
        assert_eq!(ada.get(&none).await.status, 404);
    })
    .await;
}

/// A user's project, made through the API.
async fn project(server: &TestServer) -> Uuid {
    let ada = server.client.registered("ada@example.com").await;
    let created = ada.post("/api/projects", &json!({ "name": "Shop" })).await;
    created.text("/id").parse().unwrap()
}

async fn on_each_engine(story: impl AsyncFn(&TestDatabase)) {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let database = TestDatabase::create(engine).await;
        story(&database).await;
        database.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worker_inside_performs_tests_and_suites() {
    let origin = pages().await;
    on_each_engine(async |database| {
        let server = TestServer::start(&database.url, &[]).await;
        let (tables, project) = (Tables::of(database).await, project(&server).await);
        let good = json!([
            { "action": "navigate", "url": origin },
            { "action": "assertVisible", "selector": "#name" },
            { "action": "screenshot" },
        ]);
        let bad = json!([
            { "action": "navigate", "url": origin },
            { "action": "waitFor", "selector": "#never", "timeoutMs": 10 },
            { "action": "screenshot" },
        ]);
        let passed = tables.execution(project, &good).await;
        let failed = tables.execution(project, &bad).await;
        tables.until("passed", passed).await;
        tables.until("failed", failed).await;
        assert_eq!((tables.steps(passed).await, tables.failure(passed).await), (3, None));
        assert_eq!(tables.steps(failed).await, 2, "nothing is done after a failure");
        let why = tables.failure(failed).await.unwrap();
        assert!(why.starts_with("step 2: ") && why.contains("#never"), "{why}");
        let pictures = "SELECT count(*) FROM execution_steps \
                        WHERE execution_id = $1 AND screenshot IS NOT NULL";
        assert_eq!(
            (tables.count(pictures, passed).await, tables.count(pictures, failed).await),
            (1, 1)
        );

        suite_runs_in_order(&tables, project, &[&good, &bad, &good]).await;
    })
    .await;
}

async fn suite_runs_in_order(tables: &Tables, project: Uuid, tests: &[&Value]) {
    let suite = "INSERT INTO test_suites (id, project_id, name, description, version, created_at, \
                 updated_at) SELECT $1, $2, 's', '', 1, $3, $3 WHERE CAST($4 AS text) IS NOT NULL";
    let suite = tables.insert(suite, project, &json!({})).await;
    for (position, steps) in (0_i32..).zip(tests) {
        let test = tables.test(project, steps).await;
        let sql = "INSERT INTO test_suite_tests (suite_id, test_id, position) VALUES ($1, $2, $3)";
        on_pool!(&tables.0, pool => async {
            let query = sqlx::query(sql).bind(suite).bind(test).bind(position);
            query.execute(pool).await.map(drop)
        });
    }
    let execution = "INSERT INTO test_suite_executions (id, suite_id, status, results, version, \
                     created_at, updated_at) VALUES ($1, $2, 'queued', $4, 1, $3, $3)";
    let execution = tables.insert(execution, suite, &json!({})).await;
    let job = "INSERT INTO jobs (id, kind, suite_execution_id, payload, state, attempts, run_at, \
               created_at) VALUES ($1, 'suite', $2, $4, 'queued', 0, $3, $3)";
    tables.insert(job, execution, &json!({})).await;
    let over = async {
        let status = "SELECT status FROM test_suite_executions WHERE id = $1";
        while tables.text(status, execution).await.unwrap() != "failed" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), over).await.expect("the suite ends");
    let statuses = "SELECT status FROM test_executions WHERE suite_execution_id = $1 ORDER BY \
                    started_at";
    let statuses: Vec<String> =
        on_pool!(&tables.0, pool => sqlx::query_scalar(statuses).bind(execution).fetch_all(pool));
    assert_eq!(statuses, ["passed", "failed", "passed"]);
}

/// `kill -9` in the middle of a page that never loads: the next worker begins again.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_leaves_no_execution_stuck() {
    let origin = pages().await;
    on_each_engine(async |database| {
        let server = TestServer::start(&database.url, &[("WORKER", "apart")]).await;
        let (tables, project) = (Tables::of(database).await, project(&server).await);
        let path = std::env::var("PATH").unwrap();
        let environment =
            [("DATABASE_URL", &*database.url), ("JWT_SECRET", JWT_SECRET), ("PATH", &*path)];
        let execution = tables
            .execution(
                project,
                &json!([
                    { "action": "navigate", "url": origin },
                    { "action": "waitFor", "selector": "#slow", "timeoutMs": 2000 },
                ]),
            )
            .await;
        let mut worker = Program::worker(&environment);
        tables.until("running", execution).await;
        worker.kill();
        let _next = Program::worker(&environment);
        tables.until("failed", execution).await;
        assert_eq!(tables.steps(execution).await, 2);
        let attempts = "SELECT CAST(attempts AS bigint) FROM jobs WHERE test_execution_id = $1";
        assert_eq!(tables.count(attempts, execution).await, 2);
        let attempt = "SELECT CAST(attempt AS bigint) FROM test_executions WHERE id = $1";
        assert_eq!(tables.count(attempt, execution).await, 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_browser_fails_the_execution_and_nothing_else() {
    on_each_engine(async |database| {
        let folder = tempfile::tempdir().unwrap();
        let environment = [
            ("DATABASE_URL", &*database.url),
            ("JWT_SECRET", JWT_SECRET),
            ("PATH", folder.path().to_str().unwrap()),
        ];
        let program = Program::serve(&environment);
        let warning = program.line_with("until that is mended, executions fail");
        assert!(warning.contains("WARN") && warning.contains("Chromium is not installed"));
        let ada = program.client.registered("ada@example.com").await;
        let project = ada.post("/api/projects", &json!({ "name": "Shop" })).await.text("/id");
        let project = project.parse().unwrap();
        let tables = Tables::of(database).await;
        let steps = json!([{ "action": "screenshot" }]);
        // What was missing is looked for anew each time.
        for (there, missing) in [
            (&[][..], "Chromium is not installed"),
            (&["chromium"], "chromedriver is not installed"),
            (&["chromedriver"], "setpriv is not installed"),
        ] {
            for program in there {
                std::fs::write(folder.path().join(program), "").unwrap();
            }
            let execution = tables.execution(project, &steps).await;
            tables.until("failed", execution).await;
            let why = tables.failure(execution).await.unwrap();
            assert!(why.contains(missing), "{why}");
        }
        let worker = Program::worker(&environment);
        let warning = worker.line_with("until that is mended, executions fail");
        assert!(warning.contains("setpriv is not installed"), "{warning}");
        assert_eq!(ada.get("/api/projects").await.status, 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_ends_with_its_time() {
    let origin = pages().await;
    on_each_engine(async |database| {
        let server = TestServer::start(&database.url, &[]).await;
        let ada = server.client.registered("ada@example.com").await;
        let project = ada.made("/api/projects", &json!({ "name": "Shop" })).await;
        let test = json!({ "name": "t", "timeoutSeconds": 1, "steps": [
            { "action": "navigate", "url": origin },
            { "action": "waitFor", "selector": "#never", "timeoutMs": 60000 },
        ] });
        let test = ada.made(&format!("{project}/tests"), &test).await;
        let started = ada.post(&format!("{test}/executions"), &Value::Null).await;
        let tables = Tables::of(database).await;
        let execution = started.text("/id").parse().unwrap();
        tables.until("failed", execution).await;
        let why = tables.failure(execution).await;
        assert_eq!(why.as_deref(), Some("not finished after 1s"));
    })
    .await;
}

/// A watcher whose connection ended when the first worker was killed connects again, with the id of
/// the last event that it saw, and is told all of what the second worker does.
#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_goes_on_where_another_worker_begins_again() {
    let origin = pages().await;
    on_each_engine(async |database| {
        let server = TestServer::start(&database.url, &[("WORKER", "apart")]).await;
        let (tables, path) = (Tables::of(database).await, std::env::var("PATH").unwrap());
        let ada = server.client.registered("ada@example.com").await;
        let project = ada.post("/api/projects", &json!({ "name": "Shop" })).await.text("/id");
        let steps = json!([
            { "action": "navigate", "url": origin },
            { "action": "assertVisible", "selector": "#name" },
            { "action": "waitFor", "selector": "#never", "timeoutMs": 3000 },
        ]);
        let execution = tables.execution(project.parse().unwrap(), &steps).await;
        let environment = [("DATABASE_URL", &*database.url), ("PATH", &*path)];
        let mut worker = Program::worker(&environment);
        let mut stream = open_events(&ada, execution, "").await;
        let seen = read_until(&mut stream, "id: 1.1\n").await;
        assert!(seen.contains("id: 1.0\n"), "{seen}");
        worker.kill();
        drop(stream);

        let _next = Program::worker(&environment);
        let rest = events(&ada, execution, "1.1").await;
        let order = ["id: 2.0\n", "id: 2.1\n", "id: 2.2\n", "event: end\n"];
        let places: Vec<_> = order.iter().filter_map(|text| rest.find(text)).collect();
        assert!(places.len() == order.len() && places.is_sorted(), "{rest}");
        assert!(!rest.contains("id: 1."), "what the first worker did no longer counts: {rest}");
    })
    .await;
}
