-- Whose the claim of a redrive is: two claims may be of the same microsecond.
ALTER TABLE letters ADD COLUMN claim_id TEXT;
