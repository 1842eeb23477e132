"""Workers, the turns that they hold, and what they do in them.

Each function does what the method of its name does in `bot.ports.work_store.WorkStore`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from bot.domain.audit import AuditEntry
from bot.domain.budgets import Charge
from bot.domain.errors import LeaseLostError
from bot.domain.messages import Message, Usage
from bot.domain.turns import Post, Step, TurnState
from bot.ports.work_store import ClaimedTurn, Lease, OutboxPost, Signal, ToolUse
from bot.stores import codec
from bot.stores.db import Db, Row, places
from bot.stores.units import asks, audit_log, budgets, journal, repeats, tools
from bot.stores.units.locks import lock_conversations
from bot.stores.units.order import end_turn, free_next, wake_turn

# --- workers ---


def heartbeat(db: Db, worker: str, *, expires_at: float, latest_end: float, cutoff: float) -> bool:
    """Renew the lease of `worker`; cut leases short that end after `latest_end`, and end those up to `cutoff`.

    Return whether it was there.
    """
    # Locked: otherwise another worker could take this one for dead, and forget it, before it is renewed.
    is_known = bool(db.execute(f"SELECT id FROM worker WHERE id = ?{db.for_update('worker')}", (worker,)))  # noqa: S608  (no outside text)
    db.execute(
        "INSERT INTO worker (id, expires_at) VALUES (?, ?)"
        " ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at",
        (worker, expires_at),
    )
    db.execute("UPDATE worker SET expires_at = ? WHERE expires_at > ?", (latest_end, latest_end))
    ended = f"SELECT id FROM worker WHERE expires_at <= ?{db.for_update('worker', skips=True)}"  # noqa: S608  (no outside text)
    db.execute(f"DELETE FROM worker WHERE id IN ({ended})", (cutoff,))  # noqa: S608  (no outside text)
    return is_known


def workers(db: Db, *, cutoff: float) -> Sequence[str]:
    """Return the workers whose lease ends after `cutoff`."""
    return [row["id"] for row in db.execute("SELECT id FROM worker WHERE expires_at > ? ORDER BY id", (cutoff,))]


def release(db: Db, worker: str) -> None:
    """End the lease of `worker`, and give its open turns the attempt back that they spent."""
    held = db.execute("SELECT conversation_id FROM turn WHERE worker = ? AND ended_at IS NULL", (worker,))
    lock_conversations(db, (turn["conversation_id"] for turn in held))
    db.execute(
        "UPDATE turn SET attempts = attempts - 1 WHERE worker = ? AND ended_at IS NULL AND attempts > 0", (worker,)
    )
    expire(db, worker)


def expire(db: Db, worker: str) -> None:
    """End the lease of `worker`."""
    db.execute("DELETE FROM worker WHERE id = ?", (worker,))
    db.notify("work")


def write_check(db: Db) -> None:
    """Write a row and take it back."""
    db.execute("INSERT INTO worker (id, expires_at) VALUES ('check', 0)")
    db.execute("DELETE FROM worker WHERE id = 'check'")


# --- who works on what ---

# Each statement walks along the index to the turns it takes and reads none of the others.
_CLAIM = """
WITH taken (id) AS MATERIALIZED (
    SELECT candidate.id FROM turn AS candidate
    WHERE candidate.ended_at IS NULL AND candidate.is_first = 1 AND 1 = (
        SELECT CASE WHEN {served} THEN 1 ELSE 0 END FROM conversation
        WHERE conversation.id = candidate.conversation_id)
    AND {free}
    LIMIT ?{lock})
UPDATE turn
SET state = CASE state WHEN 'queued' THEN 'running' ELSE state END,
    worker = ?, fence = fence + 1, attempts = attempts + 1
WHERE id IN (SELECT taken.id FROM taken)
RETURNING id, conversation_id, fence, attempts, worker, event, state, stop_requested, has_waited, wakes
"""
# A turn is free when it was queued here, ...
_QUEUED = "candidate.worker = ? AND candidate.state = 'queued'{ticket} ORDER BY candidate.ticket, candidate.id"
# ... or when the worker that had it (accepted or ran it) is not alive any more, or gave it up; taken unsorted.
_LEFT = "candidate.worker IN {gone}{ticket}"
_GONE = """
WITH RECURSIVE holder (id) AS (
    SELECT (SELECT worker FROM turn WHERE ended_at IS NULL AND worker >= '' ORDER BY worker LIMIT 1)
    UNION ALL
    SELECT (SELECT worker FROM turn WHERE ended_at IS NULL AND worker > holder.id ORDER BY worker LIMIT 1)
    FROM holder WHERE holder.id IS NOT NULL)
SELECT id FROM holder
WHERE id <> ? AND NOT EXISTS (SELECT 1 FROM worker WHERE worker.id = holder.id AND worker.expires_at > ?)
"""
_QUIET = " AND candidate.ticket = 0"


def claim(
    db: Db, worker: str, *, serves: Sequence[str], limit: int, cutoff: float, reserved: int = 0
) -> Sequence[ClaimedTurn]:
    """Take the turns that dead workers left, then those that were queued here, in the order of their tickets; where
    only reserved places are left, those of people who had nothing open.
    """
    served = " OR ".join("substr(conversation.key, 1, length(?)) = ?" for _ in serves)
    prefixes = [prefix for prefix in serves for _ in range(2)]
    rows: list[Row] = []
    lock = db.for_update("candidate", skips=True)
    gone = [row["id"] for row in db.execute(_GONE, (worker, cutoff))]
    ways = [*([(_LEFT.format(gone=places(gone), ticket="{ticket}"), gone)] if gone else []), (_QUEUED, [worker])]

    def take(room: int, *, ticket: str) -> None:
        for free, found in ways:
            if room > 0:
                statement = _CLAIM.format(free=free.format(ticket=ticket), served=served, lock=lock)
                taken = db.execute(statement, (*prefixes, *found, room, worker))
                rows.extend(taken)
                room -= len(taken)

    take(limit - reserved, ticket="")
    if len(rows) >= limit - reserved:  # more may be waiting
        take(limit - len(rows), ticket=_QUIET)
    turns = sorted(map(_claimed, rows), key=lambda turn: turn.lease.turn_id)
    for turn in turns:
        if turn.stop_requested:  # its new holder knows
            db.execute("DELETE FROM signal WHERE turn_id = ? AND kind = 'stop'", (turn.lease.turn_id,))
    return turns


def give_back(db: Db, lease: Lease, *, is_spent: bool = True) -> None:
    """Free the turn for any worker, if it still belongs to the lease."""
    freed = db.execute(
        "UPDATE turn SET worker = '', attempts = attempts - ?"
        " WHERE id = ? AND fence = ? AND ended_at IS NULL AND worker <> '' RETURNING id",
        (0 if is_spent else 1, lease.turn_id, lease.fence),
    )
    if freed:
        db.notify("work")


def has_others(db: Db, worker: str, *, serves: Sequence[str], keeps: Sequence[int], is_begun: bool = False) -> bool:
    """Return whether `hand_over` would free any; looking costs no commit."""
    return bool(_others(db, worker, serves=serves, keeps=keeps, is_begun=is_begun))


def hand_over(db: Db, worker: str, *, serves: Sequence[str], keeps: Sequence[int], is_begun: bool = False) -> None:
    """Free the worker's other turns; those that it had claimed get their attempt back."""
    freed = _others(db, worker, serves=serves, keeps=keeps, is_begun=is_begun)
    lock_conversations(db, (turn["conversation_id"] for turn in freed))
    db.executemany(
        "UPDATE turn SET worker = '', attempts = CASE WHEN attempts > 0 THEN attempts - 1 ELSE 0 END"
        " WHERE id = ? AND worker = ? AND ended_at IS NULL",
        [(turn["id"], worker) for turn in freed],
    )
    if freed:
        db.notify("work")


def _others(db: Db, worker: str, *, serves: Sequence[str], keeps: Sequence[int], is_begun: bool) -> Sequence[Row]:
    rows = db.execute(
        "SELECT turn.id, turn.conversation_id, conversation.key FROM turn"
        " JOIN conversation ON conversation.id = turn.conversation_id"
        " WHERE turn.worker = ? AND turn.ended_at IS NULL AND (? = 0 OR turn.state <> 'queued') ORDER BY turn.id",
        (worker, int(is_begun)),
    )
    return [row for row in rows if row["id"] not in keeps and row["key"].startswith(tuple(serves))]


def has_signals(db: Db, worker: str) -> bool:
    """Return whether `signals` would return or delete any; looking costs no commit."""
    return bool(db.execute(f"{_SIGNALS} LIMIT 1", (worker,)))


def signals(db: Db, worker: str, *, again: bool = False) -> Sequence[Signal]:
    """Return the signals of the turns that `worker` runs, and delete them with those of turns that no longer run.

    `again`: with all stops that were deleted before.
    """
    found = _stops(db, worker) if again else []
    for row in db.execute(f"{_SIGNALS} ORDER BY signal.turn_id, signal.kind", (worker,)):
        db.execute("DELETE FROM signal WHERE turn_id = ? AND kind = ?", (row["turn_id"], row["kind"]))
        if row["state"] == "running":
            found.append(Signal(turn_id=row["turn_id"], kind=row["kind"], by=row["author"]))
    return found


def _stops(db: Db, worker: str) -> list[Signal]:
    rows = db.execute(
        "SELECT id FROM turn WHERE worker = ? AND ended_at IS NULL AND state = 'running' AND stop_requested = 1"
        " ORDER BY id",
        (worker,),
    )
    return [Signal(turn_id=row["id"], kind="stop") for row in rows]


# Those of turns that no longer run come along, to be forgotten.
_SIGNALS = """
SELECT signal.turn_id, signal.kind, signal.author, turn.state FROM signal JOIN turn ON turn.id = signal.turn_id
WHERE turn.worker = ? OR turn.state <> 'running'"""


# --- what is done in a turn ---


def check_lease(db: Db, lease: Lease) -> None:
    """Raise LeaseLostError where another process has claimed the turn; one that is about to is waited for."""
    lock = db.for_update("turn")
    if not db.execute(f"SELECT id FROM turn WHERE id = ? AND fence = ?{lock}", (lease.turn_id, lease.fence)):  # noqa: S608  (no outside text)
        raise LeaseLostError(f"Turn {lease.turn_id} is worked on by another process now.")


def record(
    db: Db,
    lease: Lease,
    steps: Sequence[Step],
    *,
    now: float,
    audit: Sequence[AuditEntry] = (),
    charge: Charge | None = None,
    again: bool = False,
) -> None:
    """Append the steps."""
    if again and repeats.is_recorded(db, lease, steps):
        return
    _append(db, lease, steps, now=now)
    budgets.charge(db, charge)
    audit_log.append(db, audit)


def park(
    db: Db,
    lease: Lease,
    steps: Sequence[Step],
    *,
    wakes_at: float,
    now: float,
    audit: Sequence[AuditEntry] = (),
    charge: Charge | None = None,
    again: bool = False,
) -> TurnState:
    """Append the steps and free the turn: it waits, or is queued at once where what it waits for has happened."""
    if again and (parked := repeats.left_in(db, lease)) in ("waiting", "queued"):
        return parked
    stop_requested = _append(db, lease, steps, now=now, frees=True)
    state = _free(db, lease, wakes_at=wakes_at, stop_requested=stop_requested)
    budgets.charge(db, charge)
    audit_log.append(db, audit)
    return state


def _free(db: Db, lease: Lease, *, wakes_at: float, stop_requested: bool) -> TurnState:
    if stop_requested or any(wait.is_decided and not wait.is_finished for wait in journal.waits(db, lease.turn_id)):
        db.execute(
            "UPDATE turn SET state = 'queued', worker = '', attempts = 0, wakes = wakes + 1 WHERE id = ?",
            (lease.turn_id,),
        )
        db.notify("work")
        return "queued"
    db.execute(
        "UPDATE turn SET state = 'waiting', worker = '', attempts = 0, wakes_at = ?, is_first = 0 WHERE id = ?",
        (wakes_at, lease.turn_id),
    )
    free_next(db, lease.conversation_id)
    return "waiting"


def ended_alone(db: Db, turn_ids: Sequence[int], *, cutoff: float) -> Sequence[ClaimedTurn]:
    """Return those that have ended, and whose worker is not alive."""
    rows = db.execute(
        "SELECT id, conversation_id, fence, attempts, worker, event, state, stop_requested, has_waited, wakes FROM turn"  # noqa: S608  (no outside text)
        f" WHERE id IN {places(turn_ids)} AND ended_at IS NOT NULL AND event <> ''"
        " AND NOT EXISTS (SELECT 1 FROM worker WHERE worker.id = turn.worker AND worker.expires_at > ?) ORDER BY id",
        (*turn_ids, cutoff),
    )
    return [_claimed(row) for row in rows]


def has_expired(db: Db, *, now: float) -> bool:
    """Return whether `wake_expired` would wake any; looking costs no commit."""
    return bool(db.execute("SELECT id FROM turn WHERE wakes_at <= ? LIMIT 1", (now,)))


def wake_expired(db: Db, *, now: float) -> int:
    """Queue the waiting turns whose time has come."""
    # Those that another unit has at this moment are found by the next look.
    lock = db.for_update("conversation, turn", skips=True)
    rows = db.execute(
        "SELECT turn.id FROM turn JOIN conversation ON conversation.id = turn.conversation_id"  # noqa: S608  (no outside text)
        f" WHERE turn.wakes_at <= ? ORDER BY turn.wakes_at{lock}",
        (now,),
    )
    return sum(wake_turn(db, row["id"]) for row in rows)


def reply(
    db: Db,
    lease: Lease,
    *,
    state: Literal["answered", "stopped", "failed"],
    messages: Sequence[Message],
    posts: Sequence[Post],
    usage: Usage,
    steps: Sequence[Step],
    now: float,
    audit: Sequence[AuditEntry] = (),
    charge: Charge | None = None,
    tool_use: ToolUse | None = None,
    read_until: datetime | None = None,
    again: bool = False,
) -> None:
    """Store the last steps, the outcome, the messages and the outbox; the turn is being delivered from here on."""
    if again and repeats.left_in(db, lease) == "delivering":
        return
    _append(db, lease, steps, now=now, frees=True)
    asks.void_all(db, lease.turn_id)
    db.execute(
        "UPDATE turn SET state = 'delivering', outcome = ?,"
        " input_tokens = ?, cached_tokens = ?, output_tokens = ? WHERE id = ?",
        (state, usage.input_tokens, usage.cached_tokens, usage.output_tokens, lease.turn_id),
    )
    _put_messages(db, lease, messages, now=now)
    if tool_use is not None:
        tools.keep_sent(db, lease.conversation_id, tool_use)
    if read_until is not None:
        db.execute(
            "UPDATE conversation SET read_until = ? WHERE id = ? AND COALESCE(read_until, 0) < ?",
            (read_until.timestamp(), lease.conversation_id, read_until.timestamp()),
        )
    _put_posts(db, lease, posts)
    budgets.charge(db, charge)
    if tool_use is not None:
        tools.count(db, tool_use)
    audit_log.append(db, audit)


def outbox(db: Db, turn_id: int) -> Sequence[OutboxPost]:
    """Return the posts in order."""
    rows = db.execute("SELECT body, state, reference FROM outbox WHERE turn_id = ? ORDER BY part", (turn_id,))
    return [
        OutboxPost(post=codec.posts.validate_json(row["body"]), state=row["state"], reference=row["reference"] or "")
        for row in rows
    ]


def mark_posting(db: Db, lease: Lease, part: int) -> None:
    """Mark a post as about to be sent."""
    _hold(db, lease, "delivering")
    db.execute("UPDATE outbox SET state = 'posting' WHERE turn_id = ? AND part = ?", (lease.turn_id, part))


def mark_unsent(db: Db, lease: Lease, part: int) -> None:
    """Mark a post as one that was not sent, where it was about to be."""
    _hold(db, lease, "delivering")
    db.execute(
        "UPDATE outbox SET state = 'pending' WHERE turn_id = ? AND part = ? AND state = 'posting'",
        (lease.turn_id, part),
    )


def mark_posted(
    db: Db, lease: Lease, part: int, *, reference: str, ends_turn: bool, now: float, again: bool = False
) -> None:
    """Store the reference of a post; then end the turn, or mark the next post as about to be sent."""
    if again and repeats.is_posted(db, lease, part):
        return
    _hold(db, lease, "delivering", frees=ends_turn)
    db.execute(
        "UPDATE outbox SET state = 'posted', reference = ? WHERE turn_id = ? AND part = ?",
        (reference, lease.turn_id, part),
    )
    if ends_turn:
        end_turn(db, lease.turn_id, lease.conversation_id, now=now)
    else:
        db.execute(
            "UPDATE outbox SET state = 'posting' WHERE turn_id = ? AND part ="
            " (SELECT min(part) FROM outbox WHERE turn_id = ? AND state = 'pending')",
            (lease.turn_id, lease.turn_id),
        )


def abandon(db: Db, lease: Lease, *, now: float) -> None:
    """End the turn as undelivered."""
    _hold(db, lease, "delivering", frees=True)
    end_turn(db, lease.turn_id, lease.conversation_id, now=now, state="undelivered")


def _put_messages(db: Db, lease: Lease, messages: Sequence[Message], *, now: float) -> None:
    if not messages:
        return
    bodies = [codec.messages.dump_json(message).decode() for message in messages]
    db.executemany(
        "INSERT INTO message (conversation_id, turn_id, body, created_at) VALUES (?, ?, ?, ?)",
        [(lease.conversation_id, lease.turn_id, body, now) for body in bodies],
    )
    db.execute("UPDATE conversation SET last_at = ? WHERE id = ?", (now, lease.conversation_id))


def _put_posts(db: Db, lease: Lease, posts: Sequence[Post]) -> None:
    """Store what is to be posted; the first part is about to be sent."""
    first_part = min((post.part for post in posts), default=0)
    db.executemany(
        "INSERT INTO outbox (turn_id, part, body, state) VALUES (?, ?, ?, ?)",
        [
            (
                lease.turn_id,
                post.part,
                codec.posts.dump_json(post).decode(),
                "posting" if post.part == first_part else "pending",
            )
            for post in posts
        ],
    )


def _append(db: Db, lease: Lease, steps: Sequence[Step], *, now: float, frees: bool = False) -> bool:
    """Append steps of a running turn; return whether it is to stop. One that is to stop asks nobody."""
    stop_requested = bool(_hold(db, lease, "running", frees=frees)["stop_requested"])
    journal.append(db, lease.turn_id, steps, now=now)
    if stop_requested:
        asks.void_all(db, lease.turn_id)
    return stop_requested


def _hold(db: Db, lease: Lease, state: TurnState, *, frees: bool = False) -> Row:
    """Return the turn while it belongs to this lease and is in that state; otherwise raise LeaseLostError.

    A unit that changes the conversation too, or may set its next turn free (`frees`), locks it with the turn.
    """
    conversation, lock = "", db.for_update("turn")
    if frees and lock:
        conversation = " JOIN conversation ON conversation.id = turn.conversation_id"
        lock = db.for_update("conversation, turn")
    rows = db.execute(
        f"SELECT turn.stop_requested FROM turn{conversation} WHERE turn.id = ? AND fence = ? AND state = ?{lock}",  # noqa: S608  (no outside text)
        (lease.turn_id, lease.fence, state),
    )
    if not rows:
        raise LeaseLostError(f"Turn {lease.turn_id} is worked on by another process now.")
    return rows[0]


def _claimed(row: Row) -> ClaimedTurn:
    return ClaimedTurn(
        lease=Lease(
            turn_id=row["id"],
            conversation_id=row["conversation_id"],
            fence=row["fence"],
            attempt=row["attempts"],
            worker=row["worker"],
        ),
        event=codec.events.validate_json(row["event"]),
        state=row["state"],
        stop_requested=bool(row["stop_requested"]),
        has_waited=bool(row["has_waited"]),
        wakes=row["wakes"],
    )
