-- Erasures that are to be made sure of once nothing of their documents can be in flight; the tombstone itself is
-- documents.erased_at.
CREATE TABLE erasures (
    tenant      TEXT NOT NULL,
    document_id TEXT NOT NULL,
    erased_at   INTEGER NOT NULL,
    PRIMARY KEY (tenant, document_id)
) WITHOUT ROWID;
CREATE INDEX erasures_by_time ON erasures (erased_at);
