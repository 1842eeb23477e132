"""A connection beside the loop: the order of its work, what a cancelled caller leaves, and how it is closed."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import aiosqlite
import pytest

from bot.stores.sqlite.connection import Connection

WAIT_S = 30.0


def opened(path: Path) -> Connection:
    return Connection(path, busy_timeout_s=1, thread="connection-under-test")


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("connection-under-test")]


async def test_work_is_done_in_order_in_one_thread_that_is_not_the_loops(tmp_path: Path) -> None:
    seen: list[tuple[int, str]] = []

    def note(number: int) -> None:
        seen.append((number, threading.current_thread().name))

    async with opened(tmp_path / "a.db") as connection:
        await asyncio.gather(*(connection.run(lambda _, number=number: note(number)) for number in range(20)))
    assert [number for number, _ in seen] == list(range(20))
    assert {name for _, name in seen} == {"connection-under-test"}


async def test_an_error_of_the_work_is_the_callers_and_the_next_work_is_done(tmp_path: Path) -> None:
    async with opened(tmp_path / "a.db") as connection:
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            await connection.run(lambda db: db.execute("SELECT * FROM missing"))
        assert await connection.run(lambda db: db.execute("SELECT 1").fetchone()) == (1,)


async def test_closing_waits_for_the_work_of_a_cancelled_caller_and_leaves_no_thread(tmp_path: Path) -> None:
    path, begun, gate = tmp_path / "a.db", asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def work(db: sqlite3.Connection) -> None:
        loop.call_soon_threadsafe(begun.set)
        assert gate.wait(WAIT_S)
        db.execute("CREATE TABLE item (number INTEGER)")

    async with asyncio.timeout(WAIT_S):
        async with opened(path) as connection:
            caller = asyncio.create_task(connection.run(work))
            await begun.wait()
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller
            loop.call_later(0.05, gate.set)
    assert threads() == []
    async with opened(path) as connection:
        assert await connection.run(lambda db: db.execute("SELECT count(*) FROM item").fetchone()) == (0,)


async def test_a_folder_that_is_not_there_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        async with opened(tmp_path / "nowhere" / "a.db"):
            pass
    assert threads() == []


async def test_the_parts_of_aiosqlite_that_the_connection_is_built_on_are_there(tmp_path: Path) -> None:
    connection = opened(tmp_path / "a.db")
    for name in ("_execute", "_conn", "_thread"):
        assert hasattr(aiosqlite.Connection, name) or name in vars(connection)
    async with connection:
        pass
