"""The SQLite store against what happens to files and processes: kills, locks, damage, other versions, other users."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.domain.answers import Known, Queued
from bot.domain.errors import StoreError
from bot.domain.events import ConversationKey, MessageReceived
from bot.domain.turns import CallStarted
from bot.ports.store import Store
from bot.stores.sqlite.migrate import USABLE_FROM
from bot.stores.sqlite.store import open_sqlite
from bot.turns.worker import expire_dead_workers
from tests.fakes.database import locked

ROOT = Path(__file__).parents[2]
WAIT_S = 30.0

CHILD = """
import asyncio, sys
from pathlib import Path
from bot.stores.sqlite.store import open_sqlite
from bot.turns.worker import new_worker_id
from bot.domain.turns import CallStarted
from tests.integration.test_store_durability import question

async def main() -> None:
    print("ready", flush=True)
    sys.stdin.readline()
    worker = new_worker_id()
    async with open_sqlite(Path(sys.argv[1])) as store:
{body}

asyncio.run(main())
"""
ACCEPT_FOREVER = """
        await store.heartbeat(worker, lease_s=60)
        number = 0
        while True:
            keys = [f"{sys.argv[2]}-{number + offset}" for offset in range(5)]
            number += 5
            queued = await asyncio.gather(
                *(store.accept(question(key), worker=worker, max_waiting=10**9) for key in keys)
            )
            print(*(f"{key}={turn.turn_id}" for key, turn in zip(keys, queued)), flush=True)
"""
ACCEPT_FIFTY = """
        for number in range(50):
            await store.accept(question(f"{sys.argv[2]}-{number}"), worker=worker, max_waiting=10**9)
"""
WORK_AND_HANG = """
        await store.heartbeat(worker, lease_s=3600)
        await store.accept(question("q"), worker=worker, max_waiting=10)
        (turn,) = await store.claim(worker, serves=["test/"], limit=1)
        await store.record(turn.lease, [CallStarted(round=0, call_id="c1")])
        print("worked", flush=True)
        await asyncio.sleep(3600)
"""
HEARTBEAT = """
        await store.heartbeat(worker, lease_s=60)
"""

Child = subprocess.Popen[str]


def question(key: str, *, conversation: str = "room") -> MessageReceived:
    return MessageReceived(
        conversation=ConversationKey(platform="test", space="team", channel=conversation),
        event_key=key,
        author_id="u1",
        author_name="Ann",
        text=f"What about {key}?",
        sent_at=datetime(2026, 11, 1, tzinfo=UTC),
    )


@contextmanager
def child(body: str, path: Path, name: str = "") -> Generator[Child]:
    """A process that has everything imported and waits for a line; killed at the end if it is still there."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(body=body), str(path), name],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert line_of(process) == "ready"
        yield process
    finally:
        process.kill()
        process.communicate(timeout=WAIT_S)


def line_of(process: Child) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def start(process: Child) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


async def known(store: Store, key: str) -> int | None:
    """Return the turn of an event that is stored already."""
    outcome = await store.accept(question(key), worker="test", max_waiting=0)
    return outcome.turn_id if isinstance(outcome, Known) else None


# --- processes -------------------------------------------------------------------------------------------------


async def test_every_message_that_a_killed_process_acknowledged_is_stored(tmp_path: Path) -> None:
    path, acknowledged = tmp_path / "a.db", dict[str, int]()
    for round_number in range(3):
        with child(ACCEPT_FOREVER, path, f"round-{round_number}") as process:
            start(process)
            for _ in range(10 + 7 * round_number):
                acknowledged |= parse_acknowledged(await asyncio.to_thread(line_of, process))
            process.send_signal(signal.SIGKILL)
            rest, _ = process.communicate(timeout=WAIT_S)
            for line in rest.splitlines(keepends=True):
                if line.endswith("\n"):
                    acknowledged |= parse_acknowledged(line)
    assert len(acknowledged) >= 5 * (10 + 17 + 24)
    async with open_sqlite(path) as store:
        assert {key: await known(store, key) for key in acknowledged} == acknowledged
    assert integrity(path) == "ok"


def parse_acknowledged(line: str) -> dict[str, int]:
    pairs = (item.split("=") for item in line.split())
    return {key: int(turn_id) for key, turn_id in pairs}


def integrity(path: Path) -> str:
    with sqlite3.connect(path) as connection:
        return connection.execute("PRAGMA integrity_check").fetchone()[0]


async def test_two_processes_write_to_one_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with child(ACCEPT_FIFTY, path, "theirs") as process:
        async with open_sqlite(path) as store:
            start(process)
            for number in range(50):
                await store.accept(question(f"ours-{number}"), worker="us", max_waiting=10**9)
            assert await asyncio.to_thread(process.wait, WAIT_S) == 0
            turns = {await known(store, f"{whose}-{number}") for whose in ("ours", "theirs") for number in range(50)}
    assert len(turns - {None}) == 100


async def test_processes_that_make_the_database_at_the_same_moment_all_open_it(tmp_path: Path) -> None:
    for round_number in range(3):
        path = tmp_path / f"{round_number}.db"
        with (
            child(HEARTBEAT, path) as one,
            child(HEARTBEAT, path) as two,
            child(HEARTBEAT, path) as three,
        ):
            for process in (one, two, three):
                start(process)
            for process in (one, two, three):
                assert await asyncio.to_thread(process.wait, WAIT_S) == 0
        async with open_sqlite(path) as store:
            assert len(await store.workers()) == 3


async def test_many_connections_that_make_the_database_at_the_same_moment_all_open_it(tmp_path: Path) -> None:
    async def use(path: Path, worker: str) -> None:
        async with open_sqlite(path) as store:
            await store.heartbeat(worker, lease_s=60)

    for round_number in range(15):  # SQLite's refusal without a wait is rare: about one in a hundred
        path = tmp_path / f"{round_number}.db"
        await asyncio.gather(*(use(path, str(number)) for number in range(6)))


async def test_the_turn_of_a_killed_process_is_taken_over_with_its_journal(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with child(WORK_AND_HANG, path) as process:
        start(process)
        assert await asyncio.to_thread(line_of, process) == "worked"
        async with open_sqlite(path) as store:
            await store.heartbeat("us", lease_s=60)
            assert await expire_dead_workers(store) == []
            assert await store.claim("us", serves=["test/"], limit=10) == []
            process.send_signal(signal.SIGKILL)
            await asyncio.to_thread(process.wait, WAIT_S)
            assert len(await expire_dead_workers(store)) == 1
            (turn,) = await store.claim("us", serves=["test/"], limit=10)
            assert turn.event == question("q") and turn.lease.attempt == 2
            assert await store.steps(turn.lease.turn_id) == [CallStarted(round=0, call_id="c1")]


# --- locks -----------------------------------------------------------------------------------------------------


async def test_a_locked_database_is_an_error_with_its_cure_and_works_again_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with open_sqlite(path, busy_timeout_s=0.2) as store:
        with locked(path):
            with pytest.raises(StoreError, match="another process has locked it; end that process or try again"):
                await store.accept(question("q"), worker="us", max_waiting=10)
            assert await store.workers() == []  # reading goes on
        assert isinstance(await store.accept(question("q"), worker="us", max_waiting=10), Queued)


async def test_a_database_that_is_locked_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with open_sqlite(path, busy_timeout_s=WAIT_S) as store:
        with locked(path):
            accepting = asyncio.create_task(store.accept(question("q"), worker="us", max_waiting=10))
            await asyncio.sleep(0.1)
            assert not accepting.done()
        assert isinstance(await accepting, Queued)


async def test_a_database_that_is_locked_when_it_is_opened_is_an_error_with_its_cure(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with open_sqlite(path):
        pass
    with locked(path), pytest.raises(StoreError, match="another process has locked it"):
        async with open_sqlite(path, busy_timeout_s=0.2):
            pass


# --- files -----------------------------------------------------------------------------------------------------


async def test_the_database_and_its_side_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with open_sqlite(tmp_path / "home" / "a.db") as store:
            await store.heartbeat("us", lease_s=1)
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "home").iterdir()}
    finally:
        os.umask(before)
    assert modes == {"a.db": 0o600, "a.db-wal": 0o600, "a.db-shm": 0o600}
    assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o700


async def test_every_commit_is_flushed_to_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with open_sqlite(path) as store:

        async def ask(pragma: str) -> object:  # a power cut cannot be made here
            (row,) = await store.engine.write(lambda db: db.execute(f"PRAGMA {pragma}"))
            return row[pragma]

        assert [await ask(name) for name in ("journal_mode", "synchronous", "foreign_keys")] == ["wal", 2, 1]


@pytest.mark.parametrize("damage", ["no database", "torn header", "torn pages"])
async def test_a_damaged_file_is_an_error_with_its_cure(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.db"
    async with open_sqlite(path) as store:
        for number in range(20):
            await store.accept(question(f"q{number}"), worker="us", max_waiting=100)
    content = path.read_bytes()
    match damage:
        case "no database":
            path.write_bytes(b"These are the notes of somebody else.\n" * 500)
        case "torn header":
            path.write_bytes(b"\xff" * 40 + content[40:])
        case _:
            path.write_bytes(content[:100] + b"\xff" * (len(content) - 100))
    with pytest.raises(StoreError, match="the file is damaged; restore a backup, or move it away"):
        async with open_sqlite(path) as store:
            await store.accept(question("another"), worker="us", max_waiting=100)


async def test_a_database_of_a_newer_version_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with open_sqlite(path):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
        connection.execute("UPDATE note SET text = '99' WHERE name = ?", (USABLE_FROM,))
    with pytest.raises(StoreError, match=r"newer version of Toolbridge \(schema 99"):
        async with open_sqlite(path):
            pass
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (99,)


async def test_a_failed_migration_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE message (mine TEXT)")  # the last table that the schema makes
    with pytest.raises(StoreError):
        async with open_sqlite(path):
            pass
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("message",)]
        assert connection.execute("PRAGMA user_version").fetchone() == (0,)


async def test_a_place_where_no_file_can_be_made_is_an_error_that_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "file" / "a.db", tmp_path / "file" / "deeper" / "a.db", tmp_path):
        with pytest.raises(StoreError, match="set TOOLBRIDGE_HOME"):
            async with open_sqlite(path):
                pass


# --- a long life -----------------------------------------------------------------------------------------------


async def test_work_stays_as_quick_with_many_thousand_ended_turns(tmp_path: Path) -> None:
    """Fifty times slower, as with a search through all turns, would be seen here; the noise of a busy machine not."""
    async with open_sqlite(tmp_path / "new.db") as new, open_sqlite(tmp_path / "old.db") as old:
        fill_with_ended_turns(tmp_path / "old.db", 30_000)
        await new.heartbeat("us", lease_s=3600)
        await old.heartbeat("us", lease_s=3600)
        fresh, grown = [await measure(store) for store in (new, old)]
    assert {name for name, seconds in grown.items() if seconds > 10 * fresh[name] + 0.005} == set()


def fill_with_ended_turns(path: Path, count: int) -> None:
    turns = [(f"old-{number}", "x" * 500) for number in range(count)]
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO conversation (id, key) VALUES (1, 'test/team/room/')")
        connection.executemany(
            "INSERT INTO turn (event_key, conversation_id, event, state, worker, accepted_at, ended_at)"
            " VALUES (?, 1, ?, 'answered', 'w', 1, 2)",
            turns,
        )
        connection.execute(
            "INSERT INTO message (conversation_id, turn_id, body, created_at) SELECT 1, id, ?, 2 FROM turn",
            ('{"kind": "user", "text": "old"}',),
        )
        connection.execute("UPDATE conversation SET window_message_id = ?", (count - 10,))


async def measure(store: Store) -> dict[str, float]:
    """Return the shortest of some runs of each operation that every turn needs, in seconds."""
    room = question("q").conversation
    best: dict[str, float] = {}
    for number in range(7):
        works = {
            "accept": store.accept(question(f"new-{number}"), worker="us", max_waiting=100),
            "claim": store.claim("us", serves=["test/"], limit=10),
            "stop": store.request_stop(room, by="test:u1"),
            "signals": store.signals("us"),
            "wake": store.wake_expired(),
            "history": store.history(room),
            "window": store.move_window(room, past_turn_id=number),
            "transcript": store.transcript(room, limit=20),
        }
        for name, work in works.items():
            begun = time.perf_counter()
            await work
            best[name] = min(best.get(name, 1e9), time.perf_counter() - begun)
    return best
