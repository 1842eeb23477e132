-- usable from: 0012
-- Several processes work on one database. `about`: what a process says of itself, as JSON.
ALTER TABLE worker ADD COLUMN about TEXT NOT NULL DEFAULT '';

-- What waits is in the order in which it was said, by the platform's time (seconds since the epoch), whichever process
-- stored it first. Turns of versions without it come first: they are older.
ALTER TABLE turn ADD COLUMN said_at DOUBLE PRECISION NOT NULL DEFAULT 0;

-- Which process posts and changes a message; only one does so in its place when it is gone.
ALTER TABLE ask_post ADD COLUMN poster TEXT NOT NULL DEFAULT '';

-- Places that one process holds at a time, as long as its lease runs: shards, sockets. `fence` grows with each holder;
-- `note` is what one leaves for the next.
CREATE TABLE slot (
    name TEXT PRIMARY KEY,
    worker TEXT NOT NULL,
    fence INTEGER NOT NULL,
    taken_at DOUBLE PRECISION NOT NULL,
    note TEXT NOT NULL DEFAULT ''
);

-- Rates that hold for all processes together: when all calls could be made at once again (seconds since the epoch).
CREATE TABLE rate (
    name TEXT PRIMARY KEY,
    restored_at DOUBLE PRECISION NOT NULL,
    last_key TEXT NOT NULL DEFAULT ''
);
