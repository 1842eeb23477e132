-- When a step was recorded, in seconds since the epoch, for timelines. Of older steps it is not known.
ALTER TABLE journal ADD COLUMN at DOUBLE PRECISION;

-- What is kept too long is looked for every day: among turns that ended and whose texts are kept, by when they ended, ...
CREATE INDEX turn_kept ON turn (ended_at) WHERE event <> '' AND ended_at IS NOT NULL;
-- ... and among the lines of the audit whose arguments are kept.
CREATE INDEX audit_arguments ON audit (turn_id) WHERE arguments <> '';

-- Earlier versions deleted texts without overwriting them: the file is written once more, without what is left of them.
INSERT INTO note (name, text) SELECT 'store/rewrite', 'due' WHERE EXISTS (SELECT 1 FROM turn);
