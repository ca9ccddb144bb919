-- +goose Up
-- The blobs that jobs are given. job is jobs.seq.
CREATE TABLE job_blobs (
    digest TEXT    NOT NULL,
    job    INTEGER NOT NULL,
    PRIMARY KEY (digest, job)
) STRICT, WITHOUT ROWID;

CREATE INDEX job_blobs_by_job ON job_blobs (job);

-- +goose Down
DROP TABLE job_blobs;
