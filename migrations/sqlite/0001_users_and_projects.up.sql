-- Keys are UUIDs of version 7 (16 bytes): they sort by creation, so new rows land together and a list needs no further column.
-- Instants are RFC 3339 text in UTC with six digits of fraction: of one width, so that they sort as text.

CREATE TABLE users (
    id            BLOB NOT NULL CONSTRAINT users_pkey PRIMARY KEY CHECK (length(id) = 16),
    email         TEXT NOT NULL CONSTRAINT users_email_check CHECK (email = lower(email) AND length(email) BETWEEN 3 AND 254),
    name          TEXT CONSTRAINT users_name_check CHECK (length(name) BETWEEN 1 AND 100),
    password_hash TEXT NOT NULL CONSTRAINT users_password_hash_check CHECK (password_hash LIKE '$argon2id$%'),
    created_at    TEXT NOT NULL CONSTRAINT users_created_at_check CHECK (created_at GLOB '????-??-??T??:??:??.??????Z')
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX users_email_idx ON users (email);

CREATE TABLE projects (
    id          BLOB NOT NULL CONSTRAINT projects_pkey PRIMARY KEY CHECK (length(id) = 16),
    user_id     BLOB NOT NULL CONSTRAINT projects_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    name        TEXT NOT NULL CONSTRAINT projects_name_check CHECK (length(name) BETWEEN 1 AND 100),
    description TEXT NOT NULL CONSTRAINT projects_description_check CHECK (length(description) <= 2000),
    created_at  TEXT NOT NULL CONSTRAINT projects_created_at_check CHECK (created_at GLOB '????-??-??T??:??:??.??????Z'),
    updated_at  TEXT NOT NULL CONSTRAINT projects_updated_at_check CHECK (updated_at GLOB '????-??-??T??:??:??.??????Z' AND updated_at >= created_at)
) STRICT, WITHOUT ROWID;

-- The id follows the owner, so that a user's list is read in order straight from the index.
CREATE INDEX projects_user_id_idx ON projects (user_id, id);
