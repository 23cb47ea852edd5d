//! `kill -9` of whatever an accepted job passes through: it is not lost, and nobody restarts
//! anything but what was killed.
//!
//! Jobs end fast here because there is no browser: each fails with that reason, which is an end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nomation::queue::STREAM;
use serde_json::{Value, json};

use crate::browser::pages;
use crate::client::Client;
use crate::harness::{Engine, JWT_SECRET, TestDatabase, TestServer};
use crate::program::Program;
use crate::servers::Server;
use crate::tables::Tables;

/// Somebody with a test to execute, and its path.
async fn test_of(client: &Client, steps: &Value) -> (Client, String) {
    let ada = client.registered("ada@example.com").await;
    let project = ada.made("/api/projects", &json!({ "name": "Shop" })).await;
    let test = json!({ "name": "t", "steps": steps });
    let test = ada.made(&format!("{project}/tests"), &test).await;
    (ada, test)
}

/// Asks for executions, three at a time, until told to stop; gives those that were accepted.
struct Load {
    stop: Arc<AtomicBool>,
    askers: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Load {
    fn of(client: &Client, test: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let ask = |_| {
            let (client, path, stop) =
                (client.clone(), format!("{test}/executions"), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut accepted = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.post(&path, &Value::Null).await;
                    match answer.status.as_u16() {
                        202 => accepted.push(answer.header("location").to_owned()),
                        // The client checks that it says when to come back.
                        429 | 503 => tokio::time::sleep(Duration::from_millis(50)).await,
                        other => panic!("{other}: {}", answer.body),
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                accepted
            })
        };
        Self { askers: (0..3).map(ask).collect(), stop }
    }

    /// Stops asking.
    async fn accepted(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for asker in self.askers {
            all.extend(asker.await.unwrap());
        }
        all
    }
}

/// Waits until nothing is queued or running, then sees that every accepted execution has ended.
async fn all_end(client: &Client, tables: &Tables, accepted: &[String]) {
    tables.until_count(0, "SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')").await;
    for path in accepted {
        let ended = client.get(path).await;
        assert_eq!(ended.status, 200, "{path} was accepted");
        assert_eq!(ended.text("/status"), "failed", "{path}: {}", ended.body);
        assert!(ended.text("/failure").contains("is not installed"), "{}", ended.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_killed_under_load_loses_no_accepted_job() {
    let mut database = Server::postgres();
    database.start();
    let url = database.url();
    let nowhere = tempfile::tempdir().unwrap();
    let path = nowhere.path().to_str().unwrap();
    let program =
        Program::serve(&[("DATABASE_URL", &url), ("JWT_SECRET", JWT_SECRET), ("PATH", path)]);
    let (ada, test) = test_of(&program.client, &json!([{ "action": "screenshot" }])).await;
    let load = Load::of(&ada, &test);
    let tables = Tables::at(&url).await;
    tables.until_at_least(20, "SELECT count(*) FROM jobs").await;

    database.kill();
    assert_eq!(ada.get("/api/projects").await.status, 503);
    assert_eq!(ada.get("/health/ready").await.status, 503);
    assert_eq!(ada.get("/health").await.status, 200);
    database.start();
    ada.until("/health/ready", 200, 60).await;
    tables.0.close().await;
    let tables = Tables::at(&url).await;
    tables.until_at_least(60, "SELECT count(*) FROM jobs").await;
    let accepted = load.accepted().await;
    assert!(accepted.len() > 20, "{}", accepted.len());
    all_end(&ada, &tables, &accepted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_killed_under_load_lose_no_accepted_job() {
    let database = TestDatabase::create(Engine::Postgres).await;
    let nowhere = tempfile::tempdir().unwrap();
    let environment = [
        ("DATABASE_URL", &*database.url),
        ("JWT_SECRET", JWT_SECRET),
        ("PATH", nowhere.path().to_str().unwrap()),
    ];
    let program = Program::serve(&[&environment[..], &[("WORKER", "apart")]].concat());
    let (ada, test) = test_of(&program.client, &json!([{ "action": "screenshot" }])).await;
    let load = Load::of(&ada, &test);
    let tables = Tables::of(&database).await;
    for finished in [10, 30, 50] {
        let mut workers = [Program::worker(&environment), Program::worker(&environment)];
        let sql = "SELECT count(*) FROM jobs WHERE state = 'finished'";
        tables.until_at_least(finished, sql).await;
        workers.iter_mut().for_each(Program::kill);
    }
    let accepted = load.accepted().await;
    let _last = Program::worker(&environment);
    all_end(&ada, &tables, &accepted).await;
    drop(program);
    database.remove().await;
}

/// TERM is not KILL: what a worker has in hand it finishes, then it ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_told_to_stop_finishes_its_job() {
    let origin = pages().await;
    let database = TestDatabase::create(Engine::Sqlite).await;
    let path = std::env::var("PATH").unwrap();
    let environment =
        [("DATABASE_URL", &*database.url), ("JWT_SECRET", JWT_SECRET), ("PATH", &*path)];
    let mut program = Program::serve(&environment);
    let steps = json!([
        { "action": "navigate", "url": origin },
        { "action": "waitFor", "selector": "#slow", "timeoutMs": 2000 },
    ]);
    let (ada, test) = test_of(&program.client, &steps).await;
    let started = ada.post(&format!("{test}/executions"), &Value::Null).await;
    let execution = started.text("/id").parse().unwrap();
    let tables = Tables::of(&database).await;
    tables.until("running", execution).await;
    program.terminate();
    assert_eq!(program.exit_code(), Some(0));
    let why = tables.failure(execution).await.expect("it is over");
    assert!(why.starts_with("step 2: "), "{why}");
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_killed_under_load_loses_no_accepted_job() {
    let mut redis = Server::redis();
    redis.start();
    let database = TestDatabase::create(Engine::Postgres).await;
    let nowhere = tempfile::tempdir().unwrap();
    let environment = [
        ("DATABASE_URL", &*database.url),
        ("JWT_SECRET", JWT_SECRET),
        ("REDIS_URL", &redis.url()),
        ("PATH", nowhere.path().to_str().unwrap()),
    ];
    let apart = [&environment[..], &[("WORKER", "apart")]].concat();
    let program = Program::serve(&apart);
    let _workers = [Program::worker(&environment), Program::worker(&environment)];
    let (ada, test) = test_of(&program.client, &json!([{ "action": "screenshot" }])).await;
    let load = Load::of(&ada, &test);
    let tables = Tables::of(&database).await;
    tables.until_at_least(20, "SELECT count(*) FROM jobs").await;

    redis.kill();
    ada.until("/health/ready", 503, 60).await;
    let known = ada.get(&format!("{test}/executions?limit=1")).await.text("/0/id");
    redis.start();
    ada.until("/health/ready", 200, 60).await;
    until_newer(&ada, &test, &known).await;
    let accepted = load.accepted().await;
    all_end(&ada, &tables, &accepted).await;
    until_empty(&redis).await;
    drop(program);
    database.remove().await;
}

/// Waits until there is an execution after `known`.
async fn until_newer(client: &Client, test: &str, known: &str) {
    let path = format!("{test}/executions?sort=id&after={known}&limit=1");
    let found = async {
        while client.get(&path).await.body.as_array().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), found).await.expect("executions are accepted");
}

/// Asks Redis, and gives its answer as text.
async fn command(redis: &Server, words: &[&str]) -> String {
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut command = redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(*word);
    }
    let answer: redis::Value = command.query_async(&mut connection).await.unwrap();
    if let redis::Value::Int(number) = answer {
        return number.to_string();
    }
    format!("{answer:?}")
}

/// Waits until what is over has left the stream: soon after the job's end, or, where two workers
/// heard of it, after a lease.
async fn until_empty(redis: &Server) {
    let gone = async {
        while command(redis, &["XLEN", STREAM]).await != "0" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.expect("the stream is emptied");
}

/// The message of a worker that was killed is claimed by the next, when its lease has ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_leaves_its_message_to_the_next() {
    let origin = pages().await;
    let mut redis = Server::redis();
    redis.start();
    let database = TestDatabase::create(Engine::Sqlite).await;
    let redis_url = redis.url();
    let told = [("WORKER", "apart"), ("REDIS_URL", &*redis_url)];
    let server = TestServer::start(&database.url, &told).await;
    let steps = json!([
        { "action": "navigate", "url": origin },
        { "action": "waitFor", "selector": "#slow", "timeoutMs": 2000 },
    ]);
    let path = std::env::var("PATH").unwrap();
    let environment =
        [("DATABASE_URL", &*database.url), ("REDIS_URL", &*redis_url), ("PATH", &*path)];
    let mut worker = Program::worker(&environment);
    // Once it waits at the stream, what is announced goes there.
    let (ada, test) = test_of(&server.client, &steps).await;
    let started = ada.post(&format!("{test}/executions"), &Value::Null).await;
    let execution = started.text("/id").parse().unwrap();
    let tables = Tables::of(&database).await;
    tables.until("running", execution).await;
    worker.kill();
    assert_eq!(command(&redis, &["XLEN", STREAM]).await, "1");

    let _next = Program::worker(&environment);
    tables.until("failed", execution).await;
    assert_eq!(tables.steps(execution).await, 2);
    until_empty(&redis).await;
    database.remove().await;
}

/// With Redis, the stream is what workers are told by: the table is left alone in between.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_told_by_the_stream() {
    let mut redis = Server::redis();
    redis.start();
    let database = TestDatabase::create(Engine::Sqlite).await;
    let nowhere = tempfile::tempdir().unwrap();
    let environment = [
        ("DATABASE_URL", &*database.url),
        ("JWT_SECRET", JWT_SECRET),
        ("REDIS_URL", &redis.url()),
        ("PATH", nowhere.path().to_str().unwrap()),
    ];
    let program = Program::serve(&environment);
    let (ada, test) = test_of(&program.client, &json!([{ "action": "screenshot" }])).await;
    let mut accepted = Vec::new();
    for _ in 0..10 {
        let started = ada.post(&format!("{test}/executions"), &Value::Null).await;
        accepted.push(started.header("location").to_owned());
    }
    all_end(&ada, &Tables::of(&database).await, &accepted).await;
    // All are read from the stream, also those of jobs that were found in the table before.
    until_empty(&redis).await;
    let groups = command(&redis, &["XINFO", "GROUPS", STREAM]).await;
    let read = groups.split("entries-read").nth(1).unwrap();
    let read: String = read.chars().filter(char::is_ascii_digit).take(2).collect();
    assert!(read.starts_with("10"), "all were read from the stream: {groups}");
    drop(program);
    database.remove().await;
}
