"""Attacks on what is kept: someone who gets all files of the home finds nothing that was deleted, and no token.

The files are real ones, and the database is open; each attack is a line in SECURITY.md.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from bot.domain.people import Actor
from bot.keeping.files import KeptFiles
from bot.keeping.retention import Retention
from bot.ports.retention_store import Forgotten
from bot.stores.sqlite import scrubbing
from bot.stores.sqlite.store import open_sqlite
from tests.attacks.kept import PEOPLE, fill, holding, left, measure, place

ANN = Actor(platform="slack", space="T1", id=PEOPLE[0])
ROOMS = range(4)
WAIT_S = 30.0


@pytest.mark.parametrize("seed", [3, 4])
async def test_nothing_of_a_cleared_conversation_is_in_any_byte_of_any_file(tmp_path: Path, seed: int) -> None:
    async with open_sqlite(tmp_path / "toolbridge.db") as store:
        await fill(store, turns=100, rooms=4, seed=seed)
        assert left(tmp_path, people=PEOPLE, rooms=[0])
        await store.clear(place(0))
        assert await store.scrub()
        assert left(tmp_path, people=PEOPLE, rooms=[0]) == []
        assert left(tmp_path, people=PEOPLE, rooms=[1])
        await fill(store, turns=20, rooms=4, seed=99)  # the database works on


async def test_nothing_of_a_person_is_left_but_who_they_are_and_what_answers_repeat(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "toolbridge.db") as store:
        await fill(store, turns=100, rooms=4, seed=1)
        before = {word for word, _ in left(tmp_path, people=PEOPLE[1:], rooms=ROOMS)}
        traces = await store.traces(ANN)
        gone = await store.forget_person(ANN)
        assert await store.scrub()
        assert left(tmp_path, people=PEOPLE[:1], rooms=ROOMS) == []
        assert {word for word, _ in left(tmp_path, people=PEOPLE[1:], rooms=ROOMS)} == before
        assert gone.forgotten.turns == traces.forgotten.turns > 0
        assert gone.quotations > 0 and gone.contexts > 0 and gone.summaries > 0
        assert holding(tmp_path, b"slack:T1:U1")  # the audit says who, without texts
        assert all(line.is_purged for line in await store.audit_lines(person="slack:T1:U1", limit=9_999))


async def test_what_is_too_old_goes_from_every_byte_while_turns_go_on(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "toolbridge.db") as store:
        await fill(store, turns=60, rooms=4, seed=2)
        files = KeptFiles(tmp_path)
        retention = Retention(store=store, files=files, days=1, now=lambda: time.time() + 2 * 86_400)
        async with retention.working():
            for number in range(100):
                if not left(tmp_path, people=PEOPLE, rooms=ROOMS):
                    break
                await store.put_note("n", str(number))
                await asyncio.sleep(0.1)
        assert left(tmp_path, people=PEOPLE, rooms=ROOMS) == []
        assert await store.forget_older(time.time() + 86_400, limit=9) == Forgotten()


async def test_a_reader_in_another_process_delays_that_and_holds_up_nobody(tmp_path: Path) -> None:
    path = tmp_path / "toolbridge.db"
    async with open_sqlite(path, scrub_later_s=0.1) as store:
        await fill(store, turns=20, rooms=1, seed=5)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM message").fetchone()
            await store.clear(place(0))
            scrubbing_ = asyncio.create_task(store.scrub())
            began = time.perf_counter()
            await store.put_note("n", "a turn goes on")
            assert time.perf_counter() - began < 2
            assert await scrubbing_ is False
            assert left(tmp_path, people=PEOPLE, rooms=[0])
            other.execute("COMMIT")
        async with asyncio.timeout(WAIT_S):
            while left(tmp_path, people=PEOPLE, rooms=[0]):  # noqa: ASYNC110  (SQLite says nothing)
                await asyncio.sleep(0.1)


async def test_a_large_database_is_written_again_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "toolbridge.db"
    async with open_sqlite(path, rewritten_bytes=1) as store:
        await fill(store, turns=30, rooms=1, seed=6)
        await store.clear(place(0))
        assert await store.scrub() is False
    async with open_sqlite(path) as store:
        assert await store.scrub_at_start() is True
        assert await store.scrub_at_start() is False
        assert left(tmp_path, people=PEOPLE, rooms=[0]) == []


async def test_free_pages_of_a_database_of_before_are_written_again_once(tmp_path: Path) -> None:
    path = tmp_path / "toolbridge.db"
    async with open_sqlite(path) as store:
        await fill(store, turns=60, rooms=2, seed=7)
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.execute("PRAGMA secure_delete = OFF")
        for table in ("message", "journal", "outbox"):
            old.execute(f"DELETE FROM {table}")
        old.execute("UPDATE turn SET event = ''")
        old.execute("UPDATE conversation SET summary = ''")
        old.execute("UPDATE audit SET arguments = NULL")
        old.execute("INSERT INTO note (name, text) VALUES (?, 'due')", (scrubbing.DUE,))  # as the migration does
    assert left(tmp_path, people=PEOPLE, rooms=[0, 1])
    async with open_sqlite(path) as store:
        assert await store.scrub_at_start()
        assert left(tmp_path, people=PEOPLE, rooms=[0, 1]) == []


async def test_the_figures_for_the_table_find_nothing() -> None:
    figures = await measure(turns=60, seeds=1)
    assert figures["deleted words looked for"] == 6
    assert figures["found in any file"] == 0
