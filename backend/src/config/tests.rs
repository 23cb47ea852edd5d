//! What the environment may say, and what is said back when it may not.

use std::ffi::OsString;
use std::io::Write as _;

use super::*;

fn read(variables: &[(&str, &str)]) -> Result<Config, String> {
    let lookup = |name: &str| {
        variables.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value))
    };
    Config::read(&lookup).map(|(config, _)| config).map_err(|faults| faults.to_string())
}

const GOOD_SECRET: &str = "k3VfQm0ZxT9bLw7sYdR2uHcJ5aNpE8gO1iKzXvBt";

#[test]
fn an_empty_environment_is_a_working_development_setup() {
    let config = read(&[("JWT_SECRET", ""), ("REDIS_URL", " ")]).unwrap();
    assert_eq!(config.app_env, AppEnv::Development);
    assert_eq!(config.bind, Bind::Tcp("127.0.0.1:3002".parse().unwrap()));
    assert_eq!(config.database.to_string(), "SQLite data/nomation.db");
    assert!(
        config.jwt_secret.is_none() && config.redis.is_none() && config.cors_origins.is_empty()
    );
}

#[test]
fn every_variable_is_understood() {
    let config = read(&[
        ("APP_ENV", "production"),
        ("BIND", "unix:/run/nomation.sock"),
        ("DATABASE_URL", "postgres://nomation:pw@db:5433/app"),
        ("JWT_SECRET", GOOD_SECRET),
        ("CORS_ORIGIN", "https://app.example.com, http://localhost:5173"),
        ("REDIS_URL", "rediss://:pw@queue:6379/1"),
        ("RUST_LOG", "nomation=debug,info"),
    ])
    .unwrap();
    assert_eq!(config.bind, Bind::Unix("/run/nomation.sock".into()));
    assert_eq!(config.database.to_string(), "PostgreSQL db:5433/app");
    assert_eq!(config.cors_origins, ["https://app.example.com", "http://localhost:5173"]);
    assert!(config.redis.is_some());
}

#[test]
fn all_faults_are_told_at_once_each_with_its_remedy() {
    let told = read(&[
        ("APP_ENV", "staging"),
        ("BIND", "localhost:3002"),
        ("DATABASE_URL", "mysql://root:hunter2@db/app"),
        ("CORS_ORIGIN", "*"),
        ("REDIS_URL", "http://queue:hunter2@host"),
        ("RUST_LOG", "nomation=loudly"),
    ])
    .unwrap_err();
    for name in
        ["APP_ENV", "BIND", "DATABASE_URL", "JWT_SECRET", "CORS_ORIGIN", "REDIS_URL", "RUST_LOG"]
    {
        assert_eq!(told.matches(&format!("\n  {name} ")).count(), 1, "{name} in {told}");
    }
    assert_eq!(told.matches("\n    remedy: ").count(), 7, "{told}");
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn production_refuses_a_missing_short_or_guessable_secret() {
    let patterned = "ab".repeat(40);
    for (secret, why) in [
        ("", "is not set"),
        ("0123456789abcdef0123456789abcde", "has 31 bytes"),
        ("your-super-secret-jwt-key-change-in-production", "is an example"),
        (patterned.as_str(), "is an example or a pattern"),
    ] {
        let told = read(&[("APP_ENV", "production"), ("JWT_SECRET", secret)]).unwrap_err();
        assert!(told.contains(&format!("JWT_SECRET {why}")), "{told}");
        assert!(secret.is_empty() || !told.contains(secret), "{told}");
    }
    assert!(read(&[("APP_ENV", "production"), ("JWT_SECRET", GOOD_SECRET)]).is_ok());
    assert!(read(&[("JWT_SECRET", "short")]).is_ok(), "development takes any");
}

#[test]
fn a_secret_may_be_in_a_file() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{GOOD_SECRET}").unwrap();
    let path = file.path().to_str().unwrap();
    let config = read(&[("APP_ENV", "production"), ("JWT_SECRET_FILE", path)]).unwrap();
    assert_eq!(config.jwt_secret.unwrap().expose(), GOOD_SECRET);

    let both = read(&[("JWT_SECRET", "x"), ("JWT_SECRET_FILE", path)]).unwrap_err();
    assert!(both.contains("JWT_SECRET is set, and so is JWT_SECRET_FILE"), "{both}");

    let missing = [("APP_ENV", "production"), ("JWT_SECRET_FILE", "/nowhere")];
    let missing = read(&missing).unwrap_err();
    assert!(missing.contains("JWT_SECRET cannot be read from the file /nowhere"), "{missing}");
    assert!(!missing.contains("is not set"), "one fault, told once: {missing}");
}

#[test]
fn production_refuses_an_open_redis_and_a_weak_previous_secret() {
    let production = [("APP_ENV", "production"), ("JWT_SECRET", GOOD_SECRET)];
    let with = |name, value| read(&[&production[..], &[(name, value)]].concat());
    let told = with("REDIS_URL", "redis://queue:6379").unwrap_err();
    assert!(told.contains("REDIS_URL has no password"), "{told}");
    assert!(with("REDIS_URL", "redis://:pw@queue:6379").is_ok());
    assert!(read(&[("REDIS_URL", "redis://queue:6379")]).is_ok(), "development may");
    let told = with("JWT_SECRET_PREVIOUS", "short").unwrap_err();
    assert!(told.contains("JWT_SECRET_PREVIOUS has 5 bytes"), "{told}");
    assert!(with("JWT_SECRET_PREVIOUS", "p9XcR2vNqLw7ZtYb4KmJ8sHdG5fTaE1u").is_ok());
}

#[test]
fn the_cost_of_a_hash_stays_within_bounds() {
    let standard = read(&[]).unwrap().hash_cost;
    assert_eq!((standard.m_cost(), standard.t_cost(), standard.p_cost()), (19456, 2, 1));
    let read_cost = |value| read(&[("ARGON2_MEMORY_KIB", value), ("ARGON2_ITERATIONS", "5")]);
    assert_eq!(read_cost("65536").unwrap().hash_cost.m_cost(), 65536);
    for wrong in ["0", "7167", "1048577", "-1", "much"] {
        assert!(read_cost(wrong).unwrap_err().contains("ARGON2_MEMORY_KIB"), "{wrong}");
    }
}

#[test]
fn the_example_has_every_variable() {
    let asked = std::cell::RefCell::new(Vec::new());
    let lookup = |name: &str| {
        asked.borrow_mut().push(name.to_owned());
        None
    };
    Config::read(&lookup).unwrap();
    let asked = asked.into_inner();
    assert!(asked.len() > 15, "{asked:?}");
    let example = include_str!("../../../.env.example");
    for name in asked {
        let line = |line: &str| line.trim_start_matches("# ").starts_with(&format!("{name}="));
        assert!(example.lines().any(line), "{name} is not in .env.example");
    }
}

#[test]
fn the_bounds_of_the_pool_are_read() {
    let pool = read(&[]).unwrap().pool;
    assert_eq!((pool.connections, pool.acquire.as_secs(), pool.statement.as_secs()), (None, 3, 5));
    let pool = read(&[
        ("DATABASE_CONNECTIONS", "7"),
        ("DATABASE_ACQUIRE_TIMEOUT_MS", "250"),
        ("DATABASE_STATEMENT_TIMEOUT_MS", "1000"),
    ]);
    let pool = pool.unwrap().pool;
    assert_eq!((pool.connections, pool.acquire.as_millis()), (Some(7), 250));
    assert_eq!(pool.statement.as_secs(), 1);
    for (name, wrong) in [
        ("DATABASE_CONNECTIONS", "0"),
        ("DATABASE_CONNECTIONS", "many"),
        ("DATABASE_ACQUIRE_TIMEOUT_MS", "9"),
        ("DATABASE_STATEMENT_TIMEOUT_MS", "15001"),
    ] {
        assert!(read(&[(name, wrong)]).unwrap_err().contains(name), "{name}={wrong}");
    }
}

#[test]
fn an_origin_is_what_a_browser_sends() {
    for wrong in
        ["https://a.example/", "https://a.example/x", "a.example", "null", "ftp://a", "https://u@a"]
    {
        assert!(read(&[("CORS_ORIGIN", wrong)]).is_err(), "{wrong}");
    }
}

#[test]
fn nothing_secret_is_printed() {
    let config = read(&[
        ("DATABASE_URL", "postgres://nomation:hunter2@db/app"),
        ("JWT_SECRET", "hunter2hunter2"),
        ("REDIS_URL", "redis://:hunter2@queue"),
    ])
    .unwrap();
    assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
}

#[test]
fn a_database_in_memory_is_refused() {
    for url in ["sqlite::memory:", "sqlite://x?mode=memory"] {
        assert!(read(&[("DATABASE_URL", url)]).unwrap_err().contains("in-memory"));
    }
}
