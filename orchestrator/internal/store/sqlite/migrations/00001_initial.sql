-- Times are nanoseconds since 1970 UTC, 0 for "not yet". States are the numbers
-- of the job package. Lists and maps are JSON.

-- +goose Up
CREATE TABLE jobs (
    seq               INTEGER PRIMARY KEY,
    id                TEXT    NOT NULL UNIQUE,
    idempotency_key   TEXT, -- NULL: none
    name              TEXT    NOT NULL,
    labels            TEXT    NOT NULL,
    spec              TEXT    NOT NULL,
    created_at        INTEGER NOT NULL,
    -- What follows is written by transitions.
    state             INTEGER NOT NULL,
    reason            TEXT    NOT NULL,
    node_id           TEXT    NOT NULL, -- of the newest attempt
    started_at        INTEGER NOT NULL,
    finished_at       INTEGER NOT NULL,
    not_before        INTEGER NOT NULL,
    cancel_requested  INTEGER NOT NULL,
    cancel_reason     TEXT    NOT NULL,
    forgiven_attempts INTEGER NOT NULL,
    result            TEXT, -- NULL: has not ended
    attempts          TEXT    NOT NULL
) STRICT;

CREATE UNIQUE INDEX jobs_by_key ON jobs (idempotency_key) WHERE idempotency_key IS NOT NULL;
-- Each filter of the list has an index in the order of the list, so that a page
-- is read from its first row on and nothing is sorted.
CREATE INDEX jobs_by_creation ON jobs (created_at, id);
CREATE INDEX jobs_by_state ON jobs (state, created_at, id);
CREATE INDEX jobs_by_node ON jobs (node_id, created_at, id) WHERE node_id <> '';

-- The labels of a job never change. job is jobs.seq; it is no foreign key, which
-- would be looked up with every insert.
CREATE TABLE job_labels (
    key        TEXT    NOT NULL,
    value      TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    id         TEXT    NOT NULL,
    job        INTEGER NOT NULL,
    PRIMARY KEY (key, value, created_at, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE nodes (
    id            TEXT    PRIMARY KEY,
    hostname      TEXT    NOT NULL,
    agent_labels  TEXT    NOT NULL,
    user_labels   TEXT    NOT NULL,
    drain         INTEGER NOT NULL,
    agent_version TEXT    NOT NULL,
    address       TEXT    NOT NULL,
    capabilities  TEXT    NOT NULL,
    registered_at INTEGER NOT NULL,
    last_seen_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE deployments (
    name       TEXT    PRIMARY KEY,
    labels     TEXT    NOT NULL,
    spec       TEXT    NOT NULL,
    deleting   INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE replicas (
    id         TEXT    PRIMARY KEY,
    deployment TEXT    NOT NULL REFERENCES deployments (name) ON DELETE CASCADE,
    node_id    TEXT    NOT NULL,
    remove     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX replicas_by_deployment ON replicas (deployment);

-- +goose Down
DROP TABLE replicas;
DROP TABLE deployments;
DROP TABLE nodes;
DROP TABLE job_labels;
DROP TABLE jobs;
