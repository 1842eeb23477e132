-- The audit is only ever appended to; arguments may be purged. These are a guard against mistakes, in SQLite's words: an
-- engine with roles takes UPDATE and DELETE from the bot's role instead. The owner of the file can drop them; then the
-- chain of hashes shows what was changed.
CREATE TRIGGER audit_keeps_lines BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;

CREATE TRIGGER audit_keeps_facts BEFORE UPDATE OF number, at, kind, person, place, server, tool, arguments_digest, verdict,
    rule, approvers, outcome, turn_id, call_id, hash ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;

CREATE TRIGGER audit_purges_arguments BEFORE UPDATE OF arguments ON audit WHEN NEW.arguments IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
