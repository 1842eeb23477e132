"""The states of a turn in the store: every change is one that the domain allows, and each of those happens."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from bot.domain.errors import AdapterError, ModelUnavailableError
from bot.domain.events import MessageDeleted
from bot.domain.messages import ToolCall, ToolResult
from bot.domain.turns import ENDED, TRANSITIONS
from bot.ports.tools import Wait
from bot.stores.sqlite.store import open_sqlite
from tests.fakes.bots import ended, open_bot
from tests.fakes.ports import CONVERSATION, RecordingAdapter, ScriptedModel, ScriptedTools, calls, message, says


def watch_states(path: Path) -> None:
    """Have the database write down each change of a turn's state."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE seen (before TEXT, after TEXT)")
        db.execute(
            "CREATE TRIGGER watch AFTER UPDATE OF state ON turn WHEN old.state <> new.state"
            " BEGIN INSERT INTO seen VALUES (old.state, new.state); END"
        )


def seen(path: Path) -> set[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as db:
        return set(db.execute("SELECT before, after FROM seen"))


def allowed() -> Iterator[tuple[str, str]]:
    for before, afters in TRANSITIONS.items():
        yield from ((before, after) for after in afters)


async def until_shown(adapter: RecordingAdapter, turn_id: int, state: str) -> None:
    async with asyncio.timeout(20):
        while not any(view.turn_id == turn_id and view.state == state for view in adapter.views):  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_every_change_of_state_is_one_that_is_allowed_and_all_of_them_happen(tmp_path: Path) -> None:
    path, adapter, deciding = tmp_path / "a.db", RecordingAdapter(), asyncio.Event()

    async def approve(call: ToolCall) -> ToolResult | Wait:
        if tools.decisions[-1] is None:
            deciding.set()
            return Wait(reason="Ben has to approve it.", expires_in_s=3600)
        return ToolResult(call_id=call.id, text="approved")

    async def stop_meanwhile(call: ToolCall) -> ToolResult | Wait:
        await bot.store.request_stop(CONVERSATION, by="console:ann")
        return Wait(reason="Ben has to approve it.", expires_in_s=3600)

    async def never(_request: object) -> object:
        running.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    running = asyncio.Event()
    tools = ScriptedTools({"approve": approve, "stop": stop_meanwhile})
    answers = [
        says("one"),
        calls("approve"),
        says("two"),
        calls("stop"),
        never,
        ModelUnavailableError("The model is away."),
        says("six"),
    ]
    model = ScriptedModel(answers)  # type: ignore[arg-type]
    async with open_sqlite(path) as store:
        watch_states(path)
        async with open_bot(store, model, adapter, tools, worker="a") as bot:
            await ended(bot, adapter, [await bot.say(message("is answered"))])
            waits = await bot.say(message("waits for a decision"))
            await until_shown(adapter, waits, "waiting")
            await bot.decide(waits)
            await ended(bot, adapter, [waits])
            await ended(bot, adapter, [await bot.say(message("is stopped while it begins to wait"))])
            await bot.say(message("runs until it is stopped"))
            async with asyncio.timeout(20):
                await running.wait()
            withdrawn = message("is deleted while it is queued")
            await bot.say(withdrawn)
            await bot.receive(MessageDeleted(conversation=CONVERSATION, event_key=withdrawn.event_key))
            await bot.stop()
            await ended(bot, adapter, [await bot.say(message("fails"))])
            adapter.failures.append(AdapterError("refused", is_permanent=True))
            await ended(bot, adapter, [await bot.say(message("cannot be posted"))])
    assert seen(path) == set(allowed())
    assert not {before for before, _ in seen(path)} & ENDED
