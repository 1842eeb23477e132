"""The store on PostgreSQL where processes meet, connections break and servers restart."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace

import psycopg
import pytest

from bot.domain.answers import Known, Queued
from bot.domain.asks import ApprovalAsk, Vote
from bot.domain.audit import AuditEntry
from bot.domain.errors import LeaseLostError, StoreError, StoreUnreachableError
from bot.domain.messages import ToolCall, ToolResult, Usage
from bot.domain.turns import CallAsked, CallFinished, CallStarted, CallWaiting
from bot.ports.cluster_store import Topic
from bot.ports.store import Store
from bot.ports.work_store import ClaimedTurn
from bot.stores.chain import Chain
from bot.stores.db import Db
from bot.stores.postgres.clock import DatabaseClock
from bot.stores.postgres.database import LOCK_TIMEOUT_S, STATEMENT_TIMEOUT_S, Database
from bot.stores.postgres.options import PostgresOptions
from bot.stores.postgres.outcome import was_committed
from bot.stores.postgres.session import Session
from bot.stores.postgres.store import open_postgres
from bot.stores.sqlite.store import open_sqlite
from bot.stores.store import EngineStore
from bot.stores.units import sought
from tests.contracts.stores import ALL, HERE, LEASE_S, THERE, ask, begin, claim_one, finish, post, question, room, said
from tests.fakes import postgres
from tests.fakes.postgres import PostgresServer
from tests.fakes.wire import Cut, Wire

BOUND_S = 60.0
MORE = 20  # questions between two restarts of a server
ENTRY = AuditEntry(kind="judged", at=1.0, person="test:u1", arguments="{}")
ASK = ApprovalAsk(server="s", tool="t", name="s__t", arguments="{}", digest="d", rule="r", rule_key="r", reason="Why.")


class Schema:
    """One test's part of the database; opened twice it is as two processes see it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.name = postgres.new_schema()

    def open(
        self, *, url: str = "", patience_s: float = 30.0, **options: object
    ) -> AbstractAsyncContextManager[EngineStore]:
        chosen = replace(PostgresOptions(schema=self.name), **options)  # pyright: ignore[reportArgumentType]
        return open_postgres(url or self.url, chosen, patience_s=patience_s)


@pytest.fixture
def schema() -> Schema:
    return Schema(postgres.server().url)


@pytest.fixture
def own_server() -> Generator[PostgresServer]:
    """A server that the test may stop."""
    server = PostgresServer()
    yield server
    server.close()


@asynccontextmanager
async def two(schema: Schema) -> AsyncGenerator[tuple[EngineStore, EngineStore]]:
    async with schema.open() as one, schema.open() as other:
        await one.heartbeat(HERE, lease_s=LEASE_S)
        await other.heartbeat(THERE, lease_s=LEASE_S)
        yield one, other


def through(wire: Wire) -> str:
    return f"postgresql://postgres@127.0.0.1:{wire.port}/postgres"


async def shown(store: EngineStore, setting: str) -> str:
    rows = await store.engine.read(lambda db: db.execute("SELECT current_setting(?) AS value", (setting,)))
    return rows[0]["value"]


# --- processes that meet ---


async def test_one_turn_of_a_conversation_is_the_first_and_they_run_in_order_whoever_accepts_them(
    schema: Schema,
) -> None:
    async with two(schema) as (one, other):
        events = [question(f"room-{number % 20}") for number in range(200)]
        taken = await asyncio.gather(
            *(
                store.accept(event, worker=worker, max_waiting=1_000)
                for number, event in enumerate(events)
                for store, worker in [((one, HERE), (other, THERE))[number % 2]]
            )
        )
        assert all(isinstance(outcome, Queued) for outcome in taken)
        firsts = await one.engine.read(
            lambda db: db.execute("SELECT conversation_id, count(*) AS firsts FROM turn WHERE is_first = 1 GROUP BY 1")
        )
        assert [row["firsts"] for row in firsts] == [1] * 20
        ran = defaultdict[int, list[int]](list)

        async def work(store: Store, worker: str) -> int:
            turns = await store.claim(worker, serves=ALL, limit=3)
            for turn in turns:
                ran[turn.lease.conversation_id].append(turn.lease.turn_id)
                await finish(store, turn.lease)
            return len(turns)

        async with asyncio.timeout(BOUND_S):
            while any([await work(one, HERE), await work(other, THERE)]):
                await asyncio.gather(work(one, HERE), work(one, HERE), work(other, THERE), work(other, THERE))
        assert sum(map(len, ran.values())) == 200
        assert all(turns == sorted(set(turns)) for turns in ran.values())


async def test_two_processes_that_claim_at_once_never_get_the_same_turn(schema: Schema) -> None:
    async with two(schema) as (one, other):
        turns = {await ask(one, f"room-{number}", worker="gone") for number in range(60)}
        claims = await asyncio.gather(
            *(
                store.claim(worker, serves=ALL, limit=4)
                for _ in range(10)
                for store, worker in ((one, HERE), (other, THERE))
            )
        )
        claimed = [turn.lease.turn_id for some in claims for turn in some]
        claimed += [turn.lease.turn_id for turn in await one.claim(HERE, serves=ALL, limit=100)]
        assert len(claimed) == len(turns)
        assert set(claimed) == turns


@pytest.mark.parametrize("seed", range(3))
async def test_units_that_want_the_same_rows_in_any_order_all_come_to_their_end(schema: Schema, seed: int) -> None:
    rng = random.Random(seed)
    async with two(schema) as (one, other):

        async def live(store: Store, worker: str) -> None:
            for _ in range(25):
                with suppress(LeaseLostError):
                    await rng.choice((talk, stop, answer, wait, forget))(store, worker)

        async def talk(store: Store, worker: str) -> None:
            await ask(store, f"room-{rng.randrange(3)}", worker=worker)

        async def stop(store: Store, worker: str) -> None:
            await store.request_stop(room(f"room-{rng.randrange(3)}"), by=worker)

        async def answer(store: Store, worker: str) -> None:
            for turn in await store.claim(worker, serves=ALL, limit=2):
                if turn.state == "running":
                    await store.record(turn.lease, [CallStarted(round=0, call_id="c")], audit=[ENTRY])
                    await store.reply(
                        turn.lease,
                        state="answered",
                        messages=said("a"),
                        posts=[post(turn.lease)],
                        usage=Usage(),
                        audit=[ENTRY],
                    )
                await store.mark_posted(turn.lease, 0, reference="r", ends_turn=True)

        async def wait(store: Store, worker: str) -> None:
            for turn in await store.claim(worker, serves=ALL, limit=1):
                if turn.state != "running":
                    continue
                waits = CallWaiting(round=0, call_id="c1", reason="r", expires_at=4e9, ask=ASK)
                await store.park(turn.lease, [waits], wakes_at=4e9, audit=[ENTRY])
                for pending in await store.asks():
                    voted = Vote(person="p", by="p", name="p", choice="approve", at=1.0, digest="d")
                    await store.plan_ask(pending.id, [(room("room-0"), "")])
                    await store.vote(pending.id, voted, version=pending.version, audit=[ENTRY])
                for due in await store.due_ask_posts(serves=ALL):
                    await store.mark_ask_posted(due.post_id, reference="r", shown=1)

        async def forget(store: Store, worker: str) -> None:
            await store.clear(room(f"room-{rng.randrange(3)}"))
            await store.forget_older(4e9, limit=10)

        async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as lives:
            for store, worker in [(one, HERE), (other, THERE)] * 3:
                lives.create_task(live(store, worker))
        firsts = await one.engine.read(
            lambda db: db.execute("SELECT count(*) AS firsts FROM turn WHERE is_first = 1 GROUP BY conversation_id")
        )
        assert all(row["firsts"] == 1 for row in firsts)
        chain = Chain()
        assert all(chain.follow(line) for line in await one.audit_lines())


async def test_a_batch_that_waits_for_a_row_does_not_hold_up_the_thread_that_has_it(schema: Schema) -> None:
    """Both threads are of one process: what waits for the server must not keep the interpreter's lock."""
    has_row, asks_for_row = threading.Event(), threading.Event()
    put = "INSERT INTO note (name, text) VALUES (?, 'x') ON CONFLICT (name) DO UPDATE SET text = 'y'"
    runs: list[str] = []

    def hold(db: Db) -> None:
        runs.append("hold")
        db.execute(put, ("one",))
        has_row.set()
        asks_for_row.wait(BOUND_S)
        while not postgres.server().run("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            time.sleep(0.01)
        db.execute(put, ("three",))

    def batch(db: Db) -> None:
        asks_for_row.set()
        db.executemany(put, [("one",), ("two",)])

    async with schema.open() as store:
        holding = asyncio.ensure_future(store.engine.write(hold))
        await asyncio.to_thread(has_row.wait, BOUND_S)
        await asyncio.gather(holding, store.engine.write(batch))
    assert runs == ["hold"]  # it stood still in no transaction for so long that PostgreSQL ended that


async def test_what_one_process_tells_the_others_hear_at_once_and_it_does_not_itself(schema: Schema) -> None:
    async with two(schema) as (one, other):
        heard: asyncio.Queue[Topic] = asyncio.Queue()
        own: asyncio.Queue[Topic] = asyncio.Queue()
        other.listen(heard.put_nowait)
        one.listen(own.put_nowait)
        async with asyncio.timeout(BOUND_S):
            for queue in (heard, own):
                assert {await queue.get() for _ in range(3)} == {"work", "signals", "asks"}  # it may have missed some
            lease = await begin(one)
            await one.request_stop(room("room"), by="u")
            while await heard.get() != "signals":  # "work" may still be on its way
                pass
            await one.give_back(lease)
            while await heard.get() != "work":
                pass
        assert own.empty()


@pytest.mark.parametrize("table", ["turn (id BIGINT)", "schema_version (major BIGINT)"])
async def test_a_schema_with_somebody_elses_tables_is_named_with_the_way_on_and_stays_as_it_is(
    schema: Schema, table: str
) -> None:
    run = postgres.server().run
    run(f"CREATE SCHEMA {schema.name}")
    run(f"CREATE TABLE {schema.name}.{table}")
    with pytest.raises(
        StoreError, match=f"The schema {schema.name} has tables .+ Set DATABASE_SCHEMA to one of its own"
    ):
        async with schema.open():
            pass
    (tables,) = run(f"SELECT count(*) FROM pg_tables WHERE schemaname = '{schema.name}'")
    assert tables == (1,)


@pytest.fixture
def unchecked_url() -> Generator[str]:
    """A database that checks no text, as servers make them whose system has no language set (SQL_ASCII)."""
    server = postgres.server()
    server.run("CREATE DATABASE unchecked ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    yield server.url.removesuffix("postgres") + "unchecked"
    server.run("DROP DATABASE unchecked WITH (FORCE)")


async def test_what_anybody_notifies_only_has_the_bot_look_and_takes_no_hearing_away(unchecked_url: str) -> None:
    schema = Schema(unchecked_url)
    async with schema.open() as one, schema.open() as other:
        heard = asyncio.Queue[Topic]()
        one.listen(heard.put_nowait)
        async with asyncio.timeout(BOUND_S):
            first = [await heard.get() for _ in range(3)]  # it listens
            lease = await begin(other)
            with psycopg.connect(unchecked_url, autocommit=True) as stranger:
                for forged in ("", "x", "x stop 1", "x work; DROP TABLE turn", "x " + 7_000 * "a"):
                    stranger.execute("SELECT pg_notify(%s, %s)", (schema.name, forged))
                stranger.execute("SELECT pg_notify(%s, E'x \\xff\\xfe')", (schema.name,))
                stranger.execute("SELECT pg_notify(%s, 'x signals')", (schema.name,))
            while await heard.get() != "signals":
                pass
        assert set(first) == {"work", "signals", "asks"}
        assert await one.signals(HERE) == []
        await other.check_lease(lease)


async def test_a_process_that_stands_still_in_a_transaction_holds_up_the_others_for_seconds_only(
    schema: Schema,
) -> None:
    async with two(schema) as (one, other):
        lease = await begin(one)
        goes_on, has_begun = threading.Event(), threading.Event()

        def stand_still(db: Db) -> None:
            db.execute("UPDATE turn SET attempts = attempts WHERE id = ?", (lease.turn_id,))
            has_begun.set()
            goes_on.wait(BOUND_S)

        standing = asyncio.ensure_future(one.engine.write(stand_still))
        await asyncio.to_thread(has_begun.wait, BOUND_S)
        async with asyncio.timeout(20):
            await other.record(lease, [CallStarted(round=0, call_id="c")])
        goes_on.set()
        await standing  # was cut off, and is run again
        assert len(await other.steps(lease.turn_id)) == 1


async def test_a_worker_that_is_forgotten_while_its_heartbeat_is_under_way_hears_of_it(schema: Schema) -> None:
    async with two(schema) as (one, _):
        with psycopg.connect(schema.url) as beside:
            beside.execute(f"DELETE FROM {schema.name}.worker WHERE id = '{HERE}'".encode())
            beating = asyncio.create_task(one.heartbeat(HERE, lease_s=LEASE_S))
            async with asyncio.timeout(BOUND_S):
                while not postgres.server().run("SELECT 1 FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            beside.commit()
        assert await beating is False


async def test_a_question_that_is_changed_as_others_look_for_work_is_told_of_again(schema: Schema) -> None:
    heard = asyncio.Queue[Topic]()
    async with two(schema) as (one, other):
        event = question()
        await one.accept(event, worker=THERE, max_waiting=9)
        other.listen(heard.put_nowait)
        async with asyncio.timeout(BOUND_S):
            await heard.get()  # it listens
            while not heard.empty():
                heard.get_nowait()
            await one.edit(replace(event, text="Changed."))
            while await heard.get() != "work":
                pass
        assert [turn.event.text for turn in await other.claim(THERE, serves=ALL, limit=1)] == ["Changed."]


async def test_a_turn_that_was_taken_up_since_a_purge_looked_at_it_is_left_alone(schema: Schema) -> None:
    async with two(schema) as (one, _):
        turn_id = await ask(one, worker="gone")
        seen = await one.engine.read(lambda db: db.execute("SELECT id, conversation_id, worker FROM turn"))
        lease = (await claim_one(one)).lease
        await finish(one, lease)
        await one.engine.write(lambda db: sought.end_abandoned(db, seen[0], now=1.0))
        ended = await one.engine.read(lambda db: db.execute("SELECT state FROM turn WHERE id = ?", (turn_id,)))
        assert [row["state"] for row in ended] == ["answered"]


# --- connections that break ---


@pytest.mark.parametrize("what", ["request", "answer"])
async def test_a_commit_that_is_cut_is_made_once(schema: Schema, wire: Wire, what: Cut) -> None:
    async with schema.open(url=through(wire)) as store:
        await store.heartbeat(HERE, lease_s=LEASE_S)
        event = question()
        wire.cut(b"COMMIT", what)
        assert isinstance(await store.accept(event, worker=HERE, max_waiting=9), Queued)
        assert isinstance(await store.accept(event, worker=HERE, max_waiting=9), Known)
        lease = (await claim_one(store)).lease
        for number in range(3):
            wire.cut(b"COMMIT", what)
            await store.record(lease, [CallStarted(round=number, call_id="c")], audit=[ENTRY])
        assert [step.round for step in await store.steps(lease.turn_id)] == [0, 1, 2]
        assert [line.number for line in await store.audit_lines()] == [1, 2, 3]
        assert wire.cuts_made == 4


@pytest.mark.parametrize("what", ["request", "answer"])
async def test_a_commit_of_which_nobody_could_say_what_became_of_it_can_be_asked_for_again(
    schema: Schema, wire: Wire, what: Cut
) -> None:
    async with schema.open(url=through(wire), patience_s=0.5) as store:
        await store.heartbeat(HERE, lease_s=LEASE_S)
        lease = await begin(store)
        step = CallStarted(round=0, call_id="c")
        wire.cut(b"COMMIT", what, stalls=True)
        with pytest.raises(StoreUnreachableError):
            await store.record(lease, [step], audit=[ENTRY])
        wire.flow()
        await store.record(lease, [step], audit=[ENTRY], again=True)
        assert await store.steps(lease.turn_id) == [step]
        assert [line.number for line in await store.audit_lines()] == [1]


async def test_a_connection_that_is_lost_amid_a_unit_is_made_again_and_the_unit_with_it(
    schema: Schema, wire: Wire
) -> None:
    async with schema.open(url=through(wire)) as store:
        lease = await begin(store)
        # Its locks go with it, though the server has not noticed.
        wire.cut(b"call_id", "answer")
        await store.record(lease, [CallStarted(round=0, call_id="call_id")])
        assert len(await store.steps(lease.turn_id)) == 1
        wire.end_all()
        await asyncio.gather(
            *(store.record(lease, [CallStarted(round=number, call_id="c")]) for number in range(1, 9)),
            store.heartbeat(HERE, lease_s=LEASE_S),
            store.workers(),
        )
        assert [step.round for step in await store.steps(lease.turn_id)] == list(range(9))


async def test_a_database_that_is_away_is_an_error_after_a_while_that_says_what_to_do(
    schema: Schema, wire: Wire
) -> None:
    async with schema.open(url=through(wire), patience_s=0.5) as store:
        await ask(store)
        wire.close()
        outcomes = await asyncio.gather(
            *(store.put_note(f"n{number}", "x") for number in range(30)), store.workers(), return_exceptions=True
        )
        assert all(isinstance(outcome, StoreError) for outcome in outcomes)
        assert "cannot be reached" in str(outcomes[0])
        assert "DATABASE_URL" in str(outcomes[0])


async def test_work_goes_on_through_restarts_and_crashes_of_the_server(own_server: PostgresServer) -> None:
    schema = Schema(own_server.url)
    async with two(schema) as (one, other):
        ended = asyncio.Event()
        taken: list[int] = []

        async def talk(store: Store, worker: str) -> None:
            while not ended.is_set():
                taken.append(await ask(store, f"room-{len(taken) % 5}", worker=worker))

        async def work(store: Store, worker: str) -> None:
            while not ended.is_set():
                for turn in await store.claim(worker, serves=ALL, limit=5):
                    await _run(store, turn)

        async def until_more() -> None:
            before = len(taken)
            while len(taken) < before + MORE:  # noqa: ASYNC110  (a list sets no event)
                await asyncio.sleep(0.01)

        async with asyncio.timeout(BOUND_S * 2), asyncio.TaskGroup() as group:
            for store, worker in ((one, HERE), (other, THERE)):
                group.create_task(talk(store, worker))
                group.create_task(work(store, worker))
            for stop in (own_server.restart, own_server.kill, own_server.restart):
                await until_more()
                await asyncio.to_thread(stop)
                if stop == own_server.kill:
                    await asyncio.to_thread(own_server.start)
            await until_more()
            ended.set()
        for turn in await one.claim(HERE, serves=ALL, limit=1_000):
            await _run(one, turn)
        rows = await one.engine.read(
            lambda db: db.execute(
                "SELECT id, state, (SELECT count(*) FROM journal WHERE turn_id = id) AS steps FROM turn"
            )
        )
        assert {row["id"] for row in rows} == set(taken)
        assert {row["steps"] for row in rows if row["state"] == "answered"} == {2}
        chain = Chain()
        lines = await one.audit_lines(limit=100_000)
        assert all(chain.follow(line) for line in lines)
        assert len(lines) == 2 * sum(row["state"] == "answered" for row in rows)


async def _run(store: Store, turn: ClaimedTurn) -> None:
    """Run a turn as if each of its commits had the answer that it seems to have."""
    if turn.state == "running":
        asked = CallAsked(round=0, call=ToolCall(id="c", name="t", arguments="{}"), server="s", tool="t")
        result = CallFinished(round=0, result=ToolResult(call_id="c", text="4"))
        await store.record(turn.lease, [asked], audit=[ENTRY])
        await store.record(turn.lease, [result], audit=[ENTRY])
        await store.reply(turn.lease, state="answered", messages=said("a"), posts=[post(turn.lease)], usage=Usage())
    await store.mark_posted(turn.lease, 0, reference="r", ends_turn=True)


# --- what a connection keeps to ---


async def test_a_commit_waits_for_the_disk_whatever_the_database_is_set_to(schema: Schema) -> None:
    lower = f"{schema.url}?options=-c%20synchronous_commit%3Doff"
    async with schema.open(url=lower) as store:
        assert await shown(store, "synchronous_commit") == "on"
    higher = f"{schema.url}?options=-c%20synchronous_commit%3Dremote_apply"
    async with schema.open(url=higher) as store:
        assert await shown(store, "synchronous_commit") == "remote_apply"


async def test_a_statement_that_takes_too_long_is_ended_and_the_error_says_so(schema: Schema) -> None:
    def linger(db: Db) -> None:
        db.execute("SELECT set_config('statement_timeout', '50ms', true)")
        db.execute("SELECT 1 FROM pg_sleep(30)")

    async with schema.open() as store:
        assert await shown(store, "statement_timeout") == f"{STATEMENT_TIMEOUT_S}s"
        assert await shown(store, "lock_timeout") == f"{LOCK_TIMEOUT_S}s"
        with pytest.raises(StoreError, match="a statement took too long; see how busy PostgreSQL is"):
            await store.engine.write(linger)
        await store.put_note("after", "x")
        assert await shown(store, "statement_timeout") == f"{STATEMENT_TIMEOUT_S}s"


@pytest.mark.parametrize("pool_max", [2, 3, 4, 6])
async def test_a_process_makes_no_more_connections_than_it_may(schema: Schema, pool_max: int) -> None:
    async with schema.open(pool_max=pool_max, name=schema.name) as store:
        store.listen(lambda _: None)
        await asyncio.gather(
            *(store.put_note(f"n{number}", "x") for number in range(50)),
            *(store.heartbeat(HERE, lease_s=LEASE_S) for _ in range(5)),
            *(store.workers() for _ in range(20)),
        )
        assert len(await store.notes("n")) == 50
        counted = postgres.server().run(
            f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{schema.name}'"
        )
        assert counted[0][0] <= pool_max


async def test_a_turn_is_done_behind_a_pooler_too(schema: Schema) -> None:
    # No session state: the schema is set in each transaction, and statements are not prepared.
    async with schema.open(listen_url=schema.url) as store:
        await store.heartbeat(HERE, lease_s=LEASE_S)
        lease = await begin(store)
        await store.record(lease, [CallStarted(round=0, call_id="c")], audit=[ENTRY])
        await finish(store, lease, *said("a"))
        assert len((await store.history(room("room"))).turns) == 2
        assert await store.engine.read(lambda db: db.execute("SELECT * FROM pg_prepared_statements")) == ()


async def test_text_that_postgresql_cannot_hold_is_kept_with_a_mark_in_its_place(schema: Schema) -> None:
    async with schema.open() as store:
        await store.put_note("n", "a\0b\ud800c")
        assert await store.notes("n") == {"n": "a\ufffdb\ufffdc"}


# --- the schema ---


async def test_both_engines_have_the_same_tables_and_columns_but_for_files_and_versions(
    schema: Schema, tmp_path: object
) -> None:
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(schema.open())
        lite = await stack.enter_async_context(open_sqlite(tmp_path / "a.db"))  # pyright: ignore

        def columns(db: Db) -> set[tuple[str, str, bool]]:
            rows = db.execute(
                'SELECT tables.name AS tab, columns.name AS col, columns."notnull" AS filled'
                " FROM sqlite_master AS tables"
                " JOIN pragma_table_info(tables.name) AS columns WHERE tables.type = 'table'"
            )
            keys = {("id"), ("name"), ("number")}  # SQLite does not call its primary keys NOT NULL
            return {(row["tab"], row["col"], bool(row["filled"]) or row["col"] in keys) for row in rows}

        def pg_columns(db: Db) -> set[tuple[str, str, bool]]:
            rows = db.execute(
                "SELECT table_name AS tab, column_name AS col, is_nullable FROM information_schema.columns"
                " WHERE table_schema = current_schema AND table_name NOT IN ('schema_version', 'file')"
            )
            return {(row["tab"], row["col"], row["is_nullable"] == "NO") for row in rows}

        assert await ours.engine.read(pg_columns) == await lite.engine.read(columns)


async def test_processes_that_start_at_once_make_the_schema_once(schema: Schema) -> None:
    async with AsyncExitStack() as stack:
        stores = await asyncio.gather(*(stack.enter_async_context(schema.open()) for _ in range(5)))
        await asyncio.gather(*(store.put_note(str(number), "x") for number, store in enumerate(stores)))
        assert len(await stores[0].notes("")) == 5


async def test_a_newer_schema_is_used_as_long_as_it_says_that_it_can_be(schema: Schema) -> None:
    async with schema.open() as store:
        await store.put_note("a", "b")
    insert = f"INSERT INTO {schema.name}.schema_version (version, usable_from) VALUES"
    postgres.server().run(f"{insert} (9000, 13)")
    async with schema.open() as store:
        assert await store.notes("a") == {"a": "b"}
    postgres.server().run(f"{insert} (9001, 9001)")
    with pytest.raises(StoreError, match=r"newer version of Toolbridge \(schema 9001, .*Upgrade"):
        async with schema.open():
            pass


async def test_a_role_without_the_right_to_make_tables_is_told_what_to_grant(schema: Schema) -> None:
    role = f"{schema.name}_role"
    postgres.server().run(f"CREATE ROLE {role} LOGIN")
    url = schema.url.replace("postgres@", f"{role}@")
    with pytest.raises(StoreError, match=rf'may not make.*GRANT CREATE ON DATABASE "postgres" TO "{role}"'):
        async with schema.open(url=url):
            pass
    postgres.server().run(f"CREATE SCHEMA {schema.name}; GRANT USAGE ON SCHEMA {schema.name} TO {role}")
    with pytest.raises(StoreError, match=rf'may not make.*GRANT USAGE, CREATE ON SCHEMA "{schema.name}"'):
        async with schema.open(url=url):
            pass
    postgres.server().run(f"GRANT CREATE ON SCHEMA {schema.name} TO {role}")
    async with schema.open(url=url) as store:
        await ask(store)
    postgres.server().run(f"REVOKE ALL ON SCHEMA {schema.name} FROM {role}")
    with pytest.raises(StoreError, match=rf'GRANT USAGE, CREATE ON SCHEMA "{schema.name}" TO "{role}"'):
        async with schema.open(url=url):
            pass


async def test_the_audit_takes_no_changes(schema: Schema) -> None:
    async with schema.open() as store:
        await store.audit([ENTRY])
        for change in ("DELETE FROM audit", "UPDATE audit SET person = 'x'", "UPDATE audit SET arguments = 'x'"):
            with pytest.raises(StoreError):
                await store.engine.write(lambda db, change=change: db.execute(change))
        with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
            postgres.server().run(f"DELETE FROM {schema.name}.audit")
        assert len(await store.audit_lines()) == 1


# --- a server that crashed ---


async def test_after_a_crash_only_what_was_written_down_counts_as_committed_though_ids_are_given_again(
    own_server: PostgresServer,
) -> None:
    database = Database(own_server.url, PostgresOptions())
    until = time.monotonic() + BOUND_S
    made, unmade, other = (Session(database, DatabaseClock()) for _ in range(3))
    begun = made.begin()
    made.open().execute("CREATE TABLE public.t (n BIGINT)")
    made.commit()
    never = unmade.begin()
    own_server.kill()
    own_server.start()
    for session in (made, unmade, other):
        session.close()
    again = other.begin()
    assert again.xid == never.xid
    other.open().execute("INSERT INTO public.t VALUES (1)")
    other.commit()
    assert was_committed(made, begun, OSError(), until=until)
    assert not was_committed(unmade, never, OSError(), until=until)
    assert was_committed(unmade, again, OSError(), until=until)
    for session in (made, unmade, other):
        session.close()
