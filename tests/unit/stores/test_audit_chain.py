"""The chain of the audit: whatever is changed afterwards is found, and purging arguments breaks nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cache
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.audit import AuditEntry, AuditKind, AuditLine
from bot.stores.chain import Chain
from bot.stores.sqlite.connection import SqliteDb
from bot.stores.sqlite.migrate import migrate
from bot.stores.units import audit_log

TRIGGERS = ("audit_keeps_lines", "audit_keeps_facts", "audit_purges_arguments")
any_text = st.text(st.characters(), max_size=8)  # lone surrogates among them
texts = dict.fromkeys(audit_log.TEXTS, any_text)
entries = st.builds(
    AuditEntry,
    kind=st.sampled_from(get_args(AuditKind)),
    at=st.floats(min_value=0, max_value=1e11) | st.integers(min_value=0, max_value=2**40),
    approvers=st.lists(any_text, max_size=2).map(tuple),
    turn_id=st.integers(min_value=0, max_value=2**40),
    **texts,
)
COLUMNS = (
    *(name for name in audit_log.TEXTS if name != "arguments"),
    "kind",
    "at",
    "approvers",
    "turn_id",
    "arguments_digest",
    "hash",
)


@cache
def empty() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    return connection


def database() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.row_factory = sqlite3.Row
    empty().backup(connection)
    return connection


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(database()) as connection:
        yield connection


def written(connection: sqlite3.Connection, kept: Sequence[AuditEntry], *, commits: int = 2) -> None:
    """Append the entries in so many commits, then take away what forbids changes."""
    for number in range(commits):
        audit_log.append(SqliteDb(connection), kept[number::commits])
    for trigger in TRIGGERS:
        connection.execute(f"DROP TRIGGER {trigger}")


def read(connection: sqlite3.Connection) -> Sequence[AuditLine]:
    return audit_log.audit_lines(SqliteDb(connection), after=0, since=0.0, person="", tool="", limit=1_000)


def first_misfit(connection: sqlite3.Connection) -> int | None:
    """Return the place of the first line that does not fit, counted from 1; None where all fit."""
    chain = Chain()
    for place, line in enumerate(read(connection), start=1):
        if not chain.follow(line):
            return place
    return None


@settings(max_examples=50)
@given(kept=st.lists(entries, min_size=1, max_size=5), commits=st.integers(min_value=1, max_value=3))
def test_whatever_is_written_fits_and_goes_on_fitting_without_its_arguments(
    kept: Sequence[AuditEntry], commits: int
) -> None:
    with closing(database()) as connection:
        written(connection, kept, commits=commits)
        lines = read(connection)
        assert [line.number for line in lines] == list(range(1, len(kept) + 1))
        assert first_misfit(connection) is None
        connection.execute("UPDATE audit SET arguments = NULL WHERE number % 2 = 1")
        assert first_misfit(connection) is None
        assert [line.is_purged for line in read(connection)] == [line.number % 2 == 1 for line in lines]
        assert [line.hash for line in read(connection)] == [line.hash for line in lines]


@settings(max_examples=60)
@given(
    kept=st.lists(entries, min_size=1, max_size=4),
    column=st.sampled_from(COLUMNS),
    data=st.data(),
)
def test_a_line_that_was_changed_is_found(kept: Sequence[AuditEntry], column: str, data: st.DataObject) -> None:
    with closing(database()) as connection:
        written(connection, kept)
        number = data.draw(st.integers(min_value=1, max_value=len(kept)))
        (value,) = connection.execute(f"SELECT {column} FROM audit WHERE number = ?", (number,)).fetchone()
        changed: Any = value + 1 if column in {"at", "turn_id"} else f"{value}x"
        if column == "approvers":
            changed = '["someone:else", "and:another", "and:more"]'
        connection.execute(f"UPDATE audit SET {column} = ? WHERE number = ?", (changed, number))
        assert first_misfit(connection) == number


@settings(max_examples=40)
@given(kept=st.lists(entries, min_size=2, max_size=5), data=st.data())
def test_a_line_that_was_removed_or_moved_is_found(kept: Sequence[AuditEntry], data: st.DataObject) -> None:
    with closing(database()) as connection:
        written(connection, kept)
        number = data.draw(st.integers(min_value=1, max_value=len(kept) - 1))
        if data.draw(st.booleans()):
            connection.execute("DELETE FROM audit WHERE number = ?", (number,))
            if data.draw(st.booleans()):  # and closed the gap
                connection.execute("UPDATE audit SET number = -number WHERE number > ?", (number,))
                connection.execute("UPDATE audit SET number = -number - 1 WHERE number < 0")
        else:
            for change in ((-1, number), (number, number + 1), (number + 1, -1)):
                connection.execute("UPDATE audit SET number = ? WHERE number = ?", change)
        assert first_misfit(connection) == number


@pytest.mark.parametrize("arguments", ["", '{"env": "test"}'])
def test_arguments_that_were_changed_are_found_even_where_they_were_emptied(
    connection: sqlite3.Connection, arguments: str
) -> None:
    entry = AuditEntry(kind="started", at=1.0, person="test:ann", arguments='{"env": "prod"}')
    written(connection, [entry, entry])
    connection.execute("UPDATE audit SET arguments = ? WHERE number = 2", (arguments,))
    assert first_misfit(connection) == 2


def test_a_line_of_another_audit_does_not_fit(connection: sqlite3.Connection) -> None:
    mine, other = Chain(), Chain()
    entry = AuditEntry(kind="act", at=1.0, person="test:ann")
    other.append(replace(entry, person="test:ben"))
    assert mine.follow(mine_line := Chain().append(entry))
    assert not mine.follow(mine_line)
    assert not mine.follow(other.append(entry))
    assert mine == Chain(mine_line.number, mine_line.hash)


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM audit",
        "UPDATE audit SET outcome = 'ok'",
        "UPDATE audit SET hash = ''",
        "UPDATE audit SET arguments = 'other'",
        "UPDATE audit SET arguments = NULL, person = ''",
    ],
)
def test_the_database_itself_refuses_to_change_what_was_written(connection: sqlite3.Connection, change: str) -> None:
    audit_log.append(SqliteDb(connection), [AuditEntry(kind="act", at=1.0, person="test:ann", arguments="{}")])
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(change)
    connection.execute("UPDATE audit SET arguments = NULL")
    assert first_misfit(connection) is None
