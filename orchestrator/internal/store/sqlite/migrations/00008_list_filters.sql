-- The queue, which a job's spec has too, for the list, and its filters' indexes.

-- +goose Up
ALTER TABLE jobs ADD COLUMN queue TEXT NOT NULL DEFAULT 'default';
UPDATE jobs SET queue = spec ->> '$.queue' WHERE spec ->> '$.queue' <> '';

CREATE INDEX jobs_by_queue ON jobs (queue, created_at, id);
CREATE INDEX jobs_by_name ON jobs (name, created_at, id);

-- +goose Down
DROP INDEX jobs_by_name;
DROP INDEX jobs_by_queue;
ALTER TABLE jobs DROP COLUMN queue;
