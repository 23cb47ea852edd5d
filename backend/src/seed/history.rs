//! What happened: executions and what came of them, jobs, sessions.

use super::rows::{Dialect, Rows, Table};
use super::tables::{STEPS, SUITES, TESTS, USERS};

pub(super) static SUITE_EXECUTIONS: Table = Table {
    name: "test_suite_executions",
    count: |size| 2 * size.projects,
    number: 11,
    columns: "id, suite_id, started_at, finished_at, status, results, version, created_at, \
              updated_at",
    values: |rows| {
        let made = Rows::made("i");
        format!(
            "{}, {}, {}, {}, {}, {}, {}",
            rows.key(&SUITE_EXECUTIONS, "i"),
            rows.key(&SUITES, &format!("i % {}", rows.size.projects)),
            rows.instant(&made),
            rows.instant(&format!("{made} + 60000")),
            Rows::word(&["passed", "passed", "failed"]),
            rows.json("'{\"passed\": 4, \"failed\": 1}'"),
            rows.stamps(),
        )
    },
};

pub(super) static EXECUTIONS: Table = Table {
    name: "test_executions",
    count: |size| size.rows,
    number: 12,
    columns: "id, test_id, suite_execution_id, status, failure, steps, timeout_seconds, \
              started_at, finished_at, results, version, created_at, updated_at",
    values: |rows| {
        let (made, test) = (Rows::made("i"), Rows::parent((TESTS.count)(rows.size)));
        let suite = format!("{test} % {}", rows.size.projects);
        let status = ["passed", "passed", "passed", "passed", "failed", "passed", "cancelled"];
        format!(
            "{}, {}, CASE WHEN i % 20 = 1 THEN {} END, {}, \
             CASE WHEN i % 7 = 4 THEN 'step 2: #cart is not visible' END, {}, 60, {}, {}, {}, {}",
            rows.key(&EXECUTIONS, "i"),
            rows.key(&TESTS, &test),
            rows.one_of(&SUITE_EXECUTIONS, &format!("({suite})"), "i / 20"),
            Rows::word(&status),
            rows.json(STEPS),
            rows.instant(&format!("{made} + 500")),
            rows.instant(&format!("{made} + 500 + i % 20000")),
            rows.json("'{\"passed\": 2, \"failed\": 0}'"),
            rows.stamps(),
        )
    },
};

pub(super) static STEP_RESULTS: Table = Table {
    name: "execution_steps",
    count: |size| size.rows / 5,
    number: 13,
    columns: "execution_id, position, action, status, started_at, duration_ms",
    values: |rows| {
        let cast = match rows.dialect {
            Dialect::Sqlite => "",
            Dialect::Postgres => "::integer",
        };
        format!(
            "{}, (i % 2){cast}, {}, 'passed', {}, i % 3000",
            rows.key(&EXECUTIONS, "i / 2"),
            Rows::word(&["navigate", "assertVisible"]),
            rows.instant(&Rows::made("i")),
        )
    },
};

pub(super) static JOBS: Table = Table {
    name: "jobs",
    count: |size| size.rows / 10,
    number: 14,
    columns: "id, kind, test_execution_id, payload, state, attempts, run_at, created_at, \
              finished_at",
    values: |rows| {
        let made = rows.instant(&Rows::made("i"));
        let (key, execution) = (rows.key(&JOBS, "i"), rows.key(&EXECUTIONS, "i"));
        let payload = rows.json("'{}'");
        format!("{key}, 'test', {execution}, {payload}, 'finished', 1, {made}, {made}, {made}")
    },
};

pub(super) static SESSIONS: Table = Table {
    name: "sessions",
    count: |size| size.users,
    number: 15,
    columns: "id, user_id, created_at, expires_at",
    values: |rows| {
        let made = Rows::made("i");
        // Ten years on, so that the sweep leaves them.
        let ends = rows.instant(&format!("{made} + 315360000000"));
        let (key, user) = (rows.key(&SESSIONS, "i"), rows.key(&USERS, "i"));
        format!("{key}, {user}, {}, {ends}", rows.instant(&made))
    },
};

pub(super) static TOKENS: Table = Table {
    name: "refresh_tokens",
    count: |size| size.users,
    number: 16,
    columns: "token_hash, session_id, created_at",
    values: |rows| {
        // Nobody knows what has this hash.
        let digits = match rows.dialect {
            Dialect::Sqlite => "printf('%064x', i)",
            Dialect::Postgres => "lpad(to_hex(i), 64, '0')",
        };
        let made = rows.instant(&Rows::made("i"));
        format!("{}, {}, {made}", rows.bytes(digits), rows.key(&SESSIONS, "i"))
    },
};

pub(super) static IDEMPOTENCY_KEYS: Table = Table {
    name: "idempotency_keys",
    count: |size| size.rows / 100,
    number: 17,
    columns: "user_id, key, target, execution_id, created_at",
    values: |rows| {
        format!(
            "{}, 'nightly-' || i, '/api/tests/x/executions', {}, {}",
            rows.key(&USERS, &format!("i % {}", rows.size.users)),
            rows.key(&EXECUTIONS, "i"),
            rows.instant(&Rows::made("i")),
        )
    },
};
