"""What was used of budgets, and the warnings that were given.

Each function does what the method of its name does in `bot.ports.budget_store.BudgetStore`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from operator import add
from typing import Any

from bot.domain.budgets import Bound, BudgetWarning, Charge, DueNotice, Notice, Spent, Used
from bot.domain.events import ConversationKey
from bot.domain.messages import Usage
from bot.stores.db import Db, Last, Row, key_range, places

_ADD = (
    "INSERT INTO spending (ledger, period, turns, input_tokens, cached_tokens, output_tokens, micro_usd,"
    " unpriced_tokens) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (ledger, period) DO UPDATE SET"
    " turns = spending.turns + excluded.turns, input_tokens = spending.input_tokens + excluded.input_tokens,"
    " cached_tokens = spending.cached_tokens + excluded.cached_tokens,"
    " output_tokens = spending.output_tokens + excluded.output_tokens,"
    " micro_usd = spending.micro_usd + excluded.micro_usd,"
    " unpriced_tokens = spending.unpriced_tokens + excluded.unpriced_tokens"
)
_SUMS = (
    "COALESCE(sum(turns), 0) AS turns, COALESCE(sum(input_tokens), 0) AS input,"
    " COALESCE(sum(cached_tokens), 0) AS cached, COALESCE(sum(output_tokens), 0) AS output,"
    " COALESCE(sum(micro_usd), 0) AS micro_usd, COALESCE(sum(unpriced_tokens), 0) AS unpriced"
)


def charge(db: Db, charged: Charge | None, *, at_once: bool = False) -> None:
    """Add what was used, `at_once` where units that are committed with this one must see it; nothing writes nothing."""
    if charged is None or charged.spent == Spent():
        return
    spent, usage = charged.spent, charged.spent.usage
    amounts = (
        spent.turns,
        usage.input_tokens,
        usage.cached_tokens,
        usage.output_tokens,
        usage.micro_usd,
        usage.unpriced_tokens,
    )
    rows = [(ledger, period, *amounts) for ledger in charged.ledgers for period in charged.periods]
    if at_once:
        _add(db, rows)
    else:
        db.write_last(Last.SPENDING, _add, rows)


def _add(db: Db, rows: Sequence[tuple[Any, ...]]) -> None:
    """Add the rows of a ledger, a period and amounts."""
    sums: dict[tuple[str, str], tuple[int, ...]] = {}
    for ledger, period, *amounts in rows:
        known = sums.get((ledger, period))
        sums[ledger, period] = tuple(amounts) if known is None else tuple(map(add, known, amounts))
    # Always in one order: of two transactions with rows in common, neither waits for the other with what it waits for.
    db.executemany(_ADD, [(*key, *sums[key]) for key in sorted(sums)])


def used(db: Db, bounds: Sequence[Bound]) -> Sequence[Used]:
    """Return how much of each bound is used."""
    sums: dict[tuple[tuple[str, ...], str], Spent] = {}
    for bound in bounds:
        key = (bound.ledgers, bound.period.key)
        if key not in sums:
            sums[key] = _spent(db, *key)
    return [Used(bound=bound, amount=sums[bound.ledgers, bound.period.key].of(bound.limit.measure)) for bound in bounds]


def used_up(db: Db, bounds: Sequence[Bound]) -> Sequence[Used]:
    """Return the bounds that are used up; until the unit is committed, no other one finds room where there is some."""
    for ledger in sorted({ledger for bound in bounds for ledger in bound.ledgers}):
        db.lock(f"spending/{ledger}")
    return [one for one in used(db, bounds) if one.is_up]


def spending(db: Db, ledgers: Sequence[str], periods: Sequence[str]) -> Mapping[str, Spent]:
    """Return what the ledgers used together in each period."""
    return {period: _spent(db, ledgers, period) for period in periods}


def top_ledgers(db: Db, period: str, *, limit: int) -> Sequence[tuple[str, Spent]]:
    """Return the ledgers that used most."""
    rows = db.execute(
        "SELECT ledger, turns, input_tokens AS input, cached_tokens AS cached, output_tokens AS output, micro_usd,"
        " unpriced_tokens AS unpriced FROM spending WHERE period = ?"
        " ORDER BY micro_usd DESC, input_tokens + output_tokens DESC, turns DESC, ledger LIMIT ?",
        (period, limit),
    )
    return [(row["ledger"], _read(row)) for row in rows]


def _spent(db: Db, ledgers: Sequence[str], period: str) -> Spent:
    (row,) = db.execute(
        f"SELECT {_SUMS} FROM spending WHERE ledger IN {places(ledgers)} AND period = ?",  # noqa: S608  (no outside text in it)
        (*ledgers, period),
    )
    return _read(row)


def _read(row: Row) -> Spent:
    usage = Usage(
        input_tokens=row["input"],
        cached_tokens=row["cached"],
        output_tokens=row["output"],
        micro_usd=row["micro_usd"],
        unpriced_tokens=row["unpriced"],
    )
    return Spent(turns=row["turns"], usage=usage)


# --- warnings ---


def warn(db: Db, warnings: Sequence[BudgetWarning], *, turn_id: int) -> Sequence[BudgetWarning]:
    """Store the warnings that are new; return those that the turn says."""
    return [warning for warning in warnings if _is_of_turn(db, warning, turn_id=turn_id) and not warning.place]


def _is_of_turn(db: Db, warning: BudgetWarning, *, turn_id: int) -> bool:
    key = (warning.name, warning.period, warning.measure, warning.percent)
    db.execute(
        "INSERT INTO budget_warning (name, period, measure, percent, turn_id, place, body, state)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name, period, measure, percent) DO NOTHING",
        (*key, turn_id, warning.place, warning.text, "planned" if warning.place and warning.text else "told"),
    )
    (row,) = db.execute(
        "SELECT turn_id FROM budget_warning WHERE name = ? AND period = ? AND measure = ? AND percent = ?", key
    )
    return row["turn_id"] == turn_id


def has_due_notices(db: Db, *, serves: Sequence[str], now: float, retry_s: float) -> bool:
    """Return whether `due_notices` would take any; looking costs no commit."""
    return any(_due(db, prefix, now=now, retry_s=retry_s) for prefix in serves)


def due_notices(db: Db, *, serves: Sequence[str], now: float, retry_s: float) -> Sequence[DueNotice]:
    """Take the notices that are to be posted."""
    lock = db.for_update("budget_warning", skips=True)
    found = [row for prefix in serves for row in _due(db, prefix, now=now, retry_s=retry_s, lock=lock)]
    for row in found:
        db.execute("UPDATE budget_warning SET state = 'posting', taken_at = ? WHERE id = ?", (now, row["id"]))
    return [_notice(row) for row in found]


def _due(db: Db, prefix: str, *, now: float, retry_s: float, lock: str = "") -> Sequence[Row]:
    return db.execute(
        "SELECT id, name, period, measure, percent, place, body, state FROM budget_warning"  # noqa: S608  (no outside text)
        " WHERE state IN ('planned', 'posting') AND place >= ? AND place < ?"
        f" AND (state = 'planned' OR taken_at <= ? OR taken_at > ?) ORDER BY place, id{lock}",
        # One that was taken long after now: the clock was set back. A moment after now is another process's clock.
        (*key_range(prefix), now - retry_s, now + retry_s),
    )


def _notice(row: Row) -> DueNotice:
    named = f"{row['name']} {row['period']} {row['measure']} {row['percent']}"
    notice = Notice(
        key=hashlib.sha256(named.encode()).hexdigest()[:20],
        place=ConversationKey.parse(row["place"]),
        text=row["body"],
    )
    return DueNotice(id=row["id"], notice=notice, may_be_visible=row["state"] == "posting")


def mark_notice(db: Db, notice_id: int, *, reference: str) -> None:
    """Store that the notice was posted, or that its place does not take it."""
    db.execute(
        "UPDATE budget_warning SET state = ?, reference = ? WHERE id = ?",
        ("posted" if reference else "dropped", reference, notice_id),
    )
