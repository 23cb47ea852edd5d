-- Users take turns at the browsers, however many jobs each has waiting: the queue is read in the order of `turn`. A job without
-- `user_id` is one that an older program asked for meanwhile.
ALTER TABLE jobs ADD COLUMN user_id BLOB CONSTRAINT jobs_user_id_fkey REFERENCES users (id) ON DELETE CASCADE;
ALTER TABLE jobs ADD COLUMN turn INTEGER NOT NULL DEFAULT 0 CONSTRAINT jobs_turn_check CHECK (turn >= 0);
UPDATE jobs SET user_id = (
    SELECT p.user_id FROM test_executions AS e JOIN tests AS t ON t.id = e.test_id JOIN projects AS p ON p.id = t.project_id
    WHERE e.id = jobs.test_execution_id
) WHERE kind = 'test';
UPDATE jobs SET user_id = (
    SELECT p.user_id FROM test_suite_executions AS e JOIN test_suites AS s ON s.id = e.suite_id JOIN projects AS p ON p.id = s.project_id
    WHERE e.id = jobs.suite_execution_id
) WHERE kind = 'suite';
CREATE INDEX jobs_state_turn_idx ON jobs (state, turn, id);
CREATE INDEX jobs_user_id_state_turn_idx ON jobs (user_id, state, turn);

-- Which beginning of an execution its steps are of: another worker begins again where the first was lost.
ALTER TABLE test_executions ADD COLUMN attempt INTEGER NOT NULL DEFAULT 0 CONSTRAINT test_executions_attempt_check CHECK (attempt >= 0);
