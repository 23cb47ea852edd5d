-- A list of a project's elements that is filtered by a reference: with both in one index, also a reference of another project,
-- which has none there, is answered at once. By either alone, all rows that share it might be walked through.
CREATE INDEX project_elements_project_id_source_url_id_idx ON project_elements (project_id, source_url_id, id);
CREATE INDEX project_elements_project_id_auth_flow_id_idx ON project_elements (project_id, auth_flow_id, id);
CREATE INDEX project_elements_project_id_page_state_id_idx ON project_elements (project_id, page_state_id, id);

-- What the foreign keys need, and no longer in the order of a list, so that a list takes the ones above.
DROP INDEX project_elements_source_url_id_idx;
DROP INDEX project_elements_auth_flow_id_idx;
DROP INDEX project_elements_page_state_id_idx;
CREATE INDEX project_elements_source_url_id_idx ON project_elements (source_url_id);
CREATE INDEX project_elements_auth_flow_id_idx ON project_elements (auth_flow_id);
CREATE INDEX project_elements_page_state_id_idx ON project_elements (page_state_id);
