-- usable from: 0013
-- The text files that conversations have saved with the bundled tool server, which reads and writes this table itself
-- (`mcp_server/database.py`). `workspace` is a digest of the id under which tool servers know the conversation;
-- `modified_at` is in seconds since the epoch. On SQLite they are in folders.
CREATE TABLE file (
    workspace TEXT NOT NULL,
    name TEXT NOT NULL,
    body BYTEA NOT NULL,
    modified_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (workspace, name)
);

-- What is kept too long is looked for every day.
CREATE INDEX file_modified ON file (modified_at);
