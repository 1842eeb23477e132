"""The ports of the core, with a point before and after all that they do."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from bot.domain.events import ConversationKey
from bot.domain.messages import ToolCall, ToolResult
from bot.domain.people import Actor
from bot.domain.turns import CallWaiting, Step
from bot.ports.delegating_tools import DelegatingTools
from bot.ports.store import Store
from bot.ports.tools import Progress, Resumed, Wait
from bot.ports.work_store import Lease
from bot.stores.db import Unit
from bot.stores.postgres.db import PgDb
from bot.stores.postgres.engine import PostgresEngine
from bot.stores.postgres.session import Session
from bot.stores.postgres.transactions import Transactions
from bot.stores.sqlite.connection import Connection
from bot.stores.sqlite.store import SqliteEngine
from bot.stores.store import EngineStore
from bot.tools.toolset import Toolset
from tests.kills.fate import BEFORE_COMMIT, COMMITTED, IN_COMMIT, Fate
from tests.kills.world import World

HELD_S = 0.02  # a commit that is to fail is held so long: whoever does not wait for it is seen to run ahead
T = TypeVar("T")
_WATCHED = {
    "heartbeat": "heartbeat",
    "expire": "lease of the dead ended",
    "release": "farewell",
    "hand_over": "turns handed over",
    "give_back": "turn given back",
    "accept": "accept",
    "claim": "claim",
    "check_lease": "look whether the turn is lost",
    "reply": "answer stored",
    "park": "turn parked",
    "vote": "vote stored",
    "plan_ask": "message of an ask planned",
    "mark_ask_posting": "about to show an ask",
    "take_ask_post": "about to show an ask again",
    "mark_ask_posted": "message of an ask recorded",
    "put_pins": "tools pinned",
    "mark_posting": "about to post again",
    "mark_unsent": "post taken back before it was sent",
    "mark_posted": "post recorded",
    "move_window": "window moved",
    "put_summary": "summary stored",
    "clear": "cleared",
    "scrub": "scrubbed",
}
_STEPS = {
    "answered": "model answer stored, with its calls and their starts",
    "started": "call start stored",
    "finished": "result stored",
    "judged": "verdict on a resumed call and its start stored",
}


class WatchedStore:
    """The store, with a point before and after each of its writes.

    Of questions it is noted when they were stored at the latest, and when they were taken up at the earliest.
    """

    def __init__(self, store: Store, world: World, reach: Callable[[str], None], ended: asyncio.Event) -> None:
        self._store = store
        self._world = world
        self._reach = reach
        self._ended = ended

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._store, name)

        async def call(*arguments: Any, **options: Any) -> Any:
            step = _name_of(name, arguments, options)
            self._reach(f"{step}: before")
            began_ns = time.monotonic_ns()  # the same clock in all processes
            if name == "claim":
                self._world.note("claims", f"{began_ns} {began_ns}")
            result = await method(*arguments, **options)
            if name == "accept":
                self._world.note("stored", f"{arguments[0].event_key} {time.monotonic_ns()}")
            if name == "claim":
                for turn in result:
                    self._world.note("taken", f"{turn.event.event_key} {began_ns}")
                self._world.note("claimed", f"{began_ns} {began_ns}")
            self._reach(f"{step}: after")
            self._ended.set()
            return result

        return call if name == "record" or name in _WATCHED else method


def _name_of(name: str, arguments: Sequence[Any], options: Mapping[str, Any]) -> str:
    if name == "vote" and options.get("settles"):
        return "decision stored"
    return _name_of_record(*arguments) if name == "record" else _WATCHED[name]


def _name_of_record(lease: Lease, steps: Sequence[Step]) -> str:
    if any(isinstance(step, CallWaiting) for step in steps):
        return "ask stored"
    return _STEPS[steps[0].kind]


class WatchedTools(DelegatingTools):
    """The tool servers, with a point before, during and after each call."""

    def __init__(self, tools: Toolset, fate: Fate, world: World) -> None:
        super().__init__(tools)
        self._fate = fate
        self._world = world

    async def call(
        self,
        call: ToolCall,
        *,
        actor: Actor,
        conversation: ConversationKey,
        resumed: Resumed | None = None,
        progress: Progress | None = None,
        may_repeat: bool = True,
    ) -> ToolResult | Wait:
        self._fate.reach("call: before it is sent")
        calling = asyncio.ensure_future(self._tools.call(call, actor=actor, conversation=conversation, resumed=resumed))
        try:
            if self._fate.is_next("call: while it runs"):
                await self._arrived(json.loads(call.arguments)["mark"])
            self._fate.reach("call: while it runs")
            result = await calling
        finally:
            calling.cancel()
        self._fate.reach("call: after its result came")
        return result

    async def _arrived(self, mark: str) -> None:
        while not any(line.endswith(f" {mark}") for line in self._world.noted("calls")):  # noqa: ASYNC110
            await asyncio.sleep(0.001)  # another process sets no event


def watch_commits(store: EngineStore, fate: Fate) -> None:
    """Put points around the statements and commits of all that writes."""
    # A commit cannot be seen from outside: its unit has no end of its own, and the driver tells nobody when it begins.
    engine = store.engine
    if isinstance(engine, PostgresEngine):
        transactions = engine._transactions  # pyright: ignore[reportPrivateUsage]
        watched = cast("Transactions", WatchedTransactions(transactions, fate))
        engine._transactions = watched  # pyright: ignore[reportPrivateUsage]
        return
    commits = cast("SqliteEngine", engine)._commits  # pyright: ignore[reportPrivateUsage]
    connection = WatchedConnection(commits._connection, fate)  # pyright: ignore[reportPrivateUsage]
    commits._connection = cast("Connection", connection)  # pyright: ignore[reportPrivateUsage]


class WatchedTransactions:
    """The transactions of PostgreSQL, on sessions with points in them."""

    def __init__(self, transactions: Transactions, fate: Fate) -> None:
        self._transactions = transactions
        self._fate = fate
        self._watched: set[Session] = set()

    def read(self, session: Session, unit: Unit[T], asked_at: float) -> T:
        return self._transactions.read(session, unit, asked_at)

    def write(self, session: Session, unit: Unit[T], asked_at: float) -> T:
        if session not in self._watched:
            self._watched.add(session)
            self._watch(session)
        return self._transactions.write(session, unit, asked_at)

    def _watch(self, session: Session) -> None:
        opening, committing = session.open, session.commit

        def open_() -> PgDb:
            return cast("PgDb", WatchedDatabase(opening(), self._fate))

        def commit(told: str = "") -> None:
            _watch_commit(self._fate, lambda: committing(told))

        session.open, session.commit = open_, commit


def _watch_commit(fate: Fate, commit: Callable[[], T]) -> T:
    if fate.is_next(BEFORE_COMMIT):
        time.sleep(HELD_S)  # only this thread: the event loop goes on
    fate.reach(BEFORE_COMMIT)
    if fate.is_next(IN_COMMIT):
        threading.Thread(target=fate.reach, args=(IN_COMMIT,)).start()  # it races with the commit
    else:
        fate.reach(IN_COMMIT)
    result = commit()
    fate.reach(COMMITTED)
    return result


class WatchedConnection:
    """The writer's connection: its work gets a database with points in it."""

    def __init__(self, connection: Connection, fate: Fate) -> None:
        self._connection = connection
        self._fate = fate

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._connection.run(lambda db: work(cast("sqlite3.Connection", WatchedDatabase(db, self._fate))))


class WatchedDatabase:
    """A database in its thread, with a point before each statement, and before, in the middle of and after a commit."""

    def __init__(self, db: Any, fate: Fate) -> None:
        self._db = db
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> Any:
        if statement == "COMMIT":
            return _watch_commit(self._fate, lambda: self._db.execute(statement))
        self._fate.reach("statement: before")
        return self._db.execute(statement, parameters)

    def executemany(self, statement: str, parameters: Sequence[Any]) -> Any:
        self._fate.reach("statement: before")
        return self._db.executemany(statement, parameters)
