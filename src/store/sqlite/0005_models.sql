-- What was decided about embedding models, as one value (JSON) that changes by compare-and-set on its revision.
CREATE TABLE models (
    only     INTEGER PRIMARY KEY CHECK (only = 0),
    revision INTEGER NOT NULL,
    models   TEXT NOT NULL
) WITHOUT ROWID;
