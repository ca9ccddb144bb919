-- +goose Up
-- What is set for the queues that jobs name. A queue without settings has no row.
CREATE TABLE queues (
    name        TEXT    PRIMARY KEY,
    weight      INTEGER NOT NULL,
    max_running INTEGER NOT NULL, -- 0: no limit
    paused      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE queues;
