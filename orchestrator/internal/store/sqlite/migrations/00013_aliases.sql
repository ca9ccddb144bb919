-- +goose Up
CREATE TABLE aliases (
    name   TEXT PRIMARY KEY,
    models TEXT NOT NULL -- a JSON array of names
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE aliases;
