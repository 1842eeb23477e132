"""What durability costs: commits that are shared, and turns on a store that holds a little or a lot."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, closing
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from bot.domain.answers import Queued
from bot.domain.events import ConversationKey
from bot.domain.messages import AssistantMessage, UserMessage
from bot.domain.turns import CallStarted
from bot.intake.bounds import MAX_WAITING
from bot.observe.logs import configure_logs
from bot.observe.turn_log import TurnLog
from bot.ports.store import Store
from bot.ports.work_store import ClaimedTurn
from bot.stores import codec
from bot.stores.sqlite.store import open_sqlite
from bot.turns.bell import Bell
from bot.turns.context import Window
from bot.turns.resources import Resources
from bot.turns.runner import Runner
from bot.turns.tokens import estimate_tokens
from bot.turns.worker import new_worker_id
from tests.bench.measure import Comparison, Row, compare
from tests.bench.product import PLATFORM, Platform, question
from tests.fakes.ports import ScriptedModel, ScriptedTools, calls, returns, says
from tests.fakes.rights import guarded

STORED = (10, 10_000, 1_000_000)
RECENT = 10  # messages that the asked conversation's window holds, in each database
MESSAGES_A_TURN = 2
NEIGHBOURS = 1_000  # conversations that hold half of the messages; the other half is the asked one's, before its window
ASKED = "asked"


# --- one flush for many ---


async def group_commit(folder: Path, *, quick: bool) -> Sequence[Row]:
    """Compare steps of many turns that are recorded at once with steps that are recorded one by one."""
    turns, rounds = (10, 1) if quick else (200, 9)
    async with open_sqlite(folder / "toolbridge.db") as store:
        claimed = await _claim(store, turns)
        steps = count(1)

        async def record(turn: ClaimedTurn) -> None:
            await store.record(turn.lease, [CallStarted(round=next(steps), call_id="call-1")])

        async def together() -> None:
            await asyncio.gather(*(record(turn) for turn in claimed))

        async def one_by_one() -> None:
            for turn in claimed:
                await record(turn)

        costs = await compare({"together": together, "one by one": one_by_one}, rounds=rounds, units=turns)
    speeds = [f"{1 / costs.wall_s(name):,.0f} a second {name}" for name in ("together", "one by one")]
    return [
        Row(
            figure=f"durable steps a second, {turns} turns at once, over one commit for each",
            value=costs.wall_ratio("one by one", over="together"),
            beside=", ".join(speeds),
        )
    ]


async def _claim(store: Store, turns: int) -> Sequence[ClaimedTurn]:
    await store.heartbeat("bench", lease_s=60)
    events = [question("How are you?", number=number) for number in range(turns)]
    await asyncio.gather(*(store.accept(event, worker="bench", max_waiting=MAX_WAITING) for event in events))
    return await store.claim("bench", serves=[f"{PLATFORM}/"], limit=turns)


# --- a little and a lot ---


async def stored_messages(folder: Path, *, quick: bool) -> Sequence[Row]:
    """Compare turns of the real runner, with scripted model and tools, on databases of different sizes."""
    configure_logs(log_format="json", level="INFO", file=folder / "toolbridge.log")
    sizes = STORED[:2] if quick else STORED
    rounds, turns = (1, 2) if quick else (11, 30)
    async with AsyncExitStack() as stack:
        works: dict[str, Callable[[], Awaitable[None]]] = {}
        for size in sizes:
            path = folder / f"{size}.db"
            await _fill(path, messages=size)
            ask = await stack.enter_async_context(asking(open_sqlite(path)))
            works[str(size)] = times(ask, turns)
        costs = await compare(works, rounds=rounds, units=turns)
    return cost_rows(costs, sizes)


def cost_rows(costs: Comparison, sizes: Sequence[int], *, engine: str = "") -> Sequence[Row]:
    """Return what a turn costs on each database over the smallest one."""
    few = str(sizes[0])
    return [
        Row(
            figure=f"{what} of a turn at {size:,} stored messages over {sizes[0]}{engine}",
            value=ratio(str(size), over=few),
            goal=1.2,
            beside=f"{taken(str(size)) * 1e3:.2f} ms over {taken(few) * 1e3:.2f} ms",
        )
        for size in sizes[1:]
        for what, ratio, taken in (
            ("CPU", costs.cpu_ratio, costs.cpu_s),
            ("wall clock", costs.wall_ratio, costs.wall_s),
        )
    ]


def times(ask: Callable[[], Awaitable[None]], turns: int) -> Callable[[], Awaitable[None]]:
    """Return a work: to ask so many times, one after the other."""

    async def work() -> None:
        for _ in range(turns):
            await ask()

    return work


@asynccontextmanager
async def asking(opening: AbstractAsyncContextManager[Store]) -> AsyncGenerator[Callable[[], Awaitable[None]]]:
    """Yield a function that has a question answered (two model calls, two tools) in the asked conversation."""
    platform, numbers = Platform(), count(10_000_000)
    model = ScriptedModel([])
    async with opening as store:
        tools = ScriptedTools({"add": returns("42"), "clock": returns("noon")})
        core = guarded(store, tools, Bell())
        runner = Runner(
            worker=new_worker_id(),
            resources=Resources(
                store=store,
                model=model,
                tools=core.tools,
                guard=core.guard,
                policy=core.policy,
                budgets=core.budgets,
                window=Window(max_messages=50, max_tokens=100_000, count=estimate_tokens),
                system_prompt="Be brief.",
                observers=(TurnLog(),),
            ),
            adapters=[platform],
        )

        async def ask() -> None:
            model.requests.clear()
            model.answers = [calls("add", "clock"), says("It is noon.")]
            event = question("How much is it, and what time?", number=next(numbers), conversation=ASKED)
            accepted = await store.accept(event, worker=runner.worker, max_waiting=MAX_WAITING)
            assert isinstance(accepted, Queued)
            runner.bell.ring_for_work()
            assert (await platform.ended(accepted.turn_id)).state == "answered"

        async with runner.working():
            yield ask


async def _fill(path: Path, *, messages: int) -> None:
    """Make a database that holds so many messages, with the turns, journals and posts that led to them."""
    async with open_sqlite(path):
        pass  # makes the tables
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = OFF")
        db.execute("BEGIN")
        turns = messages // MESSAGES_A_TURN
        neighbours = min(NEIGHBOURS, turns // 2)
        keys = [ASKED, *(f"neighbour-{number}" for number in range(neighbours))]
        db.executemany(
            "INSERT INTO conversation (id, key) VALUES (?, ?)",
            ((number, str(_conversation(name))) for number, name in enumerate(keys, start=1)),
        )
        recent = RECENT // MESSAGES_A_TURN
        holders = [
            1 if neighbours == 0 or turn % 2 == 0 or turn > turns - recent else 2 + turn % neighbours
            for turn in range(1, turns + 1)
        ]
        _insert_turns(db, holders)
        window = sorted(turn for turn, holder in enumerate(holders, start=1) if holder == 1)[-recent:][0]
        db.execute(
            "UPDATE conversation SET window_message_id = (SELECT min(id) - 1 FROM message WHERE turn_id = ?)"
            " WHERE id = 1",
            (window,),
        )
        db.execute("UPDATE conversation SET summary = 'Ann likes tea.', summary_message_id = window_message_id")
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _insert_turns(db: sqlite3.Connection, holders: Sequence[int]) -> None:
    now = datetime.now(UTC).timestamp()
    event = codec.events.dump_json(question("How are you?", number=0)).decode()
    step = json.dumps({"round": 0, "call_id": "call_0", "kind": "started"})
    bodies = [
        codec.messages.dump_json(message).decode()
        for message in (UserMessage(text="How are you? " * 10), AssistantMessage(text="Fine, thank you. " * 15))
    ]
    numbered = list(enumerate(holders, start=1))
    db.executemany(
        "INSERT INTO turn (id, event_key, conversation_id, event, state, outcome, worker, fence, accepted_at, ended_at)"
        " VALUES (?, ?, ?, ?, 'answered', 'answered', 'gone', 1, ?, ?)",
        ((turn, f"old-{turn}", holder, event, now, now) for turn, holder in numbered),
    )
    db.executemany("INSERT INTO journal (turn_id, step, body) VALUES (?, 1, ?)", ((turn, step) for turn, _ in numbered))
    db.executemany("INSERT INTO outbox VALUES (?, 0, '{}', 'posted', 'ref')", ((turn,) for turn, _ in numbered))
    db.executemany(
        "INSERT INTO message (conversation_id, turn_id, body, created_at) VALUES (?, ?, ?, ?)",
        ((holder, turn, body, now) for turn, holder in numbered for body in bodies),
    )


def _conversation(name: str) -> ConversationKey:
    return ConversationKey(platform=PLATFORM, space="team", channel=name)
