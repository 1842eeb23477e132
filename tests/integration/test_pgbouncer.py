"""The store behind PgBouncer in transaction mode: each transaction may run on another session of the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import psycopg
import pytest

from bot.domain.errors import SettingsError
from bot.domain.messages import Usage
from bot.ports.cluster_store import Topic
from bot.ports.store import Store
from bot.ports.work_store import ClaimedTurn
from bot.stores.postgres.options import PostgresOptions
from bot.stores.postgres.store import open_postgres
from tests.contracts.stores import ALL, HERE, LEASE_S, THERE, ask
from tests.fakes import postgres
from tests.fakes.pgbouncer import PROGRAM, pgbouncer

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed (Debian's package pgbouncer)")
WAIT_S = 60.0
CONVERSATIONS, TURNS = 8, 4


@pytest.fixture
async def stores() -> AsyncGenerator[tuple[Store, Store]]:
    """Two processes with six connections each, which share three sessions of the server."""
    server, schema = postgres.server(), postgres.new_schema()
    with pgbouncer(server) as url:
        async with AsyncExitStack() as stack:
            here, there = [
                await stack.enter_async_context(
                    open_postgres(url, PostgresOptions(schema=schema, listen_url=server.url, name=f"{schema}-{worker}"))
                )
                for worker in (HERE, THERE)
            ]
            await here.heartbeat(HERE, lease_s=LEASE_S)
            await there.heartbeat(THERE, lease_s=LEASE_S)
            yield here, there


async def test_two_processes_work_on_turns_over_a_few_sessions(stores: tuple[Store, Store]) -> None:
    for store, worker in zip(stores, (HERE, THERE), strict=True):
        await asyncio.gather(
            *(ask(store, f"{worker}-{number}", worker=worker) for number in range(CONVERSATIONS) for _ in range(TURNS))
        )
    async with asyncio.timeout(WAIT_S):
        ended = await asyncio.gather(
            *(_work(store, worker) for store, worker in zip(stores, (HERE, THERE), strict=True))
        )
    assert [len(turns) for turns in ended] == [CONVERSATIONS * TURNS] * 2
    for turns in ended:
        for number in range(CONVERSATIONS):
            of_room = [turn.lease.turn_id for turn in turns if turn.event.conversation.channel.endswith(f"-{number}")]
            assert of_room == sorted(of_room)
    assert (await stores[0].usage()).turns == 2 * CONVERSATIONS * TURNS


async def _work(store: Store, worker: str) -> list[ClaimedTurn]:
    """Answer all turns of the worker; return them in the order in which they were claimed."""
    ended: list[ClaimedTurn] = []
    while len(ended) < CONVERSATIONS * TURNS:
        turns = await store.claim(worker, serves=ALL, limit=100)
        await asyncio.gather(*(_answer(store, turn) for turn in turns))
        ended += turns
    return ended


async def _answer(store: Store, turn: ClaimedTurn) -> None:
    await store.record(turn.lease, ())
    await store.reply(turn.lease, state="answered", messages=[], posts=[], usage=Usage())
    await store.abandon(turn.lease)


async def test_what_one_process_tells_the_other_hears_past_the_pooler(stores: tuple[Store, Store]) -> None:
    here, there = stores
    heard: asyncio.Queue[Topic] = asyncio.Queue()
    there.listen(heard.put_nowait)
    async with asyncio.timeout(WAIT_S):
        while await heard.get() != "asks":  # it has begun to listen: all topics are told then
            pass
        while not heard.empty():
            heard.get_nowait()
        turn_id = await ask(here)
        (turn,) = await here.claim(HERE, serves=ALL, limit=1)
        assert turn.lease.turn_id == turn_id
        await here.give_back(turn.lease)
        assert await heard.get() == "work"


async def test_what_a_transaction_sets_does_not_stay_for_others_behind_the_pooler() -> None:
    server = postgres.server()
    options = PostgresOptions(schema=postgres.new_schema(), listen_url=server.url)
    with pgbouncer(server, pool_size=1) as url:
        async with open_postgres(url, options) as store:
            await asyncio.gather(*(ask(store, f"room-{number}") for number in range(20)))
            with psycopg.connect(url, autocommit=True, prepare_threshold=None) as other:
                names = ("search_path", "statement_timeout", "lock_timeout")
                settings = [other.execute(f"SHOW {name}".encode()).fetchone() for name in names]
    assert settings == [('"$user", public',), ("0",), ("0",)]


async def test_a_pooler_that_the_settings_do_not_name_is_found_out_and_said() -> None:
    with (
        pgbouncer(postgres.server(), pool_size=2) as url,
        pytest.raises(SettingsError, match=r"DATABASE_URL leads to a pooler.*DATABASE_LISTEN_URL"),
    ):
        async with open_postgres(url, PostgresOptions(schema=postgres.new_schema())):
            pass
