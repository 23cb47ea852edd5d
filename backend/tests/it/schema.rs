//! The schema as the database's own catalogue tells it: no foreign key without an index, and the
//! indexes that the lists were designed on.

use nomation::config::Config;
use nomation::store::migrations;
use sqlx::Row as _;

use crate::harness::{Engine, TestDatabase};

/// Table and leading columns of the indexes that lists and deletions rely on.
const INDEXES: [(&str, &str); 19] = [
    ("projects", "user_id"),
    ("project_urls", "project_id"),
    ("project_urls", "project_id,analyzed"),
    ("tests", "project_id"),
    ("test_executions", "test_id"),
    ("test_executions", "test_id,started_at"),
    ("test_executions", "status"),
    ("project_elements", "auth_flow_id"),
    ("project_elements", "page_state_id"),
    ("project_elements", "source_url_id"),
    ("project_elements", "project_id,confidence"),
    ("project_elements", "project_id,discovery_state"),
    ("auth_flows", "project_id"),
    ("page_states", "project_id"),
    ("page_states", "auth_flow_id"),
    ("browser_sessions", "project_id"),
    ("browser_sessions", "auth_flow_id"),
    ("test_suites", "project_id"),
    ("test_suite_executions", "suite_id"),
];

/// An index and its columns in order, or a foreign key (no name) and its column.
struct Entry {
    table: String,
    name: String,
    columns: String,
}

struct Catalogue {
    indexes: Vec<Entry>,
    foreign_keys: Vec<Entry>,
}

impl Catalogue {
    /// What is missing, one line each.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for key in &self.foreign_keys {
            let leads = |i: &&Entry| {
                i.table == key.table && i.columns.split(',').next() == Some(key.columns.as_str())
            };
            if !self.indexes.iter().any(|i| leads(&i)) {
                faults.push(format!("no index leads with {}({})", key.table, key.columns));
            }
        }
        for (table, columns) in INDEXES {
            let name = format!("{table}_{}_idx", columns.replace(',', "_"));
            let is_it = |i: &Entry| {
                (i.table.as_str(), i.name.as_str()) == (table, name.as_str())
                    && format!("{},", i.columns).starts_with(&format!("{columns},"))
            };
            if !self.indexes.iter().any(is_it) {
                faults.push(format!("no {name} on {table}({columns})"));
            }
        }
        faults
    }
}

const SQLITE_INDEXES: &str = "\
    SELECT t.name, i.name, (SELECT group_concat(name, ',') \
        FROM (SELECT name FROM pragma_index_info(i.name) ORDER BY seqno)) \
    FROM sqlite_schema t JOIN pragma_index_list(t.name) i WHERE t.type = 'table'";
const SQLITE_FOREIGN_KEYS: &str = "\
    SELECT t.name, '', k.\"from\" FROM sqlite_schema t JOIN pragma_foreign_key_list(t.name) k \
    WHERE t.type = 'table'";
const POSTGRES_INDEXES: &str = "\
    SELECT t.relname::text, i.relname::text, \
        (SELECT string_agg(a.attname::text, ',' ORDER BY k.place) \
         FROM unnest(x.indkey::int2[]) WITH ORDINALITY k(number, place) \
         JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.number) \
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid \
    JOIN pg_namespace n ON n.oid = t.relnamespace WHERE n.nspname = 'public' AND x.indpred IS NULL";
const POSTGRES_FOREIGN_KEYS: &str = "\
    SELECT c.conrelid::regclass::text, '', a.attname::text FROM pg_constraint c \
    JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1] \
    WHERE c.contype = 'f'";

macro_rules! entries {
    ($connection:expr, $sql:expr) => {
        sqlx::query($sql)
            .fetch_all(&mut $connection)
            .await
            .unwrap()
            .iter()
            .map(|row| Entry { table: row.get(0), name: row.get(1), columns: row.get(2) })
            .collect()
    };
}

/// Reads the catalogue of a migrated database, after `statement`.
async fn catalogue(engine: Engine, statement: &'static str) -> Catalogue {
    use sqlx::Connection as _;
    let database = TestDatabase::create(engine).await;
    let lookup = |name: &str| (name == "DATABASE_URL").then(|| database.url.clone().into());
    let (settings, _log) = Config::read_database_alone(&lookup).unwrap();
    migrations::run(&settings).await.unwrap();
    let read = match engine {
        Engine::Sqlite => {
            let mut connection = sqlx::SqliteConnection::connect(&database.url).await.unwrap();
            sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
            Catalogue {
                indexes: entries!(connection, SQLITE_INDEXES),
                foreign_keys: entries!(connection, SQLITE_FOREIGN_KEYS),
            }
        }
        Engine::Postgres => {
            let mut connection = sqlx::PgConnection::connect(&database.url).await.unwrap();
            sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
            Catalogue {
                indexes: entries!(connection, POSTGRES_INDEXES),
                foreign_keys: entries!(connection, POSTGRES_FOREIGN_KEYS),
            }
        }
    };
    database.remove().await;
    read
}

async fn nothing_is_missing(engine: Engine) {
    let whole = catalogue(engine, "SELECT 1").await;
    assert!(whole.foreign_keys.len() >= 20, "the catalogue was read");
    assert_eq!(whole.faults(), Vec::<String>::new());

    let lacking = catalogue(engine, "DROP INDEX test_suite_tests_test_id_idx").await;
    assert_eq!(lacking.faults(), ["no index leads with test_suite_tests(test_id)"]);
    let lacking = catalogue(engine, "DROP INDEX test_executions_status_idx").await;
    assert_eq!(lacking.faults(), ["no test_executions_status_idx on test_executions(status)"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_lacks_no_index() {
    nothing_is_missing(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_lacks_no_index() {
    nothing_is_missing(Engine::Postgres).await;
}
