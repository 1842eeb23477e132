"""How long a post may fail: counted once, in time, and longer where everything fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from bot.domain.errors import AdapterError, LeaseLostError, RateLimitError
from bot.domain.messages import Attachment, Usage
from bot.domain.turns import Post
from bot.ports.platform import Found
from bot.ports.store import Store
from bot.ports.work_store import ClaimedTurn
from bot.stores.sqlite.store import open_sqlite
from bot.turns.delivery import deliver
from bot.turns.handing_over import HandOver
from bot.turns.limits import Patience
from bot.turns.pulse import Pulse
from tests.fakes.ports import CONVERSATION, RecordingAdapter, message

FILE = Attachment(name="a.csv", mime_type="text/csv", data=b"1")
POST = Post(key="p", conversation=CONVERSATION, turn_id=1, part=0, text="Done.", author_id="U1", attachments=(FILE,))
BROKEN = AdapterError("It failed.")
PATIENCE = Patience(without_files_s=0.05, elsewhere_s=0.15, outage_s=0.5)
EVER = Patience(without_files_s=0.05, elsewhere_s=0.15, outage_s=60.0)

Check = Callable[[Post], AdapterError | None]


@dataclass
class Platform(RecordingAdapter):
    """A platform that refuses what `check` says, and knows how each post was tried."""

    check: Check
    tried: list[Post] = field(default_factory=list[Post])
    searches: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    async def post(self, post: Post) -> str:
        self.tried.append(post)
        if (error := self.check(post)) is not None:
            raise error
        return await super().post(post)

    async def find(self, post: Post) -> Found | None:
        self.searches += 1
        return await super().find(post)

    @property
    def ways(self) -> list[str]:
        return [post.way for post in self.tried]


@dataclass
class Outbox:
    """A stored answer of one post, and what delivers it."""

    store: Store
    turn: ClaimedTurn
    pulse: Pulse
    told: list[str] = field(default_factory=list[str])

    async def deliver(self, platform: Platform, patience: Patience, *, is_fresh: bool = True) -> None:
        async with asyncio.timeout(30):
            await deliver(
                self.turn.lease,
                store=self.store,
                adapter=platform,
                is_fresh=is_fresh,
                is_alive=lambda: True,
                patience=patience,
                pulse=self.pulse,
                hand_over=HandOver(),
                tell=lambda error, wait_s: self.told.append(str(error)),
            )


@pytest.fixture
async def outbox(tmp_path: Path) -> AsyncIterator[Outbox]:
    async with open_sqlite(tmp_path / "a.db") as store:
        await store.accept(message("hello"), worker="a", max_waiting=10)
        [turn] = await store.claim("a", serves=["fake/"], limit=1)
        post = replace(POST, turn_id=turn.lease.turn_id)
        await store.reply(turn.lease, state="answered", messages=(), posts=[post], usage=Usage())
        yield Outbox(store, turn, Pulse())


def failing(*ways: str) -> Check:
    return lambda post: BROKEN if post.way in ways else None


async def test_a_post_that_succeeds_is_tried_once_and_is_a_sign_of_life(outbox: Outbox) -> None:
    platform, since = Platform(failing()), asyncio.get_running_loop().time()
    await outbox.deliver(platform, PATIENCE)
    assert (platform.ways, platform.searches, outbox.told) == (["whole"], 0, [])
    assert outbox.pulse.has_posted_since("fake", since)
    assert not outbox.pulse.has_posted_since("other", since)


async def test_a_post_is_tried_whole_for_a_while_then_without_its_files_and_each_failure_is_told(
    outbox: Outbox,
) -> None:
    platform = Platform(failing("whole"))
    await outbox.deliver(platform, PATIENCE)
    assert platform.ways[-2:] == ["whole", "without_files"]
    assert set(platform.ways[:-1]) == {"whole"}
    assert platform.tried[-1].trouble == "It failed."
    assert platform.tried[-1].attachments == (FILE,)  # what to leave out is the platform's business
    assert set(outbox.told) == {"It failed."}


async def test_after_that_it_is_tried_elsewhere(outbox: Outbox) -> None:
    platform = Platform(failing("whole", "without_files"))
    await outbox.deliver(platform, EVER)
    assert platform.ways[-3:] == ["whole", "without_files", "elsewhere"]


async def test_after_each_failure_it_is_looked_for_before_it_is_tried_again(outbox: Outbox) -> None:
    platform = Platform(failing("whole", "without_files"))
    await outbox.deliver(platform, EVER)
    assert platform.searches == len(platform.tried) - 1


async def test_an_outage_keeps_the_post_for_longer_and_its_end_brings_the_whole_post(outbox: Outbox) -> None:
    began_at = asyncio.get_running_loop().time()

    def fails_for_a_while(post: Post) -> AdapterError | None:
        is_over = asyncio.get_running_loop().time() - began_at > 0.6 and post.way == "whole"
        return None if is_over else BROKEN

    platform = Platform(fails_for_a_while)
    await outbox.deliver(platform, EVER)
    assert platform.ways[-1] == "whole"
    assert "elsewhere" in platform.ways


async def test_an_outage_that_lasts_too_long_ends_it(outbox: Outbox) -> None:
    began_at = asyncio.get_running_loop().time()
    with pytest.raises(AdapterError, match="It failed"):
        await outbox.deliver(Platform(failing("whole", "without_files", "elsewhere")), PATIENCE)
    assert asyncio.get_running_loop().time() - began_at >= 0.5


async def test_a_post_that_fails_in_every_way_while_others_are_taken_is_given_up(outbox: Outbox) -> None:
    def others_succeed(post: Post) -> AdapterError | None:
        outbox.pulse.posted("fake")
        return BROKEN

    platform = Platform(others_succeed)
    with pytest.raises(AdapterError, match="It failed"):
        await outbox.deliver(platform, EVER)
    assert platform.ways[-1] == "elsewhere"
    assert platform.ways.count("elsewhere") == 1


async def test_a_pause_that_the_platform_asks_for_is_no_failure(outbox: Outbox) -> None:
    pauses = [RateLimitError(retry_after_s=0.1)] * 5
    platform = Platform(lambda post: pauses.pop() if pauses else None)
    await outbox.deliver(platform, PATIENCE)
    assert set(platform.ways) == {"whole"}
    assert (platform.searches, outbox.told) == (0, [])


async def test_a_refusal_for_good_is_not_tried_again(outbox: Outbox) -> None:
    platform = Platform(lambda post: AdapterError("Refused.", is_permanent=True))
    with pytest.raises(AdapterError, match="Refused"):
        await outbox.deliver(platform, EVER)
    assert platform.ways == ["whole"]


async def test_the_stored_post_stays_as_it_is(outbox: Outbox) -> None:
    await outbox.deliver(Platform(failing("whole")), PATIENCE)
    [item] = await outbox.store.outbox(outbox.turn.lease.turn_id)
    assert (item.state, item.post.way, item.post.trouble) == ("posted", "whole", "")
    assert item.post.attachments == (FILE,)


async def test_a_turn_that_was_taken_over_meanwhile_is_left_to_its_new_worker(outbox: Outbox) -> None:
    async def taken_over() -> None:
        await outbox.store.expire("a")
        await outbox.store.claim("b", serves=["fake/"], limit=1)

    def fails(post: Post) -> AdapterError | None:
        tasks.append(asyncio.ensure_future(taken_over()))
        return BROKEN

    tasks: list[asyncio.Future[None]] = []
    platform = Platform(fails)
    with pytest.raises(LeaseLostError):
        await outbox.deliver(platform, EVER)
    assert len(platform.tried) == 1
