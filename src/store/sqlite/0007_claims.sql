-- Claims that say whose something is, and how far sweeps have come.

-- Whose the claim of a redrive is: two claims may be of the same microsecond.
ALTER TABLE letters ADD COLUMN claim_id TEXT;

-- What the run that took an upload id first submits: NULL where that was not kept yet.
ALTER TABLE uploads ADD COLUMN subject TEXT;

-- Which record ended a version of a run: the one with the lowest append time, µs.
CREATE TABLE ends (
    tenant      TEXT NOT NULL,
    document_id TEXT NOT NULL,
    run         INTEGER NOT NULL,
    version     INTEGER NOT NULL,
    claim       INTEGER NOT NULL,
    PRIMARY KEY (tenant, document_id, run, version)
) WITHOUT ROWID;

-- Claims are forgotten by their age, which their runs say.
CREATE INDEX ends_by_run ON ends (run);
CREATE INDEX uploads_by_run ON uploads (run);

CREATE TABLE progress (
    sweep  TEXT PRIMARY KEY,
    cursor TEXT NOT NULL
) WITHOUT ROWID;
