-- Keys are UUIDs of version 7: they sort by creation, so new rows land together and a list needs no further column.

CREATE TABLE users (
    id            uuid        NOT NULL CONSTRAINT users_pkey PRIMARY KEY,
    email         text        NOT NULL CONSTRAINT users_email_check CHECK (email = lower(email) AND char_length(email) BETWEEN 3 AND 254),
    name          text        CONSTRAINT users_name_check CHECK (char_length(name) BETWEEN 1 AND 100),
    password_hash text        NOT NULL CONSTRAINT users_password_hash_check CHECK (password_hash LIKE '$argon2id$%'),
    created_at    timestamptz NOT NULL
);

CREATE UNIQUE INDEX users_email_idx ON users (email);

CREATE TABLE projects (
    id          uuid        NOT NULL CONSTRAINT projects_pkey PRIMARY KEY,
    user_id     uuid        NOT NULL CONSTRAINT projects_user_id_fkey REFERENCES users (id) ON DELETE CASCADE,
    name        text        NOT NULL CONSTRAINT projects_name_check CHECK (char_length(name) BETWEEN 1 AND 100),
    description text        NOT NULL CONSTRAINT projects_description_check CHECK (char_length(description) <= 2000),
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL CONSTRAINT projects_updated_at_check CHECK (updated_at >= created_at)
);

-- The id follows the owner, so that a user's list is read in order straight from the index.
CREATE INDEX projects_user_id_idx ON projects (user_id, id);
