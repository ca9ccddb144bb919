-- +goose Up
CREATE TABLE schedules (
    name        TEXT    PRIMARY KEY,
    cron        TEXT    NOT NULL,
    time_zone   TEXT    NOT NULL,
    overlap     INTEGER NOT NULL,
    paused      INTEGER NOT NULL,
    template    TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    cursor      INTEGER NOT NULL, -- the last tick that was dealt with
    pending     INTEGER NOT NULL, -- a tick whose submission has begun
    last_run_at INTEGER NOT NULL,
    last_job_id TEXT    NOT NULL,
    reason      TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE schedules;
