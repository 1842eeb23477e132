"""Group commit on a real SQLite file: what units share, what they do not, and what a caller can rely on."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
from collections.abc import AsyncGenerator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bot.domain.errors import LeaseLostError, StoreError
from bot.stores.db import Db, Unit
from bot.stores.sqlite.connection import Connection
from bot.stores.sqlite.group_commit import MAX_BATCH, GroupCommit

BUSY_TIMEOUT_S = 0.2
WAIT_S = 30.0


@dataclass
class Rig:
    """A database with one table, its group commit, and the statements that reached SQLite."""

    path: Path
    connection: Connection
    commits: GroupCommit
    statements: list[str] = field(default_factory=list[str])

    def count(self, statement: str) -> int:
        return self.statements.count(statement)

    def stored(self) -> list[int]:
        """What a neighbour sees: committed rows, in the order in which they were written."""
        with closing(sqlite3.connect(self.path)) as neighbour:
            return [number for (number,) in neighbour.execute("SELECT number FROM item ORDER BY rowid")]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncGenerator[Rig]:
    path = tmp_path / "items.db"
    async with Connection(path, busy_timeout_s=BUSY_TIMEOUT_S, thread="writer") as connection:
        await connection.run(lambda db: db.execute("PRAGMA journal_mode = WAL"))
        await connection.run(lambda db: db.execute("CREATE TABLE item (number INTEGER UNIQUE)"))
        rig = Rig(path=path, connection=connection, commits=GroupCommit(connection))
        await connection.run(lambda db: db.set_trace_callback(rig.statements.append))
        writing = asyncio.create_task(rig.commits.write())
        yield rig
        rig.commits.close()
        async with asyncio.timeout(WAIT_S):
            await writing


def insert(number: int) -> Unit[int]:
    def unit(db: Db) -> int:
        db.execute("INSERT INTO item VALUES (?)", (number,))
        return number

    return unit


def insert_after(gate: threading.Event, number: int, *, reached: asyncio.Event) -> Unit[int]:
    """Hold the writer within its transaction until the gate opens."""
    loop = asyncio.get_running_loop()

    def unit(db: Db) -> int:
        loop.call_soon_threadsafe(reached.set)
        assert gate.wait(WAIT_S)
        return insert(number)(db)

    return unit


def refuse(_db: Db) -> int:
    raise LeaseLostError("taken over")


async def test_units_that_arrive_together_share_a_transaction(rig: Rig) -> None:
    results = await asyncio.gather(*(rig.commits.run(insert(number)) for number in range(200)))
    assert results == list(range(200))
    assert rig.stored() == list(range(200))
    assert rig.count("COMMIT") <= 2


async def test_units_that_arrive_one_after_the_other_are_each_committed_before_they_return(rig: Rig) -> None:
    for number in range(3):
        assert await rig.commits.run(insert(number)) == number
        assert rig.stored() == list(range(number + 1))
    assert rig.count("COMMIT") == 3


async def test_units_beyond_the_largest_batch_are_committed_too(rig: Rig) -> None:
    numbers = range(MAX_BATCH + 50)
    await asyncio.gather(*(rig.commits.run(insert(number)) for number in numbers))
    assert rig.stored() == list(numbers)
    assert rig.count("COMMIT") == 2


async def test_a_unit_that_the_database_refuses_fails_alone(rig: Rig) -> None:
    await rig.commits.run(insert(3))
    results = await asyncio.gather(*(rig.commits.run(insert(number)) for number in range(6)), return_exceptions=True)
    assert [result for result in results if not isinstance(result, BaseException)] == [0, 1, 2, 4, 5]
    assert isinstance(results[3], StoreError)
    assert isinstance(results[3].__cause__, sqlite3.IntegrityError)
    assert rig.stored() == [3, 0, 1, 2, 4, 5]


async def test_a_unit_that_refuses_costs_its_neighbours_no_commit_of_their_own(rig: Rig) -> None:
    units = [insert(0), refuse, insert(1), refuse, insert(2)]
    results = await asyncio.gather(*(rig.commits.run(unit) for unit in units), return_exceptions=True)
    assert [type(result) for result in results] == [int, LeaseLostError, int, LeaseLostError, int]
    assert rig.stored() == [0, 1, 2]
    assert rig.count("COMMIT") == 1


async def test_a_unit_with_a_bug_is_a_store_error_that_names_its_cause(rig: Rig) -> None:
    def broken(_db: Db) -> int:
        raise KeyError("a name that is not there")

    with pytest.raises(StoreError, match="KeyError") as caught:
        await rig.commits.run(broken)
    assert isinstance(caught.value.__cause__, KeyError)
    assert await rig.commits.run(insert(1)) == 1


async def test_the_unit_of_a_cancelled_caller_is_committed_before_the_cancellation_goes_on(rig: Rig) -> None:
    gate, reached = threading.Event(), asyncio.Event()
    caller = asyncio.create_task(rig.commits.run(insert_after(gate, 1, reached=reached)))
    waiting = asyncio.create_task(rig.commits.run(insert(2)))
    await reached.wait()
    for _ in range(3):  # again and again, as an impatient owner would
        caller.cancel()
        waiting.cancel()
        await asyncio.sleep(0)
    assert not caller.done() and not waiting.done()
    gate.set()
    async with asyncio.timeout(WAIT_S):
        results = await asyncio.gather(caller, waiting, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError] * 2
    assert rig.stored() == [1, 2]


async def test_a_failure_that_a_cancelled_caller_does_not_see_is_not_reported_as_forgotten(rig: Rig) -> None:
    reports: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reports.append(context))
    gate, reached = threading.Event(), asyncio.Event()
    blocking = asyncio.create_task(rig.commits.run(insert_after(gate, 1, reached=reached)))
    failing = asyncio.create_task(rig.commits.run(insert(1)))
    await reached.wait()
    failing.cancel()
    await asyncio.sleep(0)
    gate.set()
    assert await blocking == 1
    with pytest.raises(asyncio.CancelledError):
        await failing
    del failing
    gc.collect()
    await asyncio.sleep(0)
    assert reports == []


async def test_a_timeout_around_a_write_ends_as_a_timeout_with_the_write_done(rig: Rig) -> None:
    gate, reached = threading.Event(), asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, gate.set)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await rig.commits.run(insert_after(gate, 1, reached=reached))
    assert rig.stored() == [1]


async def test_an_urgent_unit_goes_before_those_that_wait(rig: Rig) -> None:
    gate, reached = threading.Event(), asyncio.Event()
    first = asyncio.create_task(rig.commits.run(insert_after(gate, 1, reached=reached)))
    await reached.wait()
    later = [asyncio.create_task(rig.commits.run(insert(number))) for number in (2, 3)]
    urgent = asyncio.create_task(rig.commits.run(insert(4), is_urgent=True))
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(first, *later, urgent)
    assert rig.stored() == [1, 4, 2, 3]


async def test_closing_commits_what_waits_and_takes_no_more(rig: Rig) -> None:
    gate, reached = threading.Event(), asyncio.Event()
    first = asyncio.create_task(rig.commits.run(insert_after(gate, 0, reached=reached)))
    await reached.wait()
    waiting = [asyncio.create_task(rig.commits.run(insert(number))) for number in range(1, 10)]
    await asyncio.sleep(0)
    rig.commits.close()
    with pytest.raises(StoreError, match="closed"):
        await rig.commits.run(insert(99))
    gate.set()
    assert await asyncio.gather(first, *waiting) == list(range(10))
    assert rig.stored() == list(range(10))


async def test_closing_before_the_writer_has_begun_loses_nothing(rig: Rig) -> None:
    commits = GroupCommit(rig.connection)
    waiting = asyncio.create_task(commits.run(insert(1)))
    await asyncio.sleep(0)
    commits.close()
    async with asyncio.timeout(WAIT_S):
        await commits.write()
    assert await waiting == 1
    assert rig.stored() == [1]


async def test_callers_that_wait_for_a_locked_database_all_fail_after_one_wait(rig: Rig) -> None:
    with closing(sqlite3.connect(rig.path, isolation_level=None)) as neighbour:
        neighbour.execute("BEGIN EXCLUSIVE")
        results = await asyncio.gather(
            *(rig.commits.run(insert(number)) for number in range(50)), return_exceptions=True
        )
        neighbour.execute("ROLLBACK")
    assert all(isinstance(result, StoreError) and "locked" in str(result) for result in results)
    assert rig.count("BEGIN IMMEDIATE") <= 2  # each of them waits as long as the lock is waited for
    assert rig.stored() == []
    assert await rig.commits.run(insert(1)) == 1


async def test_a_transaction_that_was_left_open_does_not_stop_the_next_one(rig: Rig) -> None:
    await rig.connection.run(lambda db: db.execute("BEGIN"))
    await rig.connection.run(lambda db: db.execute("INSERT INTO item VALUES (7)"))
    assert await rig.commits.run(insert(1)) == 1
    assert rig.stored() == [1]
