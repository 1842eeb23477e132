"""Processes that share a database: which live, the slots that they hold, and rates that hold for all of them.

Each function does what the method of its name does in `bot.ports.cluster_store.ClusterStore`.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.ports.cluster import About, Member, Slot
from bot.ports.cluster_store import OpenTurns
from bot.stores import codec
from bot.stores.db import Db, Row, first, key_range

# --- members ---


def describe(db: Db, worker: str, about: About) -> None:
    """Store what the worker says of itself."""
    db.execute("UPDATE worker SET about = ? WHERE id = ?", (codec.abouts.dump_json(about).decode(), worker))


def members(db: Db, *, cutoff: float) -> Sequence[Member]:
    """Return the workers whose lease ends after `cutoff`."""
    rows = db.execute("SELECT id, expires_at, about FROM worker WHERE expires_at > ?", (cutoff,))
    found = [
        Member(
            worker=row["id"],
            expires_at=row["expires_at"],
            about=codec.abouts.validate_json(row["about"]) if row["about"] else About(),
        )
        for row in rows
    ]
    return sorted(found, key=lambda member: (member.about.started_at, member.worker))


# --- slots ---

_IS_HELD = "EXISTS (SELECT 1 FROM worker WHERE worker.id = slot.worker AND worker.expires_at > ?)"


def take_slot(db: Db, name: str, worker: str, *, rest_s: float, now: float, cutoff: float) -> Slot | None:
    """Give the slot to the worker where no other living worker holds it."""
    db.lock(f"slot/{name}")  # so that the statement sees as alive who took it while this unit waited
    # One that was taken long after now: the clock was set back. A moment after now is another process's clock.
    taken = db.execute(
        "INSERT INTO slot (name, worker, fence, taken_at) VALUES (?, ?, 1, ?) ON CONFLICT (name) DO UPDATE SET"  # noqa: S608  (no outside text)
        " worker = excluded.worker, fence = slot.fence + 1, taken_at = excluded.taken_at"
        f" WHERE (slot.worker = excluded.worker OR NOT {_IS_HELD})"
        " AND (slot.taken_at <= ? OR slot.taken_at > ?)"
        " RETURNING name, worker, fence, taken_at, note, 1 AS is_held",
        (name, worker, now, cutoff, now - rest_s, now + rest_s),
    )
    return _slot(taken[0]) if taken else None


def note_slot(db: Db, slot: Slot, note: str) -> bool:
    """Store the note while the slot is the worker's."""
    return bool(db.execute(f"UPDATE slot SET note = ? {_OWN} RETURNING name", (note, *_own(slot))))  # noqa: S608  (no outside text)


def give_slot(db: Db, slot: Slot) -> None:
    """Free the slot while it is the worker's."""
    db.execute(f"UPDATE slot SET worker = '' {_OWN}", _own(slot))  # noqa: S608  (no outside text)


def slots(db: Db, prefix: str, *, cutoff: float) -> Sequence[Slot]:
    """Return the slots whose names begin so."""
    rows = db.execute(
        f"SELECT name, worker, fence, taken_at, note, CASE WHEN {_IS_HELD} THEN 1 ELSE 0 END AS is_held FROM slot"  # noqa: S608  (no outside text)
        " WHERE name >= ? AND name < ? ORDER BY name",
        (cutoff, *key_range(prefix)),
    )
    return [_slot(row) for row in rows]


_OWN = "WHERE name = ? AND worker = ? AND fence = ?"


def _own(slot: Slot) -> Sequence[object]:
    return slot.name, slot.worker, slot.fence


def _slot(row: Row) -> Slot:
    return Slot(
        name=row["name"],
        worker=row["worker"],
        fence=row["fence"],
        taken_at=row["taken_at"],
        note=row["note"],
        is_held=bool(row["is_held"]),
    )


# --- work ---


def open_turns(db: Db) -> OpenTurns:
    """Return how much is open."""
    (row,) = db.execute(
        "SELECT count(*) FILTER (WHERE state <> 'waiting') AS turns,"
        " count(*) FILTER (WHERE state = 'queued') AS queued,"
        " count(*) FILTER (WHERE state = 'waiting') AS waiting,"
        " min(accepted_at) FILTER (WHERE state <> 'waiting') AS oldest_at,"
        " min(accepted_at) FILTER (WHERE state = 'waiting') AS oldest_waiting_at FROM turn WHERE ended_at IS NULL"
    )
    return OpenTurns(
        count=row["turns"],
        queued=row["queued"],
        waiting=row["waiting"],
        oldest_at=row["oldest_at"],
        oldest_waiting_at=row["oldest_waiting_at"],
    )


# --- rates ---

# A rate is one number: when all of its calls could be made at once again. Each call moves it on by its own share of the
# period, from now on where it has passed.
_LATER = "CASE WHEN rate.restored_at > ? THEN rate.restored_at ELSE ? END"


def spend(db: Db, name: str, *, calls: int, period_s: float, key: str, now: float) -> float:
    """Count the call, or return in how many seconds one would count."""
    each_s = period_s / calls
    full_at = now + period_s + each_s * 1e-6  # rounding
    counted = db.execute(
        "INSERT INTO rate (name, restored_at, last_key) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET"  # noqa: S608  (no outside text)
        f" restored_at = CASE WHEN excluded.last_key <> '' AND rate.last_key = excluded.last_key"
        " AND rate.restored_at > ? THEN rate.restored_at"
        f" ELSE {_LATER} + ? END, last_key = excluded.last_key"
        f" WHERE excluded.last_key <> '' AND rate.last_key = excluded.last_key OR {_LATER} + ? <= ? RETURNING name",
        (name, now + each_s, key, now, now, now, each_s, now, now, each_s, full_at),
    )
    if counted:
        return 0.0
    row = first(db.execute("SELECT restored_at FROM rate WHERE name = ?", (name,)))
    return 0.0 if row is None else max(0.0, row["restored_at"] + each_s - now - period_s)


def reserve(db: Db, name: str, *, each_s: float, period_s: float, within_s: float | None, now: float) -> float:
    """Take the next place, which is as long as `each_s`, and return how far off it is; none where that is too far."""
    last = float("inf") if within_s is None else now + within_s + period_s
    taken = db.execute(
        "INSERT INTO rate (name, restored_at) VALUES (?, ?)"  # noqa: S608  (no outside text)
        f" ON CONFLICT (name) DO UPDATE SET restored_at = {_LATER} + ? WHERE {_LATER} + ? <= ? RETURNING restored_at",
        (name, now + each_s, now, now, each_s, now, now, each_s, last),
    )
    row = first(taken) or first(
        db.execute("SELECT restored_at + ? AS restored_at FROM rate WHERE name = ?", (each_s, name))
    )
    return 0.0 if row is None else max(0.0, row["restored_at"] - period_s - now)


def hold_back(db: Db, name: str, *, until: float) -> None:
    """Have all of the rate's calls be there again no sooner than `until`."""
    db.execute(
        "INSERT INTO rate (name, restored_at) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET"
        " restored_at = CASE WHEN rate.restored_at > excluded.restored_at THEN rate.restored_at"
        " ELSE excluded.restored_at END",
        (name, until),
    )


def forget_rates(db: Db, before: float) -> int:
    """Forget the rates that nobody has used since (all of their calls can be made at once); return how many."""
    return len(db.execute("DELETE FROM rate WHERE restored_at < ? RETURNING name", (before,)))
