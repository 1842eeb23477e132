-- What left the window is summed up: `summary` tells of the messages up to `summary_message_id`, which is never after the
-- window's start. Messages between the two have left, and their summary is still to be written. What left before this
-- version stays left.
ALTER TABLE conversation ADD COLUMN summary TEXT NOT NULL DEFAULT '';
ALTER TABLE conversation ADD COLUMN summary_message_id INTEGER NOT NULL DEFAULT 0;
UPDATE conversation SET summary_message_id = window_message_id;
