"""The Store port on an SQLite file: WAL, synchronous=FULL, one writer with group commit, one reader beside it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from bot.domain.answers import Receipt
from bot.domain.errors import LeaseLostError, StoreError
from bot.domain.events import ConversationKey, MessageReceived, Rating
from bot.domain.messages import Message, Usage
from bot.domain.turns import Post, Step
from bot.ports.store import (
    ClaimedTurn,
    ConversationSummary,
    HistoryEntry,
    Lease,
    OutboxPost,
    Revision,
    UsageTotals,
    author_key,
)
from bot.stores import codec
from bot.stores.leases import LeaseClock
from bot.stores.sqlite.connection import Connection, settled
from bot.stores.sqlite.group_commit import GroupCommit, store_error
from bot.text.split import cut

BUSY_TIMEOUT_S = 5.0
HISTORY_ROWS = 5_000  # far above any window; bounds what one turn reads
TITLE_CHARS = 80

Row = sqlite3.Row


@asynccontextmanager
async def open_store(
    path: Path,
    *,
    now: Callable[[], float] = time.time,
    steady: Callable[[], float] | None = None,
    busy_timeout_s: float = BUSY_TIMEOUT_S,
) -> AsyncGenerator[SqliteStore]:
    """Open the database file, making it and its folder where they are missing, and bring its schema up to date.

    `now` gives seconds since the epoch, `steady` seconds of a clock that is never set; without it that is the system's,
    or `now` itself where that was given.

    Raises:
        StoreError: The file cannot be used: no permission, damaged, locked, or written by a newer version.
    """
    _make_private_file(path)
    async with (
        _connected(path, busy_timeout_s, thread="store-writer") as writer,
        _connected(path, busy_timeout_s, thread="store-reader") as reader,
    ):
        await writer.run(_migrate)
        await reader.run(lambda db: db.execute("PRAGMA query_only = ON"))
        commits = GroupCommit(writer)
        writing = asyncio.create_task(commits.write(), name="store:writer")
        try:
            steady = steady or (time.monotonic if now is time.time else now)
            yield SqliteStore(commits, reader, now, leases=LeaseClock(now, steady))
        finally:
            commits.close()
            await settled(writing)


class SqliteStore:
    """See `bot.ports.store.Store`. Made by `open_store`; `now` gives seconds since the epoch."""

    def __init__(
        self, commits: GroupCommit, reader: Connection, now: Callable[[], float], *, leases: LeaseClock
    ) -> None:
        self._commits = commits
        self._reader = reader
        self._now = now
        self._leases = leases

    # --- accepting ---

    async def accept(
        self, event: MessageReceived, *, worker: str, max_waiting: int, max_open: int | None = None
    ) -> Receipt:
        body = codec.events.dump_json(event).decode()
        platform = event.conversation.platform
        author = author_key(event.conversation, event.author_id)

        def unit(db: sqlite3.Connection) -> Receipt:
            known = _one(db, "SELECT id FROM turn WHERE event_key = ?", event.event_key)
            if known:
                return Receipt(turn_id=known["id"], is_new=False)
            conversation_id = _conversation_id(db, event.conversation)
            (waiting,) = db.execute(
                "SELECT count(*) AS open FROM turn WHERE conversation_id = ? AND ended_at IS NULL", (conversation_id,)
            ).fetchall()
            is_full = max_open is not None and _open_turns(db, worker, platform) >= max_open
            if is_full or waiting["open"] >= max_waiting:
                return Receipt(turn_id=None, waits_behind=waiting["open"])
            (turn,) = db.execute(
                "INSERT INTO turn (event_key, conversation_id, event, state, worker, accepted_at,"
                " is_first, has_waited, platform, author)"
                " VALUES (?, ?, ?, 'queued', ?, ?, ?, ?, ?, ?) RETURNING id",
                (
                    event.event_key,
                    conversation_id,
                    body,
                    worker,
                    self._now(),
                    int(waiting["open"] == 0),
                    int(waiting["open"] > 0),
                    platform,
                    author,
                ),
            ).fetchall()
            return Receipt(turn_id=turn["id"], waits_behind=waiting["open"])

        return await self._commits.run(unit)

    async def find(self, event_key: str) -> int | None:
        rows = await self._read("SELECT id FROM turn WHERE event_key = ?", event_key)
        return next((row["id"] for row in rows), None)

    async def takes_part(self, conversation: ConversationKey) -> bool:
        key = str(conversation)
        if await self._read(_TAKES_PART, key):
            return True
        # The question that this one follows may be among those that wait for the next commit: behind them it is known.
        return await self._commits.run(lambda db: _one(db, _TAKES_PART, key) is not None)

    async def edit(self, message: MessageReceived) -> Revision:
        def unit(db: sqlite3.Connection) -> Revision:
            turn = _one(db, "SELECT id, state, ended_at, event FROM turn WHERE event_key = ?", message.event_key)
            if turn is None or not turn["event"]:
                return "unknown"
            stored = codec.events.validate_json(turn["event"])
            if _is_outdated(message, stored):
                return "none"
            if turn["state"] == "queued":
                revised = replace(stored, text=message.text, edited_at=message.edited_at)
                db.execute(
                    "UPDATE turn SET event = ? WHERE id = ?", (codec.events.dump_json(revised).decode(), turn["id"])
                )
                return "made"
            if message.text == stored.text:
                return "none"
            return "ended" if turn["ended_at"] else "started"

        return await self._commits.run(unit)

    async def withdraw(self, event_key: str) -> Revision:
        def unit(db: sqlite3.Connection) -> Revision:
            turn = _one(db, "SELECT id, conversation_id, state, ended_at FROM turn WHERE event_key = ?", event_key)
            if turn is None:
                return "unknown"
            if turn["state"] != "queued":
                return "ended" if turn["ended_at"] else "started"
            db.execute("UPDATE turn SET event = '' WHERE id = ?", (turn["id"],))
            _end(db, turn["id"], turn["conversation_id"], "'withdrawn'", now=self._now())
            return "made"

        return await self._commits.run(unit)

    # --- workers and their turns ---

    async def heartbeat(self, worker: str, *, lease_s: float) -> None:
        def unit(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT INTO worker (id, expires_at) VALUES (?, ?)"
                " ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at",
                (worker, self._leases.end_of(lease_s)),
            )
            latest = self._leases.latest_end()
            db.execute("UPDATE worker SET expires_at = ? WHERE expires_at > ?", (latest, latest))
            db.execute("DELETE FROM worker WHERE expires_at <= ?", (self._leases.cutoff(),))

        await self._commits.run(unit, is_urgent=True)

    async def workers(self) -> Sequence[str]:
        rows = await self._read("SELECT id FROM worker WHERE expires_at > ? ORDER BY id", self._leases.cutoff())
        return [row["id"] for row in rows]

    async def release(self, worker: str) -> None:
        def unit(db: sqlite3.Connection) -> None:
            db.execute(
                "UPDATE turn SET attempts = attempts - 1 WHERE worker = ? AND ended_at IS NULL AND attempts > 0",
                (worker,),
            )
            db.execute("DELETE FROM worker WHERE id = ?", (worker,))

        await self._commits.run(unit)

    async def bury(self, worker: str) -> None:
        def unit(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM worker WHERE id = ?", (worker,))

        await self._commits.run(unit)

    async def give_back(self, lease: Lease) -> None:
        def unit(db: sqlite3.Connection) -> None:
            db.execute(
                "UPDATE turn SET worker = '' WHERE id = ? AND fence = ? AND ended_at IS NULL",
                (lease.turn_id, lease.fence),
            )

        await self._commits.run(unit)

    async def claim(self, worker: str, *, serves: Sequence[str], limit: int) -> Sequence[ClaimedTurn]:
        served = " OR ".join("substr(conversation.key, 1, length(?)) = ?" for _ in serves)
        prefixes = [prefix for prefix in serves for _ in range(2)]

        def unit(db: sqlite3.Connection) -> list[ClaimedTurn]:
            left = db.execute(
                _CLAIM.format(free=_LEFT, served=served), (worker, *prefixes, worker, self._leases.cutoff(), limit)
            ).fetchall()
            queued = db.execute(
                _CLAIM.format(free=_QUEUED, served=served), (worker, *prefixes, worker, limit - len(left))
            ).fetchall()
            return sorted(map(_claimed, [*left, *queued]), key=lambda turn: turn.lease.turn_id)

        return await self._commits.run(unit) if serves and limit > 0 else []

    # --- a turn's life ---

    async def record(self, lease: Lease, steps: Sequence[Step]) -> None:
        bodies = [codec.steps.dump_json(step).decode() for step in steps]

        def unit(db: sqlite3.Connection) -> None:
            _hold(db, lease, "state = 'running'")
            for body in bodies:
                db.execute(
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

        def unit(db: sqlite3.Connection) -> None:
            _hold(db, lease, "state = 'running'")
            now = self._now()
            db.execute(
                "UPDATE turn SET state = 'delivering', outcome = ?,"
                " input_tokens = ?, cached_tokens = ?, output_tokens = ? WHERE id = ?",
                (state, usage.input_tokens, usage.cached_tokens, usage.output_tokens, lease.turn_id),
            )
            db.executemany(
                "INSERT INTO message (conversation_id, turn_id, body, created_at) VALUES (?, ?, ?, ?)",
                [(lease.conversation_id, lease.turn_id, body, now) for body in message_rows],
            )
            if message_rows:
                db.execute("UPDATE conversation SET last_at = ? WHERE id = ?", (now, lease.conversation_id))
            db.executemany("INSERT INTO outbox (turn_id, part, body, state) VALUES (?, ?, ?, 'pending')", post_rows)

        await self._commits.run(unit)

    async def outbox(self, turn_id: int) -> Sequence[OutboxPost]:
        rows = await self._read("SELECT body, state FROM outbox WHERE turn_id = ? ORDER BY part", turn_id)
        return [OutboxPost(post=codec.posts.validate_json(row["body"]), state=row["state"]) for row in rows]

    async def mark_posting(self, lease: Lease, part: int) -> None:
        def unit(db: sqlite3.Connection) -> None:
            _hold(db, lease, "state = 'delivering'")
            db.execute("UPDATE outbox SET state = 'posting' WHERE turn_id = ? AND part = ?", (lease.turn_id, part))

        await self._commits.run(unit)

    async def mark_posted(self, lease: Lease, part: int, *, reference: str, ends_turn: bool) -> None:
        def unit(db: sqlite3.Connection) -> None:
            _hold(db, lease, "state = 'delivering'")
            db.execute(
                "UPDATE outbox SET state = 'posted', reference = ? WHERE turn_id = ? AND part = ?",
                (reference, lease.turn_id, part),
            )
            if ends_turn:
                _end(db, lease.turn_id, lease.conversation_id, "outcome", now=self._now())

        await self._commits.run(unit)

    async def abandon(self, lease: Lease) -> None:
        def unit(db: sqlite3.Connection) -> None:
            _hold(db, lease, "state = 'delivering'")
            _end(db, lease.turn_id, lease.conversation_id, "'undelivered'", now=self._now())

        await self._commits.run(unit)

    async def request_stop(self, conversation: ConversationKey) -> int | None:
        def unit(db: sqlite3.Connection) -> int | None:
            rows = db.execute(
                "UPDATE turn SET stop_requested = 1 WHERE state IN ('queued', 'running') AND id ="
                " (SELECT min(turn.id) FROM turn JOIN conversation ON conversation.id = turn.conversation_id"
                "  WHERE conversation.key = ? AND turn.ended_at IS NULL) RETURNING id",
                (str(conversation),),
            ).fetchall()
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
        def unit(db: sqlite3.Connection) -> None:
            db.execute(
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
        # Without a prefix the newest are the last ones of an index; with one, all that have it are looked at.
        ranged, bounds = ("AND key >= ? AND key < ?", _range(prefix)) if prefix else ("", ())
        listed = f"SELECT id, key, last_at FROM conversation WHERE last_at IS NOT NULL {ranged}"  # noqa: S608  (no outside text)
        newest = f"{listed} ORDER BY last_at DESC, id DESC LIMIT ?"
        rows = await self._read(_SUMMARY.format(listed=newest, order="last_at DESC, id DESC"), *bounds, limit)
        return [_summary(row) for row in rows]

    async def open_conversations(self, *, prefix: str) -> Sequence[ConversationSummary]:
        rows = await self._read(_SUMMARY.format(listed=_OPEN, order="first_turn_id"), *_range(prefix))
        return [_summary(row) for row in rows]

    async def clear(self, conversation: ConversationKey) -> int:
        def unit(db: sqlite3.Connection) -> int:
            conversation_id = _conversation_id(db, conversation)
            db.execute("DELETE FROM message WHERE conversation_id = ?", (conversation_id,))
            (gone,) = db.execute("SELECT changes() AS messages").fetchall()
            db.execute("UPDATE conversation SET last_at = NULL WHERE id = ?", (conversation_id,))
            ended = "(SELECT id FROM turn WHERE conversation_id = ? AND ended_at IS NOT NULL AND event <> '')"
            for table in ("journal", "outbox"):
                db.execute(
                    f"DELETE FROM {table} WHERE turn_id IN {ended}",  # noqa: S608  (no outside text in it)
                    (conversation_id,),
                )
            db.execute(
                "UPDATE turn SET event = '' WHERE conversation_id = ? AND ended_at IS NOT NULL AND event <> ''",
                (conversation_id,),
            )
            return gone["messages"]

        return await self._commits.run(unit)

    # --- who asked, and what they thought of the answer ---

    async def usage(self, conversation: ConversationKey | None = None, *, author: str = "") -> UsageTotals:
        wanted = {
            "conversation_id = (SELECT id FROM conversation WHERE key = ?)": str(conversation) if conversation else "",
            "author = ?": author,
        }
        conditions = {condition: value for condition, value in wanted.items() if value}
        (row,) = await self._read(
            "SELECT count(*) AS turns, COALESCE(sum(input_tokens), 0) AS input,"  # noqa: S608  (no outside text in it)
            " COALESCE(sum(cached_tokens), 0) AS cached, COALESCE(sum(output_tokens), 0) AS output"
            f" FROM turn WHERE {' AND '.join(conditions) or 'TRUE'}",
            *conditions.values(),
        )
        usage = Usage(input_tokens=row["input"], cached_tokens=row["cached"], output_tokens=row["output"])
        return UsageTotals(turns=row["turns"], usage=usage)

    async def is_turn_of(self, turn_id: int, conversation: ConversationKey) -> bool:
        rows = await self._read(
            "SELECT 1 FROM turn JOIN conversation ON conversation.id = turn.conversation_id"
            " WHERE turn.id = ? AND conversation.key = ?",
            turn_id,
            str(conversation),
        )
        return bool(rows)

    async def rate(self, turn_id: int, *, author_id: str, rating: Rating) -> None:
        def unit(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT INTO feedback (turn_id, author_id, rating, at) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (turn_id, author_id) DO UPDATE SET rating = excluded.rating, at = excluded.at",
                (turn_id, author_id, rating, self._now()),
            )

        await self._commits.run(unit)

    # --- what adapters remember ---

    async def notes(self, prefix: str) -> Mapping[str, str]:
        rows = await self._read(
            "SELECT name, text FROM note WHERE name >= ? AND name < ? ORDER BY name", *_range(prefix)
        )
        return {row["name"]: row["text"] for row in rows}

    async def put_note(self, name: str, text: str | None) -> None:
        def unit(db: sqlite3.Connection) -> None:
            if text is None:
                db.execute("DELETE FROM note WHERE name = ?", (name,))
            else:
                db.execute(
                    "INSERT INTO note (name, text) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET text = excluded.text",
                    (name, text),
                )

        await self._commits.run(unit)

    async def check(self) -> None:
        """Read the whole file and write to it, as an operator who looks for faults wants it.

        Raises:
            StoreError: The file is damaged, or nothing can be written.
        """
        rows = await self._read("PRAGMA quick_check(1)")
        if rows[0][0] != "ok":
            damage = sqlite3.DatabaseError(rows[0][0])
            damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise store_error(damage) from damage

        def unit(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO worker (id, expires_at) VALUES ('check', 0)")
            db.execute("DELETE FROM worker WHERE id = 'check'")

        await self._commits.run(unit)

    async def _read(self, statement: str, *parameters: Any) -> list[Row]:
        try:
            return await self._reader.run(lambda db: db.execute(statement, parameters).fetchall())
        except sqlite3.Error as error:
            raise store_error(error) from error


# Done in two statements, each of which walks along the index to the turns it takes and reads none of the others.
_CLAIM = """
UPDATE turn
SET state = CASE state WHEN 'queued' THEN 'running' ELSE state END,
    worker = ?, fence = fence + 1, attempts = attempts + 1
WHERE id IN (
    SELECT candidate.id FROM turn AS candidate
    JOIN conversation ON conversation.id = candidate.conversation_id
    WHERE candidate.ended_at IS NULL AND candidate.is_first = 1 AND ({served}) AND {free}
    LIMIT ?)
RETURNING id, conversation_id, fence, attempts, event, state, stop_requested, has_waited
"""
# A turn is free when it waits here, ...
_QUEUED = "candidate.worker = ? AND candidate.state = 'queued' ORDER BY candidate.id"
# ... or when the worker that had it (accepted or ran it) is not alive any more; taken worker by worker, unsorted.
_LEFT = """
candidate.worker IN (
    WITH RECURSIVE holder (id) AS (
        SELECT ''
        UNION ALL
        SELECT (SELECT worker FROM turn WHERE ended_at IS NULL AND worker > holder.id ORDER BY worker LIMIT 1)
        FROM holder WHERE holder.id IS NOT NULL)
    SELECT id FROM holder
    WHERE id <> ? AND NOT EXISTS (SELECT 1 FROM worker WHERE worker.id = holder.id AND worker.expires_at > ?))
"""


_TAKES_PART = """
SELECT 1 FROM turn WHERE conversation_id = (SELECT id FROM conversation WHERE key = ?) AND state <> 'withdrawn' LIMIT 1
"""
# The newest question is that of the last open turn; where none is open, that of the last messages.
_SUMMARY = """
SELECT key, last_at,
    (SELECT count(*) FROM message WHERE message.conversation_id = listed.id) AS messages,
    (SELECT event FROM turn WHERE turn.id = COALESCE(
        (SELECT max(waiting.id) FROM turn AS waiting
         WHERE waiting.conversation_id = listed.id AND waiting.ended_at IS NULL),
        (SELECT max(message.turn_id) FROM message WHERE message.conversation_id = listed.id))) AS question
FROM ({listed}) AS listed ORDER BY {order}
"""
_OPEN = """
SELECT conversation.id, key, COALESCE(last_at, accepted_at) AS last_at, turn.id AS first_turn_id
FROM turn JOIN conversation ON conversation.id = turn.conversation_id
WHERE turn.ended_at IS NULL AND turn.is_first = 1 AND key >= ? AND key < ?
"""


def _range(prefix: str) -> tuple[str, str]:
    """Return the first text that begins so, and one that is after all of those (its end is no character)."""
    return prefix, f"{prefix}\U0010ffff"


def _summary(row: Row) -> ConversationSummary:
    return ConversationSummary(
        conversation=ConversationKey.parse(row["key"]),
        message_count=row["messages"],
        last_at=datetime.fromtimestamp(row["last_at"], UTC),
        title=_title(codec.events.validate_json(row["question"])) if row["question"] else "",
    )


def _title(question: MessageReceived) -> str:
    return cut(question.text, TITLE_CHARS) or cut(", ".join(file.name for file in question.files), TITLE_CHARS)


def _is_outdated(message: MessageReceived, stored: MessageReceived) -> bool:
    """Tell whether the stored text is from the same change as the message, or from a later one."""
    return bool(message.edited_at and stored.edited_at and message.edited_at <= stored.edited_at)


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
        has_waited=bool(row["has_waited"]),
    )


def _entry(row: Row) -> HistoryEntry:
    return HistoryEntry(
        at=datetime.fromtimestamp(row["created_at"], UTC),
        turn_id=row["turn_id"],
        message=codec.messages.validate_json(row["body"]),
    )


def _one(db: sqlite3.Connection, statement: str, *parameters: Any) -> Row | None:
    return db.execute(statement, parameters).fetchone()


def _conversation_id(db: sqlite3.Connection, conversation: ConversationKey) -> int:
    (row,) = db.execute(
        "INSERT INTO conversation (key) VALUES (?) ON CONFLICT (key) DO UPDATE SET key = excluded.key RETURNING id",
        (str(conversation),),
    ).fetchall()
    return row["id"]


def _open_turns(db: sqlite3.Connection, worker: str, platform: str) -> int:
    (count,) = db.execute(
        "SELECT count(*) FROM turn WHERE worker = ? AND platform = ? AND ended_at IS NULL", (worker, platform)
    ).fetchone()
    return count


def _end(db: sqlite3.Connection, turn_id: int, conversation_id: int, state: str, *, now: float) -> None:
    """End the turn, and let the next one of its conversation be claimed; `state` is an SQL expression."""
    db.execute(
        f"UPDATE turn SET state = {state}, ended_at = ?, is_first = 0 WHERE id = ?",  # noqa: S608  (no outside text)
        (now, turn_id),
    )
    db.execute(
        "UPDATE turn SET is_first = 1 WHERE id ="
        " (SELECT min(id) FROM turn WHERE conversation_id = ? AND ended_at IS NULL)",
        (conversation_id,),
    )


def _hold(db: sqlite3.Connection, lease: Lease, condition: str) -> None:
    """Raise LeaseLostError unless the turn still belongs to this lease and is in the right state."""
    statement = f"SELECT 1 FROM turn WHERE id = ? AND fence = ? AND {condition}"  # noqa: S608  (no outside text in it)
    if _one(db, statement, lease.turn_id, lease.fence) is None:
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
async def _connected(path: Path, busy_timeout_s: float, *, thread: str) -> AsyncGenerator[Connection]:
    try:
        async with Connection(path, busy_timeout_s=busy_timeout_s, thread=thread) as connection:
            await connection.run(lambda db: _set_up(db, busy_timeout_s))
            yield connection
    except sqlite3.Error as error:
        raise store_error(error, name=str(path)) from error


def _set_up(db: sqlite3.Connection, busy_timeout_s: float) -> None:
    db.row_factory = Row
    _use_wal(db, busy_timeout_s)
    for pragma in ("synchronous = FULL", "foreign_keys = ON"):
        db.execute(f"PRAGMA {pragma}")


def _use_wal(db: sqlite3.Connection, busy_timeout_s: float) -> None:
    deadline = time.monotonic() + busy_timeout_s
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # Where two processes make one file at the same moment, SQLite refuses here without waiting.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _migrate(db: sqlite3.Connection) -> None:
    scripts = sorted(
        (int(entry.name.partition("_")[0]), entry.read_text(encoding="utf-8"))
        for entry in (resources.files("bot.stores") / "migrations").iterdir()
        if entry.name.endswith(".sql")
    )
    newest = scripts[-1][0]
    db.execute("BEGIN IMMEDIATE")  # two processes may start at once: the second finds it done
    try:
        version = db.execute("PRAGMA user_version").fetchone()
        if version[0] > newest:
            raise StoreError(
                f"The database was written by a newer version of Toolbridge (schema {version[0]}, this one knows "
                f"{newest}). Upgrade Toolbridge, or set TOOLBRIDGE_HOME to another folder."
            )
        for number, script in scripts:
            if number > version[0]:
                _run_script(db, script)
                db.execute(f"PRAGMA user_version = {number}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _run_script(db: sqlite3.Connection, script: str) -> None:
    # executescript would commit the transaction that this is part of
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            db.execute(statement)
            statement = ""
