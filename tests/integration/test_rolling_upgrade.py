"""The version before this one, on a database that this one has migrated: both run side by side during an upgrade.

`released/` has what the last released version executed, statement by statement, and what it got; see its `record.py`.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from bot.domain.errors import StoreError
from bot.stores.chain import Chain
from bot.stores.sqlite.migrate import USABLE_FROM, migrate
from bot.stores.sqlite.store import open_sqlite
from tests.contracts.stores import Clock, room

RELEASED = Path(__file__).parent / "released"
Transaction = Sequence[tuple[str, Sequence[Any], Sequence[Sequence[Any]]]]


def recorded() -> dict[str, list[Transaction]]:
    """Return the transactions of each recorded test."""
    first, *lines = (RELEASED / "statements.jsonl").read_text(encoding="utf-8").splitlines()
    statements, tests = json.loads(first), dict[str, list[Transaction]]()
    for name, run in map(json.loads, lines):
        tests.setdefault(name, []).append([(statements[number], parameters, rows) for number, parameters, rows in run])
    return tests


RECORDED = recorded()


def connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript("PRAGMA synchronous = OFF; PRAGMA foreign_keys = ON")
    return connection


def as_released(path: Path) -> sqlite3.Connection:
    """Return a connection to a database as the released version makes it."""
    connection = connect(path)
    connection.executescript((RELEASED / "schema.sql").read_text(encoding="utf-8"))
    return connection


def replay(connection: sqlite3.Connection, transactions: Sequence[Transaction]) -> None:
    """Do what the released version did; it must get what it got."""
    for transaction in transactions:
        connection.execute("BEGIN IMMEDIATE")
        for statement, parameters, rows in transaction:
            assert [list(row) for row in connection.execute(statement, parameters)] == rows, statement
        connection.execute("COMMIT")


def test_the_recording_has_all_that_the_released_version_does() -> None:
    statements = {statement for runs in RECORDED.values() for run in runs for statement, _, _ in run}
    tables = set(re.findall(r"CREATE TABLE (\w+)", (RELEASED / "schema.sql").read_text(encoding="utf-8")))
    assert len(statements) > 150
    assert {table for table in tables if not any(re.search(rf"\b{table}\b", each) for each in statements)} == set()


@pytest.mark.parametrize("name", RECORDED)
async def test_the_released_version_works_on_the_new_schema_and_the_new_one_reads_what_it_wrote(
    name: str, tmp_path: Path
) -> None:
    path, runs = tmp_path / "a.db", RECORDED[name]
    with closing(as_released(path)) as connection:
        replay(connection, runs[: len(runs) // 2])
        migrate(connection)  # by another process
        replay(connection, runs[len(runs) // 2 :])
        (turns,) = connection.execute("SELECT count(*) FROM turn").fetchone()
    clock = Clock()
    async with open_sqlite(path, now=clock, steady=clock.steady) as store:
        assert (await store.usage()).turns <= turns
        for summary in await store.conversations(limit=100):
            assert await store.transcript(summary.conversation, limit=100)
        for each in await store.timeline(room("room")):
            await store.steps(each.turn_id)
            await store.outbox(each.turn_id)
        chain = Chain()
        assert all(chain.follow(line) for line in await store.audit_lines(limit=1_000))
        await store.heartbeat("new", lease_s=60)
        await store.members()
        await store.asks()
        for turn in await store.claim("new", serves=("test/",), limit=100):
            await store.give_back(turn.lease)


# --- which version may open the file ---------------------------------------------------------------------------


def scripts() -> Iterator[tuple[int, str]]:
    for entry in sorted((resources.files("bot.stores") / "migrations").iterdir(), key=lambda entry: entry.name):
        yield int(entry.name.partition("_")[0]), entry.read_text(encoding="utf-8")


def test_each_migration_says_from_which_schema_on_a_version_can_use_the_file() -> None:
    found = {number: re.findall(r"^-- usable from: (\d+)$", text, re.MULTILINE) for number, text in scripts()}
    said = [int(of) for number, (of,) in ((number, said) for number, said in found.items() if number > 12)]
    assert said == sorted(said) and all(of <= number for number, of in zip(range(13, 99), said, strict=False))


@pytest.mark.parametrize(("usable_from", "opens"), [(None, False), ("of-newer", False), ("of-this", True)])
async def test_a_file_of_a_newer_version_is_used_where_that_says_so_and_stays_as_it_is(
    usable_from: str | None, opens: bool, tmp_path: Path
) -> None:
    path = tmp_path / "a.db"
    async with open_sqlite(path) as store:
        await store.put_note("a", "b")
    with closing(connect(path)) as connection:
        (newest,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute(f"PRAGMA user_version = {newest + 1}")
        connection.execute("ALTER TABLE turn ADD COLUMN of_tomorrow TEXT NOT NULL DEFAULT ''")
        connection.execute("DELETE FROM note WHERE name = ?", (USABLE_FROM,))
        if usable_from:
            known = newest if opens else newest + 1
            connection.execute("INSERT INTO note (name, text) VALUES (?, ?)", (USABLE_FROM, str(known)))
    if not opens:
        with pytest.raises(StoreError, match="newer version"):
            async with open_sqlite(path):
                pass
        return
    async with open_sqlite(path) as store:
        assert await store.notes("a") == {"a": "b"}
    with closing(connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (newest + 1,)
