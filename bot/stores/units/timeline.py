"""A conversation as it happened."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.events import ConversationKey
from bot.ports.retention_store import TimedStep, TurnRecord
from bot.stores import codec
from bot.stores.db import Db, Row
from bot.stores.units import asks, work


def timeline(db: Db, conversation: ConversationKey) -> Sequence[TurnRecord]:
    """Return the turns with all that is kept of them."""
    rows = db.execute(
        "SELECT turn.id, author, event, state, accepted_at, ended_at FROM turn"
        " JOIN conversation ON conversation.id = turn.conversation_id WHERE conversation.key = ? ORDER BY turn.id",
        (str(conversation),),
    )
    return [_record(db, row) for row in rows]


def _record(db: Db, row: Row) -> TurnRecord:
    steps = db.execute("SELECT body, at FROM journal WHERE turn_id = ? ORDER BY step", (row["id"],))
    return TurnRecord(
        turn_id=row["id"],
        author=row["author"],
        event=codec.events.validate_json(row["event"]) if row["event"] else None,
        state=row["state"],
        accepted_at=row["accepted_at"],
        ended_at=row["ended_at"],
        steps=[TimedStep(step=codec.steps.validate_json(step["body"]), at=step["at"]) for step in steps],
        asks=asks.asks(db, turn_id=row["id"], is_pending=False),
        posts=[item.post for item in work.outbox(db, row["id"])],
    )
