-- A process that works on turns, and until when it is known to live.
CREATE TABLE worker (
    id TEXT PRIMARY KEY,
    expires_at DOUBLE PRECISION NOT NULL
);

CREATE TABLE conversation (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    window_turn_id INTEGER NOT NULL DEFAULT 0
);

-- One accepted message and what became of it. The row stays when its texts are cleared: it is what a redelivery finds.
CREATE TABLE turn (
    id INTEGER PRIMARY KEY,
    event_key TEXT NOT NULL UNIQUE,
    conversation_id INTEGER NOT NULL REFERENCES conversation (id),
    event TEXT NOT NULL,
    state TEXT NOT NULL,
    outcome TEXT,
    stop_requested INTEGER NOT NULL DEFAULT 0,
    worker TEXT NOT NULL,
    fence INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    accepted_at DOUBLE PRECISION NOT NULL,
    ended_at DOUBLE PRECISION,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0
);
-- What is looked for among open turns must not read the ended ones, of which there may be a million.
CREATE INDEX turn_open ON turn (id) WHERE ended_at IS NULL;
CREATE INDEX turn_conversation ON turn (conversation_id, ended_at, input_tokens, cached_tokens, output_tokens);

CREATE TABLE journal (
    turn_id INTEGER NOT NULL REFERENCES turn (id),
    step INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (turn_id, step)
);

CREATE TABLE outbox (
    turn_id INTEGER NOT NULL REFERENCES turn (id),
    part INTEGER NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL,
    reference TEXT,
    PRIMARY KEY (turn_id, part)
);

CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    conversation_id INTEGER NOT NULL REFERENCES conversation (id),
    turn_id INTEGER NOT NULL REFERENCES turn (id),
    body TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL
);
CREATE INDEX message_conversation ON message (conversation_id, turn_id, id);
