-- What was used, by ledger ("person:slack:T1:U1", "place:slack:T1:C042", "all") and period ("2026-11-29", "2026-11"): sums,
-- so that a budget is checked without reading turns. Money in millionths of a dollar; `unpriced_tokens` are those whose
-- price is not known.
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

-- Warnings of budgets, each once in a period. One without a place is said with the answer of its turn, in whichever
-- attempt; the others are posted: planned, posting, posted or dropped.
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
-- Looked at every few seconds: only the few that are to be posted are in it.
CREATE INDEX budget_notice ON budget_warning (place, id) WHERE state IN ('planned', 'posting');
