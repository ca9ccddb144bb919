-- What people said of the work of a node becomes one JSON value.

-- +goose Up
ALTER TABLE nodes ADD COLUMN upkeep TEXT NOT NULL DEFAULT '{}';
UPDATE nodes SET upkeep = json_object('drain',
    json_object('mode', 1, 'since', strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))) WHERE drain <> 0;
ALTER TABLE nodes DROP COLUMN drain;

-- +goose Down
ALTER TABLE nodes ADD COLUMN drain INTEGER NOT NULL DEFAULT 0;
UPDATE nodes SET drain = 1 WHERE json_extract(upkeep, '$.drain') IS NOT NULL;
ALTER TABLE nodes DROP COLUMN upkeep;
