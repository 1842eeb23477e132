"""What is remembered of tools: how often each was called, and which ones a conversation's requests carried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bot.domain.events import ConversationKey
from bot.ports.conversation_store import ToolMemory
from bot.ports.work_store import ToolUse
from bot.stores.db import Db, Last, first

MOST_USED = 128  # more than one request carries: an asker may not have all of them


def tool_memory(db: Db, conversation: ConversationKey) -> ToolMemory:
    """Return what is remembered for the conversation."""
    kept = first(db.execute("SELECT sent_tools FROM conversation WHERE key = ?", (str(conversation),)))
    rows = db.execute("SELECT name FROM tool_use ORDER BY uses DESC, name LIMIT ?", (MOST_USED,))
    return ToolMemory(
        sent=tuple(kept["sent_tools"].split()) if kept is not None else (),
        most_used=tuple(row["name"] for row in rows),
    )


def count(db: Db, use: ToolUse) -> None:
    """Count the calls."""
    db.write_last(Last.TOOL_USES, _count, list(use.called.items()))


def _count(db: Db, called: Sequence[tuple[str, int]]) -> None:
    uses = Counter[str]()
    for name, times in called:
        uses[name] += times
    db.executemany(
        "INSERT INTO tool_use (name, uses) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET uses = tool_use.uses + excluded.uses",
        sorted(uses.items()),
    )


def keep_sent(db: Db, conversation_id: int, use: ToolUse) -> None:
    """Keep the conversation's list where it has changed."""
    if use.sent is not None:
        db.execute("UPDATE conversation SET sent_tools = ? WHERE id = ?", (" ".join(use.sent), conversation_id))
