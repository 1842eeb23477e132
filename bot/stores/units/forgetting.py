"""What is forgotten of turns that have ended: their texts, wherever they are. Who asked, when and what for stays."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.events import ConversationKey
from bot.ports.retention_store import Forgotten
from bot.stores.db import Db, Row, first, places
from bot.stores.units import asks
from bot.stores.units.locks import lock_conversations

MOST = 200  # turns that are forgotten by one statement
_ENDED = "ended_at IS NOT NULL AND event <> ''"


def kept_events(db: Db, conversation: ConversationKey) -> Sequence[str]:
    """Return the event keys of ended turns whose texts are kept."""
    rows = db.execute(
        "SELECT event_key FROM turn JOIN conversation ON conversation.id = turn.conversation_id"  # noqa: S608  (no outside text)
        f" WHERE conversation.key = ? AND {_ENDED} ORDER BY turn.id",
        (str(conversation),),
    )
    return [row["event_key"] for row in rows]


def forget_older(db: Db, before: float, *, limit: int) -> Forgotten:
    """Forget the turns that ended first, and arguments in the audit that belong to no turn."""
    rows = db.execute(
        f"SELECT id, conversation_id, event_key FROM turn WHERE {_ENDED} AND ended_at < ? ORDER BY ended_at LIMIT ?",  # noqa: S608  (no outside text)
        (before, min(limit, MOST)),
    )
    return forget_turns(db, rows) + Forgotten(arguments=_forget_old_arguments(db, before, limit=limit))


def has_older(db: Db, before: float) -> bool:
    """Return whether `forget_older` would forget anything; looking costs no commit."""
    return bool(
        db.execute(f"SELECT 1 FROM turn WHERE {_ENDED} AND ended_at < ? LIMIT 1", (before,))  # noqa: S608  (no outside text)
        or db.execute(f"{_OLD_ARGUMENTS} LIMIT 1", (before,))
    )


# --- the turns of a list ---


def forget_turns(db: Db, turns: Sequence[Row]) -> Forgotten:
    """Forget the texts of these ended turns (`id`, `conversation_id`, `event_key`; `MOST` at most)."""
    if not turns:
        return Forgotten()
    lock_conversations(db, (turn["conversation_id"] for turn in turns))
    ids = [turn["id"] for turn in turns]
    listed = places(ids)
    forget_notes(db, listed, ids)
    asks.forget_texts(db, listed, ids)
    for table in ("journal", "outbox"):
        db.execute(f"DELETE FROM {table} WHERE turn_id IN {listed}", ids)  # noqa: S608  (no outside text)
    messages = 0
    for conversation_id in dict.fromkeys(turn["conversation_id"] for turn in turns):
        of_it = [turn["id"] for turn in turns if turn["conversation_id"] == conversation_id]
        messages += _forget_messages(db, conversation_id, of_it)
    arguments = forget_arguments(db, listed, ids)
    db.execute(f"UPDATE turn SET event = '' WHERE id IN {listed}", ids)  # noqa: S608  (no outside text)
    return Forgotten(
        turns=len(ids),
        messages=messages,
        arguments=arguments,
        event_keys=tuple(turn["event_key"] for turn in turns),
    )


def forget_arguments(db: Db, turns: str, values: Sequence[object]) -> int:
    """Remove the arguments of the lines that the audit has of these turns; their digests stay."""
    return len(
        db.execute(
            f"UPDATE audit SET arguments = NULL WHERE turn_id IN {turns} AND arguments <> '' RETURNING number",  # noqa: S608  (no outside text)
            values,
        )
    )


def forget_notes(db: Db, turns: str, values: Sequence[object]) -> None:
    """Remove what an adapter has noted of the asks of these turns: such a note begins with its conversation's key."""
    for row in db.execute(f"SELECT id, conversation FROM ask WHERE turn_id IN {turns}", values):  # noqa: S608  (no outside text)
        db.execute("DELETE FROM note WHERE name = ?", (f"{row['conversation']}#ask:{row['id']}",))


def forget_summary(db: Db, conversation_id: int) -> bool:
    """Drop the summary, for another one to be made of what is kept; return whether there was one."""
    return bool(
        db.execute(
            "UPDATE conversation SET summary = '', summary_message_id = 0 WHERE id = ? AND summary <> '' RETURNING id",
            (conversation_id,),
        )
    )


def _forget_messages(db: Db, conversation_id: int, turns: Sequence[int]) -> int:
    gone = db.execute(
        f"DELETE FROM message WHERE conversation_id = ? AND turn_id IN {places(turns)} RETURNING id",  # noqa: S608  (no outside text)
        (conversation_id, *turns),
    )
    if not gone:
        return 0
    summary = first(db.execute("SELECT summary_message_id AS last FROM conversation WHERE id = ?", (conversation_id,)))
    if summary is not None and any(row["id"] <= summary["last"] for row in gone):
        forget_summary(db, conversation_id)
    # An engine may give the ids of the messages that are gone to new ones: the window has to begin before those.
    db.execute(
        "UPDATE conversation SET window_message_id = CASE WHEN last.id < window_message_id THEN last.id"
        " ELSE window_message_id END, summary_message_id = CASE WHEN last.id < summary_message_id THEN last.id"
        " ELSE summary_message_id END, last_at = last.at FROM"
        " (SELECT COALESCE(max(id), 0) AS id, max(created_at) AS at FROM message WHERE conversation_id = ?) AS last"
        " WHERE conversation.id = ?",
        (conversation_id, conversation_id),
    )
    return len(gone)


_OLD_ARGUMENTS = "SELECT number FROM audit WHERE turn_id = 0 AND arguments <> '' AND at < ?"


def _forget_old_arguments(db: Db, before: float, *, limit: int) -> int:
    return len(
        db.execute(
            f"UPDATE audit SET arguments = NULL WHERE number IN ({_OLD_ARGUMENTS} LIMIT ?) RETURNING number",  # noqa: S608  (no outside text)
            (before, limit),
        )
    )
