"""The order of a conversation's turns.

Of its open turns that do not wait for a decision exactly one is the first (`is_first`): only that one can run.
"""

from __future__ import annotations

from bot.stores.db import Db


def end_turn(db: Db, turn_id: int, conversation_id: int, *, now: float, state: str | None = None) -> None:
    """End the turn, by default in the state that its reply named, and set the next one free."""
    db.execute(
        "UPDATE turn SET state = COALESCE(?, outcome), ended_at = ?, is_first = 0 WHERE id = ?", (state, now, turn_id)
    )
    free_next(db, conversation_id)


def free_next(db: Db, conversation_id: int) -> None:
    """Make the oldest turn that does not wait the first one, unless the conversation has a first one."""
    db.execute(
        "UPDATE turn SET is_first = 1 WHERE id ="
        " (SELECT min(id) FROM turn WHERE conversation_id = ? AND ended_at IS NULL AND state <> 'waiting')"
        " AND NOT EXISTS (SELECT 1 FROM turn AS other"
        " WHERE other.conversation_id = ? AND other.ended_at IS NULL AND other.is_first = 1)",
        (conversation_id, conversation_id),
    )


def wake_turn(db: Db, turn_id: int) -> bool:
    """Queue the turn for any worker where it waits, behind the first one of its conversation; return whether it did."""
    woken = db.execute(
        "UPDATE turn SET state = 'queued', worker = '', wakes = wakes + 1, wakes_at = NULL"
        " WHERE id = ? AND state = 'waiting' RETURNING conversation_id",
        (turn_id,),
    )
    for turn in woken:
        free_next(db, turn["conversation_id"])
    return bool(woken)
