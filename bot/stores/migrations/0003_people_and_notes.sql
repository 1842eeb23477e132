-- Who asked, named as `author_key` does it; of turns that are older than this column it is not known. And whether others
-- of the conversation were open when the turn was accepted.
ALTER TABLE turn ADD COLUMN author TEXT NOT NULL DEFAULT '';
ALTER TABLE turn ADD COLUMN has_waited INTEGER NOT NULL DEFAULT 0;
UPDATE turn SET has_waited = 1 WHERE ended_at IS NULL AND is_first = 0;
CREATE INDEX turn_author ON turn (author, conversation_id, input_tokens, cached_tokens, output_tokens);

-- When the newest of its messages was stored, so that a list of conversations need not read the messages of all. Null
-- where none is stored.
ALTER TABLE conversation ADD COLUMN last_at DOUBLE PRECISION;
UPDATE conversation SET last_at =
    (SELECT created_at FROM message WHERE message.conversation_id = conversation.id
     ORDER BY message.turn_id DESC, message.id DESC LIMIT 1);
CREATE INDEX conversation_last ON conversation (last_at) WHERE last_at IS NOT NULL;

-- Ratings hold no text: they stay when the messages are cleared.
CREATE TABLE feedback (
    turn_id INTEGER NOT NULL REFERENCES turn (id),
    author_id TEXT NOT NULL,
    rating TEXT NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (turn_id, author_id)
);

-- What adapters have to remember.
CREATE TABLE note (
    name TEXT PRIMARY KEY,
    text TEXT NOT NULL
);
