"""Units that wait for PostgreSQL at once, and are committed together."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest

from bot.domain.audit import AuditEntry
from bot.domain.budgets import Charge, Spent, Toll
from bot.domain.errors import LeaseLostError, StoreError
from bot.stores.chain import Chain
from bot.stores.db import Db, Unit
from bot.stores.postgres.options import PostgresOptions
from bot.stores.postgres.store import open_postgres
from bot.stores.store import EngineStore
from bot.stores.units import audit_log, notes
from tests.contracts.stores import HERE, LEASE_S, question
from tests.fakes import postgres
from tests.fakes.wire import Cut, Wire

BOUND_S = 60.0
ONE_WRITER = 4  # connections: one listens, one is for what is urgent, one reads
ENTRY = AuditEntry(kind="judged", at=1.0, person="test:u1", arguments="{}")


@pytest.fixture
def options() -> PostgresOptions:
    return PostgresOptions(schema=postgres.new_schema(), pool_max=ONE_WRITER)


def put(name: str) -> Unit[str]:
    """Return a unit that stores a note and returns which transaction did."""

    def unit(db: Db) -> str:
        notes.put_note(db, name, "x")
        return db.execute("SELECT pg_current_xact_id()::text AS id")[0]["id"]

    return unit


def refuse(_: Db) -> None:
    raise LeaseLostError("Another process has it.")


def fail(db: Db) -> None:
    db.execute("SELECT 1 / 0")


async def together(store: EngineStore, units: Sequence[Unit[object]]) -> Sequence[object]:
    """Return what becomes of units that wait for the one writer at the same time."""
    return await _behind_another(store, lambda: [store.engine.write(unit) for unit in units])


async def _behind_another(store: EngineStore, ask: Callable[[], Sequence[Awaitable[object]]]) -> Sequence[object]:
    begun, goes_on = threading.Event(), threading.Event()

    def hold(_: Db) -> None:
        begun.set()
        goes_on.wait(BOUND_S)

    holding = asyncio.ensure_future(store.engine.write(hold))
    await asyncio.to_thread(begun.wait, BOUND_S)
    waiting = [asyncio.ensure_future(one) for one in ask()]
    await asyncio.sleep(0)  # until all of them have asked
    goes_on.set()
    async with asyncio.timeout(BOUND_S):
        await holding
        return await asyncio.gather(*waiting, return_exceptions=True)


async def test_what_waits_is_committed_together_and_what_one_refuses_is_its_own_affair(
    options: PostgresOptions,
) -> None:
    async with open_postgres(postgres.server().url, options) as store:
        first, refused, last = await together(store, [put("a"), refuse, put("b")])
        assert first == last
        assert isinstance(refused, LeaseLostError)
        assert set(await store.notes("")) == {"a", "b"}
        alone = await store.engine.write(put("c"))
        assert alone != first


async def test_what_fails_in_the_database_takes_nothing_else_along(options: PostgresOptions) -> None:
    async with open_postgres(postgres.server().url, options) as store:
        first, failed, last = await together(store, [put("a"), fail, put("b")])
        assert first != last
        assert isinstance(failed, StoreError)
        assert set(await store.notes("")) == {"a", "b"}


@pytest.mark.parametrize("what", ["request", "answer"])
async def test_a_commit_of_several_that_is_cut_is_made_once(options: PostgresOptions, wire: Wire, what: Cut) -> None:
    url = f"postgresql://postgres@127.0.0.1:{wire.port}/postgres"

    def append(db: Db) -> None:
        audit_log.append(db, [ENTRY])

    def cut(_: Db) -> None:
        if not wire.cuts_made:
            wire.cut(b"COMMIT", what)

    async with open_postgres(url, options, patience_s=BOUND_S) as store:
        assert await together(store, [append, append, cut]) == [None, None, None]
        lines = await store.audit_lines()
        chain = Chain()
        assert [line.number for line in lines] == [1, 2]
        assert all(chain.follow(line) for line in lines)
        assert wire.cuts_made == 1


async def test_one_that_waits_for_another_process_does_not_keep_the_others_waiting(options: PostgresOptions) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def hold(db: Db) -> None:
        notes.put_note(db, "held", "x")
        begun.set()
        goes_on.wait(BOUND_S)

    url, two_writers = postgres.server().url, replace(options, pool_max=ONE_WRITER + 1)
    async with open_postgres(url, two_writers) as store, open_postgres(url, options) as other:
        holding = asyncio.ensure_future(other.engine.write(hold))
        await asyncio.to_thread(begun.wait, BOUND_S)
        async with asyncio.timeout(3):  # half of the time that a statement may wait for a lock
            held, *others = [store.engine.write(put(name)) for name in ("held", *"abcdefgh")]
            waiting = asyncio.ensure_future(held)
            await asyncio.gather(*others)
        assert not waiting.done()
        goes_on.set()
        await asyncio.gather(holding, waiting)
        assert len(await store.notes("")) == 9


async def test_all_that_is_used_by_turns_that_are_taken_together_is_counted(options: PostgresOptions) -> None:
    async with open_postgres(postgres.server().url, options) as store:
        await store.heartbeat(HERE, lease_s=LEASE_S)

        def toll(person: str) -> Toll:
            return Toll(charge=Charge(ledgers=("all", person), periods=("day", "month"), spent=Spent(turns=1)))

        await _behind_another(
            store,
            lambda: [
                store.accept(question(f"room-{number}"), worker=HERE, max_waiting=9, toll=toll(f"u{number % 2}"))
                for number in range(9)
            ],
        )
        used = [dict(await store.spending([ledger], ["day", "month"])) for ledger in ("all", "u0", "u1")]
        assert [[sums["day"].turns, sums["month"].turns] for sums in used] == [[9, 9], [5, 5], [4, 4]]
