ALTER TABLE test_executions DROP COLUMN attempt;

-- A column that refers to another table cannot be dropped: the table is made anew without it.
CREATE TABLE jobs_before (
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
INSERT INTO jobs_before SELECT id, kind, test_execution_id, suite_execution_id, payload, state, attempts, run_at, locked_until,
    locked_by, failure, created_at, finished_at FROM jobs;
DROP TABLE jobs;
ALTER TABLE jobs_before RENAME TO jobs;
CREATE INDEX jobs_state_run_at_idx ON jobs (state, run_at, id);
CREATE INDEX jobs_test_execution_id_idx ON jobs (test_execution_id);
CREATE INDEX jobs_suite_execution_id_idx ON jobs (suite_execution_id);
