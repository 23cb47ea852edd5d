-- The whole application below users and projects. `version` counts the changes of a row; the API shows it as ETag.
-- Tables with JSON or pictures keep their rowid: a b-tree of long rows under a random-access key would be slow to search.

ALTER TABLE projects ADD COLUMN version INTEGER NOT NULL DEFAULT 1 CONSTRAINT projects_version_check CHECK (version >= 1);

-- Pages of a project. `analyzed`: its elements have been looked for.
CREATE TABLE project_urls (
    id BLOB NOT NULL CONSTRAINT project_urls_pkey PRIMARY KEY CHECK (length(id) = 16),
    project_id BLOB NOT NULL CONSTRAINT project_urls_project_id_fkey REFERENCES projects (id) ON DELETE CASCADE,
    url TEXT NOT NULL CONSTRAINT project_urls_url_check CHECK (length(url) BETWEEN 1 AND 2048),
    title TEXT NOT NULL CONSTRAINT project_urls_title_check CHECK (length(title) BETWEEN 0 AND 200),
    analyzed INTEGER NOT NULL CONSTRAINT project_urls_analyzed_check CHECK (analyzed IN (0, 1)),
    analyzed_at TEXT CONSTRAINT project_urls_analyzed_at_check CHECK (analyzed_at GLOB '????-??-??T??:??:??.??????Z'),
    version INTEGER NOT NULL CONSTRAINT project_urls_version_check CHECK (version >= 1),
    created_at TEXT NOT NULL CONSTRAINT project_urls_created_at_check CHECK (created_at GLOB '????-??-??T??:??:??.??????Z'),
    updated_at TEXT NOT NULL CONSTRAINT project_urls_updated_at_check CHECK (updated_at GLOB '????-??-??T??:??:??.??????Z' AND updated_at >= created_at)
) STRICT;

-- How to log in to the site under test.
CREATE TABLE auth_flows (
    id BLOB NOT NULL CONSTRAINT auth_flows_pkey PRIMARY KEY CHECK (length(id) = 16),
    project_id BLOB NOT NULL CONSTRAINT auth_flows_project_id_fkey REFERENCES projects (id) ON DELETE CASCADE,
    name TEXT NOT NULL CONSTRAINT auth_flows_name_check CHECK (length(name) BETWEEN 1 AND 100),
    kind TEXT NOT NULL CONSTRAINT auth_flows_kind_check CHECK (kind IN ('form', 'basic', 'token', 'oauth')),
    login_url TEXT NOT NULL CONSTRAINT auth_flows_login_url_check CHECK (length(login_url) BETWEEN 1 AND 2048),
    steps TEXT NOT NULL CONSTRAINT auth_flows_steps_check CHECK (json_type(steps) = 'array'),
    version INTEGER NOT NULL CONSTRAINT auth_flows_version_check CHECK (version >= 1),
    created_at TEXT NOT NULL CONSTRAINT auth_flows_created_at_check CHECK (created_at GLOB '????-??-??T??:??:??.??????Z'),
    updated_at TEXT NOT NULL CONSTRAINT auth_flows_updated_at_check CHECK (updated_at GLOB '????-??-??T??:??:??.??????Z' AND updated_at >= created_at)
) STRICT;

-- A page as it looks in one situation, such as logged in.
CREATE TABLE page_states (
    id BLOB NOT NULL CONSTRAINT page_states_pkey PRIMARY KEY CHECK (length(id) = 16),
    project_id BLOB NOT NULL CONSTRAINT page_states_project_id_fkey REFERENCES projects (id) ON DELETE CASCADE,
    auth_flow_id BLOB CONSTRAINT page_states_auth_flow_id_fkey REFERENCES auth_flows (id) ON DELETE SET NULL,
    name TEXT NOT NULL CONSTRAINT page_states_name_check CHECK (length(name) BETWEEN 1 AND 100),
    url TEXT NOT NULL CONSTRAINT page_states_url_check CHECK (length(url) BETWEEN 1 AND 2048),
    state TEXT NOT NULL CONSTRAINT page_states_state_check CHECK (json_type(state) = 'object'),
    version INTEGER NOT NULL CONSTRAINT page_states_version_check CHECK (version >= 1),
    created_at TEXT NOT NULL CONSTRAINT page_states_created_at_check CHECK (created_at GLOB '????-??-??T??:??:??.??????Z'),
    updated_at TEXT NOT NULL CONSTRAINT page_states_updated_at_check CHECK (updated_at GLOB '????-??-??T??:??:??.??????Z' AND updated_at >= created_at)
) STRICT;

-- What can be clicked, typed into or asserted on a page.
CREATE TABLE project_elements (
    id BLOB NOT NULL CONSTRAINT project_elements_pkey PRIMARY KEY CHECK (length(id) = 16),
    project_id BLOB NOT NULL CONSTRAINT project_elements_project_id_fkey REFERENCES projects (id) ON DELETE CASCADE,
    source_url_id BLOB CONSTRAINT project_elements_source_url_id_fkey REFERENCES project_urls (id) ON DELETE SET NULL,
    auth_flow_id BLOB CONSTRAINT project_elements_auth_flow_id_fkey REFERENCES auth_flows (id) ON DELETE SET NULL,
    page_state_id BLOB CONSTRAINT project_elements_page_state_id_fkey REFERENCES page_states (id) ON DELETE SET NULL,
    selector TEXT NOT NULL CONSTRAINT project_elements_selector_check CHECK (length(selector) BETWEEN 1 AND 1000),
    element_type TEXT NOT NULL CONSTRAINT project_elements_element_type_check CHECK (element_type IN ('button', 'link', 'input', 'select', 'checkbox', 'radio', 'textarea', 'form', 'text', 'image', 'other')),
    confidence REAL NOT NULL CONSTRAINT project_elements_confidence_check CHECK (confidence BETWEEN 0 AND 1),
    discovery_state TEXT NOT NULL CONSTRAINT project_elements_discovery_state_check CHECK (discovery_state IN ('discovered', 'verified', 'stale', 'rejected')),
    attributes TEXT NOT NULL CONSTRAINT project_elements_attributes_check CHECK (json_type(attributes) = 'object'),
    version INTEGER NOT NULL CONSTRAINT project_elements_version_check CHECK (version >= 1),
    created_at TEXT NOT NULL CONSTRAINT project_elements_created_at_check CHECK (created_at GLOB '????-??-??T??:??:??.??????Z'),
    updated_at TEXT NOT NULL CONSTRAINT project_elements_updated_at_check CHECK (updated_at GLOB '????-??-??T??:??:??.??????Z' AND updated_at >= created_at)
) STRICT;

-- A browser kept open, or its cookies, to begin tests from.
CREATE TABLE browser_sessions (
    id BLOB NOT NULL CONSTRAINT browser_sessions_pkey PRIMARY KEY CHECK (length(id) = 16),
    project_id BLOB NOT NULL CONSTRAINT browser_sessions_project_id_fkey REFERENCES projects (id) ON DELETE CASCADE,
    auth_flow_id BLOB CONSTRAINT browser_sessions_auth_flow_id_fkey REFERENCES auth_flows (id) ON DELETE SET NULL,
    name TEXT NOT NULL CONSTRAINT browser_sessions_name_check CHECK (length(name) BETWEEN 1 AND 100),
    status TEXT NOT NULL CONSTRAINT browser_sessions_status_check CHECK (status IN ('active', 'expired', 'closed')),
    state TEXT NOT NULL CONSTRAINT browser_sessions_state_check CHECK (json_type(state) = 'object'),
    expires_at TEXT CONSTRAINT browser_sessions_expires_at_check CHECK (expires_at GLOB '????-??-??T??:??:??.??????Z'),
    version INTEGER NOT NULL CONSTRAINT browser_sessions_version_check CHECK (version >= 1),
    created_at TEXT NOT NULL CONSTRAINT browser_sessions_created_at_check CHECK (created_at GLOB '????-??-??T??:??:??.??????Z'),
    updated_at TEXT NOT NULL CONSTRAINT browser_sessions_updated_at_check CHECK (updated_at GLOB '????-??-??T??:??:??.??????Z' AND updated_at >= created_at)
) STRICT;

-- `steps` is an array of {action, ...}; the API checks each.
CREATE TABLE tests (
    id BLOB NOT NULL CONSTRAINT tests_pkey PRIMARY KEY CHECK (length(id) = 16),
    project_id BLOB NOT NULL CONSTRAINT tests_project_id_fkey REFERENCES projects (id) ON DELETE CASCADE,
    name TEXT NOT NULL CONSTRAINT tests_name_check CHECK (length(name) BETWEEN 1 AND 100),
    description TEXT NOT NULL CONSTRAINT tests_description_check CHECK (length(description) BETWEEN 0 AND 2000),
    steps TEXT NOT NULL CONSTRAINT tests_steps_check CHECK (json_type(steps) = 'array'),
    timeout_seconds INTEGER NOT NULL CONSTRAINT tests_timeout_seconds_check CHECK (timeout_seconds BETWEEN 1 AND 3600),
    version INTEGER NOT NULL CONSTRAINT tests_version_check CHECK (version >= 1),
    created_at TEXT NOT NULL CONSTRAINT tests_created_at_check CHECK (created_at GLOB '????-??-??T??:??:??.??????Z'),
    updated_at TEXT NOT NULL CONSTRAINT tests_updated_at_check CHECK (updated_at GLOB '????-??-??T??:??:??.??????Z' AND updated_at >= created_at)
) STRICT;

CREATE TABLE test_suites (
    id BLOB NOT NULL CONSTRAINT test_suites_pkey PRIMARY KEY CHECK (length(id) = 16),
    project_id BLOB NOT NULL CONSTRAINT test_suites_project_id_fkey REFERENCES projects (id) ON DELETE CASCADE,
    name TEXT NOT NULL CONSTRAINT test_suites_name_check CHECK (length(name) BETWEEN 1 AND 100),
    description TEXT NOT NULL CONSTRAINT test_suites_description_check CHECK (length(description) BETWEEN 0 AND 2000),
    version INTEGER NOT NULL CONSTRAINT test_suites_version_check CHECK (version >= 1),
    created_at TEXT NOT NULL CONSTRAINT test_suites_created_at_check CHECK (created_at GLOB '????-??-??T??:??:??.??????Z'),
    updated_at TEXT NOT NULL CONSTRAINT test_suites_updated_at_check CHECK (updated_at GLOB '????-??-??T??:??:??.??????Z' AND updated_at >= created_at)
) STRICT;

-- The tests of a suite, in the order of `position`.
CREATE TABLE test_suite_tests (
    suite_id BLOB NOT NULL CONSTRAINT test_suite_tests_suite_id_fkey REFERENCES test_suites (id) ON DELETE CASCADE,
    test_id BLOB NOT NULL CONSTRAINT test_suite_tests_test_id_fkey REFERENCES tests (id) ON DELETE CASCADE,
    position INTEGER NOT NULL CONSTRAINT test_suite_tests_position_check CHECK (position BETWEEN 0 AND 999),
    CONSTRAINT test_suite_tests_pkey PRIMARY KEY (suite_id, test_id),
    CONSTRAINT test_suite_tests_position_key UNIQUE (suite_id, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE test_suite_executions (
    id BLOB NOT NULL CONSTRAINT test_suite_executions_pkey PRIMARY KEY CHECK (length(id) = 16),
    suite_id BLOB NOT NULL CONSTRAINT test_suite_executions_suite_id_fkey REFERENCES test_suites (id) ON DELETE CASCADE,
    status TEXT NOT NULL CONSTRAINT test_suite_executions_status_check CHECK (status IN ('queued', 'running', 'passed', 'failed', 'cancelled')),
    started_at TEXT CONSTRAINT test_suite_executions_started_at_check CHECK (started_at GLOB '????-??-??T??:??:??.??????Z'),
    finished_at TEXT CONSTRAINT test_suite_executions_finished_at_check CHECK (finished_at GLOB '????-??-??T??:??:??.??????Z'),
    results TEXT NOT NULL CONSTRAINT test_suite_executions_results_check CHECK (json_type(results) = 'object'),
    failure TEXT CONSTRAINT test_suite_executions_failure_check CHECK (length(failure) BETWEEN 0 AND 2000),
    version INTEGER NOT NULL CONSTRAINT test_suite_executions_version_check CHECK (version >= 1),
    created_at TEXT NOT NULL CONSTRAINT test_suite_executions_created_at_check CHECK (created_at GLOB '????-??-??T??:??:??.??????Z'),
    updated_at TEXT NOT NULL CONSTRAINT test_suite_executions_updated_at_check CHECK (updated_at GLOB '????-??-??T??:??:??.??????Z' AND updated_at >= created_at),
    CONSTRAINT test_suite_executions_span_check CHECK (finished_at IS NULL OR started_at IS NULL OR finished_at >= started_at),
    CONSTRAINT test_suite_executions_finished_check CHECK ((finished_at IS NOT NULL) = (status IN ('passed', 'failed', 'cancelled')))
) STRICT;

-- `steps` and `timeout_seconds` are those of the test when it was asked for, so that a later edit changes nothing that runs.
CREATE TABLE test_executions (
    id BLOB NOT NULL CONSTRAINT test_executions_pkey PRIMARY KEY CHECK (length(id) = 16),
    test_id BLOB NOT NULL CONSTRAINT test_executions_test_id_fkey REFERENCES tests (id) ON DELETE CASCADE,
    suite_execution_id BLOB CONSTRAINT test_executions_suite_execution_id_fkey REFERENCES test_suite_executions (id) ON DELETE CASCADE,
    status TEXT NOT NULL CONSTRAINT test_executions_status_check CHECK (status IN ('queued', 'running', 'passed', 'failed', 'cancelled')),
    steps TEXT NOT NULL CONSTRAINT test_executions_steps_check CHECK (json_type(steps) = 'array'),
    timeout_seconds INTEGER NOT NULL CONSTRAINT test_executions_timeout_seconds_check CHECK (timeout_seconds BETWEEN 1 AND 3600),
    started_at TEXT CONSTRAINT test_executions_started_at_check CHECK (started_at GLOB '????-??-??T??:??:??.??????Z'),
    finished_at TEXT CONSTRAINT test_executions_finished_at_check CHECK (finished_at GLOB '????-??-??T??:??:??.??????Z'),
    results TEXT NOT NULL CONSTRAINT test_executions_results_check CHECK (json_type(results) = 'object'),
    failure TEXT CONSTRAINT test_executions_failure_check CHECK (length(failure) BETWEEN 0 AND 2000),
    version INTEGER NOT NULL CONSTRAINT test_executions_version_check CHECK (version >= 1),
    created_at TEXT NOT NULL CONSTRAINT test_executions_created_at_check CHECK (created_at GLOB '????-??-??T??:??:??.??????Z'),
    updated_at TEXT NOT NULL CONSTRAINT test_executions_updated_at_check CHECK (updated_at GLOB '????-??-??T??:??:??.??????Z' AND updated_at >= created_at),
    CONSTRAINT test_executions_span_check CHECK (finished_at IS NULL OR started_at IS NULL OR finished_at >= started_at),
    CONSTRAINT test_executions_finished_check CHECK ((finished_at IS NOT NULL) = (status IN ('passed', 'failed', 'cancelled')))
) STRICT;

-- What came of each step of an execution that was reached.
CREATE TABLE execution_steps (
    execution_id BLOB NOT NULL CONSTRAINT execution_steps_execution_id_fkey REFERENCES test_executions (id) ON DELETE CASCADE,
    position INTEGER NOT NULL CONSTRAINT execution_steps_position_check CHECK (position BETWEEN 0 AND 999),
    action TEXT NOT NULL CONSTRAINT execution_steps_action_check CHECK (length(action) BETWEEN 1 AND 40),
    status TEXT NOT NULL CONSTRAINT execution_steps_status_check CHECK (status IN ('running', 'passed', 'failed', 'skipped')),
    started_at TEXT NOT NULL CONSTRAINT execution_steps_started_at_check CHECK (started_at GLOB '????-??-??T??:??:??.??????Z'),
    duration_ms INTEGER CONSTRAINT execution_steps_duration_ms_check CHECK (duration_ms BETWEEN 0 AND 86400000),
    message TEXT CONSTRAINT execution_steps_message_check CHECK (length(message) BETWEEN 0 AND 2000),
    screenshot BLOB CONSTRAINT execution_steps_screenshot_check CHECK (length(screenshot) <= 16777216),
    CONSTRAINT execution_steps_pkey PRIMARY KEY (execution_id, position)
) STRICT;

-- The queue: what a worker has to do. A job is taken by setting `locked_until` and `locked_by`; a lease that ran out may be taken again.
CREATE TABLE jobs (
    id BLOB NOT NULL CONSTRAINT jobs_pkey PRIMARY KEY CHECK (length(id) = 16),
    kind TEXT NOT NULL CONSTRAINT jobs_kind_check CHECK (kind IN ('test', 'suite')),
    test_execution_id BLOB CONSTRAINT jobs_test_execution_id_fkey REFERENCES test_executions (id) ON DELETE CASCADE,
    suite_execution_id BLOB CONSTRAINT jobs_suite_execution_id_fkey REFERENCES test_suite_executions (id) ON DELETE CASCADE,
    payload TEXT NOT NULL CONSTRAINT jobs_payload_check CHECK (json_type(payload) = 'object'),
    state TEXT NOT NULL CONSTRAINT jobs_state_check CHECK (state IN ('queued', 'running', 'finished', 'failed', 'cancelled')),
    attempts INTEGER NOT NULL CONSTRAINT jobs_attempts_check CHECK (attempts BETWEEN 0 AND 1000),
    run_at TEXT NOT NULL CONSTRAINT jobs_run_at_check CHECK (run_at GLOB '????-??-??T??:??:??.??????Z'),
    locked_until TEXT CONSTRAINT jobs_locked_until_check CHECK (locked_until GLOB '????-??-??T??:??:??.??????Z'),
    locked_by TEXT CONSTRAINT jobs_locked_by_check CHECK (length(locked_by) BETWEEN 1 AND 200),
    failure TEXT CONSTRAINT jobs_failure_check CHECK (length(failure) BETWEEN 0 AND 2000),
    created_at TEXT NOT NULL CONSTRAINT jobs_created_at_check CHECK (created_at GLOB '????-??-??T??:??:??.??????Z'),
    finished_at TEXT CONSTRAINT jobs_finished_at_check CHECK (finished_at GLOB '????-??-??T??:??:??.??????Z'),
    CONSTRAINT jobs_execution_check CHECK ((kind = 'test') = (test_execution_id IS NOT NULL) AND (kind = 'suite') = (suite_execution_id IS NOT NULL)),
    CONSTRAINT jobs_lease_check CHECK ((locked_until IS NULL) = (locked_by IS NULL))
) STRICT;

-- One login and all refresh tokens that follow from it. Revoked as a whole when a token is used twice.
CREATE TABLE sessions (
    id BLOB NOT NULL CONSTRAINT sessions_pkey PRIMARY KEY CHECK (length(id) = 16),
    user_id BLOB NOT NULL CONSTRAINT sessions_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    created_at TEXT NOT NULL CONSTRAINT sessions_created_at_check CHECK (created_at GLOB '????-??-??T??:??:??.??????Z'),
    expires_at TEXT NOT NULL CONSTRAINT sessions_expires_at_check CHECK (expires_at GLOB '????-??-??T??:??:??.??????Z'),
    revoked_at TEXT CONSTRAINT sessions_revoked_at_check CHECK (revoked_at GLOB '????-??-??T??:??:??.??????Z')
) STRICT, WITHOUT ROWID;

-- Only the SHA-256 of a token is kept. `used_at`: it has been exchanged for the next one.
CREATE TABLE refresh_tokens (
    token_hash BLOB NOT NULL CONSTRAINT refresh_tokens_pkey PRIMARY KEY CHECK (length(token_hash) = 32),
    session_id BLOB NOT NULL CONSTRAINT refresh_tokens_session_id_fkey REFERENCES sessions (id) ON DELETE CASCADE,
    created_at TEXT NOT NULL CONSTRAINT refresh_tokens_created_at_check CHECK (created_at GLOB '????-??-??T??:??:??.??????Z'),
    used_at TEXT CONSTRAINT refresh_tokens_used_at_check CHECK (used_at GLOB '????-??-??T??:??:??.??????Z')
) STRICT, WITHOUT ROWID;

-- Which execution an `Idempotency-Key` of a user created. `target` is the path that was asked.
CREATE TABLE idempotency_keys (
    user_id BLOB NOT NULL CONSTRAINT idempotency_keys_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    key TEXT NOT NULL CONSTRAINT idempotency_keys_key_check CHECK (length(key) BETWEEN 1 AND 255),
    target TEXT NOT NULL CONSTRAINT idempotency_keys_target_check CHECK (length(target) BETWEEN 1 AND 255),
    execution_id BLOB NOT NULL,
    created_at TEXT NOT NULL CONSTRAINT idempotency_keys_created_at_check CHECK (created_at GLOB '????-??-??T??:??:??.??????Z'),
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (user_id, key)
) STRICT, WITHOUT ROWID;

-- The lists that the API serves. A trailing id makes the order total, so that a page is read straight from the index.
CREATE INDEX project_urls_project_id_idx ON project_urls (project_id, id);
CREATE INDEX project_urls_project_id_analyzed_idx ON project_urls (project_id, analyzed, id);
CREATE INDEX tests_project_id_idx ON tests (project_id, id);
CREATE INDEX test_executions_test_id_idx ON test_executions (test_id, id);
CREATE INDEX test_executions_test_id_started_at_idx ON test_executions (test_id, started_at, id);
CREATE INDEX test_executions_status_idx ON test_executions (status, id);
CREATE INDEX project_elements_auth_flow_id_idx ON project_elements (auth_flow_id);
CREATE INDEX project_elements_page_state_id_idx ON project_elements (page_state_id);
CREATE INDEX project_elements_source_url_id_idx ON project_elements (source_url_id);
CREATE INDEX project_elements_project_id_confidence_idx ON project_elements (project_id, confidence, id);
CREATE INDEX project_elements_project_id_discovery_state_idx ON project_elements (project_id, discovery_state, id);
CREATE INDEX auth_flows_project_id_idx ON auth_flows (project_id, id);
CREATE INDEX page_states_project_id_idx ON page_states (project_id, id);
CREATE INDEX page_states_auth_flow_id_idx ON page_states (auth_flow_id);
CREATE INDEX browser_sessions_project_id_idx ON browser_sessions (project_id, id);
CREATE INDEX browser_sessions_auth_flow_id_idx ON browser_sessions (auth_flow_id);
CREATE INDEX test_suites_project_id_idx ON test_suites (project_id, id);
CREATE INDEX test_suite_executions_suite_id_idx ON test_suite_executions (suite_id, id);

-- What the remaining foreign keys, the queue and the sweeps need.
CREATE INDEX project_elements_project_id_idx ON project_elements (project_id, id);
CREATE INDEX test_suite_tests_test_id_idx ON test_suite_tests (test_id);
CREATE INDEX test_executions_suite_execution_id_idx ON test_executions (suite_execution_id, id);
CREATE INDEX jobs_state_run_at_idx ON jobs (state, run_at, id);
CREATE INDEX jobs_test_execution_id_idx ON jobs (test_execution_id);
CREATE INDEX jobs_suite_execution_id_idx ON jobs (suite_execution_id);
CREATE INDEX sessions_user_id_idx ON sessions (user_id);
CREATE INDEX sessions_expires_at_idx ON sessions (expires_at);
CREATE INDEX refresh_tokens_session_id_idx ON refresh_tokens (session_id);
CREATE INDEX idempotency_keys_user_id_created_at_idx ON idempotency_keys (user_id, created_at);
CREATE UNIQUE INDEX project_urls_project_id_url_idx ON project_urls (project_id, url);
