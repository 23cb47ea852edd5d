//! One user's many jobs, streams and hours do not keep the others waiting.

use std::time::Duration;

use nomation::domain::timestamp::Timestamp;
use nomation::store::Lease;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::browser::pages;
use crate::client::Client;
use crate::harness::{Engine, JWT_SECRET, TestDatabase, TestServer};
use crate::program::Program;
use crate::servers::Server;
use crate::tables::Tables;

on_both_engines![
    a_user_has_so_many_streams,
    a_user_has_so_many_executions,
    a_user_has_no_more_executions_by_asking_at_once,
    a_clock_that_is_set_back_keeps_no_job,
];

/// A new project's test with these steps, as its path.
async fn test_of(client: &Client, steps: &Value) -> String {
    let project = client.made("/api/projects", &json!({ "name": "Shop" })).await;
    let test = json!({ "name": "t", "steps": steps });
    client.made(&format!("{project}/tests"), &test).await
}

async fn asked(client: &Client, thing: &str) -> Uuid {
    let started = client.post(&format!("{thing}/executions"), &Value::Null).await;
    assert_eq!(started.status, 202, "{}", started.body);
    started.text("/id").parse().unwrap()
}

/// Opens a stream of events, and gives it with the status of the answer.
async fn stream(client: &Client, execution: Uuid) -> (TcpStream, u16) {
    let mut stream = TcpStream::connect(&client.address).await.unwrap();
    let token = client.token.as_ref().unwrap();
    let request = format!(
        "GET /api/executions/{execution}/events HTTP/1.1\r\nhost: x\r\n\
         authorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    (stream, std::str::from_utf8(&status[9..]).unwrap().parse().unwrap())
}

async fn a_user_has_so_many_streams(server: TestServer) {
    let ada = server.client.registered("ada@example.com").await;
    let bob = server.client.registered("bob@example.com").await;
    let of_ada = asked(&ada, &test_of(&ada, &json!([])).await).await;
    let of_bob = asked(&bob, &test_of(&bob, &json!([])).await).await;
    let mut open = Vec::new();
    for _ in 0..10 {
        let (stream, status) = stream(&ada, of_ada).await;
        assert_eq!(status, 200);
        open.push(stream);
    }
    let refused = ada.get(&format!("/api/executions/{of_ada}/events")).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "5"));
    let (_of_bob, status) = stream(&bob, of_bob).await;
    assert_eq!(status, 200, "another user is served");

    open.pop();
    let again = async {
        while stream(&ada, of_ada).await.1 != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), again).await.expect("a place is free again");
}

async fn a_user_has_so_many_executions(server: TestServer) {
    let ada = server.client.registered("ada@example.com").await;
    let bob = server.client.registered("bob@example.com").await;
    let (of_ada, of_bob) = (test_of(&ada, &json!([])).await, test_of(&bob, &json!([])).await);
    let mut last = Uuid::nil();
    for _ in 0..100 {
        last = asked(&ada, &of_ada).await;
    }
    let path = format!("{of_ada}/executions");
    let key = ("idempotency-key", "k");
    let refused = ada.send_with((hyper::Method::POST, &path), key, &Value::Null).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "30"));
    asked(&bob, &of_bob).await;
    assert_eq!(ada.post(&format!("/api/executions/{last}/cancel"), &Value::Null).await.status, 200);
    let accepted = ada.send_with((hyper::Method::POST, &path), key, &Value::Null).await;
    assert_eq!(accepted.status, 202, "a refusal leaves its key free");
}

async fn a_user_has_no_more_executions_by_asking_at_once(server: TestServer) {
    let ada = server.client.registered("ada@example.com").await;
    let path = format!("{}/executions", test_of(&ada, &json!([])).await);
    let ask = |_| {
        let (ada, path) = (ada.clone(), path.clone());
        tokio::spawn(async move {
            loop {
                let status = ada.post(&path, &Value::Null).await.status.as_u16();
                // So many at once wait long for one of a few connections.
                if status != 503 {
                    return status;
                }
            }
        })
    };
    let asked: Vec<_> = (0..200).map(ask).collect();
    let mut statuses = Vec::new();
    for asked in asked {
        statuses.push(asked.await.unwrap());
    }
    let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((count(202), count(429)), (100, 100));
}

/// Whose jobs are taken, in order; none of them ends.
async fn order(tables: &Tables, jobs: usize, passed_over: Option<Uuid>) -> Vec<Option<Uuid>> {
    let mut users = Vec::new();
    for _ in 0..jobs {
        let taken = tables.0.take_job(&Lease::unique(), 60, passed_over).await.unwrap();
        users.extend(taken.map(|job| job.user_id));
    }
    users
}

/// A worker was killed, and then the clock went back by an hour: its lease seems to last that long.
async fn a_clock_that_is_set_back_keeps_no_job(server: TestServer) {
    let ada = server.client.registered("ada@example.com").await;
    asked(&ada, &test_of(&ada, &json!([])).await).await;
    let tables = Tables::at(&server.database_url).await;
    let take = async || tables.0.take_job(&Lease::unique(), 60, None).await.unwrap();
    assert_eq!(take().await.unwrap().attempts, 1);
    assert!(take().await.is_none(), "it is held");
    let hour = Timestamp::now().plus_seconds(60 * 60);
    tables.execute("UPDATE jobs SET run_at = $1, locked_until = $1", hour).await;
    assert_eq!(take().await.unwrap().attempts, 2);
    assert!(take().await.is_none(), "and held again");
}

async fn users_take_turns(engine: Engine) {
    let database = TestDatabase::create(engine).await;
    let server = TestServer::start(&database.url, &[("WORKER", "apart")]).await;
    let tables = Tables::of(&database).await;
    let mut users = Vec::new();
    for (name, jobs) in [("ada", 5), ("bob", 2), ("eve", 1)] {
        let client = server.client.registered(&format!("{name}@example.com")).await;
        let test = test_of(&client, &json!([])).await;
        for _ in 0..jobs {
            asked(&client, &test).await;
        }
        let sql = "SELECT id FROM users WHERE email = $1";
        let email = format!("{name}@example.com");
        users.push(crate::tables::on_pool!(&tables.0, pool => {
            sqlx::query_scalar::<_, Uuid>(sql).bind(&email).fetch_one(pool)
        }));
    }
    let [ada, bob, eve] = users[..] else { panic!("three") };
    let expected = [ada, bob, eve, ada].map(Some);
    assert_eq!(order(&tables, 4, None).await, expected, "one job each, then one more");
    assert_eq!(order(&tables, 2, Some(ada)).await, [Some(bob)], "ada has browsers enough");

    // Who comes now begins at the turn that is being served: it neither waits for all of ada's, nor
    // do hers wait for all that follow.
    let mallory = server.client.registered("mallory@example.com").await;
    let test = test_of(&mallory, &json!([])).await;
    for _ in 0..3 {
        asked(&mallory, &test).await;
    }
    let next = order(&tables, 6, None).await;
    let of_ada: Vec<usize> = (0..6).filter(|place| next[*place] == Some(ada)).collect();
    assert_eq!(of_ada, [1, 3, 5], "{next:?}");
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_take_turns_on_sqlite() {
    users_take_turns(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_take_turns_on_postgres() {
    users_take_turns(Engine::Postgres).await;
}

/// Steps that take more than a second, and fail.
fn long(origin: &str) -> Value {
    json!([
        { "action": "navigate", "url": origin },
        { "action": "waitFor", "selector": "#never", "timeoutMs": 1000 },
    ])
}

/// A real worker, with and without Redis: two users who ask for a lot keep a third waiting for one
/// test, not for all of theirs; a suite lets others pass between its tests.
async fn nobody_waits_for_all_of_another(engine: Engine, redis: Option<&Server>) {
    let origin = pages().await;
    let database = TestDatabase::create(engine).await;
    let path = std::env::var("PATH").unwrap();
    let redis_url = redis.map(Server::url).unwrap_or_default();
    let mut environment =
        vec![("DATABASE_URL", &*database.url), ("JWT_SECRET", JWT_SECRET), ("PATH", &*path)];
    environment.extend(redis.map(|_| ("REDIS_URL", &*redis_url)));
    let program = Program::serve(&environment);
    let tables = Tables::of(&database).await;
    let ada = program.client.registered("ada@example.com").await;
    let bob = program.client.registered("bob@example.com").await;
    let eve = program.client.registered("eve@example.com").await;

    let of_ada = test_of(&ada, &long(&origin)).await;
    let project = ada.get(&of_ada).await.text("/projectId");
    let suite = ada.made(&format!("/api/projects/{project}/suites"), &json!({ "name": "s" })).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        let test = json!({ "name": "t", "steps": long(&origin) });
        let made = ada.made(&format!("/api/projects/{project}/tests"), &test).await;
        ids.push(made.rsplit_once('/').unwrap().1.to_owned());
    }
    assert_eq!(ada.put(&format!("{suite}/tests"), &json!({ "testIds": ids })).await.status, 200);
    let started = ada.post(&format!("{suite}/executions"), &Value::Null).await;
    let suite = started.header("location").to_owned();
    let of_bob = test_of(&bob, &long(&origin)).await;
    let first = asked(&bob, &of_bob).await;
    for _ in 0..4 {
        asked(&bob, &of_bob).await;
    }
    tables.until("running", first).await;

    let of_eve = asked(&eve, &test_of(&eve, &json!([{ "action": "screenshot" }])).await).await;
    tables.until("passed", of_eve).await;
    assert_eq!(ada.get(&suite).await.text("/status"), "running", "the suite let it pass");
    let queued = bob.get(&format!("{of_bob}/executions?status=queued")).await;
    let waiting = queued.body.as_array().unwrap().len();
    assert!(waiting >= 2, "it did not wait for all of bob's: {waiting} still wait");

    let over = async {
        while ada.get(&suite).await.text("/status") == "running" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), over).await.expect("the suite ends");
    let ended = ada.get(&suite).await;
    assert_eq!(ended.body["results"], json!({ "passed": 0, "failed": 4 }), "each test once");
    drop(program);
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_all_of_another_at_the_table() {
    nobody_waits_for_all_of_another(Engine::Sqlite, None).await;
    nobody_waits_for_all_of_another(Engine::Postgres, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_all_of_another_at_the_stream() {
    let mut redis = Server::redis();
    redis.start();
    nobody_waits_for_all_of_another(Engine::Postgres, Some(&redis)).await;
}
