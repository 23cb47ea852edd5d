-- The whole application below users and projects. `version` counts the changes of a row; the API shows it as ETag.

ALTER TABLE projects ADD COLUMN version integer NOT NULL DEFAULT 1 CONSTRAINT projects_version_check CHECK (version >= 1);

-- Pages of a project. `analyzed`: its elements have been looked for.
CREATE TABLE project_urls (
    id uuid NOT NULL CONSTRAINT project_urls_pkey PRIMARY KEY,
    project_id uuid NOT NULL CONSTRAINT project_urls_project_id_fkey REFERENCES projects (id) ON DELETE CASCADE,
    url text NOT NULL CONSTRAINT project_urls_url_check CHECK (char_length(url) BETWEEN 1 AND 2048),
    title text NOT NULL CONSTRAINT project_urls_title_check CHECK (char_length(title) BETWEEN 0 AND 200),
    analyzed boolean NOT NULL,
    analyzed_at timestamptz,
    version integer NOT NULL CONSTRAINT project_urls_version_check CHECK (version >= 1),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL CONSTRAINT project_urls_updated_at_check CHECK (updated_at >= created_at)
);

-- How to log in to the site under test.
CREATE TABLE auth_flows (
    id uuid NOT NULL CONSTRAINT auth_flows_pkey PRIMARY KEY,
    project_id uuid NOT NULL CONSTRAINT auth_flows_project_id_fkey REFERENCES projects (id) ON DELETE CASCADE,
    name text NOT NULL CONSTRAINT auth_flows_name_check CHECK (char_length(name) BETWEEN 1 AND 100),
    kind text NOT NULL CONSTRAINT auth_flows_kind_check CHECK (kind IN ('form', 'basic', 'token', 'oauth')),
    login_url text NOT NULL CONSTRAINT auth_flows_login_url_check CHECK (char_length(login_url) BETWEEN 1 AND 2048),
    steps jsonb NOT NULL CONSTRAINT auth_flows_steps_check CHECK (jsonb_typeof(steps) = 'array'),
    version integer NOT NULL CONSTRAINT auth_flows_version_check CHECK (version >= 1),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL CONSTRAINT auth_flows_updated_at_check CHECK (updated_at >= created_at)
);

-- A page as it looks in one situation, such as logged in.
CREATE TABLE page_states (
    id uuid NOT NULL CONSTRAINT page_states_pkey PRIMARY KEY,
    project_id uuid NOT NULL CONSTRAINT page_states_project_id_fkey REFERENCES projects (id) ON DELETE CASCADE,
    auth_flow_id uuid CONSTRAINT page_states_auth_flow_id_fkey REFERENCES auth_flows (id) ON DELETE SET NULL,
    name text NOT NULL CONSTRAINT page_states_name_check CHECK (char_length(name) BETWEEN 1 AND 100),
    url text NOT NULL CONSTRAINT page_states_url_check CHECK (char_length(url) BETWEEN 1 AND 2048),
    state jsonb NOT NULL CONSTRAINT page_states_state_check CHECK (jsonb_typeof(state) = 'object'),
    version integer NOT NULL CONSTRAINT page_states_version_check CHECK (version >= 1),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL CONSTRAINT page_states_updated_at_check CHECK (updated_at >= created_at)
);

-- What can be clicked, typed into or asserted on a page.
CREATE TABLE project_elements (
    id uuid NOT NULL CONSTRAINT project_elements_pkey PRIMARY KEY,
    project_id uuid NOT NULL CONSTRAINT project_elements_project_id_fkey REFERENCES projects (id) ON DELETE CASCADE,
    source_url_id uuid CONSTRAINT project_elements_source_url_id_fkey REFERENCES project_urls (id) ON DELETE SET NULL,
    auth_flow_id uuid CONSTRAINT project_elements_auth_flow_id_fkey REFERENCES auth_flows (id) ON DELETE SET NULL,
    page_state_id uuid CONSTRAINT project_elements_page_state_id_fkey REFERENCES page_states (id) ON DELETE SET NULL,
    selector text NOT NULL CONSTRAINT project_elements_selector_check CHECK (char_length(selector) BETWEEN 1 AND 1000),
    element_type text NOT NULL CONSTRAINT project_elements_element_type_check CHECK (element_type IN ('button', 'link', 'input', 'select', 'checkbox', 'radio', 'textarea', 'form', 'text', 'image', 'other')),
    confidence double precision NOT NULL CONSTRAINT project_elements_confidence_check CHECK (confidence BETWEEN 0 AND 1),
    discovery_state text NOT NULL CONSTRAINT project_elements_discovery_state_check CHECK (discovery_state IN ('discovered', 'verified', 'stale', 'rejected')),
    attributes jsonb NOT NULL CONSTRAINT project_elements_attributes_check CHECK (jsonb_typeof(attributes) = 'object'),
    version integer NOT NULL CONSTRAINT project_elements_version_check CHECK (version >= 1),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL CONSTRAINT project_elements_updated_at_check CHECK (updated_at >= created_at)
);

-- A browser kept open, or its cookies, to begin tests from.
CREATE TABLE browser_sessions (
    id uuid NOT NULL CONSTRAINT browser_sessions_pkey PRIMARY KEY,
    project_id uuid NOT NULL CONSTRAINT browser_sessions_project_id_fkey REFERENCES projects (id) ON DELETE CASCADE,
    auth_flow_id uuid CONSTRAINT browser_sessions_auth_flow_id_fkey REFERENCES auth_flows (id) ON DELETE SET NULL,
    name text NOT NULL CONSTRAINT browser_sessions_name_check CHECK (char_length(name) BETWEEN 1 AND 100),
    status text NOT NULL CONSTRAINT browser_sessions_status_check CHECK (status IN ('active', 'expired', 'closed')),
    state jsonb NOT NULL CONSTRAINT browser_sessions_state_check CHECK (jsonb_typeof(state) = 'object'),
    expires_at timestamptz,
    version integer NOT NULL CONSTRAINT browser_sessions_version_check CHECK (version >= 1),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL CONSTRAINT browser_sessions_updated_at_check CHECK (updated_at >= created_at)
);

-- `steps` is an array of {action, ...}; the API checks each.
CREATE TABLE tests (
    id uuid NOT NULL CONSTRAINT tests_pkey PRIMARY KEY,
    project_id uuid NOT NULL CONSTRAINT tests_project_id_fkey REFERENCES projects (id) ON DELETE CASCADE,
    name text NOT NULL CONSTRAINT tests_name_check CHECK (char_length(name) BETWEEN 1 AND 100),
    description text NOT NULL CONSTRAINT tests_description_check CHECK (char_length(description) BETWEEN 0 AND 2000),
    steps jsonb NOT NULL CONSTRAINT tests_steps_check CHECK (jsonb_typeof(steps) = 'array'),
    timeout_seconds integer NOT NULL CONSTRAINT tests_timeout_seconds_check CHECK (timeout_seconds BETWEEN 1 AND 3600),
    version integer NOT NULL CONSTRAINT tests_version_check CHECK (version >= 1),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL CONSTRAINT tests_updated_at_check CHECK (updated_at >= created_at)
);

CREATE TABLE test_suites (
    id uuid NOT NULL CONSTRAINT test_suites_pkey PRIMARY KEY,
    project_id uuid NOT NULL CONSTRAINT test_suites_project_id_fkey REFERENCES projects (id) ON DELETE CASCADE,
    name text NOT NULL CONSTRAINT test_suites_name_check CHECK (char_length(name) BETWEEN 1 AND 100),
    description text NOT NULL CONSTRAINT test_suites_description_check CHECK (char_length(description) BETWEEN 0 AND 2000),
    version integer NOT NULL CONSTRAINT test_suites_version_check CHECK (version >= 1),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL CONSTRAINT test_suites_updated_at_check CHECK (updated_at >= created_at)
);

-- The tests of a suite, in the order of `position`.
CREATE TABLE test_suite_tests (
    suite_id uuid NOT NULL CONSTRAINT test_suite_tests_suite_id_fkey REFERENCES test_suites (id) ON DELETE CASCADE,
    test_id uuid NOT NULL CONSTRAINT test_suite_tests_test_id_fkey REFERENCES tests (id) ON DELETE CASCADE,
    position integer NOT NULL CONSTRAINT test_suite_tests_position_check CHECK (position BETWEEN 0 AND 999),
    CONSTRAINT test_suite_tests_pkey PRIMARY KEY (suite_id, test_id),
    CONSTRAINT test_suite_tests_position_key UNIQUE (suite_id, position)
);

CREATE TABLE test_suite_executions (
    id uuid NOT NULL CONSTRAINT test_suite_executions_pkey PRIMARY KEY,
    suite_id uuid NOT NULL CONSTRAINT test_suite_executions_suite_id_fkey REFERENCES test_suites (id) ON DELETE CASCADE,
    status text NOT NULL CONSTRAINT test_suite_executions_status_check CHECK (status IN ('queued', 'running', 'passed', 'failed', 'cancelled')),
    started_at timestamptz,
    finished_at timestamptz,
    results jsonb NOT NULL CONSTRAINT test_suite_executions_results_check CHECK (jsonb_typeof(results) = 'object'),
    failure text CONSTRAINT test_suite_executions_failure_check CHECK (char_length(failure) BETWEEN 0 AND 2000),
    version integer NOT NULL CONSTRAINT test_suite_executions_version_check CHECK (version >= 1),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL CONSTRAINT test_suite_executions_updated_at_check CHECK (updated_at >= created_at),
    CONSTRAINT test_suite_executions_span_check CHECK (finished_at IS NULL OR started_at IS NULL OR finished_at >= started_at),
    CONSTRAINT test_suite_executions_finished_check CHECK ((finished_at IS NOT NULL) = (status IN ('passed', 'failed', 'cancelled')))
);

-- `steps` and `timeout_seconds` are those of the test when it was asked for, so that a later edit changes nothing that runs.
CREATE TABLE test_executions (
    id uuid NOT NULL CONSTRAINT test_executions_pkey PRIMARY KEY,
    test_id uuid NOT NULL CONSTRAINT test_executions_test_id_fkey REFERENCES tests (id) ON DELETE CASCADE,
    suite_execution_id uuid CONSTRAINT test_executions_suite_execution_id_fkey REFERENCES test_suite_executions (id) ON DELETE CASCADE,
    status text NOT NULL CONSTRAINT test_executions_status_check CHECK (status IN ('queued', 'running', 'passed', 'failed', 'cancelled')),
    steps jsonb NOT NULL CONSTRAINT test_executions_steps_check CHECK (jsonb_typeof(steps) = 'array'),
    timeout_seconds integer NOT NULL CONSTRAINT test_executions_timeout_seconds_check CHECK (timeout_seconds BETWEEN 1 AND 3600),
    started_at timestamptz,
    finished_at timestamptz,
    results jsonb NOT NULL CONSTRAINT test_executions_results_check CHECK (jsonb_typeof(results) = 'object'),
    failure text CONSTRAINT test_executions_failure_check CHECK (char_length(failure) BETWEEN 0 AND 2000),
    version integer NOT NULL CONSTRAINT test_executions_version_check CHECK (version >= 1),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL CONSTRAINT test_executions_updated_at_check CHECK (updated_at >= created_at),
    CONSTRAINT test_executions_span_check CHECK (finished_at IS NULL OR started_at IS NULL OR finished_at >= started_at),
    CONSTRAINT test_executions_finished_check CHECK ((finished_at IS NOT NULL) = (status IN ('passed', 'failed', 'cancelled')))
);

-- What came of each step of an execution that was reached.
CREATE TABLE execution_steps (
    execution_id uuid NOT NULL CONSTRAINT execution_steps_execution_id_fkey REFERENCES test_executions (id) ON DELETE CASCADE,
    position integer NOT NULL CONSTRAINT execution_steps_position_check CHECK (position BETWEEN 0 AND 999),
    action text NOT NULL CONSTRAINT execution_steps_action_check CHECK (char_length(action) BETWEEN 1 AND 40),
    status text NOT NULL CONSTRAINT execution_steps_status_check CHECK (status IN ('running', 'passed', 'failed', 'skipped')),
    started_at timestamptz NOT NULL,
    duration_ms bigint CONSTRAINT execution_steps_duration_ms_check CHECK (duration_ms BETWEEN 0 AND 86400000),
    message text CONSTRAINT execution_steps_message_check CHECK (char_length(message) BETWEEN 0 AND 2000),
    screenshot bytea CONSTRAINT execution_steps_screenshot_check CHECK (octet_length(screenshot) <= 16777216),
    CONSTRAINT execution_steps_pkey PRIMARY KEY (execution_id, position)
);

-- The queue: what a worker has to do. A job is taken by setting `locked_until` and `locked_by`; a lease that ran out may be taken again.
CREATE TABLE jobs (
    id uuid NOT NULL CONSTRAINT jobs_pkey PRIMARY KEY,
    kind text NOT NULL CONSTRAINT jobs_kind_check CHECK (kind IN ('test', 'suite')),
    test_execution_id uuid CONSTRAINT jobs_test_execution_id_fkey REFERENCES test_executions (id) ON DELETE CASCADE,
    suite_execution_id uuid CONSTRAINT jobs_suite_execution_id_fkey REFERENCES test_suite_executions (id) ON DELETE CASCADE,
    payload jsonb NOT NULL CONSTRAINT jobs_payload_check CHECK (jsonb_typeof(payload) = 'object'),
    state text NOT NULL CONSTRAINT jobs_state_check CHECK (state IN ('queued', 'running', 'finished', 'failed', 'cancelled')),
    attempts integer NOT NULL CONSTRAINT jobs_attempts_check CHECK (attempts BETWEEN 0 AND 1000),
    run_at timestamptz NOT NULL,
    locked_until timestamptz,
    locked_by text CONSTRAINT jobs_locked_by_check CHECK (char_length(locked_by) BETWEEN 1 AND 200),
    failure text CONSTRAINT jobs_failure_check CHECK (char_length(failure) BETWEEN 0 AND 2000),
    created_at timestamptz NOT NULL,
    finished_at timestamptz,
    CONSTRAINT jobs_execution_check CHECK ((kind = 'test') = (test_execution_id IS NOT NULL) AND (kind = 'suite') = (suite_execution_id IS NOT NULL)),
    CONSTRAINT jobs_lease_check CHECK ((locked_until IS NULL) = (locked_by IS NULL))
);

-- One login and all refresh tokens that follow from it. Revoked as a whole when a token is used twice.
CREATE TABLE sessions (
    id uuid NOT NULL CONSTRAINT sessions_pkey PRIMARY KEY,
    user_id uuid NOT NULL CONSTRAINT sessions_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);

-- Only the SHA-256 of a token is kept. `used_at`: it has been exchanged for the next one.
CREATE TABLE refresh_tokens (
    token_hash bytea NOT NULL CONSTRAINT refresh_tokens_pkey PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    session_id uuid NOT NULL CONSTRAINT refresh_tokens_session_id_fkey REFERENCES sessions (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    used_at timestamptz
);

-- Which execution an `Idempotency-Key` of a user created. `target` is the path that was asked.
CREATE TABLE idempotency_keys (
    user_id uuid NOT NULL CONSTRAINT idempotency_keys_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    key text NOT NULL CONSTRAINT idempotency_keys_key_check CHECK (char_length(key) BETWEEN 1 AND 255),
    target text NOT NULL CONSTRAINT idempotency_keys_target_check CHECK (char_length(target) BETWEEN 1 AND 255),
    execution_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (user_id, key)
);

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
