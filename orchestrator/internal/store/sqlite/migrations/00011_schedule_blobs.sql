-- +goose Up
-- The blobs that the jobs of schedules are given.
CREATE TABLE schedule_blobs (
    digest   TEXT NOT NULL,
    schedule TEXT NOT NULL,
    PRIMARY KEY (digest, schedule)
) STRICT, WITHOUT ROWID;

CREATE INDEX schedule_blobs_by_schedule ON schedule_blobs (schedule);

-- +goose Down
DROP TABLE schedule_blobs;
