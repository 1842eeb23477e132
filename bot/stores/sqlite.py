"""The Store port on an SQLite file: WAL, synchronous=FULL, one writer with group commit, one reader beside it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import aiosqlite

from bot.errors import LeaseLostError, StoreError
from bot.events import ConversationKey, MessageReceived
from bot.messages import Message, Usage
from bot.ports import (
    ClaimedTurn,
    ConversationSummary,
    HistoryEntry,
    Lease,
    OutboxPost,
    Post,
    Receipt,
    Step,
    UsageTotals,
)
from bot.stores import codec
from bot.stores.group_commit import GroupCommit, settled, store_error

BUSY_TIMEOUT_S = 5.0
HISTORY_ROWS = 5_000  # far above any window; bounds what one turn reads

Row = sqlite3.Row
Rows = Iterable[Row]


@asynccontextmanager
async def open_store(
    path: Path, *, now: Callable[[], float] = time.time, busy_timeout_s: float = BUSY_TIMEOUT_S
) -> AsyncGenerator[SqliteStore]:
    """Open the database file, making it and its folder where they are missing, and bring its schema up to date.

    Raises:
        StoreError: The file cannot be used: no permission, damaged, locked, or written by a newer version.
    """
    _make_private_file(path)
    async with _connected(path, busy_timeout_s) as writer, _connected(path, busy_timeout_s) as reader:
        await _migrate(writer)
        await reader.execute_fetchall("PRAGMA query_only = ON")
        commits = GroupCommit(writer)
        writing = asyncio.create_task(commits.write(), name="store:writer")
        try:
            yield SqliteStore(commits, reader, now)
        finally:
            commits.close()
            await settled(writing)


class SqliteStore:
    """See `bot.ports.Store`. Made by `open_store`; `now` gives seconds since the epoch."""

    def __init__(self, commits: GroupCommit, reader: aiosqlite.Connection, now: Callable[[], float]) -> None:
        self._commits = commits
        self._reader = reader
        self._now = now

    # --- accepting ---

    async def accept(self, event: MessageReceived, *, worker: str, max_waiting: int) -> Receipt:
        body = codec.events.dump_json(event).decode()

        async def unit(db: aiosqlite.Connection) -> Receipt:
            known = await _one(db, "SELECT id FROM turn WHERE event_key = ?", event.event_key)
            if known:
                return Receipt(turn_id=known["id"], is_new=False)
            conversation_id = await _conversation_id(db, event.conversation)
            (waiting,) = await db.execute_fetchall(
                "SELECT count(*) AS open FROM turn WHERE conversation_id = ? AND ended_at IS NULL", (conversation_id,)
            )
            if waiting["open"] >= max_waiting:
                return Receipt(turn_id=None, waits_behind=waiting["open"])
            (turn,) = await db.execute_fetchall(
                "INSERT INTO turn (event_key, conversation_id, event, state, worker, accepted_at)"
                " VALUES (?, ?, ?, 'queued', ?, ?) RETURNING id",
                (event.event_key, conversation_id, body, worker, self._now()),
            )
            return Receipt(turn_id=turn["id"], waits_behind=waiting["open"])

        return await self._commits.run(unit)

    # --- workers and their turns ---

    async def heartbeat(self, worker: str, *, lease_s: float) -> None:
        async def unit(db: aiosqlite.Connection) -> None:
            await db.execute_fetchall(
                "INSERT INTO worker (id, expires_at) VALUES (?, ?)"
                " ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at",
                (worker, self._now() + lease_s),
            )
            await db.execute_fetchall("DELETE FROM worker WHERE expires_at <= ?", (self._now(),))

        await self._commits.run(unit, is_urgent=True)

    async def workers(self) -> Sequence[str]:
        rows = await self._read("SELECT id FROM worker WHERE expires_at > ? ORDER BY id", self._now())
        return [row["id"] for row in rows]

    async def release(self, worker: str) -> None:
        async def unit(db: aiosqlite.Connection) -> None:
            await db.execute_fetchall(
                "UPDATE turn SET attempts = attempts - 1 WHERE worker = ? AND ended_at IS NULL AND attempts > 0",
                (worker,),
            )
            await db.execute_fetchall("DELETE FROM worker WHERE id = ?", (worker,))

        await self._commits.run(unit)

    async def bury(self, worker: str) -> None:
        async def unit(db: aiosqlite.Connection) -> None:
            await db.execute_fetchall("DELETE FROM worker WHERE id = ?", (worker,))

        await self._commits.run(unit)

    async def give_back(self, lease: Lease) -> None:
        async def unit(db: aiosqlite.Connection) -> None:
            await db.execute_fetchall(
                "UPDATE turn SET worker = '' WHERE id = ? AND fence = ? AND ended_at IS NULL",
                (lease.turn_id, lease.fence),
            )

        await self._commits.run(unit)

    async def claim(self, worker: str, *, serves: Sequence[str], limit: int) -> Sequence[ClaimedTurn]:
        served = " OR ".join("substr(conversation.key, 1, length(?)) = ?" for _ in serves)
        statement = _CLAIM.format(served=served)
        prefixes = [prefix for prefix in serves for _ in range(2)]

        async def unit(db: aiosqlite.Connection) -> list[ClaimedTurn]:
            rows = await db.execute_fetchall(statement, (worker, worker, worker, self._now(), *prefixes, limit))
            return sorted(map(_claimed, rows), key=lambda turn: turn.lease.turn_id)

        return await self._commits.run(unit) if serves and limit > 0 else []

    # --- a turn's life ---

    async def record(self, lease: Lease, steps: Sequence[Step]) -> None:
        bodies = [codec.steps.dump_json(step).decode() for step in steps]

        async def unit(db: aiosqlite.Connection) -> None:
            await _hold(db, lease, "state = 'running'")
            for body in bodies:
                await db.execute_fetchall(
                    "INSERT INTO journal (turn_id, step, body)"
                    " SELECT ?, COALESCE(max(step), 0) + 1, ? FROM journal WHERE turn_id = ?",
                    (lease.turn_id, body, lease.turn_id),
                )

        await self._commits.run(unit)

    async def steps(self, turn_id: int) -> Sequence[Step]:
        rows = await self._read("SELECT body FROM journal WHERE turn_id = ? ORDER BY step", turn_id)
        return [codec.steps.validate_json(row["body"]) for row in rows]

    async def reply(
        self,
        lease: Lease,
        *,
        state: Literal["answered", "stopped", "failed"],
        messages: Sequence[Message],
        posts: Sequence[Post],
        usage: Usage,
    ) -> None:
        message_rows = [codec.messages.dump_json(message).decode() for message in messages]
        post_rows = [(lease.turn_id, post.part, codec.posts.dump_json(post).decode()) for post in posts]

        async def unit(db: aiosqlite.Connection) -> None:
            await _hold(db, lease, "state = 'running'")
            now = self._now()
            await db.execute_fetchall(
                "UPDATE turn SET state = 'delivering', outcome = ?,"
                " input_tokens = ?, cached_tokens = ?, output_tokens = ? WHERE id = ?",
                (state, usage.input_tokens, usage.cached_tokens, usage.output_tokens, lease.turn_id),
            )
            await db.executemany(
                "INSERT INTO message (conversation_id, turn_id, body, created_at) VALUES (?, ?, ?, ?)",
                [(lease.conversation_id, lease.turn_id, body, now) for body in message_rows],
            )
            await db.executemany(
                "INSERT INTO outbox (turn_id, part, body, state) VALUES (?, ?, ?, 'pending')", post_rows
            )

        await self._commits.run(unit)

    async def outbox(self, turn_id: int) -> Sequence[OutboxPost]:
        rows = await self._read("SELECT body, state FROM outbox WHERE turn_id = ? ORDER BY part", turn_id)
        return [OutboxPost(post=codec.posts.validate_json(row["body"]), state=row["state"]) for row in rows]

    async def mark_posting(self, lease: Lease, part: int) -> None:
        async def unit(db: aiosqlite.Connection) -> None:
            await _hold(db, lease, "state = 'delivering'")
            await db.execute_fetchall(
                "UPDATE outbox SET state = 'posting' WHERE turn_id = ? AND part = ?", (lease.turn_id, part)
            )

        await self._commits.run(unit)

    async def mark_posted(self, lease: Lease, part: int, *, reference: str, ends_turn: bool) -> None:
        async def unit(db: aiosqlite.Connection) -> None:
            await _hold(db, lease, "state = 'delivering'")
            await db.execute_fetchall(
                "UPDATE outbox SET state = 'posted', reference = ? WHERE turn_id = ? AND part = ?",
                (reference, lease.turn_id, part),
            )
            if ends_turn:
                await db.execute_fetchall(
                    "UPDATE turn SET state = outcome, ended_at = ? WHERE id = ?", (self._now(), lease.turn_id)
                )

        await self._commits.run(unit)

    async def abandon(self, lease: Lease) -> None:
        async def unit(db: aiosqlite.Connection) -> None:
            await _hold(db, lease, "state = 'delivering'")
            await db.execute_fetchall(
                "UPDATE turn SET state = 'undelivered', ended_at = ? WHERE id = ?", (self._now(), lease.turn_id)
            )

        await self._commits.run(unit)

    async def request_stop(self, conversation: ConversationKey) -> int | None:
        async def unit(db: aiosqlite.Connection) -> int | None:
            rows = await db.execute_fetchall(
                "UPDATE turn SET stop_requested = 1 WHERE state IN ('queued', 'running') AND id ="
                " (SELECT min(turn.id) FROM turn JOIN conversation ON conversation.id = turn.conversation_id"
                "  WHERE conversation.key = ? AND turn.ended_at IS NULL) RETURNING id",
                (str(conversation),),
            )
            return next((row["id"] for row in rows), None)

        return await self._commits.run(unit)

    # --- what was said ---

    async def history(self, conversation: ConversationKey) -> Sequence[tuple[int, Message]]:
        rows = await self._read(
            "SELECT turn_id, body FROM ("
            " SELECT message.id, message.turn_id, message.body FROM message"
            " JOIN conversation ON conversation.id = message.conversation_id"
            " WHERE conversation.key = ? AND message.turn_id >= conversation.window_turn_id"
            " ORDER BY message.turn_id DESC, message.id DESC LIMIT ?) ORDER BY turn_id, id",
            str(conversation),
            HISTORY_ROWS,
        )
        return [(row["turn_id"], codec.messages.validate_json(row["body"])) for row in rows]

    async def move_window(self, conversation: ConversationKey, *, first_turn_id: int) -> None:
        async def unit(db: aiosqlite.Connection) -> None:
            await db.execute_fetchall(
                "UPDATE conversation SET window_turn_id = ? WHERE key = ? AND window_turn_id < ?",
                (first_turn_id, str(conversation), first_turn_id),
            )

        await self._commits.run(unit)

    async def transcript(self, conversation: ConversationKey, *, limit: int) -> Sequence[HistoryEntry]:
        rows = await self._read(
            "SELECT created_at, turn_id, body FROM message"
            " WHERE conversation_id = (SELECT id FROM conversation WHERE key = ?)"
            " ORDER BY turn_id DESC, id DESC LIMIT ?",
            str(conversation),
            limit,
        )
        return [_entry(row) for row in reversed(rows)]

    async def conversations(self, *, limit: int, prefix: str = "") -> Sequence[ConversationSummary]:
        rows = await self._read(
            "SELECT conversation.key, count(*) AS messages, max(message.created_at) AS last_at FROM message"
            " JOIN conversation ON conversation.id = message.conversation_id"
            " WHERE substr(conversation.key, 1, length(?)) = ?"
            " GROUP BY conversation.id ORDER BY last_at DESC LIMIT ?",
            prefix,
            prefix,
            limit,
        )
        return [
            ConversationSummary(
                conversation=ConversationKey.parse(row["key"]),
                message_count=row["messages"],
                last_at=datetime.fromtimestamp(row["last_at"], UTC),
            )
            for row in rows
        ]

    async def clear(self, conversation: ConversationKey) -> int:
        async def unit(db: aiosqlite.Connection) -> int:
            conversation_id = await _conversation_id(db, conversation)
            await db.execute_fetchall("DELETE FROM message WHERE conversation_id = ?", (conversation_id,))
            (gone,) = await db.execute_fetchall("SELECT changes() AS messages")
            ended = "(SELECT id FROM turn WHERE conversation_id = ? AND ended_at IS NOT NULL AND event <> '')"
            for table in ("journal", "outbox"):
                await db.execute_fetchall(
                    f"DELETE FROM {table} WHERE turn_id IN {ended}",  # noqa: S608  (no outside text in it)
                    (conversation_id,),
                )
            await db.execute_fetchall(
                "UPDATE turn SET event = '' WHERE conversation_id = ? AND ended_at IS NOT NULL AND event <> ''",
                (conversation_id,),
            )
            return gone["messages"]

        return await self._commits.run(unit)

    async def usage(self, conversation: ConversationKey | None = None) -> UsageTotals:
        where = "WHERE conversation_id = (SELECT id FROM conversation WHERE key = ?)" if conversation else ""
        (row,) = await self._read(
            "SELECT count(*) AS turns, COALESCE(sum(input_tokens), 0) AS input,"  # noqa: S608  (no outside text in it)
            " COALESCE(sum(cached_tokens), 0) AS cached, COALESCE(sum(output_tokens), 0) AS output"
            f" FROM turn {where}",
            *((str(conversation),) if conversation else ()),
        )
        usage = Usage(input_tokens=row["input"], cached_tokens=row["cached"], output_tokens=row["output"])
        return UsageTotals(turns=row["turns"], usage=usage)

    async def _read(self, statement: str, *parameters: Any) -> list[Row]:
        try:
            return list(await self._reader.execute_fetchall(statement, parameters))
        except sqlite3.Error as error:
            raise store_error(error) from error


# A turn is free when it waits here, or when the worker that had it (accepted or ran it) is not alive any more.
_CLAIM = """
UPDATE turn
SET state = CASE state WHEN 'queued' THEN 'running' ELSE state END,
    worker = ?, fence = fence + 1, attempts = attempts + 1
WHERE id IN (
    SELECT candidate.id FROM turn AS candidate
    JOIN conversation ON conversation.id = candidate.conversation_id
    WHERE candidate.ended_at IS NULL
      AND NOT EXISTS (
        SELECT 1 FROM turn AS earlier
        WHERE earlier.conversation_id = candidate.conversation_id
          AND earlier.ended_at IS NULL AND earlier.id < candidate.id)
      AND (candidate.worker = ? AND candidate.state = 'queued'
        OR candidate.worker <> ? AND NOT EXISTS (
          SELECT 1 FROM worker WHERE worker.id = candidate.worker AND worker.expires_at > ?))
      AND ({served})
    ORDER BY candidate.id LIMIT ?)
RETURNING id, conversation_id, fence, attempts, event, state, stop_requested
"""


def _claimed(row: Row) -> ClaimedTurn:
    return ClaimedTurn(
        lease=Lease(
            turn_id=row["id"],
            conversation_id=row["conversation_id"],
            fence=row["fence"],
            attempt=row["attempts"],
        ),
        event=codec.events.validate_json(row["event"]),
        state=row["state"],
        stop_requested=bool(row["stop_requested"]),
    )


def _entry(row: Row) -> HistoryEntry:
    return HistoryEntry(
        at=datetime.fromtimestamp(row["created_at"], UTC),
        turn_id=row["turn_id"],
        message=codec.messages.validate_json(row["body"]),
    )


async def _one(db: aiosqlite.Connection, statement: str, *parameters: Any) -> Row | None:
    return next(iter(await db.execute_fetchall(statement, parameters)), None)


async def _conversation_id(db: aiosqlite.Connection, conversation: ConversationKey) -> int:
    (row,) = await db.execute_fetchall(
        "INSERT INTO conversation (key) VALUES (?) ON CONFLICT (key) DO UPDATE SET key = excluded.key RETURNING id",
        (str(conversation),),
    )
    return row["id"]


async def _hold(db: aiosqlite.Connection, lease: Lease, condition: str) -> None:
    """Raise LeaseLostError unless the turn still belongs to this lease and is in the right state."""
    statement = f"SELECT 1 FROM turn WHERE id = ? AND fence = ? AND {condition}"  # noqa: S608  (no outside text in it)
    if await _one(db, statement, lease.turn_id, lease.fence) is None:
        raise LeaseLostError(f"Turn {lease.turn_id} is worked on by another process now.")


# --- opening ---


def _make_private_file(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Conversations are private: only the owner reads them. SQLite gives its side files the same mode.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise StoreError(
            f"The database {path} cannot be opened ({error.strerror}). Check the folder, or set TOOLBRIDGE_HOME."
        ) from error


@asynccontextmanager
async def _connected(path: Path, busy_timeout_s: float) -> AsyncGenerator[aiosqlite.Connection]:
    connection = aiosqlite.connect(path, timeout=busy_timeout_s, isolation_level=None)
    try:
        async with connection as db:
            db.row_factory = sqlite3.Row
            await _use_wal(db, busy_timeout_s)
            for pragma in ("synchronous = FULL", "foreign_keys = ON"):
                await db.execute_fetchall(f"PRAGMA {pragma}")
            yield db
    except sqlite3.Error as error:
        raise store_error(error) from error


async def _use_wal(db: aiosqlite.Connection, busy_timeout_s: float) -> None:
    deadline = time.monotonic() + busy_timeout_s
    while True:
        try:
            await db.execute_fetchall("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # Where two processes make one file at the same moment, SQLite refuses here without waiting.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            await asyncio.sleep(0.02)
        else:
            return


async def _migrate(db: aiosqlite.Connection) -> None:
    scripts = sorted(
        (int(entry.name.partition("_")[0]), entry.read_text(encoding="utf-8"))
        for entry in (resources.files("bot.stores") / "migrations").iterdir()
        if entry.name.endswith(".sql")
    )
    newest = scripts[-1][0]
    await db.execute_fetchall("BEGIN IMMEDIATE")  # two processes may start at once: the second finds it done
    try:
        (version,) = await db.execute_fetchall("PRAGMA user_version")
        if version[0] > newest:
            raise StoreError(
                f"The database was written by a newer version of Toolbridge (schema {version[0]}, this one knows "
                f"{newest}). Upgrade Toolbridge, or set TOOLBRIDGE_HOME to another folder."
            )
        for number, script in scripts:
            if number > version[0]:
                await _run_script(db, script)
                await db.execute_fetchall(f"PRAGMA user_version = {number}")
        await db.execute_fetchall("COMMIT")
    except BaseException:
        if db.in_transaction:
            await db.execute_fetchall("ROLLBACK")
        raise


async def _run_script(db: aiosqlite.Connection, script: str) -> None:
    # executescript would commit the transaction that this is part of
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            await db.execute_fetchall(statement)
            statement = ""
