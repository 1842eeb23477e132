"""An SQLite database with something in every table, moved to PostgreSQL: both are read through the Store port."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bot.domain.answers import Known, Queued
from bot.domain.errors import SettingsError, StoreError
from bot.ports.store import Store
from bot.stores.moving import FILES, LEFT_OUT, TABLES, Move
from bot.stores.postgres.options import PostgresOptions
from bot.stores.postgres.store import open_postgres
from bot.stores.sqlite.migrate import migrate
from bot.stores.sqlite.store import open_sqlite
from tests.contracts.stores import ALL, HERE, Clock, question
from tests.fakes import postgres
from tests.integration.test_rolling_upgrade import RECORDED, as_released, replay

# Together they leave something in each table that the released version had.
RECORDINGS = (
    "test_ratings_and_edits_of_the_person_go_and_that_they_decided_stays",
    "test_clearing_removes_the_texts_of_ended_asks_and_leaves_what_their_messages_need",
    "test_a_stop_of_one_turn_stops_that_one_or_none",
    "test_answers_can_be_rated_again_by_several_people_and_after_a_clear",
    "test_the_tools_that_a_conversation_was_sent_are_kept_until_it_is_cleared",
    "test_a_notice_is_posted_by_one_process_and_once",
    "test_the_accounts_of_one_person_are_counted_together",
    "test_a_grant_holds_until_its_end_for_exactly_what_it_was_given_for",
    "test_what_an_operator_did_not_see_is_not_accepted",
)
WORKSPACE = "c-" + "0a" * 32


def filled(folder: Path, name: str) -> Path:
    """Return a database as a recorded test leaves it, with rows of what came later, and saved files beside it."""
    path = folder / "toolbridge.db"
    with closing(as_released(path)) as connection:
        migrate(connection)
        replay(connection, RECORDED[name])
        connection.execute("DELETE FROM worker")
        connection.execute("INSERT INTO slot VALUES ('discord/1/shard/0/of/1', '', 7, 5.0, 'session')")
        connection.execute("INSERT INTO rate VALUES ('posts', 12.5, '')")
    saved = folder / "workspaces" / WORKSPACE
    saved.mkdir(parents=True)
    (saved / "a.txt").write_bytes(b"saved \xff")
    (saved / ".draft").write_bytes(b"half")
    return path


def move_of(path: Path, *, schema: str, batch_rows: int = 7) -> Move:
    return Move(
        source=path,
        url=postgres.server().url,
        options=PostgresOptions(schema=schema),
        workspaces=path.parent / "workspaces",
        batch_rows=batch_rows,
    )


def rows_of(path: Path) -> Mapping[str, int]:
    with closing(sqlite3.connect(path)) as connection:
        return {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}


async def read(store: Store) -> Sequence[Any]:
    """Return all that the port reads."""
    found: list[Any] = [await store.usage(), await store.open_turns(), await store.slots(""), await store.notes("a")]
    found += [await store.audit_lines(limit=10_000), await store.pins(), await store.asks()]
    found += [await store.due_ask_posts(serves=ALL), await store.top_ledgers("2027-01", limit=99)]
    found += [await store.past_calls(since=0.0), await store.unplanned_asks(serves=ALL)]
    summaries = [*await store.conversations(limit=999), *await store.open_conversations(prefix="")]
    for conversation in [summary.conversation for summary in summaries]:
        found += [await store.history(conversation), await store.unsummarised(conversation)]
        found += [await store.transcript(conversation, limit=999), await store.knowledge(conversation)]
        found += [await store.tool_memory(conversation), await store.participants(conversation)]
        timeline = await store.timeline(conversation)
        found += [timeline, await store.kept_events(conversation), await store.usage(conversation)]
        for turn in timeline:
            found += [await store.asks(turn_id=turn.turn_id, is_pending=False), await store.outbox(turn.turn_id)]
    return [summaries, *found]


def test_there_is_something_in_each_table_and_each_table_is_moved_or_left_out_on_purpose(tmp_path: Path) -> None:
    left: set[str] = set()
    for name in RECORDINGS:
        (folder := tmp_path / name).mkdir()
        path = filled(folder, name)
        left |= {table for table, rows in rows_of(path).items() if rows}
    assert left == set(TABLES)
    with closing(sqlite3.connect(path)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables == {*TABLES, *LEFT_OUT}


@pytest.mark.parametrize("name", RECORDINGS)
async def test_what_was_moved_reads_the_same_and_new_work_goes_on_from_there(name: str, tmp_path: Path) -> None:
    path, schema, clock, told = filled(tmp_path, name), postgres.new_schema(), Clock(), list[tuple[str, int, int]]()
    before = rows_of(path)
    counts = await asyncio.to_thread(move_of(path, schema=schema).run, lambda *one: told.append(one))
    own = 1  # note: which schema the file is usable from
    assert counts == before | {"note": before["note"] - own, FILES: 1}
    assert [one for one in told if one[1] == one[2]][-1] == (FILES, 1, 1)
    async with (
        open_sqlite(path, now=clock, steady=clock.steady) as old,
        open_postgres(postgres.server().url, PostgresOptions(schema=schema), now=clock, steady=clock.steady) as new,
    ):
        assert await read(new) == await read(old)
        both = [await store.accept(question(key="after-the-move"), worker=HERE, max_waiting=99) for store in (old, new)]
        assert isinstance(both[0], Queued) and both[0] == both[1]
        assert isinstance(await new.accept(question(key="after-the-move"), worker=HERE, max_waiting=99), Known)
        for store in (old, new):
            await store.heartbeat(HERE, lease_s=15)
        claimed = [await store.claim(HERE, serves=ALL, limit=99) for store in (old, new)]
        assert claimed[0] == claimed[1]
    found = postgres.server().run(f"SELECT workspace, name, body FROM {schema}.file")
    assert found == [(WORKSPACE, "a.txt", b"saved \xff")]


# --- broken off ------------------------------------------------------------------------------------------------


def bulk(folder: Path) -> Path:
    """Return a database with many messages, in which ids are missing and a text has what PostgreSQL cannot store."""
    path = filled(folder, RECORDINGS[0])
    with closing(sqlite3.connect(path)) as connection, connection:
        (conversation, turn) = connection.execute("SELECT conversation_id, id FROM turn").fetchone()
        connection.executemany(
            "INSERT INTO message (id, conversation_id, turn_id, body, created_at) VALUES (?, ?, ?, ?, ?)",
            [(number * 3 + 100, conversation, turn, f"body {number} \u2713", number / 7) for number in range(500)],
        )
        connection.execute("INSERT INTO note VALUES ('nul', 'a' || char(0) || 'b')")
    return path


KILLED = """
import os, signal, sys, threading
from pathlib import Path
from bot.stores.moving import Move
from bot.stores.postgres.options import PostgresOptions

path, url, schema, table, at = Path(sys.argv[1]), *sys.argv[2:5], int(sys.argv[5])
def progress(name, moved, there_are):
    if name == table and moved >= at:
        os.kill(os.getpid(), signal.SIGKILL)
files = path.parent / "workspaces"
move = Move(source=path, url=url, options=PostgresOptions(schema=schema), workspaces=files, batch_rows=7)
move.run(progress)
"""


async def test_a_move_that_was_killed_goes_on_and_ends_complete(tmp_path: Path) -> None:
    path, schema = bulk(tmp_path), postgres.new_schema()
    for table, at in (("journal", 1), ("message", 200), ("audit", 0)):
        arguments = [sys.executable, "-c", KILLED, str(path), postgres.server().url, schema, table, str(at)]
        killed = await asyncio.to_thread(subprocess.run, arguments, capture_output=True, timeout=60)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    with pytest.raises(StoreError, match="has not ended"):
        async with open_postgres(postgres.server().url, PostgresOptions(schema=schema)):
            pass
    told: list[tuple[str, int, int]] = []
    counts = await asyncio.to_thread(move_of(path, schema=schema).run, lambda *one: told.append(one))
    first = next(one for one in told if one[0] == "message")
    assert first[1] == first[2] == counts["message"] > 500  # nothing of it is moved again
    with closing(sqlite3.connect(path)) as connection:
        wanted = connection.execute("SELECT id, body, created_at FROM message ORDER BY id").fetchall()
    assert postgres.server().run(f"SELECT id, body, created_at FROM {schema}.message ORDER BY id") == wanted
    assert postgres.server().run(f"SELECT text FROM {schema}.note WHERE name = 'nul'") == [("a\ufffdb",)]


async def test_one_that_is_stopped_goes_on_and_nothing_of_another_database_is_mixed_in(tmp_path: Path) -> None:
    path, schema = bulk(tmp_path), postgres.new_schema()
    move = move_of(path, schema=schema)
    with pytest.raises(SettingsError, match="stopped"):
        await asyncio.to_thread(move.run, lambda name, moved, _: move.stop.set() if name == "journal" else None)
    async with open_sqlite(path) as store:  # the bot goes on with the old one
        await store.accept(question(), worker=HERE, max_waiting=99)
    with pytest.raises(SettingsError, match=r"used since.*DROP SCHEMA"):
        await asyncio.to_thread(move_of(path, schema=schema).run, lambda *_: None)


# --- what is refused -------------------------------------------------------------------------------------------


async def refused(path: Path, schema: str) -> str:
    with pytest.raises(SettingsError) as caught:
        await asyncio.to_thread(move_of(path, schema=schema).run, lambda *_: None)
    return str(caught.value)


async def test_a_database_on_which_a_process_works_is_not_moved(tmp_path: Path) -> None:
    path, schema = filled(tmp_path, RECORDINGS[0]), postgres.new_schema()
    async with open_sqlite(path) as store:
        await store.heartbeat("worker", lease_s=60)
    assert "A process works on the old database. Stop `toolbridge run`" in await refused(path, schema)


async def test_nothing_is_moved_into_a_database_that_has_something_or_is_worked_on(tmp_path: Path) -> None:
    path, schema = filled(tmp_path, RECORDINGS[0]), postgres.new_schema()
    async with open_postgres(postgres.server().url, PostgresOptions(schema=schema)) as store:
        await store.heartbeat("worker", lease_s=60)
        assert "A process works on the new database" in await refused(path, schema)
        await store.release("worker")
        await store.put_note("a", "b")
    assert "not empty: it has rows in note" in await refused(path, schema)
