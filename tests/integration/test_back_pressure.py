"""More messages than can be answered: what is taken, what is refused and how, and what both cost."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from bot.domain.answers import Accepted, Known, Queued
from bot.domain.messages import ModelAnswer
from bot.intake.admission import Admission
from bot.intake.bounds import MAX_OPEN, MAX_WAITING
from bot.intake.inbox import Inbox
from bot.ports.model import ModelRequest
from bot.ports.store import Store
from bot.stores.sqlite.store import open_sqlite
from tests.fakes.bots import notice_of, turn_of
from tests.fakes.platforms import Crowd, Platform, room
from tests.fakes.ports import ScriptedModel, message, says
from tests.integration.test_runner import Core, core

WAIT_S = 60.0
MIB = 1024 * 1024
LONG = "a long question, " * 300  # about 5 kB: 10,000 of them kept in memory would be seen


class Gate:
    """A model that answers nobody until it is opened."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.model = ScriptedModel([self._answer])

    async def _answer(self, request: ModelRequest) -> ModelAnswer:
        self.model.requests.clear()
        await self.opened.wait()
        return says("At last.")


def inbox_of(bot: Core, *, requests_per_minute: int = 60) -> Inbox:
    admission = Admission(max_input_chars=10_000, requests_per_minute=requests_per_minute)
    return replace(bot.inbox, admission=admission)


async def flood(inbox: Inbox, count: int, *, conversations: int) -> Sequence[Accepted]:
    """Send so many messages as a platform hands them over: hundreds at once, each from one of many people."""
    outcomes: list[Accepted] = []
    for start in range(0, count, 500):
        events = [
            replace(
                message(LONG, key=f"m{number}", conversation=room(number % conversations, platform="crowd")),
                author_id=f"U{number % conversations}",
            )
            for number in range(start, min(start + 500, count))
        ]
        outcomes += await asyncio.gather(*(inbox.accept(event) for event in events))
    return outcomes


def stored_keys(path: Path, *, where: str = "1") -> set[str]:
    with sqlite3.connect(path) as connection:
        return {row[0] for row in connection.execute(f"SELECT event_key FROM turn WHERE {where}")}


async def test_of_ten_thousand_messages_each_is_stored_and_answered_or_told_when_to_come_back(tmp_path: Path) -> None:
    path, gate, crowd, process = tmp_path / "a.db", Gate(), Crowd(), psutil.Process()
    async with open_sqlite(path) as store, core(store, gate.model, adapter=crowd) as bot:
        inbox, answers = inbox_of(bot), [crowd.expect(f"m{number}") for number in range(10_000)]
        await flood(inbox, 600, conversations=1_000)  # what is made once is made now
        before = process.memory_info().rss
        outcomes = await flood(inbox, 10_000, conversations=1_000)
        grown = process.memory_info().rss - before
        taken = [number for number, outcome in enumerate(outcomes) if turn_of(outcome) is not None]
        refused = [outcome for outcome in outcomes if turn_of(outcome) is None]
        assert len(taken) == MAX_OPEN
        assert stored_keys(path) == {f"m{number}" for number in taken}
        assert {notice_of(outcome) for outcome in refused} == {
            "Too much is going on: 2,000 messages are waiting in all conversations. "
            "Please send this one again in about two minutes."
        }
        assert grown < 25 * MIB
        gate.opened.set()
        async with asyncio.timeout(WAIT_S):
            assert {await answers[number] for number in taken} == {"At last."}
    assert stored_keys(path, where="state = 'answered'") == {f"m{number}" for number in taken}
    assert not any(answer.done() for number, answer in enumerate(answers) if number >= MAX_OPEN)


async def test_messages_are_taken_again_as_soon_as_some_are_answered(tmp_path: Path) -> None:
    gate, crowd = Gate(), Crowd()
    async with open_sqlite(tmp_path / "a.db") as store, core(store, gate.model, adapter=crowd) as bot:
        inbox, answers = inbox_of(bot), [crowd.expect(f"m{number}") for number in range(MAX_OPEN)]
        await flood(inbox, MAX_OPEN, conversations=MAX_OPEN)
        late = message("late", conversation=room("late", platform="crowd"))
        assert turn_of(await inbox.accept(late)) is None
        again = await inbox.accept(message(LONG, key="m7", conversation=room(7, platform="crowd")))
        assert isinstance(again, Known)  # a redelivery is known, however full it is
        gate.opened.set()
        async with asyncio.timeout(WAIT_S):
            await answers[0]
            answered = crowd.expect("late")
            while turn_of(await inbox.accept(late)) is None:  # noqa: ASYNC110  (that is how people try again)
                await asyncio.sleep(0.01)
            assert await answered == "At last."


async def test_one_crowded_conversation_and_one_busy_author_are_refused_alone(tmp_path: Path) -> None:
    gate, platform = Gate(), Platform()
    async with open_sqlite(tmp_path / "a.db") as store, core(store, gate.model, adapter=platform) as bot:
        crowded = [
            await bot.inbox.accept(replace(message(f"c{number}", conversation=room("one")), author_id=f"U{number}"))
            for number in range(MAX_WAITING + 1)
        ]
        assert "once they are answered" in crowded[-1].notice
        inbox = inbox_of(bot, requests_per_minute=5)
        busy = [await inbox.accept(message(f"b{number}", conversation=room(number))) for number in range(6)]
        assert "again in 60 s" in busy[-1].notice
        assert [turn_of(outcome) is None for outcome in (*crowded, *busy)].count(True) == 2
        other = replace(message("other", conversation=room("other")), author_id="somebody else")
        assert turn_of(await inbox.accept(other)) is not None


async def test_what_a_dead_process_left_takes_no_room_from_the_next_one(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "a.db") as store:
        await store.heartbeat("here", lease_s=60)
        for number in range(3):
            left = message("left", key=f"left{number}", conversation=room(number))
            await store.accept(left, worker="dead", max_waiting=20, max_open=3)
        assert await accepts(store, "here", "mine", max_open=1)
        assert not await accepts(store, "here", "one too many", max_open=1)
        assert not await accepts(store, "dead", "one too many", max_open=3)


async def test_a_platform_that_is_full_takes_no_room_from_another(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "a.db") as store:
        assert await accepts(store, "here", "first", max_open=1, platform="full")
        assert not await accepts(store, "here", "second", max_open=1, platform="full")
        assert await accepts(store, "here", "third", max_open=1, platform="ful")


async def accepts(store: Store, worker: str, key: str, *, max_open: int, platform: str = "fake") -> bool:
    event = message("?", key=key, conversation=room(key, platform=platform))
    return isinstance(await store.accept(event, worker=worker, max_waiting=20, max_open=max_open), Queued)


@pytest.mark.parametrize("holder", ["here", "dead"])
@pytest.mark.parametrize("depth", [1, 20])
async def test_a_claim_costs_the_same_while_thousands_wait(tmp_path: Path, holder: str, depth: int) -> None:
    """A claim that looked at each turn that waits would take many times as long; a busy machine slows both down."""
    async with (
        waiting_turns(tmp_path / "few.db", waiting=120 * depth, depth=depth, holder=holder) as few,
        waiting_turns(tmp_path / "many.db", waiting=6_000, depth=depth, holder=holder) as many,
    ):
        pairs = [(await claim_s(few), await claim_s(many)) for _ in range(100)]
        assert min(pair[1] for pair in pairs) < 2 * min(pair[0] for pair in pairs) + 0.000_5


@asynccontextmanager
async def waiting_turns(path: Path, *, waiting: int, depth: int, holder: str) -> AsyncGenerator[Store]:
    """Yield a store in which so many turns wait, `depth` in each conversation."""
    async with open_sqlite(path) as store:
        await store.heartbeat("here", lease_s=3600)
        for start in range(0, waiting, 500):
            events = [
                message("?", key=f"m{number}", conversation=room(number // depth))
                for number in range(start, min(start + 500, waiting))
            ]
            await asyncio.gather(*(store.accept(event, worker=holder, max_waiting=depth) for event in events))
        yield store


async def claim_s(store: Store) -> float:
    """Return the time of a claim of one turn, which finds one."""
    begun = time.perf_counter()
    assert len(await store.claim("here", serves=["fake/"], limit=1)) == 1
    return time.perf_counter() - begun
