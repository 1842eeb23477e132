"""Three processes do everything that a store can do, in any order and at once; what must hold holds at the end.

`python -m tests.integration.test_postgres_stress OPERATIONS SEED` runs it for longer.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.domain.answers import Queued
from bot.domain.asks import ApprovalAsk, Vote
from bot.domain.audit import AuditEntry
from bot.domain.budgets import Charge, Spent
from bot.domain.errors import LeaseLostError
from bot.domain.events import ConversationKey
from bot.domain.messages import AssistantMessage, ToolResult, Usage, UserMessage
from bot.domain.turns import CallDecided, CallFinished, CallStarted, CallWaiting
from bot.ports.rights_store import Settlement
from bot.ports.work_store import ClaimedTurn, Lease, ToolUse
from bot.stores.chain import Chain
from bot.stores.postgres.options import PostgresOptions
from bot.stores.postgres.store import open_postgres
from bot.stores.store import EngineStore
from tests.contracts.stores import ALL, post, question, room
from tests.fakes import postgres

BOUND_S = 60.0
LEASE_S = 1.0
CLOCK_S = 0.05  # how far the clocks of processes may be apart
ROOMS, PEOPLE, SLOTS, RATE = 4, 3, 3, 5
ASK = ApprovalAsk(server="s", tool="t", name="s__t", arguments="{}", digest="d", rule="r", rule_key="r", reason="Why.")
ONE = Spent(turns=0, usage=Usage(input_tokens=1))
ENTRY = AuditEntry(kind="judged", at=1.0, person="test:u1", arguments="{}")
START = datetime(2026, 11, 1, tzinfo=UTC)


@dataclass
class World:
    """What all processes did together, as far as they were told."""

    rng: random.Random
    accepted: dict[int, str] = field(default_factory=dict[int, str])
    redelivered: list[str] = field(default_factory=list[str])
    fences: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    charges: int = 0
    lines: int = 0
    uses: int = 0
    voted: Counter[int] = field(default_factory=Counter[int])
    counted: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])  # asked and answered
    holders: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    done: Counter[str] = field(default_factory=Counter[str])


@dataclass
class Process:
    """One of them. Its worker dies now and then, and comes again under another name."""

    number: int
    store: EngineStore
    world: World
    lives: int = 0
    has: list[ClaimedTurn] = field(default_factory=list[ClaimedTurn])

    @property
    def worker(self) -> str:
        return f"worker-{self.number}-{self.lives}"

    async def step(self) -> None:
        """Do one thing of all that can be done."""
        doing = self.world.rng.choices([one for one, _ in DOINGS], [weight for _, weight in DOINGS])[0]
        await doing(self)
        self.world.done[doing.__name__] += 1

    # --- what arrives ---

    async def accept(self) -> None:
        rng = self.world.rng
        again = self.world.redelivered and rng.random() < 0.2
        key = rng.choice(self.world.redelivered) if again else f"key-{len(self.world.redelivered)}"
        if not again:
            self.world.redelivered.append(key)
        name = f"room-{int(key.removeprefix('key-')) % ROOMS}"
        event = replace(
            question(name, key=key),
            author_id=f"u{rng.randrange(PEOPLE)}",
            sent_at=START + timedelta(seconds=rng.randrange(1000)),
        )
        outcome = await self.store.accept(event, worker=self.worker, max_waiting=8)
        if isinstance(outcome, Queued):
            assert key not in self.world.accepted.values()
            self.world.accepted[outcome.turn_id] = key

    async def accept_twice(self) -> None:
        await asyncio.gather(self.accept(), self.accept())

    async def edit(self) -> None:
        if keys := self.world.redelivered:
            await self.store.edit(replace(question(key=self.world.rng.choice(keys)), text="Changed."))

    async def withdraw(self) -> None:
        if keys := self.world.redelivered:
            await self.store.withdraw(self.world.rng.choice(keys))

    async def stop(self) -> None:
        await self.store.request_stop(self._room(), by="test:u1")

    async def decide(self) -> None:
        if turns := list(self.world.accepted):
            decision = CallDecided(round=0, call_id="c1", outcome="approved")
            await self.store.decide(self.world.rng.choice(turns), decision)

    async def vote(self) -> None:
        asks = await self.store.asks()
        if not asks:
            return
        record = self.world.rng.choice(asks)
        settles = None
        if self.world.rng.random() < 0.5:
            decided = CallDecided(round=0, call_id="", outcome="approved")
            settles = Settlement(state="approved", decision=decided)
        vote = Vote(person="test:u1", by="test:u1", name="Ann", choice="run", at=1.0, digest="d")
        made = await self.store.vote(record.id, vote, version=record.version, settles=settles, audit=[ENTRY])
        if made == "made":
            self.world.voted[record.id] += 1
            self.world.lines += 1

    async def plan(self) -> None:
        for record in await self.store.unplanned_asks(serves=ALL):
            await self.store.plan_ask(record.id, [(record.conversation, ""), (room("desk"), "")])

    async def show(self) -> None:
        for due in await self.store.due_ask_posts(serves=ALL):
            if not due.is_posting and not await self.store.mark_ask_posting(due.post_id, self.worker):
                continue
            record = await self.store.ask(due.ask_id)
            assert record is not None
            if self.world.rng.random() < 0.1:
                await self.store.drop_ask_post(due.post_id)
            else:
                await self.store.mark_ask_posted(due.post_id, reference="ref", shown=record.version)

    # --- work ---

    async def claim(self) -> None:
        taken = await self.store.claim(self.worker, serves=ALL, limit=3)
        self.world.fences += [(turn.lease.turn_id, turn.lease.fence) for turn in taken]
        self.has += taken
        await self.store.signals(self.worker)

    async def work(self) -> None:
        if self.has:
            turn = self.has.pop(self.world.rng.randrange(len(self.has)))
            try:
                await self._work(turn)
            except LeaseLostError:
                self.world.done["lost"] += 1

    async def _work(self, turn: ClaimedTurn) -> None:
        rng, lease = self.world.rng, turn.lease
        if turn.state != "delivering":
            for _ in range(rng.randrange(3)):
                await self._record(lease)
            fate = rng.random()
            if fate < 0.1:
                await self.store.give_back(lease)
                return
            if fate < 0.3 and turn.wakes < 2:
                wait = CallWaiting(round=0, call_id="c1", reason="", expires_at=1e12, ask=ASK)
                soon = (await self._now()) + rng.choice([0.1, 0.3, 1e6])
                await self.store.park(lease, [wait], wakes_at=soon)
                return
            await self.reply(lease)
        if rng.random() < 0.05:
            await self.store.abandon(lease)
            return
        for item in await self.store.outbox(lease.turn_id):
            if item.state != "posted":
                part = item.post.part
                await self.store.mark_posted(lease, part, reference=f"ref-{part}", ends_turn=part == 1)

    async def _record(self, lease: Lease) -> None:
        number = self.world.rng.randrange(10**9)
        steps = [
            CallStarted(round=number, call_id="c"),
            CallFinished(round=number, result=ToolResult(call_id="c", text="4")),
        ]
        await self.store.record(lease, steps, audit=[ENTRY], charge=_charge())
        self.world.charges += 1
        self.world.lines += 1

    async def reply(self, lease: Lease) -> None:
        posts = [post(lease, part=part) for part in range(2)]
        await self.store.reply(
            lease,
            state="answered",
            messages=[UserMessage(text="?"), AssistantMessage(text="!")],
            posts=posts,
            usage=Usage(input_tokens=1),
            audit=[ENTRY],
            charge=_charge(),
            tool_use=ToolUse(called={"a": 1, "b": 1}),
        )
        self.world.charges += 1
        self.world.lines += 1
        self.world.uses += 1

    async def wake(self) -> None:
        await self.store.wake_expired()

    # --- the process ---

    async def beat(self) -> None:
        await self.store.heartbeat(self.worker, lease_s=LEASE_S)

    async def pause(self) -> None:
        await asyncio.sleep(self.world.rng.uniform(0, 1.5 * LEASE_S))
        await self.beat()

    async def die(self) -> None:
        """End with all that it has; another process of that number begins."""
        how = self.world.rng.choice([self.store.expire, self.store.release])
        await how(self.worker)
        self.lives += 1
        if self.world.rng.random() < 0.5:
            self.has.clear()  # otherwise it writes on, without a lease
        await self.beat()

    async def hand_over(self) -> None:
        keeps = [turn.lease.turn_id for turn in self.has]
        await self.store.hand_over(self.worker, serves=ALL, keeps=keeps, is_begun=self.world.rng.random() < 0.5)

    # --- the rest ---

    async def take_slot(self) -> None:
        slot = await self.store.take_slot(f"slot-{self.world.rng.randrange(SLOTS)}", self.worker)
        if slot is not None:
            self.world.holders.append((slot.name, slot.fence))
            if self.world.rng.random() < 0.5:
                await self.store.give_slot(slot)

    async def spend(self) -> None:
        asked_at = time.monotonic()
        counted = await self.store.count("rate", keys=[], calls=RATE, period_s=1.0)
        if not counted.wait_s:
            self.world.counted.append((asked_at, time.monotonic()))

    async def talk(self) -> None:
        await self.store.note_talk(self._room(), at=datetime.now(UTC))

    async def clear(self) -> None:
        await self.store.clear(self._room())

    async def forget(self) -> None:
        await self.store.forget_older(await self._now() - 1.0, limit=5)

    async def first_note(self) -> None:
        name = f"note-{self.world.rng.randrange(5)}"
        kept = await self.store.first_note(name, self.worker)
        assert kept == await self.store.first_note(name, "another")

    async def _now(self) -> float:
        rows = await self.store.engine.read(
            lambda db: db.execute("SELECT extract(epoch FROM clock_timestamp())::float8 AS now")
        )
        return rows[0]["now"]

    def _room(self) -> ConversationKey:
        return room(f"room-{self.world.rng.randrange(ROOMS)}")


def _charge() -> Charge:
    return Charge(ledgers=("all", "person"), periods=("day", "month"), spent=ONE)


DOINGS: Sequence[tuple[Callable[[Process], Awaitable[None]], int]] = [
    (Process.accept, 8),
    (Process.accept_twice, 3),
    (Process.edit, 2),
    (Process.withdraw, 2),
    (Process.stop, 2),
    (Process.decide, 2),
    (Process.vote, 4),
    (Process.plan, 2),
    (Process.show, 3),
    (Process.claim, 8),
    (Process.work, 14),
    (Process.wake, 2),
    (Process.beat, 4),
    (Process.hand_over, 1),
    (Process.take_slot, 3),
    (Process.spend, 3),
    (Process.talk, 2),
    (Process.clear, 1),
    (Process.forget, 1),
    (Process.first_note, 1),
]


async def go_on(process: Process, operations: int) -> None:
    for number in range(operations):
        await process.step()
        if number % 40 == 39:
            await process.die()
        elif number % 100 == 77:
            await process.pause()


async def finish_all(processes: Sequence[Process]) -> None:
    """Bring what is open to its end: nothing may be left that nobody can take up."""
    (first, *others) = processes
    for process in others:
        await process.store.expire(process.worker)
        process.has.clear()
    first.has.clear()
    await first.die()
    first.has.clear()
    async with asyncio.timeout(BOUND_S):
        while (await first.store.open_turns()) != await _nothing(first):
            for key in range(ROOMS):  # what waits for a decision that never comes
                await first.store.request_stop(room(f"room-{key}"), by="test:u1")
            await first.beat()
            for turn in await first.store.claim(first.worker, serves=ALL, limit=100):
                first.world.fences.append((turn.lease.turn_id, turn.lease.fence))
                if turn.state != "delivering":
                    await first.reply(turn.lease)
                for item in await first.store.outbox(turn.lease.turn_id):
                    if item.state != "posted":
                        part = item.post.part
                        await first.store.mark_posted(turn.lease, part, reference="ref", ends_turn=part == 1)


async def _nothing(process: Process) -> object:
    return type(await process.store.open_turns())()


async def check(process: Process) -> None:
    """Assert what must hold whatever happened."""
    store, world = process.store, process.world

    async def rows(statement: str) -> list[dict[str, object]]:
        found = await store.engine.read(lambda db: db.execute(statement))
        return [dict(row) for row in found]  # type: ignore[call-overload]  # pyright: ignore

    assert len(set(world.fences)) == len(world.fences)
    assert await rows("SELECT id FROM turn WHERE ended_at IS NULL OR is_first = 1") == []
    assert {row["id"]: row["event_key"] for row in await rows("SELECT id, event_key FROM turn")} == world.accepted
    assert await rows("SELECT turn_id FROM journal GROUP BY turn_id HAVING count(*) <> max(step)") == []
    assert await rows("SELECT turn_id FROM message GROUP BY turn_id HAVING count(*) <> 2") == []
    unposted = "SELECT turn_id FROM outbox JOIN turn ON turn.id = turn_id WHERE turn.state = 'answered'"
    assert await rows(f"{unposted} AND outbox.state <> 'posted'") == []
    assert await rows("SELECT id FROM ask WHERE state = 'pending'") == []
    spent = await rows("SELECT DISTINCT input_tokens FROM spending")
    assert [row["input_tokens"] for row in spent] == [world.charges]
    assert {row["uses"] for row in await rows("SELECT uses FROM tool_use")} == {world.uses}
    votes = await rows("SELECT ask_id, count(*) AS votes, max(number) AS last FROM ask_vote GROUP BY ask_id")
    assert {row["ask_id"]: row["votes"] for row in votes} == dict(world.voted)
    assert all(row["votes"] == row["last"] for row in votes)
    assert len(set(world.holders)) == len(world.holders)
    counted = sorted(world.counted)
    for some in zip(*(counted[first:] for first in range(RATE + 1)), strict=False):
        assert max(end for _, end in some) - some[0][0] > 1.0 - CLOCK_S
    chain = Chain()
    lines = await store.audit_lines(limit=10**6)
    assert all(chain.follow(line) for line in lines)
    assert len(lines) == world.lines


async def always(process: Process, ended: asyncio.Event) -> int:
    """Look again and again at what must hold at any moment."""
    looks = 0
    while not ended.is_set():
        bad = await process.store.engine.read(
            lambda db: db.execute(
                "SELECT conversation_id FROM turn WHERE ended_at IS NULL AND state <> 'waiting'"
                " GROUP BY conversation_id HAVING sum(is_first) <> 1"
            )
        )
        assert not bad
        looks += 1
        await asyncio.sleep(0.01)
    return looks


async def stress(seed: int, operations: int) -> Counter[str]:
    """Run so many operations over three processes, several at once in each; return how often each was done."""
    world, options = World(random.Random(seed)), PostgresOptions(schema=postgres.new_schema())
    async with AsyncExitStack() as stack:
        url = postgres.server().url
        stores = [await stack.enter_async_context(open_postgres(url, options)) for _ in range(3)]
        processes = [Process(number, store, world) for number, store in enumerate(stores)]
        for process in processes:
            await process.beat()
        ended = asyncio.Event()
        looking = asyncio.create_task(always(processes[0], ended))
        try:
            await asyncio.gather(*(go_on(process, operations // 9) for process in processes for _ in range(3)))
        finally:
            ended.set()
        assert await looking
        await finish_all(processes)
        await check(processes[0])
    return world.done


@pytest.mark.parametrize("seed", range(2))
async def test_nothing_is_lost_doubled_or_left_whatever_three_processes_do_at_once(seed: int) -> None:
    done = await stress(seed, 1_800)
    assert done["work"] and done["lost"]


if __name__ == "__main__":
    print(asyncio.run(stress(int(sys.argv[2]), int(sys.argv[1]))))
