//! Both databases explain every statement, and none of them reads a table from end to end.
//!
//! # Why
//! PostgreSQL plans by what is in the tables: with few rows, or many of one user's, reading all may
//! truly be cheapest, and sorting it. So it is told to avoid that where it can (`enable_seqscan`,
//! `enable_sort`): what still reads a whole table or index has no index that serves it, whatever
//! the size. The plans are generic, as those of a prepared statement are that was used often.
//!
//! An index serves nobody who reads of it all that have some state, as half of the rows may, or who
//! sorts what it gave before the first row can be answered: these are faults as well.
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

/// What is swept 500 rows at a time: where there are no more, reading all is no fault. Of jobs and
/// executions half are not over, so that reading all of those is one.
const MORE: &str = "\
    INSERT INTO sessions (id, user_id, created_at, expires_at) \
    SELECT gen_random_uuid(), users.id, now(), now() + i * interval '1 s' \
    FROM users, generate_series(1, 2000) AS i; \
    INSERT INTO idempotency_keys SELECT users.id, 'k' || i, '/', gen_random_uuid(), now() \
    FROM users, generate_series(1, 2000) AS i; \
    UPDATE test_executions SET status = 'running', finished_at = NULL \
    WHERE hashtext(id::text) > 0; \
    UPDATE test_executions SET status = 'queued' \
    WHERE status = 'running' AND hashtext(id::text) % 2 = 0; \
    INSERT INTO jobs (id, kind, test_execution_id, payload, state, attempts, run_at, created_at, \
    user_id, turn) \
    SELECT gen_random_uuid(), 'test', e.id, '{}', CASE WHEN e.status IN ('queued', 'running') \
    THEN e.status ELSE 'finished' END, 1, e.created_at, e.created_at, p.user_id, \
    abs(hashtext(e.id::text)) % 100 \
    FROM test_executions AS e JOIN tests AS t ON t.id = e.test_id \
    JOIN projects AS p ON p.id = t.project_id; ANALYZE";

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
            connection.execute("SET enable_seqscan = off; SET enable_sort = off").await.unwrap();
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
        connection.execute(MORE).await.unwrap();
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
    let plan: Vec<(i32, String)> =
        rows.iter().map(|row| (row.get("parent"), row.get("detail"))).collect();
    // The least or the greatest is where an index begins or ends.
    let is_bounded = [" LIMIT ", "(SELECT max("].iter().any(|text| sql.contains(text));
    let reads_all = |(parent, line): &&(i32, String)| {
        // Our own subqueries, each bounded where it is written, are no tables.
        let ours = ["SCAN counted", "SCAN valued", "SCAN empty", "SCAN parts"];
        let sorts_parts = || plan.contains(&(*parent, "SCAN parts".to_owned()));
        (line.starts_with("SCAN ") && line != "SCAN CONSTANT ROW" && !ours.contains(&&**line))
            || (line == "USE TEMP B-TREE FOR ORDER BY" && !sorts_parts())
            || (!is_bounded && STATES.iter().any(|state| line.ends_with(&format!("({state}=?)"))))
    };
    plan.iter().find(reads_all).map(|(_parent, line)| format!("{line}: {sql}"))
}

/// Columns with few values: each is that of any number of rows.
const STATES: [&str; 2] = ["state", "status"];

/// How many `$1`, `$2`, … a statement has.
fn places(sql: &str) -> usize {
    (1..20).take_while(|place| sql.contains(&format!("${place}"))).count()
}

async fn postgres_fault(connection: &mut PgConnection, sql: &str) -> Option<String> {
    // A plan for any limit expects a tenth of all rows; a page is what is asked for. Nor are there
    // as many jobs here as are counted.
    let last = format!(" LIMIT ${}", places(sql));
    let sql = sql.replace(&last, " LIMIT 51").replace(" LIMIT 10000", " LIMIT 51");
    let nulls = vec!["NULL"; places(&sql)].join(", ");
    let arguments = if nulls.is_empty() { nulls } else { format!("({nulls})") };
    let all =
        format!("PREPARE it AS {sql}; EXPLAIN (FORMAT JSON) EXECUTE it {arguments}; DEALLOCATE it");
    let rows = sqlx::raw_sql(AssertSqlSafe(all)).fetch_all(connection).await;
    let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let plan: Value = rows[0].get(0);
    postgres_plan_fault(&plan[0]["Plan"], false).map(|fault| format!("{fault}: {sql}"))
}

/// What reads all of something, here or below. `is_bounded`: somebody above stops after some rows.
fn postgres_plan_fault(node: &Value, is_bounded: bool) -> Option<String> {
    let kind = node["Node Type"].as_str().unwrap();
    let of = || node.get("Relation Name").or_else(|| node.get("Index Name")).unwrap();
    let below = || node["Plans"].as_array().into_iter().flatten();
    if ["Index Scan", "Index Only Scan", "Bitmap Index Scan"].contains(&kind) {
        let condition = node["Index Cond"].as_str().unwrap_or_default();
        let is_state = !condition.contains(" AND ")
            && STATES.iter().any(|state| condition.starts_with(&format!("({state} ")));
        if condition.is_empty() || (is_state && !is_bounded) {
            return Some(format!("{kind} of all of {} {condition}", of()));
        }
    }
    if kind == "Seq Scan" {
        return Some(format!("{kind} of all of {}", of()));
    }
    if kind == "Sort" && !below().any(is_bounded_below) {
        return Some(format!("Sort by {} of all", node["Sort Key"]));
    }
    let is_bounded = kind == "Limit"
        || (is_bounded && !["Sort", "Aggregate", "Hash", "Bitmap Heap Scan"].contains(&kind));
    below().find_map(|node| postgres_plan_fault(node, is_bounded))
}

/// Whether the rows of a node are those of parts that each stop somewhere.
fn is_bounded_below(node: &Value) -> bool {
    node["Node Type"] == "Limit"
        || node["Plans"].as_array().is_some_and(|below| below.iter().all(is_bounded_below))
}

async fn nothing_is_read_from_end_to_end(engine: Engine) {
    let database = seeded(engine).await;
    assert_eq!(faults(&database, "SELECT 1").await, Vec::<String>::new());
    // Each index that is taken away is missed by somebody.
    for (index, table) in [
        ("DROP INDEX tests_project_id_idx", "tests"),
        ("DROP INDEX sessions_expires_at_idx", "sessions"),
        ("DROP INDEX test_suites_project_id_idx", "test_suites"),
        ("DROP INDEX jobs_state_turn_idx", "jobs"),
        ("DROP INDEX jobs_user_id_state_turn_idx", "jobs"),
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
