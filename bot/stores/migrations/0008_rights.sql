-- What people are asked while a turn waits. `body` is the ask as it is shown now, `original` the arguments before they were
-- edited. Who asked, and where, are kept here: the turn's event goes when its texts are cleared. `is_planned`: messages
-- that show it are planned.
CREATE TABLE ask (
    id INTEGER PRIMARY KEY,
    turn_id INTEGER NOT NULL REFERENCES turn (id),
    round INTEGER NOT NULL,
    call_id TEXT NOT NULL,
    conversation TEXT NOT NULL,
    asker TEXT NOT NULL,
    asker_id TEXT NOT NULL,
    asker_name TEXT NOT NULL,
    body TEXT NOT NULL,
    original TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL DEFAULT 'pending',
    version INTEGER NOT NULL DEFAULT 1,
    is_planned INTEGER NOT NULL DEFAULT 0,
    created_at DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION NOT NULL
);
-- A call has one pending ask at most.
CREATE UNIQUE INDEX ask_pending ON ask (turn_id, round, call_id) WHERE state = 'pending';
CREATE INDEX ask_open ON ask (id) WHERE state = 'pending';
CREATE INDEX ask_unplanned ON ask (conversation, id) WHERE state = 'pending' AND is_planned = 0;
CREATE INDEX ask_turn ON ask (turn_id, id);

CREATE TABLE ask_vote (
    ask_id INTEGER NOT NULL REFERENCES ask (id),
    number INTEGER NOT NULL,
    person TEXT NOT NULL,
    author TEXT NOT NULL,
    name TEXT NOT NULL,
    choice TEXT NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    digest TEXT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (ask_id, number)
);

-- The messages that show an ask: planned, posting, posted, or dropped. `is_due`: it does not show the ask as it is now.
CREATE TABLE ask_post (
    id INTEGER PRIMARY KEY,
    ask_id INTEGER NOT NULL REFERENCES ask (id),
    number INTEGER NOT NULL,
    place TEXT NOT NULL,
    person TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'planned',
    reference TEXT NOT NULL DEFAULT '',
    shown INTEGER NOT NULL DEFAULT 0,
    is_due INTEGER NOT NULL DEFAULT 1,
    UNIQUE (ask_id, number)
);
-- Looked at every second: only the few that are due are in it.
CREATE INDEX ask_post_due ON ask_post (place, id) WHERE is_due = 1;

-- A person may run a tool for a while without being asked.
CREATE TABLE run_grant (
    person TEXT NOT NULL,
    conversation TEXT NOT NULL,
    server TEXT NOT NULL,
    tool TEXT NOT NULL,
    rule_key TEXT NOT NULL,
    until DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (person, conversation, server, tool, rule_key)
);
CREATE INDEX run_grant_until ON run_grant (until);

-- Tools as an operator accepted them, and what they have changed to since; both JSON.
CREATE TABLE pin (
    server TEXT NOT NULL,
    tool TEXT NOT NULL,
    accepted TEXT NOT NULL,
    changed TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (server, tool)
);

-- Who did what, for good. `hash` covers the line, with the digest in place of the arguments, and the hash before it:
-- arguments can be purged (null), everything else stays as it is. The numbers have no gaps, and a number is given once:
-- of two transactions that append to the same end only one can be committed.
CREATE TABLE audit (
    number INTEGER PRIMARY KEY,
    at DOUBLE PRECISION NOT NULL,
    kind TEXT NOT NULL,
    person TEXT NOT NULL,
    place TEXT NOT NULL,
    server TEXT NOT NULL,
    tool TEXT NOT NULL,
    arguments TEXT,
    arguments_digest TEXT NOT NULL,
    verdict TEXT NOT NULL,
    rule TEXT NOT NULL,
    approvers TEXT NOT NULL,
    outcome TEXT NOT NULL,
    turn_id INTEGER NOT NULL,
    call_id TEXT NOT NULL,
    hash TEXT NOT NULL
);
