-- +goose Up
-- The jobs that were submitted together share array_id; '' is none. waiting is
-- written by transitions: the job waits for what its spec names under after.
ALTER TABLE jobs ADD COLUMN array_id TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN array_index INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN array_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN waiting INTEGER NOT NULL DEFAULT 0;

CREATE INDEX jobs_by_array ON jobs (array_id, created_at, id) WHERE array_id <> '';
CREATE INDEX jobs_by_array_state ON jobs (array_id, state, array_index) WHERE array_id <> '';

-- What waiting jobs wait for: the id of a job or of an array. job is jobs.seq.
CREATE TABLE job_waits (
    for_id TEXT    NOT NULL,
    job    INTEGER NOT NULL,
    PRIMARY KEY (for_id, job)
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE job_waits;
DROP INDEX jobs_by_array_state;
DROP INDEX jobs_by_array;
ALTER TABLE jobs DROP COLUMN waiting;
ALTER TABLE jobs DROP COLUMN array_count;
ALTER TABLE jobs DROP COLUMN array_index;
ALTER TABLE jobs DROP COLUMN array_id;
