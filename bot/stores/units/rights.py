"""Grants for a while, pinned tools, and the calls of the past.

Each function does what the method of its name does in `bot.ports.rights_store.RightsStore`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bot.domain.audit import AuditEntry
from bot.domain.turns import CallAsked, CallJudged
from bot.ports.rights_store import Grant, PastCall, Pin
from bot.stores import codec
from bot.stores.db import Db, Row
from bot.stores.units import audit_log, journal

PAGE_TURNS = 200


def put_grant(db: Db, grant: Grant, *, now: float) -> None:
    """Store the grant until its end, and forget those that have ended."""
    db.execute("DELETE FROM run_grant WHERE until <= ?", (now,))
    db.execute(
        "INSERT INTO run_grant (person, conversation, server, tool, rule_key, until) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (person, conversation, server, tool, rule_key) DO UPDATE SET until = excluded.until",
        (*_granted(grant), grant.until),
    )


def has_grant(db: Db, grant: Grant, *, now: float) -> bool:
    """Return whether the grant is stored and goes on."""
    return bool(
        db.execute(
            "SELECT 1 FROM run_grant WHERE person = ? AND conversation = ? AND server = ? AND tool = ? AND rule_key = ?"
            " AND until > ?",
            (*_granted(grant), now),
        )
    )


def _granted(grant: Grant) -> Sequence[str]:
    return grant.person, str(grant.conversation), grant.server, grant.tool, grant.rule_key


# --- pins ---


def pins(db: Db) -> Sequence[Pin]:
    """Return the pins in order."""
    rows = db.execute("SELECT server, tool, accepted, changed FROM pin ORDER BY server, tool")
    return [
        Pin(server=row["server"], tool=row["tool"], accepted=row["accepted"], changed=row["changed"]) for row in rows
    ]


def put_pins(db: Db, seen: Sequence[Pin]) -> None:
    """Store the tools as they are now, beside what was accepted."""
    db.executemany(
        "INSERT INTO pin (server, tool, accepted) VALUES (?, ?, ?) ON CONFLICT (server, tool) DO UPDATE"
        " SET changed = CASE WHEN pin.accepted = excluded.accepted THEN '' ELSE excluded.accepted END",
        sorted((pin.server, pin.tool, _now(pin)) for pin in seen),
    )


def accept_pins(db: Db, accepted: Sequence[Pin], *, audit: Sequence[AuditEntry]) -> None:
    """Store what was accepted; what a tool has changed to since it was shown stays a change."""
    db.executemany(
        "INSERT INTO pin (server, tool, accepted) VALUES (?, ?, ?) ON CONFLICT (server, tool) DO UPDATE"
        " SET accepted = excluded.accepted,"
        " changed = CASE WHEN pin.changed = excluded.accepted THEN '' ELSE pin.changed END",
        sorted((pin.server, pin.tool, _now(pin)) for pin in accepted),
    )
    audit_log.append(db, audit)


def _now(pin: Pin) -> str:
    return pin.changed or pin.accepted


# --- calls of the past ---


def past_calls(db: Db, *, since: float, after: int, limit: int) -> Sequence[PastCall]:
    """Return the calls turn by turn: of a turn all or none, so that the next page can begin after the last turn."""
    found: list[PastCall] = []
    for turn in _turns(db, since=since, after=after):
        calls = _calls(db, turn)
        if found and len(found) + len(calls) > limit:
            break
        found += calls
    return found


def _turns(db: Db, *, since: float, after: int) -> Iterator[Row]:
    while True:
        rows = db.execute(
            "SELECT id, event, accepted_at FROM turn WHERE id > ? AND accepted_at >= ? AND event <> ''"
            " ORDER BY id LIMIT ?",
            (after, since, PAGE_TURNS),
        )
        yield from rows
        if len(rows) < PAGE_TURNS:
            return
        after = rows[-1]["id"]


def _calls(db: Db, turn: Row) -> Sequence[PastCall]:
    steps = journal.steps(db, turn["id"])
    asked = [step for step in steps if isinstance(step, CallAsked)]
    if not asked:
        return []
    event = codec.events.validate_json(turn["event"])
    verdicts: dict[tuple[int, str], str] = {}
    for step in steps:
        if isinstance(step, CallJudged):  # of a call that waited, the first one is what made it wait
            verdicts.setdefault((step.round, step.call_id), step.verdict)
    return [
        PastCall(
            turn_id=turn["id"],
            event=event,
            server=step.server,
            tool=step.tool,
            arguments=step.call.arguments,
            at=turn["accepted_at"],
            verdict=verdicts.get((step.round, step.call.id), ""),
        )
        for step in asked
    ]
