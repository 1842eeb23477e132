"""What people are asked where several processes share a database."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.domain.asks import AskPost
from bot.domain.errors import RateLimitError
from bot.ports.platform import Found
from bot.stores.sqlite.store import open_sqlite
from bot.turns.asking import AskDesk
from bot.turns.bell import Bell
from tests.contracts.stores import LEASE_S, room
from tests.contracts.test_store_rights import asking

WAIT_S = 60.0


@dataclass
class Platform:
    """Finds nothing before all that will look have begun to."""

    looking: int
    name: str = "test"
    serves: str = "test/"
    posted: list[str] = field(default_factory=list[str])
    limited: list[RateLimitError] = field(default_factory=list[RateLimitError])
    all_look: asyncio.Event = field(default_factory=asyncio.Event)

    async def find_ask(self, post: AskPost) -> Found | None:
        self.looking -= 1
        if not self.looking:
            self.all_look.set()
        await self.all_look.wait()
        return None

    async def put_ask(self, post: AskPost) -> str:
        if self.limited:
            raise self.limited.pop()
        self.posted.append(post.key)
        return "ref"


async def test_a_message_that_a_dead_process_was_about_to_post_is_posted_by_one_of_those_that_look_for_it(
    tmp_path: Path,
) -> None:
    async with open_sqlite(tmp_path / "a.db") as store:
        _, record = await asking(store)
        await store.plan_ask(record.id, [(room("room"), "")])
        (post,) = await store.due_ask_posts(serves=["test/"])
        workers = ("a", "b")
        for worker in workers:
            await store.heartbeat(worker, lease_s=LEASE_S)
        await store.mark_ask_posting(post.post_id, "dead")
        platform: Any = Platform(looking=len(workers))
        one, other = (
            AskDesk(store=store, adapters=[platform], policy=lambda: None, bell=Bell(), worker=worker)  # pyright: ignore
            for worker in workers
        )
        async with asyncio.timeout(WAIT_S), one.working(), other.working():
            while await store.due_ask_posts(serves=["test/"]):  # noqa: ASYNC110  (a store sets no event)
                await asyncio.sleep(0.01)
        assert len(platform.posted) == 1


async def test_a_process_that_was_paused_past_its_lease_posts_no_message_that_another_may_have_posted_by_now(
    tmp_path: Path,
) -> None:
    async with open_sqlite(tmp_path / "a.db") as store:
        _, record = await asking(store)
        await store.plan_ask(record.id, [(room("room"), "")])
        platform: Any = Platform(looking=1)
        looks, is_seen, is_renewed = 0, asyncio.Event(), asyncio.Event()

        def is_held() -> bool:
            nonlocal looks
            looks += 1
            is_seen.set()
            return is_renewed.is_set()

        desk = AskDesk(
            store=store,
            adapters=[platform],
            policy=lambda: None,  # pyright: ignore
            bell=Bell(),
            worker="a",
            is_held=is_held,
            sweep_s=0.01,
        )
        async with asyncio.timeout(WAIT_S), desk.working():
            await is_seen.wait()
            assert platform.posted == []
            is_renewed.set()
            while await store.due_ask_posts(serves=["test/"]):  # noqa: ASYNC110  (a store sets no event)
                await asyncio.sleep(0.01)
        assert len(platform.posted) == 1 and looks > 1


async def test_a_message_that_the_platform_asked_to_wait_with_is_posted_after_that_pause_and_no_later_look(
    tmp_path: Path,
) -> None:
    async with open_sqlite(tmp_path / "a.db") as store:
        _, record = await asking(store)
        await store.plan_ask(record.id, [(room("room"), "")])
        platform: Any = Platform(looking=1, limited=[RateLimitError(retry_after_s=0.05)])
        desk = AskDesk(
            store=store,
            adapters=[platform],
            policy=lambda: None,  # pyright: ignore
            bell=Bell(),
            worker="a",
            sweep_s=10 * WAIT_S,
        )
        async with asyncio.timeout(WAIT_S), desk.working():
            while await store.due_ask_posts(serves=["test/"]):  # noqa: ASYNC110  (a store sets no event)
                await asyncio.sleep(0.01)
        assert len(platform.posted) == 1
