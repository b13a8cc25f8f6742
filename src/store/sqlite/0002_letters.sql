-- What a letter says is written once; `state`, `version` and `state_at` change by compare-and-set alone. The columns
-- beside `letter` (JSON) are what listings ask for.
CREATE TABLE letters (
    tenant      TEXT NOT NULL,
    letter_id   TEXT NOT NULL,
    failed_at   INTEGER NOT NULL,
    document_id TEXT NOT NULL,
    run         INTEGER NOT NULL,
    stage       TEXT NOT NULL,
    kind        TEXT NOT NULL,
    code        TEXT NOT NULL,
    state       TEXT NOT NULL DEFAULT 'open',
    version     INTEGER,
    state_at    INTEGER,
    letter      TEXT NOT NULL,
    headers     TEXT NOT NULL,
    value       BLOB NOT NULL,
    UNIQUE (tenant, letter_id)
);
CREATE INDEX letters_by_time ON letters (tenant, failed_at, letter_id);
CREATE INDEX letters_by_state ON letters (state, tenant, failed_at, letter_id);
CREATE INDEX letters_by_document ON letters (tenant, document_id);

-- Pages of a run that are on their way again, and the version they come with.
CREATE TABLE awaited_pages (
    document INTEGER NOT NULL REFERENCES documents (id),
    run      INTEGER NOT NULL,
    page_no  INTEGER NOT NULL,
    version  INTEGER NOT NULL,
    PRIMARY KEY (document, run, page_no)
) WITHOUT ROWID;
