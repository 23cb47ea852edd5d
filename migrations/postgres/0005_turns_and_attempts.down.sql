ALTER TABLE test_executions DROP COLUMN attempt;
DROP INDEX jobs_user_id_state_turn_idx;
DROP INDEX jobs_state_turn_idx;
ALTER TABLE jobs DROP COLUMN turn;
ALTER TABLE jobs DROP COLUMN user_id;
