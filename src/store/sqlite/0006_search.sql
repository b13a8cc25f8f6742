-- What a search leaves out by, and the words that a search by keywords finds.

-- What documents published before this had no column for, their intake has.
UPDATE documents
SET current = json_set(current, '$.attributes', json(intake -> '$.attributes'), '$.access', json(intake -> '$.access'))
WHERE intake_run = current_run AND current ->> '$.access' IS NULL;

ALTER TABLE documents ADD COLUMN language TEXT AS (current ->> '$.language');
ALTER TABLE documents ADD COLUMN media_type TEXT AS (current ->> '$.source.media_type');
ALTER TABLE documents ADD COLUMN published_at INTEGER AS (current ->> '$.published_at');

-- Covers the outer loop of a search, but for attributes and access.
DROP INDEX documents_by_current;
CREATE INDEX documents_by_current ON documents (tenant, current_run, chunk_count, language, media_type, published_at)
    WHERE current_run IS NOT NULL;

-- A number that stays, for the index of words to name a chunk by: a rowid may change with VACUUM.
CREATE TABLE numbered_chunks (
    id       INTEGER PRIMARY KEY,
    document INTEGER NOT NULL REFERENCES documents (id),
    run      INTEGER NOT NULL,
    chunk_no INTEGER NOT NULL,
    version  INTEGER NOT NULL,
    chunk    TEXT NOT NULL,
    UNIQUE (document, run, chunk_no)
);
INSERT INTO numbered_chunks (document, run, chunk_no, version, chunk)
    SELECT document, run, chunk_no, version, chunk FROM chunks ORDER BY document, run, chunk_no;
DROP TABLE chunks;
ALTER TABLE numbered_chunks RENAME TO chunks;

-- The words alone, without the text. `words_of` is ours (connection.rs); what it gives is cut at spaces by `ascii`,
-- for it knows no other sign.
CREATE VIRTUAL TABLE chunk_words USING fts5 (words, content = '', tokenize = 'ascii');
-- Erased words must not linger.
INSERT INTO chunk_words (chunk_words, rank) VALUES ('secure-delete', 1);
INSERT INTO chunk_words (rowid, words) SELECT id, words_of(chunk) FROM chunks;

-- How many chunks have a word.
CREATE VIRTUAL TABLE chunk_vocabulary USING fts5vocab (chunk_words, row);

-- Whatever adds, changes or deletes a chunk does so with its words.
CREATE TRIGGER chunk_added AFTER INSERT ON chunks BEGIN
    INSERT INTO chunk_words (rowid, words) VALUES (new.id, words_of(new.chunk));
END;
CREATE TRIGGER chunk_changed AFTER UPDATE OF chunk ON chunks BEGIN
    INSERT INTO chunk_words (chunk_words, rowid, words) VALUES ('delete', old.id, words_of(old.chunk));
    INSERT INTO chunk_words (rowid, words) VALUES (new.id, words_of(new.chunk));
END;
CREATE TRIGGER chunk_removed AFTER DELETE ON chunks BEGIN
    INSERT INTO chunk_words (chunk_words, rowid, words) VALUES ('delete', old.id, words_of(old.chunk));
END;
