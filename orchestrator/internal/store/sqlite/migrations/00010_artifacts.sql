-- +goose Up
-- What attempts left. The files of a set that is not complete are being written
-- or deleted. They go by the job's id, since they may be deleted after it;
-- stored_at is then -1.
CREATE TABLE artifact_sets (
    job_id    TEXT    NOT NULL,
    attempt   INTEGER NOT NULL,
    stored_at INTEGER NOT NULL,
    complete  INTEGER NOT NULL,
    files     INTEGER NOT NULL,
    bytes     INTEGER NOT NULL,
    PRIMARY KEY (job_id, attempt)
) STRICT, WITHOUT ROWID;

CREATE INDEX artifact_sets_by_time ON artifact_sets (stored_at);

CREATE TABLE artifacts (
    job_id  TEXT    NOT NULL,
    attempt INTEGER NOT NULL,
    name    TEXT    NOT NULL,
    path    TEXT    NOT NULL,
    digest  TEXT    NOT NULL,
    size    INTEGER NOT NULL,
    mode    INTEGER NOT NULL,
    PRIMARY KEY (job_id, attempt, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX artifacts_by_digest ON artifacts (digest);

-- +goose Down
DROP TABLE artifacts;
DROP TABLE artifact_sets;
