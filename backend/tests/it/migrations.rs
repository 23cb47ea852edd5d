//! Every migration can be taken back and applied again, on both engines.

use std::path::Path;

use nomation::config::Config;
use nomation::store::migrations;
use sqlx::migrate::Migrator;

use crate::harness::{Engine, TestDatabase};

async fn there_and_back_again(engine: Engine) {
    let database = TestDatabase::create(engine).await;
    let lookup = |name: &str| (name == "DATABASE_URL").then(|| database.url.clone().into());
    let (settings, _log) = Config::read_database_alone(&lookup).unwrap();

    let all = migrations::pending(&settings).await.unwrap();
    assert!(!all.is_empty());
    assert_eq!(migrations::run(&settings).await.unwrap(), all);
    assert!(migrations::pending(&settings).await.unwrap().is_empty());

    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
    match engine {
        Engine::Sqlite => {
            let migrator = Migrator::new(root.join("sqlite")).await.unwrap();
            migrator
                .undo(&sqlx::SqlitePool::connect(&database.url).await.unwrap(), 0)
                .await
                .unwrap();
        }
        Engine::Postgres => {
            let migrator = Migrator::new(root.join("postgres")).await.unwrap();
            migrator.undo(&sqlx::PgPool::connect(&database.url).await.unwrap(), 0).await.unwrap();
        }
    }
    assert_eq!(migrations::pending(&settings).await.unwrap(), all);
    assert_eq!(migrations::run(&settings).await.unwrap(), all);
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_there_and_back_again() {
    there_and_back_again(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_there_and_back_again() {
    there_and_back_again(Engine::Postgres).await;
}
