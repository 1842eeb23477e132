"""The audit: appended in the commit that it tells of, and read by operators.

Where transactions run side by side, each one holds the chain's end from its first line until it is committed: so its
lines are the last that it writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from bot.domain.audit import AuditEntry, AuditLine
from bot.stores.chain import Chain
from bot.stores.db import Db, Last, Row, first
from bot.stores.units import counts
from bot.text.cleaning import strip_surrogates

PAGE_ROWS = 1_000
ONCE_S = 3_600.0  # platforms deliver again for half an hour at most
TEXTS = ("person", "place", "server", "tool", "arguments", "verdict", "rule", "outcome", "call_id")


def append(db: Db, entries: Sequence[AuditEntry]) -> None:
    """Append the entries to the chain."""
    if entries:
        db.write_last(Last.AUDIT, _append, entries)


def append_once(db: Db, entries: Sequence[AuditEntry], *, once: str, now: float) -> None:
    """Append the entries, unless something of that name was appended within the hour."""
    if not counts.count(db, f"audit/{once}", keys=(), calls=1, period_s=ONCE_S, rest_s=0.0, now=now).wait_s:
        append(db, entries)


def _append(db: Db, entries: Sequence[AuditEntry]) -> None:
    db.lock("audit")
    last = first(db.execute("SELECT number, hash FROM audit WHERE number = (SELECT max(number) FROM audit)"))
    chain = Chain() if last is None else Chain(last["number"], last["hash"])
    db.executemany(
        "INSERT INTO audit (number, at, kind, person, place, server, tool, arguments, arguments_digest, verdict, rule,"
        " approvers, outcome, turn_id, call_id, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [_values(chain.append(_storable(entry))) for entry in entries],
    )


def audit_lines(db: Db, *, after: int, since: float, person: str, tool: str, limit: int) -> Sequence[AuditLine]:
    """Return lines in order; the pattern of tools is compared here, since engines differ in theirs."""
    pattern = _pattern(tool) if tool else None
    found: list[AuditLine] = []
    for row in _rows(db, after=after, since=since, person=person):
        if len(found) >= limit:
            break
        if pattern is None or pattern.fullmatch(f"{row['server']}/{row['tool']}"):
            found.append(_line(row))
    return found


def _rows(db: Db, *, after: int, since: float, person: str) -> Iterator[Row]:
    of_person, values = ("AND person = ?", (person,)) if person else ("", ())
    while True:
        rows = db.execute(
            f"SELECT * FROM audit WHERE number > ? AND at >= ? {of_person} ORDER BY number LIMIT ?",  # noqa: S608  (no outside text)
            (after, since, *values, PAGE_ROWS),
        )
        yield from rows
        if len(rows) < PAGE_ROWS:
            return
        after = rows[-1]["number"]


def _pattern(tool: str) -> re.Pattern[str]:
    """Return the pattern of rules: `*` is any text without a slash, and case counts."""
    return re.compile("[^/]*".join(re.escape(part) for part in re.split(r"\*+", tool)), re.DOTALL)


def _storable(entry: AuditEntry) -> AuditEntry:
    """Return the entry as every engine can store it: the hash must cover what is read back."""
    whole = "".join((*entry.approvers, *(getattr(entry, name) for name in TEXTS)))
    if whole.isascii() and "\0" not in whole:  # nearly always: it costs a turn least
        return entry
    texts = {name: _text(getattr(entry, name)) for name in TEXTS}
    return replace(entry, **texts, approvers=tuple(map(_text, entry.approvers)))


def _text(text: str) -> str:
    # PostgreSQL takes no NUL, and no engine takes half of a surrogate pair.
    return strip_surrogates(text).replace("\0", "\ufffd")


def _values(line: AuditLine) -> Sequence[object]:
    entry = line.entry
    return (
        line.number,
        entry.at,
        entry.kind,
        entry.person,
        entry.place,
        entry.server,
        entry.tool,
        entry.arguments,
        line.arguments_digest,
        entry.verdict,
        entry.rule,
        json.dumps(entry.approvers),
        entry.outcome,
        entry.turn_id,
        entry.call_id,
        line.hash,
    )


def _line(row: Row) -> AuditLine:
    entry = AuditEntry(
        kind=row["kind"],
        at=row["at"],
        person=row["person"],
        place=row["place"],
        server=row["server"],
        tool=row["tool"],
        arguments=row["arguments"] or "",
        verdict=row["verdict"],
        rule=row["rule"],
        approvers=tuple(json.loads(row["approvers"])),
        outcome=row["outcome"],
        turn_id=row["turn_id"],
        call_id=row["call_id"],
    )
    return AuditLine(
        number=row["number"],
        entry=entry,
        hash=row["hash"],
        arguments_digest=row["arguments_digest"],
        is_purged=row["arguments"] is None,
    )
