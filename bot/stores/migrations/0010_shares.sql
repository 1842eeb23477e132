-- Places are shared by person. Whose turn is next is written down when a turn becomes the first of its conversation, so
-- that a claim reads only what it takes, however many wait: the lowest `ticket` goes first, see `bot/stores/units/order.py`.
ALTER TABLE turn ADD COLUMN ticket INTEGER NOT NULL DEFAULT 0;
DROP INDEX turn_open;
CREATE INDEX turn_open ON turn (worker, is_first, state, ticket, id) WHERE ended_at IS NULL;
CREATE INDEX turn_share ON turn (author, state, ticket) WHERE is_first = 1;
UPDATE turn SET ticket =
    (SELECT count(*) FROM turn AS earlier
     WHERE earlier.author = turn.author AND earlier.is_first = 1 AND earlier.id < turn.id)
WHERE is_first = 1;

-- How many turns are open is counted for each person, too: one of them must not fill the queue up.
DROP INDEX turn_platform;
CREATE INDEX turn_platform ON turn (worker, platform, author) WHERE ended_at IS NULL;
