-- A list of a test's executions of one status in the order of their start: by either index alone, all of one status are sorted.
CREATE INDEX test_executions_test_id_status_started_at_idx ON test_executions (test_id, status, started_at, id);

-- The oldest sessions of a user, beyond those that he may have.
DROP INDEX sessions_user_id_idx;
CREATE INDEX sessions_user_id_idx ON sessions (user_id, id);
