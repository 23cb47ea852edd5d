//! A backup of a database in use, restored into an empty one, and what `nomation health` says.

use serde_json::json;

use crate::harness::{Engine, TestDatabase, TestServer};
use crate::program::run;

async fn a_backup_is_restored(engine: Engine) {
    let (from, to) = (TestDatabase::create(engine).await, TestDatabase::create(engine).await);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nomation.backup");
    let file = file.to_str().unwrap();
    let path = std::env::var("PATH").unwrap();
    let command = |name: &str, url: &str| {
        run(&[name, file], &[("DATABASE_URL", url), ("PATH", path.as_str())])
    };

    let server = TestServer::start(&from.url, &[]).await;
    let ada = server.client.registered("ada@example.com").await;
    let created = ada.post("/api/projects", &json!({ "name": "東京" })).await;
    assert_eq!(command("backup", &from.url), (0, String::new(), String::new()));
    ada.post("/api/projects", &json!({ "name": "after the backup" })).await;

    let (code, _, told) = command("backup", &from.url);
    assert_eq!(code, 70);
    assert!(told.contains("exists"), "{told}");
    let (code, _, told) = command("restore", &from.url);
    assert_eq!(code, 70);
    assert!(told.contains("already holds something"), "{told}");
    assert_eq!(command("restore", &to.url), (0, String::new(), String::new()));

    let restored = TestServer::start(&to.url, &[]).await;
    let client = restored.client.logged_in("ada@example.com").await;
    assert_eq!(client.get(created.header("location")).await.text("/name"), "東京");
    from.remove().await;
    to.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_restored_on_sqlite() {
    a_backup_is_restored(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_restored_on_postgres() {
    a_backup_is_restored(Engine::Postgres).await;
}

#[tokio::test]
async fn a_damaged_backup_restores_nothing() {
    let database = TestDatabase::create(Engine::Sqlite).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("damaged");
    std::fs::write(&file, "not a database").unwrap();
    for named in [file.as_path(), &folder.path().join("absent")] {
        let (code, _, told) =
            run(&["restore", named.to_str().unwrap()], &[("DATABASE_URL", &database.url)]);
        assert_eq!(code, 70);
        assert!(told.contains(named.to_str().unwrap()), "{told}");
    }
    let there = database.url.strip_prefix("sqlite://").unwrap();
    assert!(!std::fs::exists(there).unwrap());
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_0_for_a_server_that_is_ready_and_1_for_none() {
    let database = TestDatabase::create(Engine::Sqlite).await;
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}/nomation.sock", folder.path().display());
    let asked = || run(&["health"], &[("BIND", socket.as_str())]);
    let (code, _, told) = asked();
    assert_eq!(code, 1);
    assert!(told.contains("cannot be asked"), "{told}");
    let lookup = |name: &str| match name {
        "BIND" => Some(socket.clone().into()),
        "DATABASE_URL" => Some(database.url.clone().into()),
        _ => None,
    };
    let (config, _log) = nomation::config::Config::read(&lookup).unwrap();
    let server = nomation::server::Server::prepare(config).await.unwrap();
    let server = tokio::spawn(server.run(std::future::pending()));
    assert_eq!(asked(), (0, String::new(), String::new()));
    server.abort();
    database.remove().await;
}
