//! The API's real queries, timed on both engines, with and without the 19 indexes.
//!
//! `cargo xtask bench db` starts a PostgreSQL and runs this: for each engine and size it seeds a
//! database, times every query of [`queries`] as the server runs it (the same functions, the same
//! pool), takes the indexes away, and times them again. A query is about the large customer, who
//! owns a tenth of everything, and about the others by turns.
//!
//! # What is taken away
//! The 19 indexes, and what else would stand in for one: every index on the same table that begins
//! with the same column, primary keys and unique rules excepted.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench that cannot go on has nobody to tell but the terminal"
)]

mod queries;
mod reads;
mod table;

use std::time::{Duration, Instant};

use nomation::config::Config;
use nomation::domain::password::{Hasher, NewPassword};
use nomation::seed::{PASSWORD, Size, seed};
use nomation::store::{Database, PoolLimits, Store, migrations};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};

use queries::{QUERIES, Subjects};
use table::{Figures, Line, print};

/// A query is repeated so often, or for so long, whichever ends first; but at least a few times.
const REPEAT: usize = 1000;
const REPEAT_MIN: usize = 20;
const REPEAT_FOR: Duration = Duration::from_millis(700);

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let of = |name: &str, default: &str| {
        let place = arguments.iter().position(|argument| argument == name);
        let given = place.and_then(|place| arguments.get(place + 1));
        given.map_or_else(|| default.to_owned(), String::clone)
    };
    let rows = of("--rows", "1000,100000,1000000");
    let engines = of("--engines", "sqlite,postgres");
    for size in rows.split(',').map(|rows| rows.parse().expect("--rows 1000,100000")) {
        for engine in engines.split(',') {
            let database = Made::new(engine).await;
            run(&database, engine, size).await;
            database.remove().await;
        }
    }
}

async fn run(made: &Made, engine: &str, rows: u32) {
    migrations::run(&made.database).await.unwrap();
    let hasher = Hasher::new(argon2::Params::DEFAULT).unwrap();
    let hash = hasher.hash(NewPassword::parse(PASSWORD).unwrap()).await.unwrap();
    let started = Instant::now();
    seed(&made.database, Size::of(rows), &hash, |progress| {
        if progress.is_full && progress.rows >= 10_000 {
            let seconds = started.elapsed().as_secs();
            eprintln!("{engine} {rows}: {} {} rows, {seconds} s", progress.table, progress.rows);
        }
    })
    .await
    .unwrap();
    let store = Store::open(&made.database, patient()).await.unwrap();
    let subjects = Subjects::find(&store).await;
    store.close().await;
    let with = measure(made, &subjects).await;
    take_indexes_away(&made.database).await;
    let without = measure(made, &subjects).await;
    let lines = QUERIES.iter().zip(with).zip(without);
    let lines: Vec<Line> =
        lines.map(|((query, with), without)| Line { title: query.title, with, without }).collect();
    print(engine, rows, &lines);
}

/// A statement may take as long as it does: without an index, that is what is asked.
fn patient() -> PoolLimits {
    PoolLimits { statement: Duration::from_secs(600), ..PoolLimits::default() }
}

/// Times every query.
async fn measure(made: &Made, subjects: &Subjects) -> Vec<Figures> {
    let mut all = Vec::new();
    for query in &QUERIES {
        let store = Store::open(&made.database, patient()).await.unwrap();
        for turn in 0..4 {
            (query.run)(&store, subjects, turn).await;
        }
        let mut times = Vec::new();
        let started = Instant::now();
        while times.len() < REPEAT_MIN || (times.len() < REPEAT && started.elapsed() < REPEAT_FOR) {
            let one = Instant::now();
            (query.run)(&store, subjects, times.len()).await;
            times.push(one.elapsed());
        }
        store.close().await;
        let reads = reads::count(&made.database, query, subjects).await;
        times.sort_unstable();
        let percentile = |of: usize| times[(times.len() * of / 100).min(times.len() - 1)];
        all.push(Figures { p50: percentile(50), p99: percentile(99), reads });
    }
    all
}

async fn take_indexes_away(database: &Database) {
    const LEADING: [(&str, &[&str]); 9] = [
        ("projects", &["user_id"]),
        ("project_urls", &["project_id"]),
        ("tests", &["project_id"]),
        ("test_executions", &["test_id", "status"]),
        ("project_elements", &["auth_flow_id", "page_state_id", "source_url_id", "project_id"]),
        ("auth_flows", &["project_id"]),
        ("page_states", &["project_id", "auth_flow_id"]),
        ("browser_sessions", &["project_id", "auth_flow_id"]),
        ("test_suites", &["project_id"]),
    ];
    let is_one = |table: &str, columns: &str| {
        let leading = columns.split(',').next().unwrap();
        LEADING.iter().any(|(name, columns)| *name == table && columns.contains(&leading))
            || (table, leading) == ("test_suite_executions", "suite_id")
    };
    match database {
        Database::Sqlite(options) => {
            const SQL: &str = "SELECT t.name, i.name, (SELECT group_concat(name, ',') FROM \
                (SELECT name FROM pragma_index_info(i.name) ORDER BY seqno)) FROM sqlite_schema t \
                JOIN pragma_index_list(t.name) i WHERE t.type = 'table' AND i.\"unique\" = 0";
            let mut connection =
                sqlx::SqliteConnection::connect_with(options.as_ref()).await.unwrap();
            for row in connection.fetch_all(SQL).await.unwrap() {
                if is_one(row.get(0), row.get(2)) {
                    let drop = format!("DROP INDEX {}", row.get::<String, _>(1));
                    connection.execute(AssertSqlSafe(drop)).await.unwrap();
                }
            }
            connection.execute("ANALYZE").await.unwrap();
        }
        Database::Postgres(options) => {
            const SQL: &str = "SELECT t.relname::text, i.relname::text, a.attname::text \
                FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid \
                JOIN pg_class t ON t.oid = x.indrelid \
                JOIN pg_namespace n ON n.oid = t.relnamespace \
                JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = x.indkey[0] \
                WHERE n.nspname = 'public' AND NOT x.indisunique";
            let mut connection = PgConnection::connect_with(options.as_ref()).await.unwrap();
            for row in connection.fetch_all(SQL).await.unwrap() {
                if is_one(row.get(0), row.get(2)) {
                    let drop = format!("DROP INDEX {}", row.get::<String, _>(1));
                    connection.execute(AssertSqlSafe(drop)).await.unwrap();
                }
            }
            connection.execute("VACUUM ANALYZE").await.unwrap();
        }
    }
}

/// A database of this run's own.
struct Made {
    database: Database,
    kind: Kind,
}

enum Kind {
    File(tempfile::TempDir),
    OnServer { server: String, name: String },
}

impl Made {
    async fn new(engine: &str) -> Self {
        let (url, kind) = match engine {
            "sqlite" => {
                let folder = tempfile::tempdir().unwrap();
                (format!("sqlite://{}/bench.db", folder.path().display()), Kind::File(folder))
            }
            "postgres" => {
                let server = std::env::var("TEST_DATABASE_URL").expect("cargo xtask bench db");
                let name = format!("nomation_bench_{}", std::process::id());
                administer(&server, format!("CREATE DATABASE {name}")).await;
                let (address, _database) = server.rsplit_once('/').unwrap();
                (format!("{address}/{name}"), Kind::OnServer { server, name })
            }
            other => panic!("--engines sqlite,postgres, not {other}"),
        };
        let lookup = |name: &str| (name == "DATABASE_URL").then(|| url.clone().into());
        let (database, _log) = Config::read_database_alone(&lookup).unwrap();
        Self { database, kind }
    }

    async fn remove(self) {
        match self.kind {
            Kind::File(folder) => folder.close().unwrap(),
            Kind::OnServer { server, name } => {
                administer(&server, format!("DROP DATABASE {name} WITH (FORCE)")).await;
            }
        }
    }
}

async fn administer(server: &str, statement: String) {
    let mut connection = PgConnection::connect(server).await.unwrap();
    connection.execute(AssertSqlSafe(statement)).await.unwrap();
    connection.close().await.unwrap();
}
