-- A list that is filtered by a reference or a status is in the order of the key, too: with the key in the index it is read in
-- that order and ends after one page, however many rows match.
DROP INDEX project_elements_auth_flow_id_idx;
DROP INDEX project_elements_page_state_id_idx;
DROP INDEX project_elements_source_url_id_idx;
DROP INDEX page_states_auth_flow_id_idx;
DROP INDEX browser_sessions_auth_flow_id_idx;
CREATE INDEX project_elements_auth_flow_id_idx ON project_elements (auth_flow_id, id);
CREATE INDEX project_elements_page_state_id_idx ON project_elements (page_state_id, id);
CREATE INDEX project_elements_source_url_id_idx ON project_elements (source_url_id, id);
CREATE INDEX page_states_auth_flow_id_idx ON page_states (auth_flow_id, id);
CREATE INDEX browser_sessions_auth_flow_id_idx ON browser_sessions (auth_flow_id, id);
CREATE INDEX test_executions_test_id_status_idx ON test_executions (test_id, status, id);

-- What refers to the same page is of the same project: without being told, the planner takes both for unrelated, expects few
-- rows, and collects and sorts all of them.
CREATE STATISTICS project_elements_references (dependencies, mcv)
    ON project_id, source_url_id, auth_flow_id, page_state_id FROM project_elements;

-- What the sweep of old keys reads.
CREATE INDEX idempotency_keys_created_at_idx ON idempotency_keys (created_at);
