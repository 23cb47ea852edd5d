//! What users keep: the tables up to suites and their members.

use super::rows::{Dialect, Rows, Table};

pub(super) static USERS: Table = Table {
    name: "users",
    count: |size| size.users,
    number: 1,
    columns: "id, email, name, password_hash, created_at",
    values: |rows| {
        let (key, made) = (rows.key(&USERS, "i"), rows.instant(&Rows::made("i")));
        let name = Rows::word(&["Ada", "Grace", "Barbara", "Edsger", "Donald", "Radia", "Niklaus"]);
        format!("{key}, 'user' || i || '@seed.example', {name} || ' ' || i, $3, {made}")
    },
};

pub(super) static PROJECTS: Table = Table {
    name: "projects",
    count: |size| size.projects,
    number: 2,
    columns: "id, user_id, name, description, version, created_at, updated_at",
    values: |rows| {
        let owner = Rows::parent(rows.size.users);
        let name = Rows::word(&["Shop", "Bank", "Library", "Clinic", "Airline", "School"]);
        format!(
            "{}, {}, {name} || ' ' || i, '{}', {}",
            rows.key(&PROJECTS, "i"),
            rows.key(&USERS, &owner),
            rows.size.note(),
            rows.stamps(),
        )
    },
};

pub(super) static URLS: Table = Table {
    name: "project_urls",
    count: |size| 10 * size.projects,
    number: 3,
    columns: "id, project_id, url, title, analyzed, analyzed_at, version, created_at, updated_at",
    values: |rows| {
        let page = Rows::word(&["login", "cart", "search", "account", "help", "checkout", "news"]);
        let analyzed = rows.instant(&Rows::made("i"));
        format!(
            "{}, {}, 'https://shop' || (i % {projects}) || '.example/' || {page} || '/' || i, \
             {page}, i % 3 <> 0, CASE WHEN i % 3 <> 0 THEN {analyzed} END, {}",
            rows.key(&URLS, "i"),
            rows.key(&PROJECTS, &format!("i % {}", rows.size.projects)),
            rows.stamps(),
            projects = rows.size.projects,
        )
    },
};

pub(super) static FLOWS: Table = Table {
    name: "auth_flows",
    count: |size| size.projects,
    number: 4,
    columns: "id, project_id, name, kind, login_url, steps, version, created_at, updated_at",
    values: |rows| {
        format!(
            "{}, {}, 'Customer', {}, 'https://shop' || i || '.example/login', {}, {}",
            rows.key(&FLOWS, "i"),
            rows.key(&PROJECTS, "i"),
            Rows::word(&["form", "basic", "token", "oauth"]),
            rows.json("'[]'"),
            rows.stamps(),
        )
    },
};

pub(super) static STATES: Table = Table {
    name: "page_states",
    count: |size| 2 * size.projects,
    number: 5,
    columns: "id, project_id, auth_flow_id, name, url, state, version, created_at, updated_at",
    values: |rows| {
        let project = format!("i % {}", rows.size.projects);
        format!(
            "{}, {}, {}, {}, 'https://shop.example/account', {}, {}",
            rows.key(&STATES, "i"),
            rows.key(&PROJECTS, &project),
            rows.key(&FLOWS, &project),
            Rows::word(&["Logged in", "Logged out", "Cart is full"]),
            rows.json("'{\"cookies\": 3}'"),
            rows.stamps(),
        )
    },
};

pub(super) static ELEMENTS: Table = Table {
    name: "project_elements",
    count: |size| size.rows,
    number: 6,
    columns: "id, project_id, source_url_id, auth_flow_id, page_state_id, selector, element_type, \
              confidence, discovery_state, attributes, version, created_at, updated_at",
    values: |rows| {
        let project = Rows::parent(rows.size.projects);
        let kinds = ["button", "link", "input", "select", "checkbox", "form", "text"];
        format!(
            "{}, {}, {}, CASE WHEN i % 3 = 0 THEN {} END, CASE WHEN i % 4 = 0 THEN {} END, \
             '#' || {kind} || '-' || i, {kind}, (i * 7919 % 1000) / 1000.0, {}, {}, {}",
            rows.key(&ELEMENTS, "i"),
            rows.key(&PROJECTS, &project),
            rows.one_of(&URLS, &project, "i / 10"),
            rows.key(&FLOWS, &project),
            rows.one_of(&STATES, &project, "i / 4"),
            Rows::word(&["discovered", "verified", "verified", "stale", "rejected"]),
            rows.json("'{\"text\": \"' || i || '\"}'"),
            rows.stamps(),
            kind = Rows::word(&kinds),
        )
    },
};

pub(super) static BROWSERS: Table = Table {
    name: "browser_sessions",
    count: |size| size.projects,
    number: 7,
    columns: "id, project_id, auth_flow_id, name, status, state, version, created_at, updated_at",
    values: |rows| {
        format!(
            "{}, {}, {}, 'Nightly', {}, {}, {}",
            rows.key(&BROWSERS, "i"),
            rows.key(&PROJECTS, "i"),
            rows.key(&FLOWS, "i"),
            Rows::word(&["active", "expired", "closed"]),
            rows.json("'{}'"),
            rows.stamps(),
        )
    },
};

/// What every seeded test does.
pub(super) const STEPS: &str = "'[{\"action\": \"navigate\", \"url\": \"https://shop.example/\"}, \
                     {\"action\": \"assertVisible\", \"selector\": \"#cart\"}]'";

pub(super) static TESTS: Table = Table {
    name: "tests",
    count: |size| 5 * size.projects,
    number: 8,
    columns: "id, project_id, name, description, steps, timeout_seconds, version, created_at, \
              updated_at",
    values: |rows| {
        let name = Rows::word(&["Log in", "Buy", "Search", "Change address", "Return"]);
        format!(
            "{}, {}, {name} || ' ' || i, 'As a visitor does it.', {}, 60, {}",
            rows.key(&TESTS, "i"),
            rows.key(&PROJECTS, &format!("i % {}", rows.size.projects)),
            rows.json(STEPS),
            rows.stamps(),
        )
    },
};

pub(super) static SUITES: Table = Table {
    name: "test_suites",
    count: |size| size.projects,
    number: 9,
    columns: "id, project_id, name, description, version, created_at, updated_at",
    values: |rows| {
        let (key, project) = (rows.key(&SUITES, "i"), rows.key(&PROJECTS, "i"));
        format!("{key}, {project}, 'Nightly ' || i, 'All of it.', {}", rows.stamps())
    },
};

pub(super) static MEMBERS: Table = Table {
    name: "test_suite_tests",
    count: |size| 5 * size.projects,
    number: 10,
    columns: "suite_id, test_id, position",
    values: |rows| {
        let projects = rows.size.projects;
        let suite = rows.key(&SUITES, &format!("i % {projects}"));
        let cast = match rows.dialect {
            Dialect::Sqlite => "",
            Dialect::Postgres => "::integer",
        };
        format!("{suite}, {}, (i / {projects}){cast}", rows.key(&TESTS, "i"))
    },
};
