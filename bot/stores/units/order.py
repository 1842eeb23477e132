"""The order of a conversation's turns.

What waits is in the order in which it was said, by the platform's time, whichever process stored it first. Of its open
turns that do not wait for a decision exactly one is the first (`is_first`): only that one can run.

Then it draws a ticket, and the lowest ticket goes first. Places go round by person: one who has nothing else that runs
or could run draws 0. The others draw a number behind their own last one, further behind it the more of their turns run,
and never before the lowest that waits: people who wait take turns, those who hold few places more often, and nobody
waits for ever. Within one person's share conversations take turns by themselves, as each has one ticket at a time.

A ticket is drawn once, in the store: looking at who holds what at each claim would read all turns that wait, of which
there may be thousands.
"""

from __future__ import annotations

from bot.stores.db import Db
from bot.stores.units import journal


def end_turn(db: Db, turn_id: int, conversation_id: int, *, now: float, state: str | None = None) -> None:
    """End the turn, by default in the state that its reply named, and set the next one free."""
    db.execute(
        "UPDATE turn SET state = COALESCE(?, outcome), ended_at = ?, is_first = 0 WHERE id = ?", (state, now, turn_id)
    )
    free_next(db, conversation_id)


def free_next(db: Db, conversation_id: int) -> None:
    """Make the turn that was said first, of those that do not wait, the first one, unless there is a first one."""
    freed = db.execute(
        f"UPDATE turn SET is_first = 1, ticket = {ticket_of('turn')} WHERE id ="  # noqa: S608  (no outside text in it)
        " (SELECT next.id FROM turn AS next WHERE next.conversation_id = ? AND next.ended_at IS NULL"
        "  AND next.state <> 'waiting' ORDER BY next.said_at, next.id LIMIT 1)"
        " AND NOT EXISTS (SELECT 1 FROM turn AS other"
        " WHERE other.conversation_id = ? AND other.ended_at IS NULL AND other.is_first = 1) RETURNING id",
        (conversation_id, conversation_id),
    )
    if freed:
        db.notify("work")  # it may be another process's


def wake_turn(db: Db, turn_id: int) -> bool:
    """Queue the turn where it waits, behind the first one of its conversation; return whether it did.

    Any worker may take it, unless one keeps what its calls need to go on: then others do once that one is gone.
    """
    woken = db.execute(
        "UPDATE turn SET state = 'queued', worker = ?, wakes = wakes + 1, wakes_at = NULL"
        " WHERE id = ? AND state = 'waiting' RETURNING conversation_id",
        (_keeper(db, turn_id), turn_id),
    )
    for turn in woken:
        free_next(db, turn["conversation_id"])
    if not woken:  # a claim passes over a turn that is queued and that this unit has locked
        db.notify("work")
    return bool(woken)


def _keeper(db: Db, turn_id: int) -> str:
    """Return the worker that keeps what the turn's calls need to go on; empty where none does."""
    keepers = [wait.worker for wait in journal.waits(db, turn_id) if not wait.is_finished]
    return next(filter(None, reversed(keepers)), "")


def ticket_of(row: str) -> str:
    """Return the SQL for the ticket that a turn draws now: of the `author` and `worker` of that row."""
    own = f"FROM turn AS own WHERE own.author = {row}.author AND own.is_first = 1"
    others = f"FROM turn AS other WHERE other.worker = {row}.worker AND other.ended_at IS NULL AND other.is_first = 1"
    return f"""
    CASE WHEN EXISTS (SELECT 1 {own}) THEN
        (SELECT CASE WHEN behind > lowest THEN behind ELSE lowest END FROM (SELECT
            1 + (SELECT count(*) {own} AND own.state IN ('running', 'delivering'))
              + COALESCE((SELECT max(own.ticket) {own} AND own.state = 'queued'), 0) AS behind,
            COALESCE((SELECT min(other.ticket) {others} AND other.state = 'queued' AND other.ticket > 0), 0) AS lowest
        ) AS found)
    ELSE 0 END"""  # noqa: S608  (no outside text in it)
