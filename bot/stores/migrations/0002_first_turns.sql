-- A turn can run when it is the first open one of its conversation. That is kept here, so that a claim does not have to
-- look at the thousands that wait behind others.
ALTER TABLE turn ADD COLUMN is_first INTEGER NOT NULL DEFAULT 0;
UPDATE turn SET is_first = 1
WHERE id IN (SELECT min(id) FROM turn WHERE ended_at IS NULL GROUP BY conversation_id);
DROP INDEX turn_open;
CREATE INDEX turn_open ON turn (worker, is_first, state, id) WHERE ended_at IS NULL;

-- How many turns are open is counted for each platform: one that takes no answers must not fill the others up.
ALTER TABLE turn ADD COLUMN platform TEXT NOT NULL DEFAULT '';
UPDATE turn SET platform =
    (SELECT substr(key, 1, instr(key, '/') - 1) FROM conversation WHERE conversation.id = turn.conversation_id)
WHERE ended_at IS NULL;
CREATE INDEX turn_platform ON turn (worker, platform) WHERE ended_at IS NULL;
