-- What is known of a thread, in the platform's time (seconds since the epoch): up to `read_until` the model knows what was
-- said there, or was to forget it; at `heard_at` something was said that was not for the bot. Until now the bot's part of
-- each conversation was known.
ALTER TABLE conversation ADD COLUMN read_until DOUBLE PRECISION;
ALTER TABLE conversation ADD COLUMN heard_at DOUBLE PRECISION;
UPDATE conversation SET read_until = last_at;
