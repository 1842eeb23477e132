-- A turn can wait for a decision: no worker holds it, and later ones of its conversation pass it. `wakes_at` is set while
-- it waits: then it is queued again at the latest. `wakes` counts how often it waited and went on.
ALTER TABLE turn ADD COLUMN wakes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE turn ADD COLUMN wakes_at DOUBLE PRECISION;
CREATE INDEX turn_waiting ON turn (wakes_at) WHERE wakes_at IS NOT NULL;

-- What was asked of a turn that runs, for the process that runs it; gone once that has read it.
CREATE TABLE signal (
    turn_id INTEGER NOT NULL REFERENCES turn (id),
    kind TEXT NOT NULL,
    author TEXT NOT NULL,
    PRIMARY KEY (turn_id, kind)
);

-- What a waiting turn says comes after what later turns have said meanwhile: messages are in the order of their ids, and
-- the history begins after one of them. Up to here turns ended in the order of their ids.
ALTER TABLE conversation ADD COLUMN window_message_id INTEGER NOT NULL DEFAULT 0;
UPDATE conversation SET window_message_id = COALESCE(
    (SELECT max(message.id) FROM message
     WHERE message.conversation_id = conversation.id AND message.turn_id < conversation.window_turn_id), 0)
WHERE window_turn_id > 0;
ALTER TABLE conversation DROP COLUMN window_turn_id;
DROP INDEX message_conversation;
CREATE INDEX message_conversation ON message (conversation_id, id, turn_id);
