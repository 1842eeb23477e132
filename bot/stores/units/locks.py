"""Rows that a unit locks before it decides, on an engine that runs units side by side; without effect on any other.

All units lock in one order: conversation, turn, ask, what belongs to them, spending, uses of tools, the audit's end. So
no two of them wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable

from bot.domain.events import ConversationKey
from bot.stores.db import Db, first, places


def lock_conversations(db: Db, ids: Iterable[int]) -> None:
    """Lock the conversations."""
    if (clause := db.for_update("conversation")) and (wanted := sorted(set(ids))):
        db.execute(f"SELECT id FROM conversation WHERE id IN {places(wanted)} ORDER BY id{clause}", wanted)  # noqa: S608  (no outside text)


def lock_named(db: Db, conversation: ConversationKey) -> None:
    """Lock the conversation, where it is stored."""
    if clause := db.for_update("conversation"):
        db.execute(f"SELECT id FROM conversation WHERE key = ?{clause}", (str(conversation),))  # noqa: S608  (no outside text)


def lock_turn(db: Db, turn_id: int) -> None:
    """Lock the turn and its conversation."""
    if clause := db.for_update("conversation, turn"):
        db.execute(
            "SELECT turn.id FROM turn JOIN conversation ON conversation.id = turn.conversation_id"  # noqa: S608  (no outside text)
            f" WHERE turn.id = ?{clause}",
            (turn_id,),
        )


def lock_turn_of_event(db: Db, event_key: str) -> None:
    """Lock the turn of that event and its conversation."""
    if db.for_update("turn") and (turn := first(db.execute("SELECT id FROM turn WHERE event_key = ?", (event_key,)))):
        lock_turn(db, turn["id"])


def lock_turn_of_ask(db: Db, ask_id: int) -> None:
    """Lock the turn of that ask and its conversation."""
    if db.for_update("turn") and (ask := first(db.execute("SELECT turn_id FROM ask WHERE id = ?", (ask_id,)))):
        lock_turn(db, ask["turn_id"])


def lock_ask_of_post(db: Db, post_id: int) -> None:
    """Lock the ask that the message shows."""
    if clause := db.for_update("ask"):
        db.execute(
            f"SELECT ask.id FROM ask JOIN ask_post ON ask_post.ask_id = ask.id WHERE ask_post.id = ?{clause}",  # noqa: S608  (no outside text)
            (post_id,),
        )
