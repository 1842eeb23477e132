"""The journals of turns, and what their calls wait for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bot.domain.turns import CallDecided, CallFinished, CallWaiting, Step
from bot.stores import codec
from bot.stores.db import Db
from bot.stores.units import asks


@dataclass(slots=True)
class Wait:
    """A call that waited for a decision."""

    round: int
    call_id: str
    expires_at: float
    worker: str = ""  # which one keeps what the call needs to go on
    is_decided: bool = False
    is_finished: bool = False


def append(db: Db, turn_id: int, steps: Iterable[Step], *, now: float) -> None:
    """Append steps to the turn's journal, and begin and end the asks that they are about."""
    appended = list(steps)
    db.executemany(
        "INSERT INTO journal (turn_id, step, body, at)"
        " SELECT ?, COALESCE(max(step), 0) + 1, ?, ? FROM journal WHERE turn_id = ?",
        [(turn_id, codec.steps.dump_json(step).decode(), now, turn_id) for step in appended],
    )
    for step in appended:
        asks.follow(db, turn_id, step, now=now)


def ends_with(db: Db, turn_id: int, written: Sequence[Step]) -> bool:
    """Return whether these steps are the last ones of the journal, but for decisions that came in since."""
    rows = db.execute("SELECT body FROM journal WHERE turn_id = ? ORDER BY step", (turn_id,))
    bodies, wanted = [row["body"] for row in rows], [codec.steps.dump_json(step).decode() for step in written]
    while bodies and bodies[-1] not in wanted and isinstance(codec.steps.validate_json(bodies[-1]), CallDecided):
        bodies.pop()
    return bodies[-len(wanted) :] == wanted


def steps(db: Db, turn_id: int) -> Sequence[Step]:
    """Return the turn's journal in order."""
    rows = db.execute("SELECT body FROM journal WHERE turn_id = ? ORDER BY step", (turn_id,))
    return [codec.steps.validate_json(row["body"]) for row in rows]


def waits(db: Db, turn_id: int) -> Sequence[Wait]:
    """Return the last wait of each call that waited, in the order of their first ones."""
    found: dict[tuple[int, str], Wait] = {}
    for step in steps(db, turn_id):
        match step:
            case CallWaiting(round=number, call_id=call_id):
                found[number, call_id] = Wait(number, call_id, step.expires_at, step.worker)
            case CallDecided(round=number, call_id=call_id) if (number, call_id) in found:
                found[number, call_id].is_decided = True
            case CallFinished(round=number, result=result) if (number, result.call_id) in found:
                found[number, result.call_id].is_finished = True
            case _:
                pass
    return list(found.values())
