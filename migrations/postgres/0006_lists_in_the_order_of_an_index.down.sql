DROP INDEX sessions_user_id_idx;
CREATE INDEX sessions_user_id_idx ON sessions (user_id);
DROP INDEX test_executions_test_id_status_started_at_idx;
