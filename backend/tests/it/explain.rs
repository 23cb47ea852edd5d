//! Both databases explain every statement, and none of them reads a table from end to end.
//!
//! # Why
//! PostgreSQL plans by what is in the tables: with few rows, or many of one user's, reading all may
//! truly be cheapest. So it is told to avoid that where it can (`enable_seqscan = off`): what still
//! reads a whole table, or a whole index, has no index that serves it, whatever the size. The plans
//! are generic, as those of a prepared statement are that was used often.
//!
//! A seeded database is explained, because on empty tables all plans are as good.

use std::path::Path;

use nomation::config::Config;
use nomation::domain::password::{Hasher, NewPassword};
use nomation::seed::{PASSWORD, Size, seed};
use nomation::store::registry::statements;
use nomation::store::{Database, migrations};
use serde_json::Value;
use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _, SqliteConnection,
};

use crate::harness::{Engine, TestDatabase};

/// What is swept 500 rows at a time: where there are no more, reading all is no fault.
const TO_SWEEP: &str = "\
    INSERT INTO sessions (id, user_id, created_at, expires_at) \
    SELECT gen_random_uuid(), users.id, now(), now() + i * interval '1 s' \
    FROM users, generate_series(1, 2000) AS i; \
    INSERT INTO idempotency_keys SELECT users.id, 'k' || i, '/', gen_random_uuid(), now() \
    FROM users, generate_series(1, 2000) AS i; \
    INSERT INTO jobs (id, kind, test_execution_id, payload, state, attempts, run_at, created_at) \
    SELECT gen_random_uuid(), 'test', id, '{}', 'finished', 1, created_at, created_at \
    FROM test_executions; ANALYZE";

/// What is wrong with the plans of a seeded database, after `statement`.
async fn faults(database: &TestDatabase, statement: &'static str) -> Vec<String> {
    let settings = settings(database);
    let all = statements(&settings);
    assert!(all.len() > 150, "{}", all.len());
    let mut faults = Vec::new();
    match &settings {
        Database::Sqlite(_) => {
            let mut connection = SqliteConnection::connect(&database.url).await.unwrap();
            connection.execute(statement).await.unwrap();
            for sql in &all {
                faults.extend(sqlite_fault(&mut connection, sql).await);
            }
        }
        Database::Postgres(_) => {
            let mut connection = PgConnection::connect(&database.url).await.unwrap();
            connection.execute(statement).await.unwrap();
            connection.execute("SET enable_seqscan = off").await.unwrap();
            connection.execute("SET plan_cache_mode = force_generic_plan").await.unwrap();
            for sql in &all {
                faults.extend(postgres_fault(&mut connection, sql).await);
            }
            connection.close().await.unwrap();
        }
    }
    faults
}

fn settings(database: &TestDatabase) -> Database {
    let lookup = |name: &str| (name == "DATABASE_URL").then(|| database.url.clone().into());
    Config::read_database_alone(&lookup).unwrap().0
}

async fn seeded(engine: Engine) -> TestDatabase {
    let database = TestDatabase::create(engine).await;
    let settings = settings(&database);
    migrations::run(&settings).await.unwrap();
    let hasher = Hasher::new(argon2::Params::DEFAULT).unwrap();
    let hash = hasher.hash(NewPassword::parse(PASSWORD).unwrap()).await.unwrap();
    seed(&settings, Size::of(20_000), &hash, |_| {}).await.unwrap();
    if engine == Engine::Postgres {
        let mut connection = PgConnection::connect(&database.url).await.unwrap();
        connection.execute(TO_SWEEP).await.unwrap();
        connection.close().await.unwrap();
    }
    database
}

async fn sqlite_fault(connection: &mut SqliteConnection, sql: &str) -> Option<String> {
    // A key that nobody has, since SQLite looks at values, and nulls there are many of.
    let mut explain = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
    for _place in 0..places(sql) {
        explain = explain.bind(vec![7_u8; 16]);
    }
    let rows = explain.fetch_all(connection).await;
    let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
    // A subquery of our own that is counted is no table.
    let reads_all = |line: &&String| {
        let is_ours = ["counted", "valued", "empty", "parts"].iter().any(|n| line.contains(n));
        line.starts_with("SCAN ") && !line.contains("CONSTANT ROW") && !is_ours
    };
    plan.iter().find(reads_all).map(|line| format!("{line}: {sql}"))
}

/// How many `$1`, `$2`, … a statement has.
fn places(sql: &str) -> usize {
    (1..20).take_while(|place| sql.contains(&format!("${place}"))).count()
}

async fn postgres_fault(connection: &mut PgConnection, sql: &str) -> Option<String> {
    // A plan for any limit expects a tenth of all rows; a page is what is asked for.
    let last = format!(" LIMIT ${}", places(sql));
    let sql = sql.replace(&last, " LIMIT 51");
    let nulls = vec!["NULL"; places(&sql)].join(", ");
    let arguments = if nulls.is_empty() { nulls } else { format!("({nulls})") };
    let all =
        format!("PREPARE it AS {sql}; EXPLAIN (FORMAT JSON) EXECUTE it {arguments}; DEALLOCATE it");
    let rows = sqlx::raw_sql(AssertSqlSafe(all)).fetch_all(connection).await;
    let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let plan: Value = rows[0].get(0);
    postgres_plan_fault(&plan[0]["Plan"]).map(|fault| format!("{fault}: {sql}"))
}

/// What reads all of something, here or below.
fn postgres_plan_fault(node: &Value) -> Option<String> {
    let kind = node["Node Type"].as_str().unwrap();
    let of = node.get("Relation Name").or_else(|| node.get("Index Name"));
    let is_index = ["Index Scan", "Index Only Scan", "Bitmap Index Scan"].contains(&kind);
    if kind == "Seq Scan" || (is_index && node.get("Index Cond").is_none()) {
        return Some(format!("{kind} of all of {}", of.unwrap()));
    }
    node["Plans"].as_array().into_iter().flatten().find_map(postgres_plan_fault)
}

async fn nothing_is_read_from_end_to_end(engine: Engine) {
    let database = seeded(engine).await;
    assert_eq!(faults(&database, "SELECT 1").await, Vec::<String>::new());
    // Each index that is taken away is missed by somebody.
    for (index, table) in [
        ("DROP INDEX tests_project_id_idx", "tests"),
        ("DROP INDEX sessions_expires_at_idx", "sessions"),
        ("DROP INDEX test_suites_project_id_idx", "test_suites"),
    ] {
        let missed = faults(&database, index).await;
        assert!(missed.iter().any(|fault| fault.contains(table)), "{index}: {missed:?}");
    }
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_reads_no_table_from_end_to_end() {
    nothing_is_read_from_end_to_end(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_reads_no_table_from_end_to_end() {
    nothing_is_read_from_end_to_end(Engine::Postgres).await;
}

/// What need not be explained, and why.
const ELSEWHERE: [(&str, &str); 4] = [
    ("\"SELECT clock_timestamp()\"", "reads nothing: the database's clock"),
    ("\"SELECT 1\"", "reads nothing: whether the database answers"),
    ("FROM pg_tables", "a restore asks the catalogue whether the database is empty"),
    ("\"SELECT id FROM users LIMIT 1\"", "a restore asks whether the file is one of ours"),
];

/// SQL outside of `sql!`, which the registry would not know.
fn undeclared(file: &str, source: &str) -> Vec<String> {
    let begins = |line: &str| {
        let text = line.trim_start().trim_start_matches("const ");
        ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH "]
            .iter()
            .any(|word| text.starts_with(word) || text.contains(&format!("\"{word}")))
    };
    let mut faults = Vec::new();
    let (mut is_declared, mut is_macro) = (false, false);
    for line in source.lines().take_while(|line| *line != "#[cfg(test)]") {
        match line {
            "sql! {" => is_declared = true,
            "}" => (is_declared, is_macro) = (false, false),
            _ if line.starts_with("macro_rules! ") => is_macro = true,
            _ if is_declared || is_macro || line.trim_start().starts_with("//") => {}
            _ if ELSEWHERE.iter().any(|(text, _why)| line.contains(text)) => {}
            // Macros with SQL in them are for `sql!`.
            _ if begins(line)
                || ["take!(", "waiting!(", "left_behind!(", "end_of!(", "owned!("]
                    .iter()
                    .any(|m| line.contains(m)) =>
            {
                faults.push(format!("{file}: {}", line.trim()));
            }
            _ => {}
        }
    }
    faults
}

/// The statements that are put together, each a function that gives a text.
fn put_together(source: &str) -> Vec<&str> {
    let functions = source.lines().filter(|line| line.ends_with("-> String {"));
    let names = functions.filter_map(|line| line.split("fn ").nth(1)?.split('(').next());
    // Parts of statements, not statements.
    names.filter(|name| !["columns", "owned", "part"].contains(name)).collect()
}

#[test]
fn no_statement_escapes_being_explained() {
    let store = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let mut files: Vec<_> = store.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.push(store.with_extension("rs"));
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let registry = read(&store.join("registry.rs"));
    let mut faults = Vec::new();
    for file in &files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let source = read(file);
        if name == "statements.rs" {
            let missing = |function: &&str| !registry.contains(&format!("{function}("));
            faults.extend(put_together(&source).into_iter().filter(missing).map(str::to_owned));
        } else {
            faults.extend(undeclared(name, &source));
        }
        if source.contains("\nsql! {") {
            let module = name.trim_end_matches(".rs");
            if !registry.contains(&format!("{module}::STATEMENTS")) {
                faults.push(format!("the registry has nothing of {name}"));
            }
        }
    }
    assert_eq!(faults, Vec::<String>::new());
    assert!(files.len() > 10 && put_together(&read(&store.join("statements.rs"))).len() >= 8);

    let hidden = "fn f() {\n    query(\n        \"DELETE FROM jobs\",\n    );\n}\n";
    assert_eq!(undeclared("a.rs", hidden).len(), 1, "and such a one is found");
    let declared = "sql! {\n    const A: &str = \"DELETE FROM jobs\";\n}\n";
    assert_eq!(undeclared("a.rs", declared), Vec::<String>::new());
}
