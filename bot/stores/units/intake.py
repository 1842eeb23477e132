"""What arrives: questions, changes to them, and what is asked of their turns.

Each function does what the method of its name does in `bot.ports.intake_store.IntakeStore`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from bot.domain.answers import Known, Queued
from bot.domain.asks import Ask, Vote
from bot.domain.audit import AuditEntry
from bot.domain.budgets import Toll
from bot.domain.events import ConversationKey, MessageReceived
from bot.domain.turns import CallDecided
from bot.ports.intake_store import NO_BOUNDS, DecisionOutcome, Full, OverBudget, OwnBounds, Revision
from bot.ports.rights_store import Grant, Settlement, VoteOutcome
from bot.ports.store import author_key
from bot.stores import codec
from bot.stores.db import Db, Row, first
from bot.stores.units import asks, audit_log, budgets, journal, rights
from bot.stores.units.conversations import conversation_id_of
from bot.stores.units.locks import lock_named, lock_turn, lock_turn_of_ask, lock_turn_of_event
from bot.stores.units.order import end_turn, ticket_of, wake_turn


def accept(
    db: Db,
    event: MessageReceived,
    *,
    worker: str,
    max_waiting: int,
    max_open: int | None,
    now: float,
    max_undecided: int | None = None,
    own: OwnBounds = NO_BOUNDS,
    toll: Toll | None = None,
) -> Queued | Known | Full | OverBudget:
    """Store the event as a queued turn, the first of its conversation where no other is open, and charge the toll.

    The bounds on a conversation and the toll's hold exactly. Those over conversations (`max_open`, `own.open`,
    `own.undecided`) are counted without keeping others from counting: as many more may be stored as units run side by
    side.
    """
    conversation_id = conversation_id_of(db, event.conversation)  # from here on the conversation is this unit's
    known = find(db, event.event_key)
    if known is not None:
        return Known(turn_id=known)
    platform, author = event.conversation.platform, author_key(event.actor)
    (waiting,) = db.execute(
        "SELECT count(*) FILTER (WHERE state <> 'waiting') AS turns,"
        " count(*) FILTER (WHERE state <> 'waiting' AND author = ?) AS own,"
        " count(*) FILTER (WHERE state = 'waiting') AS undecided"
        " FROM turn WHERE conversation_id = ? AND ended_at IS NULL",
        (author, conversation_id),
    )
    waits_behind = waiting["turns"]
    if max_undecided is not None and waiting["undecided"] >= max_undecided:
        return Full(waits_behind=waits_behind, why="undecided")
    if own.undecided is not None and _undecided_turns(db, platform, author) >= own.undecided:
        return Full(waits_behind=waits_behind, why="own_undecided")
    if waits_behind >= max_waiting:
        return Full(waits_behind=waits_behind)
    if own.waiting is not None and waiting["own"] >= own.waiting:
        return Full(waits_behind=waits_behind, why="own_waiting")
    if own.open is not None and _open_turns(db, worker, platform, author) >= own.open:
        return Full(waits_behind=waits_behind, why="own_open")
    if max_open is not None and _open_turns(db, worker, platform) >= max_open:
        return Full(waits_behind=waits_behind, why="open")
    if toll is not None and (spent := budgets.used_up(db, toll.bounds)):
        return OverBudget(used=spent)
    turn_id = _queue(db, event, conversation_id, worker=worker, waits_behind=waits_behind, now=now)
    if toll is not None:
        budgets.charge(db, toll.charge, at_once=bool(toll.bounds))
    return Queued(turn_id=turn_id, waits_behind=waits_behind)


def find(db: Db, event_key: str) -> int | None:
    """Return the turn of that event key."""
    turn = first(db.execute("SELECT id FROM turn WHERE event_key = ?", (event_key,)))
    return None if turn is None else turn["id"]


def takes_part(db: Db, conversation: ConversationKey) -> bool:
    """Return whether the conversation has a turn that was not withdrawn."""
    return bool(
        db.execute(
            "SELECT 1 FROM turn WHERE conversation_id = (SELECT id FROM conversation WHERE key = ?)"
            " AND state <> 'withdrawn' LIMIT 1",
            (str(conversation),),
        )
    )


def note_talk(db: Db, conversation: ConversationKey, *, at: datetime) -> None:
    """Remember when something was said last that was not for the bot."""
    seconds = at.timestamp()
    db.execute(
        "UPDATE conversation SET heard_at = ? WHERE key = ? AND COALESCE(heard_at, 0) < ?",
        (seconds, str(conversation), seconds),
    )


def edit(db: Db, message: MessageReceived) -> Revision:
    """Replace what a question whose turn was not begun says, unless a later change is stored."""
    turn = first(
        db.execute(
            f"SELECT id, state, wakes, ended_at, event FROM turn WHERE event_key = ?{db.for_update('turn')}",  # noqa: S608  (no outside text)
            (message.event_key,),
        )
    )
    if turn is None or not turn["event"]:
        return "unknown"
    stored = codec.events.validate_json(turn["event"])
    if _is_outdated(message, stored):
        return "none"
    if not _is_begun(turn):
        revised = replace(
            stored,
            text=message.text,
            files=message.files,
            quoted=message.quoted,
            unread=message.unread,
            edited_at=message.edited_at,
        )
        db.execute("UPDATE turn SET event = ? WHERE id = ?", (codec.events.dump_json(revised).decode(), turn["id"]))
        db.notify("work")  # a claim passes over a turn that is being changed
        return "made"
    if _said(message) == _said(stored):
        return "none"
    return "ended" if turn["ended_at"] else "started"


def withdraw(db: Db, event_key: str, *, now: float) -> Revision:
    """End a turn that was not begun, and drop its text; the row stays, for a redelivery to find."""
    lock_turn_of_event(db, event_key)
    turn = first(
        db.execute("SELECT id, conversation_id, state, wakes, ended_at FROM turn WHERE event_key = ?", (event_key,))
    )
    if turn is None:
        return "unknown"
    if _is_begun(turn):
        return "ended" if turn["ended_at"] else "started"
    db.execute("UPDATE turn SET event = '' WHERE id = ?", (turn["id"],))
    end_turn(db, turn["id"], turn["conversation_id"], now=now, state="withdrawn")
    return "made"


def request_stop(db: Db, conversation: ConversationKey, *, by: str, author: str = "", turn_id: int = 0) -> int | None:
    """Mark the turn to stop, void what it asks people, and leave a signal for the process that runs it or wake it where
    it waits.
    """
    lock_named(db, conversation)
    turn = first(
        db.execute(
            "SELECT turn.id, turn.state FROM turn JOIN conversation ON conversation.id = turn.conversation_id"  # noqa: S608  (no outside text)
            " WHERE conversation.key = ? AND turn.ended_at IS NULL"
            " AND (turn.state = 'waiting' OR turn.is_first = 1 AND turn.state IN ('queued', 'running')"
            "  OR ? <> '' AND turn.state = 'queued')"
            " AND (? = '' OR turn.author = ?) AND (? = 0 OR turn.id = ?)"
            f" ORDER BY turn.is_first DESC, turn.id DESC LIMIT 1{db.for_update('turn')}",
            (str(conversation), author, author, author, turn_id, turn_id),
        )
    )
    if turn is None:
        return None
    db.execute("UPDATE turn SET stop_requested = 1 WHERE id = ?", (turn["id"],))
    if turn["state"] == "running":
        db.execute(
            "INSERT INTO signal (turn_id, kind, author) VALUES (?, 'stop', ?)"
            " ON CONFLICT (turn_id, kind) DO UPDATE SET author = excluded.author",
            (turn["id"], by),
        )
        db.notify("signals")
    asks.void_all(db, turn["id"])
    wake_turn(db, turn["id"])
    return turn["id"]


def decide(db: Db, turn_id: int, decision: CallDecided, *, now: float) -> DecisionOutcome:
    """Append the decision to the journal of a turn whose call waits and has not expired, and wake the turn."""
    lock_turn(db, turn_id)
    turn = first(db.execute("SELECT state FROM turn WHERE id = ?", (turn_id,)))
    if turn is None or turn["state"] not in {"waiting", "queued", "running"}:
        return "unknown"
    waits = [wait for wait in journal.waits(db, turn_id) if wait.call_id == decision.call_id]
    if not waits:
        return "unknown"
    if waits[-1].is_decided:
        return "decided_before"
    if waits[-1].is_finished:
        return "unknown"
    if waits[-1].expires_at <= now:
        return "decided_before"  # by time, though the turn may not have written it down yet
    journal.append(db, turn_id, [replace(decision, round=waits[-1].round)], now=now)
    wake_turn(db, turn_id)
    return "made"


def vote(
    db: Db,
    ask_id: int,
    said: Vote,
    *,
    version: int,
    edited: Ask | None,
    settles: Settlement | None,
    grant: Grant | None,
    audit: Sequence[AuditEntry],
    now: float,
) -> VoteOutcome:
    """Store the vote on a pending ask of that version that has not expired, and what follows from it."""
    lock_turn_of_ask(db, ask_id)
    found = asks.find(db, ask_id)
    if found is None:
        return "unknown"
    if found["state"] != "pending" or found["expires_at"] <= now:
        return "decided_before"  # by time, though the turn may not have written it down yet
    if found["version"] != version:
        return "changed"
    asks.add_vote(db, found, said, state="pending" if settles is None else settles.state, edited=edited)
    if settles is not None:
        decision = replace(settles.decision, round=found["round"], call_id=found["call_id"])
        journal.append(db, found["turn_id"], [decision], now=now)
        wake_turn(db, found["turn_id"])
    if grant is not None:
        rights.put_grant(db, grant, now=now)
    audit_log.append(db, audit)
    return "made"


def _queue(db: Db, event: MessageReceived, conversation_id: int, *, worker: str, waits_behind: int, now: float) -> int:
    """Store the turn, and return its id."""
    is_first = waits_behind == 0 or _is_said_before_first(db, conversation_id, event)
    (turn,) = db.execute(
        "INSERT INTO turn (event_key, conversation_id, event, state, worker, accepted_at,"  # noqa: S608  (no outside text in it)
        " said_at, is_first, has_waited, platform, author, ticket)"
        f" SELECT ?, ?, ?, 'queued', asked.worker, ?, ?, ?, ?, ?, asked.author, {ticket_of('asked')}"
        " FROM (SELECT ? AS author, ? AS worker) AS asked RETURNING id",
        (
            event.event_key,
            conversation_id,
            codec.events.dump_json(event).decode(),
            now,
            event.sent_at.timestamp(),
            int(is_first),
            int(waits_behind > 0),
            event.conversation.platform,
            author_key(event.actor),
            worker,
        ),
    )
    return turn["id"]


def _is_said_before_first(db: Db, conversation_id: int, event: MessageReceived) -> bool:
    """Return whether the message was said before the first turn that waits, which was not begun and makes room then.

    Another process may have stored the later message before this one.
    """
    return bool(
        db.execute(
            "UPDATE turn SET is_first = 0"
            " WHERE conversation_id = ? AND ended_at IS NULL AND is_first = 1 AND state = 'queued' AND wakes = 0"
            " AND said_at > ? RETURNING id",
            (conversation_id, event.sent_at.timestamp()),
        )
    )


def _open_turns(db: Db, worker: str, platform: str, author: str | None = None) -> int:
    held = "SELECT count(*) AS turns FROM turn WHERE worker = ? AND platform = ? AND ended_at IS NULL"
    if author is None:
        return db.execute(held, (worker, platform))[0]["turns"]
    return db.execute(f"{held} AND author = ?", (worker, platform, author))[0]["turns"]


def _undecided_turns(db: Db, platform: str, author: str) -> int:
    """Return how many turns of the author wait for a decision; no worker has them."""
    (found,) = db.execute(
        "SELECT count(*) AS turns FROM turn WHERE worker = '' AND platform = ? AND author = ? AND ended_at IS NULL"
        " AND state = 'waiting'",
        (platform, author),
    )
    return found["turns"]


def _is_begun(turn: Row) -> bool:
    """Return whether the turn was started, or has ended; one that waited and is queued again was started."""
    return turn["state"] != "queued" or turn["wakes"] > 0


def _said(message: MessageReceived) -> tuple[object, ...]:
    """Return what a message says, by itself and by what it points at."""
    return message.text, [file.name for file in message.files], [(one.author, one.text) for one in message.quoted]


def _is_outdated(message: MessageReceived, stored: MessageReceived) -> bool:
    """Return whether the stored text is from the same change as the message, or from a later one."""
    return bool(message.edited_at and stored.edited_at and message.edited_at <= stored.edited_at)
