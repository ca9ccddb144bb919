-- +goose Up
-- What calls of models took, by the minute and, when that is long ago, by the hour.
CREATE TABLE usage (
    step   INTEGER NOT NULL, -- seconds: 60 or 3600
    start  INTEGER NOT NULL, -- seconds since 1970
    model  TEXT    NOT NULL,
    caller TEXT    NOT NULL,
    node   TEXT    NOT NULL,
    counts BLOB    NOT NULL, -- as usage.Counts writes itself
    PRIMARY KEY (step, start, model, caller, node)
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE usage;
