-- +goose Up
-- Jobs that were deleted and whose logs still have to be.
CREATE TABLE deleted_jobs (
    id TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE deleted_jobs;
