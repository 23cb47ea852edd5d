//! Every migration can be taken back and applied again, on both engines.

use std::path::Path;

use nomation::config::Config;
use nomation::store::{Database, migrations};
use sqlx::migrate::Migrator;

use crate::harness::{Engine, TestDatabase};

fn settings(database: &TestDatabase) -> Database {
    let lookup = |name: &str| (name == "DATABASE_URL").then(|| database.url.clone().into());
    Config::read_database_alone(&lookup).unwrap().0
}

async fn there_and_back_again(engine: Engine) {
    let database = TestDatabase::create(engine).await;
    let settings = settings(&database);
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

/// As an upgrade leaves it that is taken back.
async fn a_newer_schema_is_left_as_it_is(engine: Engine) {
    const NEWER: &str = "INSERT INTO _sqlx_migrations \
        (version, description, success, checksum, execution_time) \
        SELECT 9999, description, success, checksum, execution_time \
        FROM _sqlx_migrations WHERE version = 1";
    let database = TestDatabase::create(engine).await;
    let settings = settings(&database);
    migrations::run(&settings).await.unwrap();
    match engine {
        Engine::Sqlite => {
            let pool = sqlx::SqlitePool::connect(&database.url).await.unwrap();
            sqlx::query(NEWER).execute(&pool).await.unwrap();
        }
        Engine::Postgres => {
            let pool = sqlx::PgPool::connect(&database.url).await.unwrap();
            sqlx::query(NEWER).execute(&pool).await.unwrap();
        }
    }
    assert!(migrations::pending(&settings).await.unwrap().is_empty());
    assert!(migrations::run(&settings).await.unwrap().is_empty());
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_a_newer_schema_is_left_as_it_is() {
    a_newer_schema_is_left_as_it_is(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_a_newer_schema_is_left_as_it_is() {
    a_newer_schema_is_left_as_it_is(Engine::Postgres).await;
}
