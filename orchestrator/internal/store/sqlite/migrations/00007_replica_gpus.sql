-- Which GPUs of its node a replica was given: a JSON list of UUIDs, or null.

-- +goose Up
ALTER TABLE replicas ADD COLUMN gpus TEXT NOT NULL DEFAULT 'null';

-- +goose Down
ALTER TABLE replicas DROP COLUMN gpus;
