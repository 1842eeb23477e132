"""A follow-up that reaches one process before its thread's first question has reached another."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bot.domain.answers import Done, Held, Ignored, Known, Queued
from bot.domain.events import MessageDeleted, MessageEdited, MessageReceived
from bot.intake.early import NOTES, EarlyMessages
from bot.intake.inbox import Inbox
from bot.ports.cluster import About
from bot.ports.store import Store
from bot.turns.cluster import ProcessCluster
from tests.fakes.ports import CONVERSATION, message
from tests.unit.intake.test_inbox import desk

HERE, THERE = "here", "there"
LONG_S = 3_600.0


@dataclass
class Two:
    """Two processes on one database."""

    here: Inbox
    there: Inbox
    store: Store

    async def held(self) -> int:
        return len(await self.store.notes(NOTES))


@asynccontextmanager
async def two(tmp_path: Path, *, hold_s: float = 60.0, members: int = 2) -> AsyncGenerator[Two]:
    async with desk(tmp_path) as opened:
        for worker in (HERE, THERE)[:members]:
            await opened.store.heartbeat(worker, lease_s=LONG_S)
            await opened.store.describe(worker, About(platforms=(CONVERSATION.platform,)))

        def inbox(worker: str) -> Inbox:
            cluster = ProcessCluster(store=opened.store, worker=worker)
            early = EarlyMessages(store=opened.store, cluster=cluster, hold_s=hold_s, sweep_s=0.02)
            return replace(opened.inbox, worker=worker, cluster=cluster, early=early)

        yield Two(inbox(HERE), inbox(THERE), opened.store)


ROOT = message("What is up?", key="root")


def follow_up(text: str = "And now?", *, age_s: float = 1.0) -> MessageReceived:
    begun_at = datetime.now(UTC) - timedelta(seconds=age_s)
    return replace(message(text, key="follow-up"), is_addressed=False, has_earlier=True, begun_at=begun_at)


async def test_it_is_taken_once_the_bot_takes_part_in_its_thread(tmp_path: Path) -> None:
    async with two(tmp_path) as both:
        held = await both.here.accept(follow_up())
        assert isinstance(held, Held)
        again = await both.here.accept(follow_up())  # delivered twice
        assert isinstance(again, Held)
        root = await both.there.accept(ROOT)
        assert isinstance(root, Queued)
        async with asyncio.timeout(60):
            outcome = await held.outcome
        assert isinstance(outcome, Queued)
        assert outcome.waits_behind == 1
        assert await again.outcome == outcome
        assert await both.here.accept(follow_up()) == Known(turn_id=outcome.turn_id)
        assert await both.held() == 0


async def test_talk_in_a_thread_in_which_nobody_asks_the_bot_is_let_go(tmp_path: Path) -> None:
    async with two(tmp_path, hold_s=0.1) as both:
        held = await both.here.accept(follow_up())
        assert isinstance(held, Held)
        assert await held.outcome == Ignored()
        assert await both.held() == 0


async def test_neither_a_lone_process_nor_an_older_thread_makes_anything_wait(tmp_path: Path) -> None:
    async with two(tmp_path) as both:
        assert await both.here.accept(follow_up(age_s=31.0)) == Ignored()
        assert await both.here.accept(replace(follow_up(), is_talk=True)) == Ignored()
        assert await both.here.accept(replace(follow_up(), begun_at=None)) == Ignored()
    async with two(tmp_path / "alone", members=1) as one:
        assert await one.here.accept(follow_up()) == Ignored()
        assert await one.held() == 0


async def test_one_that_was_held_by_a_process_that_died_is_taken_by_another(tmp_path: Path) -> None:
    async with two(tmp_path, hold_s=0.3) as both:
        assert both.here.early is not None
        assert both.there.early is not None
        async with both.here.early.working(both.here.decide_now):
            assert isinstance(await both.here.accept(follow_up()), Held)
        assert await both.held() == 1
        await both.there.accept(ROOT)
        async with both.there.early.working(both.there.decide_now), asyncio.timeout(60):
            while await both.held():  # noqa: ASYNC110  (processes set no event)
                await asyncio.sleep(0.02)
        assert isinstance(await both.there.accept(follow_up()), Known)


async def test_one_that_cannot_be_read_keeps_no_other_waiting(tmp_path: Path) -> None:
    async with two(tmp_path, hold_s=0.3) as both:
        assert both.here.early is not None
        assert both.there.early is not None
        await both.store.put_note(f"{NOTES}another", '{"of": "a newer version"}')
        async with both.here.early.working(both.here.decide_now):
            await both.here.accept(follow_up())
        await both.there.accept(ROOT)
        async with both.there.early.working(both.there.decide_now), asyncio.timeout(60):
            while await both.held() > 1:  # noqa: ASYNC110  (processes set no event)
                await asyncio.sleep(0.02)
        assert isinstance(await both.there.accept(follow_up()), Known)


async def test_what_was_changed_or_deleted_meanwhile_is_taken_as_it_is_then(tmp_path: Path) -> None:
    async with two(tmp_path) as both:
        held = await both.here.accept(follow_up())
        other = await both.here.accept(replace(follow_up("Never mind"), event_key="other"))
        assert isinstance(held, Held)
        assert isinstance(other, Held)
        edited = replace(follow_up("And tomorrow?"), edited_at=datetime.now(UTC))
        assert await both.there.revise(MessageEdited(message=edited)) == Done()
        assert isinstance(await both.there.revise(MessageDeleted(conversation=CONVERSATION, event_key="other")), Done)
        await both.there.accept(ROOT)
        async with asyncio.timeout(60):
            assert isinstance(await held.outcome, Queued)
            assert await other.outcome == Ignored()
    with closing(sqlite3.connect(tmp_path / "bot.db")) as db:
        events = dict(db.execute("SELECT event_key, event FROM turn"))
    assert "And tomorrow?" in events["follow-up"]
    assert "other" not in events
