"""PostgreSQL that is not there at the start, or goes away for a while, under a process that works on turns."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest

from bot.domain.errors import StoreError, StoreUnreachableError
from bot.domain.messages import ToolCall, ToolResult
from bot.stores.postgres.options import PostgresOptions
from bot.stores.postgres.store import open_postgres
from bot.stores.reaching import open_when_reached
from bot.turns.limits import Limits
from tests.fakes.bots import open_bot
from tests.fakes.ports import RecordingAdapter, ScriptedModel, ScriptedTools, calls, message, returns, says
from tests.fakes.postgres import PostgresServer

LIMITS = Limits(drain_s=30.0, retry_s=0.01, max_attempts=1)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.close()


async def test_a_database_that_is_down_at_the_start_is_waited_for_and_a_wrong_one_is_not(
    server: PostgresServer,
) -> None:
    server.stop()
    told = asyncio.Queue[StoreUnreachableError]()
    try:
        opening = open_when_reached(partial(open_postgres, server.url), told.put_nowait, try_s=0.05)
        entering = asyncio.create_task(opening.__aenter__())
        async with asyncio.timeout(60):
            reason = str(await told.get())
        assert "cannot be reached" in reason and "postgresql://" not in reason
    finally:
        await asyncio.to_thread(server.start)
    async with asyncio.timeout(60):
        store = await entering
        assert await store.members() == []
    await opening.__aexit__(None, None, None)
    wrong = server.url.removesuffix("postgres") + "nowhere"
    with pytest.raises(StoreError, match="nowhere") as caught:
        async with open_when_reached(partial(open_postgres, wrong), told.put_nowait):
            pass
    assert not isinstance(caught.value, StoreUnreachableError)


async def test_a_turn_goes_on_by_itself_after_the_database_was_away_and_its_call_is_made_once(
    server: PostgresServer,
) -> None:
    adapter, model = RecordingAdapter(), ScriptedModel([calls("act"), says("It is done.")])

    async def act(call: ToolCall) -> ToolResult:
        await asyncio.to_thread(server.stop)
        asyncio.get_running_loop().call_later(2.0, lambda: starting.append(asyncio.create_task(start())))
        return ToolResult(call_id=call.id, text="done once")

    async def start() -> None:
        await asyncio.to_thread(server.start)

    starting, tools = list[asyncio.Task[None]](), ScriptedTools({"act": act})
    async with (
        open_postgres(server.url, PostgresOptions(schema="away"), patience_s=0.2) as store,
        open_bot(store, model, adapter, tools, worker="first", limits=LIMITS) as bot,
    ):
        await bot.say(message("act"))
        assert await adapter.wait_for_posts(1) == ["It is done."]
        await asyncio.gather(*starting)
    assert tools.ran == ["act"]


async def test_a_turn_is_handed_over_to_a_process_that_hears_of_it(server: PostgresServer) -> None:
    adapter, begun = RecordingAdapter(), asyncio.Event()

    async def read(call: ToolCall) -> ToolResult:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    here = ScriptedTools({"read": read}, repeatable=frozenset({"read"}))
    there = ScriptedTools({"read": returns("read")}, repeatable=frozenset({"read"}))
    opened = partial(open_postgres, server.url, PostgresOptions(schema="handed"))
    async with (
        opened() as one,
        opened() as other,
        open_bot(one, ScriptedModel([calls("read")]), adapter, here, worker="first", limits=LIMITS) as first,
        open_bot(other, ScriptedModel([says("It reads.")]), adapter, there, worker="second", limits=LIMITS),
    ):
        await first.say(message("read"))
        async with asyncio.timeout(60):
            await begun.wait()
        await first.drain()
        assert await adapter.wait_for_posts(1) == ["It reads."]
