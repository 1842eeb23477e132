"""The messages that show an ask.

Each public function but `ask_changed` does what the method of its name does in `bot.ports.rights_store.AskStore`.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.asks import AskDelivery
from bot.domain.events import ConversationKey
from bot.stores.db import Db, Row, ids_served
from bot.stores.units.locks import lock_ask_of_post

MOST = 1_000  # messages that are read at once


def ask_changed(db: Db, ask_id: int, *, is_ended: bool) -> None:
    """Make the ask's messages due; one that was not begun when the ask ended is not needed any more."""
    db.execute(
        "UPDATE ask_post SET is_due = CASE WHEN ? = 1 AND state = 'planned' THEN 0 ELSE 1 END"
        " WHERE ask_id = ? AND state <> 'dropped'",
        (int(is_ended), ask_id),
    )
    db.notify("asks")


def plan_ask(db: Db, ask_id: int, places: Sequence[tuple[ConversationKey, str]]) -> None:
    """Store the messages of a pending ask that has none."""
    planned = db.execute(
        "UPDATE ask SET is_planned = 1 WHERE id = ? AND state = 'pending' AND is_planned = 0 RETURNING id", (ask_id,)
    )
    if not planned:
        return
    # A message that was given up may be visible all the same: its number is not used again.
    (last,) = db.execute("SELECT COALESCE(max(number), -1) AS number FROM ask_post WHERE ask_id = ?", (ask_id,))
    db.executemany(
        "INSERT INTO ask_post (ask_id, number, place, person) VALUES (?, ?, ?, ?)",
        [
            (ask_id, number, str(place), person)
            for number, (place, person) in enumerate(places, start=last["number"] + 1)
        ],
    )
    db.notify("asks")


def due_ask_posts(db: Db, *, serves: Sequence[str]) -> Sequence[AskDelivery]:
    """Return the messages that are due; looking costs no commit."""
    if not serves:
        return []
    ids, values = ids_served("ask_post WHERE is_due = 1", "place", serves)
    rows = db.execute(
        "SELECT id, ask_id, number, place, person, state, poster, reference, shown FROM ask_post"  # noqa: S608  (no outside text)
        f" WHERE id IN ({ids}) ORDER BY id LIMIT ?",
        (*values, MOST),
    )
    return [_delivery(row) for row in rows]


def mark_ask_posting(db: Db, post_id: int, worker: str) -> bool:
    """Mark a message as about to be posted; from here on it is due until it shows the ask, whatever becomes of that."""
    return bool(
        db.execute(
            "UPDATE ask_post SET state = 'posting', poster = ?, is_due = 1 WHERE id = ? AND state = 'planned'"
            " RETURNING id",
            (worker, post_id),
        )
    )


def take_ask_post(db: Db, delivery: AskDelivery, worker: str) -> bool:
    """Make `worker` the one that posts and changes a message; only one takes it after the one that did."""
    return bool(
        db.execute(
            "UPDATE ask_post SET poster = ? WHERE id = ? AND poster = ? AND reference = ? AND state = ? RETURNING id",
            (
                *(worker, delivery.post_id, delivery.poster, delivery.reference),
                "posting" if delivery.is_posting else "posted",
            ),
        )
    )


def mark_ask_posted(db: Db, post_id: int, *, reference: str, shown: int) -> None:
    """Store the reference and the version; the message stays due where the ask has changed meanwhile."""
    lock_ask_of_post(db, post_id)
    db.execute(
        "UPDATE ask_post SET state = 'posted', reference = ?, shown = ?, is_due ="
        " (SELECT CASE WHEN ask.version > ? THEN 1 ELSE 0 END FROM ask WHERE ask.id = ask_post.ask_id)"
        " WHERE id = ? AND state <> 'dropped'",
        (reference, shown, shown, post_id),
    )


def drop_ask_post(db: Db, post_id: int) -> None:
    """Give the message up; an ask that has no other can be planned again."""
    lock_ask_of_post(db, post_id)
    dropped = db.execute(
        "UPDATE ask_post SET state = 'dropped', is_due = 0 WHERE id = ? AND state <> 'dropped' RETURNING ask_id",
        (post_id,),
    )
    for row in dropped:
        db.execute(
            "UPDATE ask SET is_planned = 0 WHERE id = ?"
            " AND NOT EXISTS (SELECT 1 FROM ask_post WHERE ask_post.ask_id = ask.id AND ask_post.state <> 'dropped')",
            (row["ask_id"],),
        )


def _delivery(row: Row) -> AskDelivery:
    return AskDelivery(
        post_id=row["id"],
        ask_id=row["ask_id"],
        number=row["number"],
        place=row["place"],
        person=row["person"],
        reference=row["reference"],
        is_posting=row["state"] == "posting",
        poster=row["poster"],
        shown=row["shown"],
    )
