"""Calls that all processes count together, each with its time, and what one process announces to all for a while.

Both are rows of the table `rate`: `restored_at` is when the row means nothing any more, `last_key` what it says. Each
function does what the method of its name does in `bot.ports.cluster_store.ClusterStore`.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from hashlib import blake2s

from bot.ports.cluster_store import Announcement, Counted
from bot.stores.db import Db, first


@dataclass(slots=True, kw_only=True)
class _Window:
    """The calls of the last period, each with its time and a digest of its key, and until when none is counted."""

    recent: list[tuple[float, str]]
    rests_until: float = 0.0

    @property
    def text(self) -> str:
        return json.dumps([self.rests_until, *self.recent], separators=(",", ":"))


def count(
    db: Db, name: str, *, keys: Collection[str], calls: int, period_s: float, rest_s: float, now: float
) -> Counted:
    """Count the call, or return in how many seconds one would count."""
    window, digests = _window(db, name, period_s=period_s, now=now), [_digest(key) for key in keys if key]
    if any(digest in digests for _, digest in window.recent):
        return Counted()
    if window.rests_until > now:
        return Counted(wait_s=window.rests_until - now, is_told=True)
    if len(window.recent) < calls:
        window.recent.append((now, digests[0] if digests else ""))
        _keep(db, name, window, until=now + period_s)
        return Counted()
    wait_s = max(rest_s, window.recent[0][0] + period_s - now)
    if rest_s:
        window.rests_until = now + wait_s
        _keep(db, name, window, until=now + max(wait_s, period_s))
    return Counted(wait_s=wait_s)


def announce(db: Db, name: str, text: str | None, *, until: float) -> None:
    """Store the text until `until`; None: forget the row."""
    if text is None:
        db.execute("DELETE FROM rate WHERE name = ?", (name,))
    else:
        db.execute(
            "INSERT INTO rate (name, restored_at, last_key) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
            " restored_at = excluded.restored_at, last_key = excluded.last_key",
            (name, until, text),
        )


def announced(db: Db, name: str, *, now: float) -> Announcement | None:
    """Return the text, unless its time is over."""
    row = first(db.execute("SELECT restored_at, last_key FROM rate WHERE name = ? AND restored_at > ?", (name, now)))
    return Announcement(text=row["last_key"], for_s=row["restored_at"] - now) if row else None


def _window(db: Db, name: str, *, period_s: float, now: float) -> _Window:
    """Return what was counted within the period; until the unit is committed, no other process counts there."""
    (row,) = db.execute(
        "INSERT INTO rate (name, restored_at) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET name = excluded.name"
        " RETURNING last_key",
        (name, now),
    )
    rests_until, *recent = json.loads(row["last_key"] or "[0]")
    # One that was counted later than now: the clock was set back.
    kept = [(float(at), str(digest)) for at, digest in recent if abs(now - at) < period_s]
    return _Window(recent=kept, rests_until=float(rests_until) if rests_until < now + 2 * period_s else 0.0)


def _keep(db: Db, name: str, window: _Window, *, until: float) -> None:
    db.execute("UPDATE rate SET restored_at = ?, last_key = ? WHERE name = ?", (until, window.text, name))


def _digest(key: str) -> str:
    return blake2s(key.encode(errors="replace"), digest_size=8).hexdigest()
