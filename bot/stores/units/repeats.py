"""What is written again as nobody knows whether it was stored: the connection was lost during its COMMIT.

Only the holder of a turn's lease writes any of this, so what is there under its fence is what it wrote.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.turns import Step, TurnState
from bot.ports.work_store import Lease
from bot.stores.db import Db, first
from bot.stores.units import journal
from bot.stores.units.locks import lock_turn


def left_in(db: Db, lease: Lease) -> TurnState | None:
    """Return the state in which the lease's last write left the turn; None where the turn has another holder since."""
    lock_turn(db, lease.turn_id)
    turn = first(db.execute("SELECT state FROM turn WHERE id = ? AND fence = ?", (lease.turn_id, lease.fence)))
    return turn["state"] if turn else None


def is_recorded(db: Db, lease: Lease, steps: Sequence[Step]) -> bool:
    """Return whether the steps are the last ones that the lease's holder stored."""
    return left_in(db, lease) == "running" and journal.ends_with(db, lease.turn_id, steps)


def is_posted(db: Db, lease: Lease, part: int) -> bool:
    """Return whether it is stored that the part is posted."""
    if left_in(db, lease) is None:
        return False
    found = db.execute("SELECT state FROM outbox WHERE turn_id = ? AND part = ?", (lease.turn_id, part))
    return any(row["state"] == "posted" for row in found)
