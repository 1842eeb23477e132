"""The process under test: the real core between a scripted model, a platform in a file and a real tool server."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import json
import os
import signal
import sqlite3
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib import import_module
from typing import Any, TypeVar, cast

from bot.domain.answers import CommandAnswer, Decided, Done, Example
from bot.domain.asks import AskPost
from bot.domain.budgets import Notice
from bot.domain.errors import AdapterError
from bot.domain.events import CommandInvoked, ConversationKey, DecisionMade, Earlier, MessageReceived, SharedFile
from bot.domain.messages import ToolCall, ToolResult, ToolSpec
from bot.domain.people import Actor, Asker
from bot.domain.rights import Facts, Ruling, Terms
from bot.domain.turns import CallWaiting, Post, Step, TurnView
from bot.intake.admission import Admission
from bot.intake.inbox import Inbox
from bot.models.redacting import RedactingModel
from bot.observe.logs import configure_logs
from bot.observe.turn_log import TurnLog
from bot.ports.platform import Found
from bot.ports.rights import Memberships
from bot.ports.store import Lease, Store
from bot.ports.tools import Offer, Progress, Resumed, ServerStatus, Wait
from bot.stores.sqlite.connection import Connection
from bot.stores.sqlite.store import SqliteEngine, open_sqlite
from bot.stores.store import EngineStore
from bot.tools.config import ServerConfig, StdioEndpoint
from bot.tools.toolset import Toolset
from bot.turns.asking import AskDesk
from bot.turns.attempt import Resources
from bot.turns.bell import Bell
from bot.turns.context import Window
from bot.turns.limits import Limits
from bot.turns.runner import Runner
from bot.turns.worker import new_worker_id
from tests.fakes.mcp_servers.processes import FOLDER
from tests.fakes.ports import message
from tests.fakes.rights import Rights, ScriptedPolicy, allows, asks, guarded
from tests.kills.script import SERVER, Question, Script, ScriptedModel
from tests.kills.world import Visible, VisibleAsk, World

# anyio imports its backend when it is first used: done here it is done once, not in each life.
import_module("anyio._backends._asyncio")

APPROVERS = ("U2", "U3")  # of each call that waits, both of them
OTHER_ARGUMENTS = "0" * 64  # the digest of arguments that nobody asked for
_TERMS = Terms(approvers=tuple(f"fake:{person}" for person in APPROVERS), approvals=2, asker_may_approve=False)
MAX_MESSAGES = 6  # in the model's window: what leaves it is summed up
HELD_S = 0.02  # a commit that is to fail is held so long: whoever does not wait for it is seen to run ahead
BEFORE_COMMIT = "commit: before, held"
IN_COMMIT = "commit: in its middle"
T = TypeVar("T")


def _rules(facts: Facts) -> Ruling:
    return asks(_TERMS)(facts) if (facts.arguments or {}).get("waits") else allows(facts)


POLICY = ScriptedPolicy(rules=_rules)


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """When a life ends by its own hand: at a point, or after so many points of any name."""

    point: str = ""
    nth: int = 0
    total: int = 0
    at_s: float = 0.0  # killed from outside, so long after the start
    is_pause: bool = False  # it is stopped instead, as by a debugger or a laptop's lid


@dataclass(slots=True)
class Fate:
    """Counts the points that are reached, in whichever thread, and kills the process at the one that it is told."""

    death: Death
    reached: Counter[str] = field(default_factory=Counter[str])
    total: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def is_next(self, point: str) -> bool:
        """Tell whether the process dies when it reaches this point now."""
        is_there = point == self.death.point and self.reached[point] + 1 == self.death.nth
        return is_there or self.total + 1 == self.death.total

    def reach(self, point: str) -> None:
        with self._lock:
            dies = self.is_next(point)
            self.reached[point] += 1
            self.total += 1
        if dies:
            os.kill(os.getpid(), signal.SIGSTOP if self.death.is_pause else signal.SIGKILL)


def start(world: World, script: Script, death: Death, *, lease_s: float) -> int:
    """Start a life in a process of its own and return its id; it holds what the caller has open until it is dead."""
    gc.freeze()
    if pid := os.fork():
        return pid
    try:
        log = os.open(world.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, sys.stderr.fileno())
        faulthandler.register(signal.SIGTERM, chain=True)  # whoever is held up says where
        configure_logs(log_format="console", level="INFO", file=world.log_file)
        fate = Fate(death)
        asyncio.run(_live(world, script, fate, lease_s=lease_s))
        world.census_file.write_text(json.dumps(fate.reached), encoding="utf-8")
        os._exit(0)
    except BaseException:  # noqa: BLE001  (nothing of the parent may run in the child)
        os.write(2, traceback.format_exc().encode())
        os._exit(1)


async def _live(world: World, script: Script, fate: Fate, *, lease_s: float) -> None:
    """Take what the platform delivers, and work until nothing is open."""
    async with AsyncExitStack() as stack:
        real = await stack.enter_async_context(open_sqlite(world.database))
        _watch_commits(real, fate)
        ended = asyncio.Event()
        store = cast("Store", WatchedStore(real, fate.reach, ended))
        toolset = await stack.enter_async_context(Toolset([_server(world)], offer_wait_s=20))
        toolset.warm_up()
        platform = FilePlatform(world, script, fate.reach)
        bell = Bell()
        core = guarded(store, WatchedTools(toolset, fate, world), bell, rights=Rights(POLICY))
        runner = Runner(
            worker=new_worker_id(),
            resources=Resources(
                store=store,
                model=RedactingModel(
                    ScriptedModel(
                        script=script,
                        asked=lambda line: world.note("asked", line),
                        reach=fate.reach,
                        seen=platform.seen,
                    )
                ),
                tools=core.tools,
                guard=core.guard,
                policy=core.policy,
                budgets=core.budgets,
                window=Window(max_messages=MAX_MESSAGES, max_tokens=1_000_000, count=len),
                system_prompt="Be brief.",
                limits=Limits(turn_timeout_s=60, lease_s=lease_s, summary_s=10),
                observers=(TurnLog(),),
            ),
            adapters=[platform],
            bell=bell,
        )
        inbox = Inbox(
            worker=runner.worker,
            store=store,
            admission=Admission(max_input_chars=1000, requests_per_minute=100_000),
            answer=_no_command,
            bell=bell,
            directory=core.tools,
            access=core.access,
            budgets=core.budgets,
            decisions=core.decisions,
            forms=core.forms,
        )
        desk = AskDesk(store=store, adapters=[platform], policy=core.policy, bell=bell, worker=runner.worker)
        await stack.enter_async_context(runner.working())
        await stack.enter_async_context(desk.working())
        deciding = asyncio.create_task(platform.approve_all(inbox))
        clearing = asyncio.create_task(platform.clear_each(store))
        await platform.take_all(inbox)
        while world.open_turns():
            ended.clear()
            await ended.wait()
        while await real.due_ask_posts(serves=[platform.serves]):  # noqa: ASYNC110  (until each message is a record)
            await asyncio.sleep(0.002)
        await clearing
        if script.clears:
            await platform.clear_all(store)
        deciding.cancel()
        await asyncio.gather(deciding, return_exceptions=True)


async def _is_scrubbed(world: World, store: Store) -> bool:
    await store.scrub()
    return not world.database.with_name(f"{world.database.name}-wal").stat().st_size


async def _no_command(event: CommandInvoked) -> CommandAnswer:
    return CommandAnswer(text=f"no {event.name}")


def _server(world: World) -> ServerConfig:
    command = StdioEndpoint(
        program=sys.executable,
        # It uses the standard library alone, and starts in half the time. Its last argument is for the process table.
        args=("-I", "-S", str(FOLDER / "oldtimer.py"), str(world.folder)),
        env={"CALLS_FILE": str(world.calls_file)},
        label="oldtimer",
    )
    return ServerConfig(name=SERVER, endpoints=(command,), trusted=True)


# --- the platform ----------------------------------------------------------------------------------------------


class FilePlatform:
    """Keeps in files what it shows and what was acknowledged; what was not, it delivers again in the next life."""

    name = "fake"
    serves = "fake/"

    def __init__(self, world: World, script: Script, reach: Callable[[str], None]) -> None:
        self._world = world
        self._script = script
        self._reach = reach
        self._seen = {visible.question for visible in world.visible()}
        self._asks = {ask.key: ask for ask in world.asks()}
        self._changed = asyncio.Condition()

    async def run(self) -> None:
        """Not used: `take_all` hands over what is to be delivered in this life."""

    async def take_all(self, inbox: Inbox) -> None:
        """Return when all messages are acknowledged."""
        taken = set(self._world.acknowledged())
        async with asyncio.TaskGroup() as group:
            for channel in self._script.channels:
                questions = [question for question in self._script.of(channel) if question.key not in taken]
                group.create_task(self._deliver(questions, inbox))

    async def approve_all(self, inbox: Inbox) -> None:
        """Press Run below each ask that is visible, whichever life showed it, as two people at once, until cancelled.

        Before that one of them presses it on a message that shows other arguments, and then twice.
        """
        pressed: set[tuple[int, str]] = set()

        def unpressed() -> list[tuple[VisibleAsk, str]]:
            asks = [ask for ask in self._asks.values() if ask.state == "pending"]
            return [(ask, by) for ask in asks for by in APPROVERS if (ask.ask_id, by) not in pressed]

        while True:
            async with self._changed:
                await self._changed.wait_for(unpressed)
            presses = unpressed()
            pressed.update((ask.ask_id, person) for ask, person in presses)
            for ask in {ask.key: ask for ask, _ in presses}.values():
                outdated = await self._press(inbox, replace(ask, digest=OTHER_ARGUMENTS), APPROVERS[0])
                if isinstance(outdated, Done):
                    self._world.note("outdated", ask.mark)
            twice = [(ask, person) for ask, person in presses if person == APPROVERS[0]]
            await asyncio.gather(*(self._approve(inbox, ask, person) for ask, person in (*presses, *twice)))

    async def clear_each(self, store: Store) -> None:
        """Clear each conversation, where the script has that, once its first question is answered."""
        if self._script.clears:
            first = [self._script.of(channel)[0] for channel in self._script.channels]
            await asyncio.gather(*(self._clear_after(question, store) for question in first))

    async def _clear_after(self, question: Question, store: Store) -> None:
        await self.seen(frozenset({question.key}))
        await store.clear(question.conversation)
        await store.scrub()

    async def clear_all(self, store: Store) -> None:
        """Clear all conversations; what was said in them is gone when this returns."""
        for channel in self._script.channels:
            await store.clear(self._script.of(channel)[0].conversation)
        while not await _is_scrubbed(self._world, store):  # noqa: ASYNC110  (a reader's end sets no event)
            await asyncio.sleep(0.002)
        self._world.note("cleared", "all")

    async def _approve(self, inbox: Inbox, ask: VisibleAsk, person: str) -> None:
        self._world.note("pressed", f"{ask.mark} {person}")
        await self._press(inbox, ask, person)

    async def _press(self, inbox: Inbox, ask: VisibleAsk, person: str) -> Decided:
        return await inbox.decide(
            DecisionMade(
                conversation=ConversationKey.parse(ask.place),
                event_key=f"approve {ask.mark} {person}",
                author_id=person,
                ask_id=ask.ask_id,
                choice="run",
                digest=ask.digest,
            )
        )

    async def put_ask(self, post: AskPost) -> str:
        self._reach("ask: before it is shown")
        (mark,) = [json.loads(line.value) for line in post.view.arguments if line.name == "mark"]
        ask = VisibleAsk(
            key=post.key,
            ask_id=post.view.ask_id,
            mark=mark,
            state=post.view.state,
            digest=post.view.digest,
            place=str(post.place),
            is_new=not post.reference,
        )
        self._world.show_ask(ask)
        async with self._changed:
            self._asks[ask.key] = ask
            self._changed.notify_all()
        self._reach("ask: after, visible")
        return f"reference of {post.key}"

    async def settle(self, turn_id: int) -> None:
        pass

    async def post_notice(self, notice: Notice) -> str:
        raise AssertionError("nobody has a budget here")

    async def find_notice(self, notice: Notice) -> Found | None:
        return None

    async def find_ask(self, post: AskPost) -> Found | None:
        if not self._script.can_find:
            raise AdapterError("This platform cannot search.")
        return Found(reference=f"reference of {post.key}") if post.key in self._asks else None

    async def memberships(self, actor: Actor, groups: frozenset[str], *, is_fresh: bool) -> Memberships:
        return Memberships()

    async def members(self, group: str) -> Sequence[str]:
        return ()

    def show(self, view: TurnView) -> None:
        """Show nothing: progress is no answer."""

    def split(self, text: str) -> Sequence[str]:
        size = self._script.max_chars
        return [text[start : start + size] for start in range(0, len(text), size)]

    async def post(self, post: Post) -> str:
        self._reach("post: before")
        self._world.show(Visible(question=post.in_reply_to, part=post.part, text=post.text, key=post.key))
        async with self._changed:
            self._seen.add(post.in_reply_to)
            self._changed.notify_all()
        self._reach("post: after, visible")
        return f"reference of {post.key}"

    async def find(self, post: Post) -> Found | None:
        if not self._script.can_find:
            raise AdapterError("This platform cannot search.")
        is_there = any(visible.key == post.key for visible in self._world.visible())
        return Found(reference=f"reference of {post.key}") if is_there else None

    async def read_earlier(self, message: MessageReceived, *, since: datetime | None, limit: int) -> Earlier:
        return Earlier()

    async def fetch(self, file: SharedFile, conversation: ConversationKey, *, max_bytes: int) -> bytes:
        raise AdapterError("No message has files here.")

    async def seen(self, questions: frozenset[str]) -> None:
        """Return when something is visible in answer to each of the questions."""
        async with self._changed:
            await self._changed.wait_for(lambda: questions <= self._seen)

    async def _deliver(self, questions: Sequence[Question], inbox: Inbox) -> None:
        async with asyncio.TaskGroup() as group:
            for question in questions:
                if question.after:
                    await self.seen(frozenset({question.after}))
                group.create_task(self._hand_over(question, inbox))

    async def _hand_over(self, question: Question, inbox: Inbox) -> None:
        await inbox.accept(message(question.key, conversation=question.conversation))
        self._world.acknowledge(question.key)
        self._reach("accept: acknowledged")


# --- the watched ports -----------------------------------------------------------------------------------------

_WATCHED = {
    "heartbeat": "heartbeat",
    "expire": "lease of the dead ended",
    "release": "farewell",
    "accept": "accept",
    "claim": "claim",
    "reply": "answer stored",
    "park": "turn parked",
    "vote": "vote stored",
    "plan_ask": "message of an ask planned",
    "mark_ask_posting": "about to show an ask",
    "mark_ask_posted": "message of an ask recorded",
    "put_pins": "tools pinned",
    "mark_posting": "about to post again",
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
    """The store, with a point before and after each of its writes."""

    def __init__(self, store: Store, reach: Callable[[str], None], ended: asyncio.Event) -> None:
        self._store = store
        self._reach = reach
        self._ended = ended

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._store, name)

        async def call(*arguments: Any, **options: Any) -> Any:
            step = _name_of(name, arguments, options)
            self._reach(f"{step}: before")
            result = await method(*arguments, **options)
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
    return _STEPS[steps[0].kind] if steps else "look whether the turn is lost"


class WatchedTools:
    """The tool servers, with a point before, during and after each call."""

    def __init__(self, tools: Toolset, fate: Fate, world: World) -> None:
        self._tools = tools
        self._fate = fate
        self._world = world

    async def offer(self, asker: Asker | None) -> Offer:
        return await self._tools.offer(asker)

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

    def newest(self, name: str) -> ToolSpec | None:
        return self._tools.newest(name)

    async def search(self, query: str, *, among: tuple[ToolSpec, ...], limit: int) -> Sequence[ToolSpec]:
        return await self._tools.search(query, among=among, limit=limit)

    async def named(self, text: str, *, among: tuple[ToolSpec, ...], limit: int) -> Sequence[ToolSpec]:
        return await self._tools.named(text, among=among, limit=limit)

    async def examples(self) -> Sequence[Example]:
        return await self._tools.examples()

    def status(self) -> Sequence[ServerStatus]:
        return self._tools.status()

    async def _arrived(self, mark: str) -> None:
        while not any(line.endswith(f" {mark}") for line in self._world.noted("calls")):  # noqa: ASYNC110
            await asyncio.sleep(0.001)  # another process sets no event


def _watch_commits(store: EngineStore, fate: Fate) -> None:
    # A commit cannot be seen from outside: its unit has no end of its own, and SQLite tells only when it begins.
    commits = cast("SqliteEngine", store.engine)._commits  # pyright: ignore[reportPrivateUsage]
    watched = WatchedConnection(commits._connection, fate)  # pyright: ignore[reportPrivateUsage]
    commits._connection = cast("Connection", watched)  # pyright: ignore[reportPrivateUsage]


class WatchedConnection:
    """The writer's connection: its work gets a database with points in it."""

    def __init__(self, connection: Connection, fate: Fate) -> None:
        self._connection = connection
        self._fate = fate

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._connection.run(lambda db: work(cast("sqlite3.Connection", WatchedDatabase(db, self._fate))))


class WatchedDatabase:
    """A database in its thread, with a point before each statement, and before, in the middle of and after a commit."""

    def __init__(self, db: sqlite3.Connection, fate: Fate) -> None:
        self._db = db
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        if statement == "COMMIT":
            return self._commit()
        self._fate.reach("statement: before")
        return self._db.execute(statement, parameters)

    def executemany(self, statement: str, parameters: Sequence[Any]) -> sqlite3.Cursor:
        self._fate.reach("statement: before")
        return self._db.executemany(statement, parameters)

    def _commit(self) -> sqlite3.Cursor:
        if self._fate.is_next(BEFORE_COMMIT):
            time.sleep(HELD_S)  # only this thread: the event loop goes on
        self._fate.reach(BEFORE_COMMIT)
        if self._fate.is_next(IN_COMMIT):
            threading.Thread(target=self._fate.reach, args=(IN_COMMIT,)).start()  # it races with the commit
        else:
            self._fate.reach(IN_COMMIT)
        cursor = self._db.execute("COMMIT")
        self._fate.reach("commit: after, not told")
        return cursor
