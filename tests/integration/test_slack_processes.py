"""Several processes of the bot serve one Slack app: its ten connections are divided among them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog

from adapters.slack.adapter import SlackAdapter
from adapters.slack.backfill import ALIVE, Threads
from adapters.slack.opening import open_slack
from adapters.slack.options import SlackOptions
from adapters.slack.parse import conversation_key
from bot.domain.answers import Queued
from bot.ports.cluster import About, Slot
from bot.ports.store import Store
from bot.stores.postgres.options import PostgresOptions
from bot.stores.postgres.store import open_postgres
from bot.stores.sqlite.store import open_sqlite
from bot.turns.cluster import ProcessCluster
from bot.turns.lease import WorkerLease
from tests.contracts.stores import OpenStore
from tests.fakes import postgres
from tests.fakes.hosts import Event, Outcome, ScriptedHost
from tests.fakes.slack import FakeSlack
from tests.fakes.slack.delivery import MAX_SOCKETS
from tests.scenarios.slack.serving import WATCH

LONG_S = 3_600.0


class Dying:
    """The store as a process sees it; one that was killed gives no slot back."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.is_dead = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def give_slot(self, slot: Slot) -> None:
        if not self.is_dead:
            await self._store.give_slot(slot)


@dataclass
class Process:
    """One process of the bot, with a scripted core."""

    worker: str
    adapter: SlackAdapter
    store: Dying
    lease: WorkerLease
    running: asyncio.Task[None]
    taken: list[str] = field(default_factory=list[str])  # what arrived here, by its words

    async def end(self) -> None:
        self.running.cancel()
        await asyncio.wait([self.running])


@dataclass
class House:
    """The processes, their database, and the Slack that they serve."""

    slack: FakeSlack
    store: Store
    stack: AsyncExitStack
    processes: list[Process] = field(default_factory=list[Process])
    alive: dict[str, float] = field(default_factory=dict[str, float])

    async def start(self, count: int = 1, *, lease_s: float = LONG_S) -> None:
        for _ in range(count):
            self.processes.append(await self._start(f"worker-{len(self.processes)}", lease_s))

    async def _start(self, worker: str, lease_s: float) -> Process:
        taken: list[str] = []

        async def receive(event: Event) -> Outcome:
            taken.append(getattr(event, "text", ""))
            return Queued(turn_id=len(taken))

        lease = WorkerLease(self.store, worker, lease_s=lease_s)
        store: Any = Dying(self.store)
        cluster = ProcessCluster(store=store, worker=worker, lease=lease)
        host = ScriptedHost(receive, cluster=cluster, notes=self.store)
        options = SlackOptions(bot_token="xoxb-test", app_token="xapp-test", api_url=self.slack.api_url, watch=WATCH)
        adapter = await self.stack.enter_async_context(open_slack(options, host))
        await lease.renew()
        await self.store.describe(worker, About(platforms=("slack",), started_at=float(len(self.processes))))
        process = Process(worker, adapter, store, lease, asyncio.create_task(adapter.run()), taken)
        self.stack.push_async_callback(process.end)
        return process

    async def kill(self, process: Process) -> None:
        """End a process as `kill -9` does: what it holds is free when its lease has run out."""
        process.store.is_dead = True
        await process.end()
        await self.store.expire(process.worker)

    async def watch(self) -> None:
        """Keep an eye on until when the bot was there, for each workspace."""
        while True:
            self.alive = {name.rpartition("/")[2]: float(at) for name, at in (await self.store.notes(ALIVE)).items()}
            await asyncio.sleep(0.02)

    def held(self) -> list[int]:
        """Return how many connections each process has."""
        return [process.adapter.session.connections for process in self.processes]

    async def until(self, is_so: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not is_so():  # noqa: ASYNC110  (processes set no event)
                await asyncio.sleep(0.02)


@pytest.fixture(params=["sqlite", "postgres"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    if request.param == "sqlite":
        return lambda: open_sqlite(tmp_path / "a.db")
    url, options = postgres.server().url, PostgresOptions(schema=postgres.new_schema())
    return lambda: open_postgres(url, options)


@asynccontextmanager
async def house(opened: OpenStore) -> AsyncGenerator[House]:
    async with FakeSlack() as slack, opened() as store, AsyncExitStack() as stack:
        slack.add_user("U1", name="ada")
        slack.add_channel("C1", members=["U1"])
        house_ = House(slack, store, stack)
        watching = asyncio.create_task(house_.watch())
        stack.callback(watching.cancel)
        yield house_


async def test_ten_connections_are_divided_among_the_processes_that_live(opened: OpenStore) -> None:
    with structlog.testing.capture_logs() as logs:
        async with house(opened) as house_:
            slack = house_.slack
            await house_.start()
            await house_.until(lambda: house_.held() == [2])
            await house_.start(4)
            await house_.until(lambda: house_.held() == [2] * 5)
            await house_.start()
            await house_.until(lambda: house_.held() == [1] * 6)
            await house_.start(4)
            await house_.until(lambda: house_.held() == [1] * 10)
            assert not [line for line in logs if line["event"] == "slack_connections_taken"]
            await house_.start()
            await house_.until(lambda: [line for line in logs if line["event"] == "slack_connections_taken"])
            assert house_.held() == [1] * 10 + [0]
            assert slack.sockets_left == 0
            await house_.kill(house_.processes[3])
            await house_.until(lambda: house_.held()[10] == 1)
    # Nobody ran into Slack's own wall, and the one that waited said so once.
    assert not [line for line in logs if line.get("reason") == "too_many_websockets"]
    [taken] = [line for line in logs if line["event"] == "slack_connections_taken"]
    assert taken["log_level"] == "warning"
    assert (taken["connections"], taken["processes"]) == (MAX_SOCKETS, 11)
    assert "ten connections" in taken["error"]
    assert "SLACK_SIGNING_SECRET without SLACK_APP_TOKEN" in taken["error"]


async def test_nothing_is_lost_while_connections_change_hands(opened: OpenStore) -> None:
    async with house(opened) as house_:
        await house_.start(5)
        await house_.until(lambda: house_.held() == [2] * 5)
        said = [f"message {number}" for number in range(40)]
        saying = asyncio.create_task(_say(house_.slack, said))
        await house_.start()
        await house_.until(lambda: house_.held() == [1] * 6)
        await saying
        await house_.slack.settled()
        taken = [text for process in house_.processes for text in process.taken]
        assert {*taken} == {*said}
        assert not [delivery for delivery in house_.slack.acks if delivery.gave_up]


async def test_a_process_that_ends_gives_its_connections_up_within_a_second(opened: OpenStore) -> None:
    async with house(opened) as house_:
        await house_.start(2)
        await house_.until(lambda: house_.held() == [2, 2])
        staying, leaving = house_.processes
        async with asyncio.timeout(1.0):
            await leaving.end()
            slots = await house_.store.slots("slack/")
        held = {(slot.worker, slot.name) for slot in slots if slot.is_held}
        assert {worker for worker, _ in held} == {staying.worker}, held
        await _say(house_.slack, ["after that"])
        await house_.until(lambda: "after that" in staying.taken)


async def test_a_process_that_wakes_after_its_lease_closes_its_connections_and_takes_nothing(opened: OpenStore) -> None:
    async with house(opened) as house_:
        slack = house_.slack
        slack.ack_timeout_s = 0.5
        await house_.start()
        await house_.start(lease_s=2.0)
        awake, asleep = house_.processes
        await house_.until(lambda: house_.held() == [2, 2])
        await house_.until(lambda: not asleep.lease.is_held())
        await _say(slack, [f"message {number}" for number in range(8)])
        await slack.settled()
        await house_.until(lambda: house_.held() == [2, 0])
        assert asleep.taken == []
        assert len({*awake.taken}) == 8
        await asleep.lease.renew()
        await house_.until(lambda: house_.held() == [2, 2])


async def _say(slack: FakeSlack, texts: list[str]) -> None:
    for text in texts:
        await slack.say("C1", "U1", text, mention=True)
        await asyncio.sleep(0.01)


# --- catching up -----------------------------------------------------------------------------------------------


async def test_what_was_missed_is_looked_for_by_one_process_and_by_the_next_when_that_ends(opened: OpenStore) -> None:
    async with house(opened) as house_:
        slack = house_.slack
        await house_.start()
        root = await slack.say("C1", "U1", "the opening", mention=True)
        await house_.until(lambda: house_.processes[0].taken)
        await house_.until(lambda: "T1" in house_.alive)
        await house_.kill(house_.processes[0])
        await slack.say("C1", "U1", "missed by all", root, deliver=False)
        looked = len(slack.calls_of("conversations.history"))

        await house_.start(3)
        second, third, fourth = house_.processes[1:]
        await house_.until(lambda: house_.held() == [0, 2, 2, 2])
        await house_.until(lambda: "missed by all" in second.taken + third.taken + fourth.taken)
        noted = house_.alive["T1"]
        await house_.until(lambda: house_.alive["T1"] > noted)
        assert len(slack.calls_of("conversations.history")) == looked + 1
        [watching] = [process for process in (second, third, fourth) if "missed by all" in process.taken]
        await house_.kill(watching)
        await slack.say("C1", "U1", "missed as it ended", root, deliver=False)
        left = [process for process in (second, third, fourth) if process is not watching]
        await house_.until(lambda: "missed as it ended" in left[0].taken + left[1].taken)
        assert len(slack.calls_of("conversations.history")) == looked + 2


async def test_threads_that_two_processes_note_are_known_to_a_third(opened: OpenStore) -> None:
    async with opened() as store:
        first, second, third = Threads(store), Threads(store), Threads(store)
        await first.note(conversation_key("T1", "C1", "1700000001.000100"))
        await second.note(conversation_key("T1", "C1", "1700000002.000100"))
        await first.note(conversation_key("T1", "C1", "1700000003.000100"))
        await third.recall()
        assert third.newest_first() == [("T1", "C1", [f"170000000{n}.000100" for n in (1, 2, 3)])]


async def test_threads_that_two_processes_note_at_the_same_moment_are_both_known(opened: OpenStore) -> None:
    async with opened() as store:
        await store.heartbeat("one", lease_s=15.0)
        await store.heartbeat("other", lease_s=15.0)
        one, other = (Threads(store, ProcessCluster(store=store, worker=name)) for name in ("one", "other"))
        noted = {f"17000000{number:02}.000100" for number in range(20)}
        first, second = sorted(noted)[::2], sorted(noted)[1::2]
        for here, there in zip(first, second, strict=True):
            await asyncio.gather(
                one.note(conversation_key("T1", "C1", here)), other.note(conversation_key("T1", "C1", there))
            )
        third = Threads(store)
        await third.recall()
        assert {thread for _, _, threads in third.newest_first() for thread in threads} == noted
