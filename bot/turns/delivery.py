"""Delivery: brings the outbox of a turn to its platform, each post once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import structlog

from bot.domain.backoff import Backoff
from bot.domain.errors import AdapterError, RateLimitError
from bot.domain.turns import Post, PostWay
from bot.ports.platform import Adapter
from bot.ports.work_store import Lease, WorkStore
from bot.turns.handing_over import HandOver, TurnHandedOver
from bot.turns.limits import Patience
from bot.turns.outage import outlasting
from bot.turns.pulse import Pulse

log = structlog.stdlib.get_logger(__name__)

RETRY = Backoff(first_s=1.0, max_s=60.0)
MAYBE_TWICE = "\n\n_The bot was restarted while it was posting this; you may see it twice._"


async def deliver(
    lease: Lease,
    *,
    store: WorkStore,
    adapter: Adapter,
    is_fresh: bool,
    is_alive: Callable[[], bool],
    patience: Patience,
    pulse: Pulse,
    hand_over: HandOver,
    tell: Callable[[AdapterError, float], None],
) -> None:
    """Post what the turn's outbox holds, in order; the last post ends the turn.

    `is_fresh`: this process has just stored the outbox, so that nothing of it can be visible yet. The store marks the
    first post as about to be sent together with the reply, and each next one together with the end of the one before.
    `is_alive` returns whether the process holds its lease; after a pause in which it ran out, the store is asked before
    anything is posted. `tell` gets each failure, and the seconds until the next try. Where `hand_over` is asked for,
    a post that waits to be sent, for its platform's rate or for its next try, is left.

    Raises:
        AdapterError: The platform refused for good, or failed for as long as `patience` lasts.
        LeaseLostError: Another worker delivers the turn now.
        TurnHandedOver: What is left of it is for another process to deliver.
    """
    posts = await store.outbox(lease.turn_id)
    last = posts[-1].post.part
    is_marked = False
    for item in posts:
        if item.state == "posted":
            continue
        if item.state == "pending" and not is_marked:
            await store.mark_posting(lease, item.post.part)
        placing = _Placing(
            lease=lease,
            store=store,
            adapter=adapter,
            is_alive=is_alive,
            hand_over=hand_over,
            tell=tell,
            tries=_Tries(patience, pulse, adapter.name),
            post=item.post,
            may_be_visible=item.state == "posting" and not is_fresh,
        )
        await _mark_posted(store, lease, item.post.part, reference=await placing.place(), last=last)
        is_marked = True


async def _mark_posted(store: WorkStore, lease: Lease, part: int, *, reference: str, last: int) -> None:
    """Store that the part is visible, and with the last one that the turn has ended."""
    await outlasting(
        lambda again: store.mark_posted(lease, part, reference=reference, ends_turn=part == last, again=again)
    )


class _Tries:
    """How long one post has been failing, and what follows from that. Time is all that counts, not the number of tries.

    Whether the platform is out of order or only this post, nobody can tell for sure. So each try begins with the whole
    post, and goes on with less only when that has failed again: what helps at once after the end of an outage is the
    whole post, and nothing is given up that could have been shown.
    """

    def __init__(self, patience: Patience, pulse: Pulse, platform: str) -> None:
        self._patience = patience
        self._pulse = pulse
        self._platform = platform
        self._first_failed_at: float | None = None
        self._failing_for_s = 0.0  # at the beginning of this try
        self._failures = 0

    def begin(self) -> Sequence[PostWay]:
        """Begin a try; return the ways in which it is made, one after the other, until one succeeds."""
        if self._first_failed_at is None:
            return ("whole",)
        self._failing_for_s = asyncio.get_running_loop().time() - self._first_failed_at
        if self._failing_for_s >= self._patience.elsewhere_s:
            return ("whole", "without_files", "elsewhere")
        return ("whole", "without_files") if self._failing_for_s >= self._patience.without_files_s else ("whole",)

    def succeeded(self) -> None:
        """Take note that the platform took the post."""
        self._pulse.posted(self._platform)

    def missed(self, *, is_rate_limit: bool) -> None:
        """Take note of one call to the platform that failed."""
        self._pulse.missed(self._platform, is_rate_limit=is_rate_limit)

    def failed(self) -> float | None:
        """Take note of a try that failed in every way; return the seconds before the next one, None: there is none.

        A post is given up that fails while others are taken; in an outage it is kept for longer.
        """
        self._failures += 1
        if self._first_failed_at is None:
            self._first_failed_at = asyncio.get_running_loop().time()
        is_own_fault = self._pulse.has_posted_since(self._platform, self._first_failed_at)
        if self._failing_for_s >= (self._patience.elsewhere_s if is_own_fault else self._patience.outage_s):
            return None
        return min(RETRY.wait_s(self._failures), self._patience.without_files_s)


@dataclass(slots=True, kw_only=True)
class _Placing:
    """The way of one post to its platform."""

    lease: Lease
    store: WorkStore
    adapter: Adapter
    is_alive: Callable[[], bool]
    hand_over: HandOver
    tell: Callable[[AdapterError, float], None]
    tries: _Tries
    post: Post
    may_be_visible: bool

    async def place(self) -> str:
        """Try until the post is visible, or its time is over; return its reference."""
        while True:
            try:
                return await self._try_ways()
            except RateLimitError as error:  # nothing was posted: waiting is all there is to do
                await self._wait(error.retry_after_s)
            except AdapterError as error:
                if error.is_permanent or (wait_s := self.tries.failed()) is None:
                    raise
                log.warning("post_failed", part=self.post.part, error=str(error), wait_s=wait_s)
                self.tell(error, wait_s)
                await self._wait(wait_s)
            await self.store.mark_posting(self.lease, self.post.part)  # meanwhile another worker may have got the turn

    async def _wait(self, seconds: float) -> None:
        try:
            async with self.hand_over.leavable():
                await asyncio.sleep(seconds)
        except TurnHandedOver:
            if not self.may_be_visible and not self.post.attachments:  # a file may be what was not posted
                await self.store.mark_unsent(self.lease, self.post.part)
            raise

    async def _try_ways(self) -> str:
        ways = [way for way in self.tries.begin() if way != "without_files" or self.post.attachments]
        trouble = ""
        for way in ways:
            try:
                return await self._try(replace(self.post, way=way, trouble=trouble))
            except AdapterError as error:
                if isinstance(error, RateLimitError) or error.is_permanent or way == ways[-1]:
                    raise
                log.warning("post_failed", part=self.post.part, way=way, error=str(error))
                trouble = str(error)
        raise AssertionError("there is always one way")

    async def _try(self, post: Post) -> str:
        if self.may_be_visible:
            found = await _look_for(post, self.adapter)
            if isinstance(found, str):
                return found
            post = found
        if not self.is_alive():
            await self.store.mark_posting(self.lease, post.part)
        try:
            reference = await self.adapter.post(post)
        except RateLimitError:
            self.may_be_visible = False
            self.tries.missed(is_rate_limit=True)
            raise
        except AdapterError:
            self.may_be_visible = True
            self.tries.missed(is_rate_limit=False)
            raise
        self.tries.succeeded()
        return reference


async def _look_for(post: Post, adapter: Adapter) -> str | Post:
    """Return the reference of the post where the platform shows it, otherwise the post to send."""
    try:
        found = await adapter.find(post)
    except AdapterError:
        if post.text.endswith(MAYBE_TWICE):
            return post
        return replace(post, text=post.text + MAYBE_TWICE)
    return found.reference if found else post
