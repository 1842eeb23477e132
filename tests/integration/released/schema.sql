BEGIN TRANSACTION;
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
CREATE TABLE budget_warning (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    period TEXT NOT NULL,
    measure TEXT NOT NULL,
    percent INTEGER NOT NULL,
    turn_id INTEGER NOT NULL,
    place TEXT NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL,
    taken_at DOUBLE PRECISION NOT NULL DEFAULT 0,
    reference TEXT NOT NULL DEFAULT '',
    UNIQUE (name, period, measure, percent)
);
CREATE TABLE conversation (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    last_at DOUBLE PRECISION, window_message_id INTEGER NOT NULL DEFAULT 0, read_until DOUBLE PRECISION, heard_at DOUBLE PRECISION, summary TEXT NOT NULL DEFAULT '', summary_message_id INTEGER NOT NULL DEFAULT 0, sent_tools TEXT NOT NULL DEFAULT '');
CREATE TABLE feedback (
    turn_id INTEGER NOT NULL REFERENCES turn (id),
    author_id TEXT NOT NULL,
    rating TEXT NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (turn_id, author_id)
);
CREATE TABLE journal (
    turn_id INTEGER NOT NULL REFERENCES turn (id),
    step INTEGER NOT NULL,
    body TEXT NOT NULL, at DOUBLE PRECISION,
    PRIMARY KEY (turn_id, step)
);
CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    conversation_id INTEGER NOT NULL REFERENCES conversation (id),
    turn_id INTEGER NOT NULL REFERENCES turn (id),
    body TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL
);
CREATE TABLE note (
    name TEXT PRIMARY KEY,
    text TEXT NOT NULL
);
CREATE TABLE outbox (
    turn_id INTEGER NOT NULL REFERENCES turn (id),
    part INTEGER NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL,
    reference TEXT,
    PRIMARY KEY (turn_id, part)
);
CREATE TABLE pin (
    server TEXT NOT NULL,
    tool TEXT NOT NULL,
    accepted TEXT NOT NULL,
    changed TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (server, tool)
);
CREATE TABLE run_grant (
    person TEXT NOT NULL,
    conversation TEXT NOT NULL,
    server TEXT NOT NULL,
    tool TEXT NOT NULL,
    rule_key TEXT NOT NULL,
    until DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (person, conversation, server, tool, rule_key)
);
CREATE TABLE signal (
    turn_id INTEGER NOT NULL REFERENCES turn (id),
    kind TEXT NOT NULL,
    author TEXT NOT NULL,
    PRIMARY KEY (turn_id, kind)
);
CREATE TABLE spending (
    ledger TEXT NOT NULL,
    period TEXT NOT NULL,
    turns INTEGER NOT NULL DEFAULT 0,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    micro_usd INTEGER NOT NULL DEFAULT 0,
    unpriced_tokens INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (ledger, period)
);
CREATE TABLE tool_use (
    name TEXT PRIMARY KEY,
    uses INTEGER NOT NULL
);
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
, is_first INTEGER NOT NULL DEFAULT 0, platform TEXT NOT NULL DEFAULT '', author TEXT NOT NULL DEFAULT '', has_waited INTEGER NOT NULL DEFAULT 0, wakes INTEGER NOT NULL DEFAULT 0, wakes_at DOUBLE PRECISION, ticket INTEGER NOT NULL DEFAULT 0);
CREATE TABLE worker (
    id TEXT PRIMARY KEY,
    expires_at DOUBLE PRECISION NOT NULL
);
CREATE INDEX turn_conversation ON turn (conversation_id, ended_at, input_tokens, cached_tokens, output_tokens);
CREATE INDEX turn_author ON turn (author, conversation_id, input_tokens, cached_tokens, output_tokens);
CREATE INDEX conversation_last ON conversation (last_at) WHERE last_at IS NOT NULL;
CREATE INDEX turn_waiting ON turn (wakes_at) WHERE wakes_at IS NOT NULL;
CREATE INDEX message_conversation ON message (conversation_id, id, turn_id);
CREATE UNIQUE INDEX ask_pending ON ask (turn_id, round, call_id) WHERE state = 'pending';
CREATE INDEX ask_open ON ask (id) WHERE state = 'pending';
CREATE INDEX ask_unplanned ON ask (conversation, id) WHERE state = 'pending' AND is_planned = 0;
CREATE INDEX ask_turn ON ask (turn_id, id);
CREATE INDEX ask_post_due ON ask_post (place, id) WHERE is_due = 1;
CREATE INDEX run_grant_until ON run_grant (until);
CREATE TRIGGER audit_keeps_lines BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_keeps_facts BEFORE UPDATE OF number, at, kind, person, place, server, tool, arguments_digest, verdict,
    rule, approvers, outcome, turn_id, call_id, hash ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_purges_arguments BEFORE UPDATE OF arguments ON audit WHEN NEW.arguments IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE INDEX turn_open ON turn (worker, is_first, state, ticket, id) WHERE ended_at IS NULL;
CREATE INDEX turn_share ON turn (author, state, ticket) WHERE is_first = 1;
CREATE INDEX turn_platform ON turn (worker, platform, author) WHERE ended_at IS NULL;
CREATE INDEX budget_notice ON budget_warning (place, id) WHERE state IN ('planned', 'posting');
CREATE INDEX turn_kept ON turn (ended_at) WHERE event <> '' AND ended_at IS NOT NULL;
CREATE INDEX audit_arguments ON audit (turn_id) WHERE arguments <> '';
COMMIT;
PRAGMA user_version = 12;
