//! What a person sees who starts the program: help, faults with their remedies, and exit codes.

use std::net::TcpListener;

use crate::harness::{Engine, JWT_SECRET, TestDatabase};
use crate::program::{Program, run};

#[test]
fn help_teaches_and_succeeds() {
    let (code, help, _) = run(&["--help"], &[]);
    assert_eq!(code, 0);
    let commands = ["serve", "migrate", "worker"];
    let rest = ["DATABASE_URL", "JWT_SECRET", "NAME_FILE", "Exit codes"];
    for taught in commands.iter().chain(&rest) {
        assert!(help.contains(*taught), "{taught} in {help}");
    }
}

#[test]
fn wrong_usage_is_2() {
    for arguments in [&["fly"][..], &["serve", "--fast"], &[]] {
        assert_eq!(run(arguments, &[]).0, 2, "{arguments:?}");
    }
}

#[test]
fn production_tells_all_faults_of_its_environment_at_once() {
    let (code, _, told) = run(
        &["serve"],
        &[
            ("APP_ENV", "production"),
            ("JWT_SECRET", "short-hunter2"),
            ("BIND", "nowhere"),
            ("DATABASE_URL", "x"),
        ],
    );
    assert_eq!(code, 2);
    for name in ["JWT_SECRET", "BIND", "DATABASE_URL"] {
        assert!(told.contains(name), "{name} in {told}");
    }
    assert_eq!(told.matches("remedy:").count(), 3, "{told}");
    assert!(!told.contains("hunter2"), "{told}");
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_remedy() {
    let database = TestDatabase::create(Engine::Sqlite).await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let bind = taken.local_addr().unwrap().to_string();
    let (code, _, told) = run(&["serve"], &[("DATABASE_URL", &database.url), ("BIND", &bind)]);
    assert_eq!(code, 2);
    assert!(
        told.contains(&format!("cannot listen on http://{bind}")) && told.contains("remedy:"),
        "{told}"
    );
    database.remove().await;
}

#[test]
fn an_unreachable_database_is_70_and_its_password_stays_secret() {
    let url = "postgres://nomation:hunter2@127.0.0.1:1/app";
    for command in ["serve", "migrate"] {
        let (code, log, told) = run(&[command], &[("DATABASE_URL", url)]);
        assert_eq!(code, 70, "{told}");
        assert!(told.contains("PostgreSQL 127.0.0.1:1/app"), "{told}");
        assert!(!told.contains("hunter2") && !log.contains("hunter2"), "{told}{log}");
    }
}

async fn production_migrates_by_command(engine: Engine) {
    let database = TestDatabase::create(engine).await;
    let environment =
        [("APP_ENV", "production"), ("DATABASE_URL", &*database.url), ("JWT_SECRET", JWT_SECRET)];
    let refused = [&environment[..], &[("BIND", "127.0.0.1:0")]].concat();
    let (code, _, told) = run(&["serve"], &refused);
    assert_eq!(code, 2, "{told}");
    assert!(
        told.contains("0001 users and projects") && told.contains("nomation migrate"),
        "{told}"
    );

    let only_the_database = [("APP_ENV", "production"), ("DATABASE_URL", &*database.url)];
    for _twice in 0..2 {
        let (code, log, told) = run(&["migrate"], &only_the_database);
        assert_eq!(code, 0, "{log}{told}");
    }
    let program = Program::serve(&environment);
    program.client.registered("ada@example.com").await;
    drop(program);
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn production_migrates_by_command_on_sqlite() {
    production_migrates_by_command(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn production_migrates_by_command_on_postgres() {
    production_migrates_by_command(Engine::Postgres).await;
}
