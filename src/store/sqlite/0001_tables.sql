-- A document is (tenant, document_id); inside this file its integer `id` stands for it, which keeps the rows small.
-- Rows keep their rowid on purpose: a vector or a text of several KiB would spill to overflow pages in an index tree.

CREATE TABLE uploads (
    tenant    TEXT NOT NULL,
    upload_id TEXT NOT NULL,
    run       INTEGER NOT NULL,
    PRIMARY KEY (tenant, upload_id)
) WITHOUT ROWID;

CREATE TABLE documents (
    id              INTEGER PRIMARY KEY,
    tenant          TEXT NOT NULL,
    document_id     TEXT NOT NULL,
    -- Runs at or below were erased; runs below were removed. Both only grow, and late rows of such runs are refused.
    erased_at       INTEGER,
    removed_below   INTEGER,
    intake_run      INTEGER,
    intake_version  INTEGER,
    current_run     INTEGER,
    current_version INTEGER,
    current_status  TEXT,
    chunk_count     INTEGER,
    -- Header::status in SQL; NULL for a row that holds nothing but removed_below.
    status          TEXT AS (CASE
                        WHEN intake_run > current_run THEN 'processing'
                        WHEN current_run IS NOT NULL THEN current_status
                        WHEN intake_run IS NOT NULL THEN 'processing'
                        WHEN erased_at IS NOT NULL THEN 'erased'
                    END),
    intake          TEXT,
    current         TEXT,
    UNIQUE (tenant, document_id)
);
CREATE INDEX documents_by_status ON documents (status, tenant, document_id);
-- Covers the outer loop of a search.
CREATE INDEX documents_by_current ON documents (tenant, current_run, chunk_count) WHERE current_run IS NOT NULL;

CREATE TABLE pages (
    document INTEGER NOT NULL REFERENCES documents (id),
    run      INTEGER NOT NULL,
    page_no  INTEGER NOT NULL,
    version  INTEGER NOT NULL,
    page     TEXT NOT NULL,
    PRIMARY KEY (document, run, page_no)
);

CREATE TABLE chunks (
    document INTEGER NOT NULL REFERENCES documents (id),
    run      INTEGER NOT NULL,
    chunk_no INTEGER NOT NULL,
    version  INTEGER NOT NULL,
    chunk    TEXT NOT NULL,
    PRIMARY KEY (document, run, chunk_no)
);

CREATE TABLE spaces (
    id         INTEGER PRIMARY KEY,
    model      TEXT NOT NULL,
    chunking   TEXT NOT NULL,
    dimension  INTEGER NOT NULL,
    normalized INTEGER NOT NULL,
    UNIQUE (model, chunking)
);

CREATE TABLE vectors (
    document INTEGER NOT NULL REFERENCES documents (id),
    run      INTEGER NOT NULL,
    space    INTEGER NOT NULL REFERENCES spaces (id),
    chunk_no INTEGER NOT NULL,
    version  INTEGER NOT NULL,
    -- Little-endian f32.
    vector   BLOB NOT NULL,
    PRIMARY KEY (document, run, space, chunk_no)
);

-- Tombstones of trims: chunks and vectors numbered `chunk_count` and above, of `version` or older, are gone.
CREATE TABLE trims (
    document    INTEGER NOT NULL REFERENCES documents (id),
    run         INTEGER NOT NULL,
    chunk_count INTEGER NOT NULL,
    version     INTEGER NOT NULL,
    PRIMARY KEY (document, run, chunk_count)
) WITHOUT ROWID;
