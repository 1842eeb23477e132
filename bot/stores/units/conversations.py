"""What was said, what it cost, and what people thought of it.

Each function does what the method of its name does in `bot.ports.conversation_store.ConversationStore`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from bot.domain.budgets import Charge, Spent
from bot.domain.events import ConversationKey, MessageReceived, Rating
from bot.domain.messages import Usage
from bot.ports.conversation_store import ConversationSummary, History, HistoryEntry, Knowledge
from bot.stores import codec
from bot.stores.db import Db, Row, first, key_range
from bot.stores.units import asks, budgets, forgetting
from bot.stores.units.locks import lock_named
from bot.text.split import cut

HISTORY_ROWS = 5_000  # far above any window; bounds what one turn reads
TITLE_CHARS = 80


def conversation_id_of(db: Db, conversation: ConversationKey) -> int:
    """Return the conversation's id, after storing a new one; no other unit changes it until this one is committed."""
    (row,) = db.execute(
        "INSERT INTO conversation (key) VALUES (?) ON CONFLICT (key) DO UPDATE SET key = excluded.key RETURNING id",
        (str(conversation),),
    )
    return row["id"]


def history(db: Db, conversation: ConversationKey) -> History:
    """Return the messages after the window's start, in the order in which they were stored, and the summary."""
    return _history(db, conversation, with_left=False)


def unsummarised(db: Db, conversation: ConversationKey) -> History:
    """Return the same, with the messages between the summary and the window's start."""
    return _history(db, conversation, with_left=True)


def _history(db: Db, conversation: ConversationKey, *, with_left: bool) -> History:
    kept = first(
        db.execute(
            "SELECT id, window_message_id, summary, summary_message_id FROM conversation WHERE key = ?",
            (str(conversation),),
        )
    )
    if kept is None:
        return History()
    window = kept["window_message_id"]
    rows = db.execute(
        "SELECT id, turn_id, body FROM message WHERE conversation_id = ? AND id > ? ORDER BY id DESC LIMIT ?",
        (kept["id"], kept["summary_message_id"] if with_left else window, HISTORY_ROWS),
    )
    messages = [(row["id"], (row["turn_id"], codec.messages.validate_json(row["body"]))) for row in reversed(rows)]
    return History(
        turns=[item for message_id, item in messages if message_id > window],
        summary=kept["summary"],
        summary_end=kept["summary_message_id"],
        is_behind=kept["summary_message_id"] < window,
        left=[item for message_id, item in messages if message_id <= window],
    )


def put_summary(
    db: Db,
    conversation: ConversationKey,
    summary: str,
    *,
    past_turn_id: int,
    summary_end: int,
    turn_id: int,
    usage: Usage,
    charge: Charge | None = None,
) -> bool:
    """Store the summary with the window's start, unless it was made of what is there no longer; count its usage."""
    lock_named(db, conversation)
    db.execute(
        "UPDATE turn SET input_tokens = input_tokens + ?, cached_tokens = cached_tokens + ?,"
        " output_tokens = output_tokens + ? WHERE id = ?",
        (usage.input_tokens, usage.cached_tokens, usage.output_tokens, turn_id),
    )
    is_kept = _keep_summary(db, conversation, summary, past_turn_id=past_turn_id, summary_end=summary_end)
    budgets.charge(db, charge)
    return is_kept


def _keep_summary(db: Db, conversation: ConversationKey, summary: str, *, past_turn_id: int, summary_end: int) -> bool:
    # After a clear, the messages of the turn are gone for good, whatever ids new ones get.
    last = first(
        db.execute(
            "SELECT conversation.id, max(message.id) AS message_id FROM conversation"
            " JOIN message ON message.conversation_id = conversation.id"
            " WHERE key = ? AND summary_message_id = ? AND message.id > summary_message_id AND message.turn_id = ?"
            " GROUP BY conversation.id",
            (str(conversation), summary_end, past_turn_id),
        )
    )
    if last is None:
        return False
    db.execute(
        "UPDATE conversation SET summary = ?, summary_message_id = ?,"
        " window_message_id = CASE WHEN window_message_id < ? THEN ? ELSE window_message_id END WHERE id = ?",
        (summary, last["message_id"], last["message_id"], last["message_id"], last["id"]),
    )
    return True


def knowledge(db: Db, conversation: ConversationKey) -> Knowledge:
    """Return how much is known of what was said in the conversation."""
    row = first(
        db.execute(
            "SELECT read_until, heard_at, (SELECT message.turn_id FROM message"
            "  WHERE message.conversation_id = conversation.id AND message.id > conversation.window_message_id"
            "  ORDER BY message.id DESC LIMIT 1) AS last_turn_id"
            " FROM conversation WHERE key = ?",
            (str(conversation),),
        )
    )
    if row is None:
        return Knowledge()
    return Knowledge(
        read_until=_time(row["read_until"]), heard_at=_time(row["heard_at"]), last_turn_id=row["last_turn_id"]
    )


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def move_window(db: Db, conversation: ConversationKey, *, past_turn_id: int) -> None:
    """Start the window after the last message of the turn; a turn before the window changes nothing."""
    lock_named(db, conversation)
    # Only messages after the window's start are looked at: they are few, and the window cannot go backwards.
    db.execute(
        "UPDATE conversation SET window_message_id = COALESCE("
        " (SELECT max(message.id) FROM message WHERE message.conversation_id = conversation.id"
        "  AND message.id > conversation.window_message_id AND message.turn_id = ?), window_message_id) WHERE key = ?",
        (past_turn_id, str(conversation)),
    )


def transcript(db: Db, conversation: ConversationKey, *, limit: int) -> Sequence[HistoryEntry]:
    """Return the last messages with their times."""
    rows = db.execute(
        "SELECT created_at, turn_id, body, CASE WHEN message.id > window_message_id THEN 'words'"
        " WHEN message.id <= summary_message_id AND summary <> '' THEN 'summary' ELSE 'none' END AS recall"
        " FROM message JOIN conversation ON conversation.id = message.conversation_id"
        " WHERE key = ? ORDER BY message.id DESC LIMIT ?",
        (str(conversation), limit),
    )
    return [_entry(row) for row in reversed(rows)]


# The newest question is that of the last open turn; where none is open, that of the last messages.
_SUMMARY = """
SELECT key, last_at,
    (SELECT count(*) FROM message WHERE message.conversation_id = listed.id) AS messages,
    (SELECT event FROM turn WHERE turn.id = COALESCE(
        (SELECT max(pending.id) FROM turn AS pending
         WHERE pending.conversation_id = listed.id AND pending.ended_at IS NULL),
        (SELECT message.turn_id FROM message WHERE message.conversation_id = listed.id
         ORDER BY message.id DESC LIMIT 1))) AS question
FROM ({listed}) AS listed ORDER BY {order}
"""
_OPEN = """
SELECT conversation.id, key, COALESCE(last_at, min(accepted_at)) AS last_at, min(turn.id) AS first_turn_id
FROM conversation JOIN turn ON turn.conversation_id = conversation.id
WHERE turn.ended_at IS NULL AND key >= ? AND key < ?
GROUP BY conversation.id, key, last_at
"""


def conversations(db: Db, *, limit: int, prefix: str) -> Sequence[ConversationSummary]:
    """Return the conversations with messages, by their newest message."""
    # Without a prefix the newest are the last ones of an index; with one, all that have it are looked at.
    ranged, bounds = ("AND key >= ? AND key < ?", key_range(prefix)) if prefix else ("", ())
    listed = f"SELECT id, key, last_at FROM conversation WHERE last_at IS NOT NULL {ranged}"  # noqa: S608  (no outside text)
    newest = f"{listed} ORDER BY last_at DESC, id DESC LIMIT ?"
    rows = db.execute(_SUMMARY.format(listed=newest, order="last_at DESC, id DESC"), (*bounds, limit))
    return [_summary(row) for row in rows]


def open_conversations(db: Db, *, prefix: str) -> Sequence[ConversationSummary]:
    """Return the conversations with open turns, by their oldest open turn."""
    rows = db.execute(_SUMMARY.format(listed=_OPEN, order="first_turn_id"), key_range(prefix))
    return [_summary(row) for row in rows]


def participants(db: Db, conversation: ConversationKey, *, is_open: bool, turn_id: int = 0) -> Sequence[str]:
    """Return who asked what is kept, or what is still open, in the order of their first such questions."""
    rows = db.execute(
        "SELECT turn.author, min(turn.id) AS began FROM turn"
        " JOIN conversation ON conversation.id = turn.conversation_id"
        " WHERE conversation.key = ? AND turn.event <> '' AND turn.author <> ''"
        " AND (? = 0 OR turn.ended_at IS NULL) AND (? = 0 OR turn.id = ?) GROUP BY turn.author ORDER BY began",
        (str(conversation), int(is_open), turn_id, turn_id),
    )
    return [row["author"] for row in rows]


def clear(db: Db, conversation: ConversationKey, *, now: float) -> int:
    """Delete the messages, their summary, and the texts of turns that have ended and of their asks; what was said until
    now is not read again.
    """
    conversation_id = conversation_id_of(db, conversation)
    (gone,) = db.execute("SELECT count(*) AS messages FROM message WHERE conversation_id = ?", (conversation_id,))
    db.execute("DELETE FROM message WHERE conversation_id = ?", (conversation_id,))
    # An engine may give the ids of the messages that are gone to new ones: the window has to begin before them.
    db.execute(
        "UPDATE conversation SET last_at = NULL, window_message_id = 0, summary = '', summary_message_id = 0,"
        " sent_tools = '', read_until = ? WHERE id = ?",
        (now, conversation_id),
    )
    ended = "(SELECT id FROM turn WHERE conversation_id = ? AND ended_at IS NOT NULL AND event <> '')"
    forgetting.forget_notes(db, ended, (conversation_id,))
    asks.forget_texts(db, ended, (conversation_id,))
    forgetting.forget_arguments(db, ended, (conversation_id,))
    for table in ("journal", "outbox"):
        db.execute(
            f"DELETE FROM {table} WHERE turn_id IN {ended}",  # noqa: S608  (no outside text in it)
            (conversation_id,),
        )
    db.execute(
        "UPDATE turn SET event = '' WHERE conversation_id = ? AND ended_at IS NOT NULL AND event <> ''",
        (conversation_id,),
    )
    return gone["messages"]


def usage(db: Db, conversation: ConversationKey | None, *, author: str) -> Spent:
    """Return the sums over the turns that match."""
    wanted = {
        "conversation_id = (SELECT id FROM conversation WHERE key = ?)": str(conversation) if conversation else "",
        "author = ?": author,
    }
    conditions = {condition: value for condition, value in wanted.items() if value}
    (row,) = db.execute(
        "SELECT count(*) AS turns, COALESCE(sum(input_tokens), 0) AS input,"  # noqa: S608  (no outside text in it)
        " COALESCE(sum(cached_tokens), 0) AS cached, COALESCE(sum(output_tokens), 0) AS output"
        f" FROM turn WHERE {' AND '.join(conditions) or 'TRUE'}",
        tuple(conditions.values()),
    )
    tokens = Usage(input_tokens=row["input"], cached_tokens=row["cached"], output_tokens=row["output"])
    return Spent(turns=row["turns"], usage=tokens)


def is_turn_of(db: Db, turn_id: int, conversation: ConversationKey) -> bool:
    """Return whether the turn is one of the conversation's."""
    return bool(
        db.execute(
            "SELECT 1 FROM turn JOIN conversation ON conversation.id = turn.conversation_id"
            " WHERE turn.id = ? AND conversation.key = ?",
            (turn_id, str(conversation)),
        )
    )


def rate(db: Db, turn_id: int, *, author_id: str, rating: Rating, now: float) -> None:
    """Store the rating, in place of an earlier one by the same person."""
    db.execute(
        "INSERT INTO feedback (turn_id, author_id, rating, at) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (turn_id, author_id) DO UPDATE SET rating = excluded.rating, at = excluded.at",
        (turn_id, author_id, rating, now),
    )


def _summary(row: Row) -> ConversationSummary:
    return ConversationSummary(
        conversation=ConversationKey.parse(row["key"]),
        message_count=row["messages"],
        last_at=datetime.fromtimestamp(row["last_at"], UTC),
        title=_title(codec.events.validate_json(row["question"])) if row["question"] else "",
    )


def _title(question: MessageReceived) -> str:
    return cut(question.text, TITLE_CHARS) or cut(", ".join(file.name for file in question.files), TITLE_CHARS)


def _entry(row: Row) -> HistoryEntry:
    return HistoryEntry(
        at=datetime.fromtimestamp(row["created_at"], UTC),
        turn_id=row["turn_id"],
        message=codec.messages.validate_json(row["body"]),
        recall=row["recall"],
    )
