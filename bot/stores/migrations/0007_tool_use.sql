-- How often each tool was called, by its namespaced name. Where there are too many for one request, the most used come
-- first. No text of anyone: it stays when messages are cleared.
CREATE TABLE tool_use (
    name TEXT PRIMARY KEY,
    uses INTEGER NOT NULL
);

-- The names of the tools that the conversation's requests carried last, in order, with spaces between them. They stay the
-- same from one request to the next, so that prompt caches keep them. Empty where all tools are sent.
ALTER TABLE conversation ADD COLUMN sent_tools TEXT NOT NULL DEFAULT '';
