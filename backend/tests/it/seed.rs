//! `nomation seed`: as much as was asked for, the same every time, and whole.

use sqlx::{Connection as _, SqliteConnection};

use crate::harness::{Engine, TestDatabase, TestServer};
use crate::program::run;
use crate::tables::{Tables, on_pool};

async fn a_seeded_database_is_whole_and_can_be_used(engine: Engine) {
    let database = TestDatabase::create(engine).await;
    let environment = [("DATABASE_URL", &*database.url), ("RUST_LOG", "warn")];
    let (code, told, progress) = run(&["seed", "--rows", "2000"], &environment);
    assert_eq!(code, 0, "{told}{progress}");
    assert!(progress.lines().any(|line| line.starts_with("project_elements 2000 rows, after ")));
    assert!(!progress.contains(['\r', '#']), "no bar where there is no terminal: {progress}");
    let tables = Tables::of(&database).await;
    for (count, sql) in [
        (2000, "SELECT count(*) FROM project_elements"),
        (2000, "SELECT count(*) FROM test_executions"),
        (20, "SELECT count(*) FROM projects"),
        (2, "SELECT count(*) FROM users"),
        (100, "SELECT count(*) FROM test_suite_tests"),
    ] {
        tables.until_count(count, sql).await;
    }
    let strangers: i64 = on_pool!(&tables.0, pool => sqlx::query_scalar(
        "SELECT count(*) FROM project_elements AS e JOIN project_urls AS u \
         ON u.id = e.source_url_id WHERE u.project_id <> e.project_id"
    ).fetch_one(pool));
    assert_eq!(strangers, 0, "what refers to something is of the same project");
    if engine == Engine::Sqlite {
        let mut connection = SqliteConnection::connect(&database.url).await.unwrap();
        let broken = sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut connection).await;
        assert_eq!(broken.unwrap().len(), 0);
    }

    let (code, again, _) = run(&["seed", "--rows", "2000"], &environment);
    assert_eq!((code, again), (0, told.clone()), "the second time changes nothing");
    tables.until_count(2000, "SELECT count(*) FROM project_elements").await;
    let (code, _, refused) = run(&["seed", "--rows", "1000"], &environment);
    assert_eq!(code, 70);
    assert!(refused.contains("seeded before, with another size"), "{refused}");

    let (address, password) = told.split("log in as ").nth(1).unwrap().split_once(", ").unwrap();
    let server = TestServer::start(&database.url, &[("WORKER", "apart")]).await;
    let body = serde_json::json!({ "email": address, "password": password.trim_end() });
    let session = server.client.post("/api/auth/login", &body).await;
    assert_eq!(session.status, 200, "{}", session.body);
    let user = server.client.with_token(&session.text("/accessToken"));
    let project = user.get("/api/projects?sort=id&limit=1").await.text("/0/id");
    let path = format!("/api/projects/{project}/elements?sort=-confidence&limit=200");
    assert_eq!(user.get(&path).await.body.as_array().unwrap().len(), 200);
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seeded_sqlite_is_whole_and_can_be_used() {
    a_seeded_database_is_whole_and_can_be_used(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seeded_postgres_is_whole_and_can_be_used() {
    a_seeded_database_is_whole_and_can_be_used(Engine::Postgres).await;
}

#[test]
fn production_is_not_seeded() {
    let production = [("APP_ENV", "production"), ("DATABASE_URL", "sqlite://nowhere/x.db")];
    let (code, _, told) = run(&["seed"], &production);
    assert_eq!(code, 2);
    assert!(told.contains("APP_ENV=production"), "{told}");
    assert_eq!(run(&["seed", "--rows", "0"], &[]).0, 2);
    assert!(!std::path::Path::new("nowhere").exists());
}
