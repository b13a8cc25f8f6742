-- Reads by time and by file, the feed, figures and fields. Columns and indexes are made of what the rows say already,
-- so that documents of before are found like those of after.

-- Header::at in SQL; the least of all numbers for a row that says nothing.
ALTER TABLE documents ADD COLUMN at INTEGER AS (max(
    coalesce(intake_run, -9223372036854775808),
    coalesce(current ->> '$.published_at', -9223372036854775808),
    coalesce(ended ->> '$.at', -9223372036854775808),
    coalesce(erased_at, -9223372036854775808)
));
CREATE INDEX documents_by_time ON documents (at, tenant, document_id);
CREATE INDEX documents_by_tenant_and_time ON documents (tenant, at, document_id);

-- Header::has_file in SQL.
CREATE INDEX documents_by_file_taken_in ON documents (tenant, intake ->> '$.source.sha256') WHERE intake IS NOT NULL;
CREATE INDEX documents_by_file_published ON documents (tenant, current ->> '$.source.sha256') WHERE current IS NOT NULL;
CREATE INDEX documents_by_file_ended ON documents (tenant, ended ->> '$.source.sha256') WHERE ended IS NOT NULL;

-- What was published, in the order in which it was. A number is never given twice, so that a cursor stays right when
-- rows go.
CREATE TABLE feed (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,
    document INTEGER NOT NULL REFERENCES documents (id),
    run      INTEGER NOT NULL,
    version  INTEGER NOT NULL
);
CREATE INDEX feed_by_document ON feed (document, run);
INSERT INTO feed (at, document, run, version)
    SELECT current ->> '$.published_at', id, current_run, current_version FROM documents
    WHERE current_run IS NOT NULL ORDER BY 1, tenant, document_id;

CREATE TABLE figures (
    document  INTEGER NOT NULL REFERENCES documents (id),
    run       INTEGER NOT NULL,
    figure_no INTEGER NOT NULL,
    figure    TEXT NOT NULL,
    PRIMARY KEY (document, run, figure_no)
);

CREATE TABLE fields (
    document INTEGER NOT NULL REFERENCES documents (id),
    run      INTEGER NOT NULL,
    field_no INTEGER NOT NULL,
    field    TEXT NOT NULL,
    PRIMARY KEY (document, run, field_no)
);

-- The version that wrote the figures and that wrote the fields of a run, each whole: an older one, late, is dropped.
CREATE TABLE whole_sets (
    document INTEGER NOT NULL REFERENCES documents (id),
    run      INTEGER NOT NULL,
    name     TEXT NOT NULL,
    version  INTEGER NOT NULL,
    PRIMARY KEY (document, run, name)
) WITHOUT ROWID;
