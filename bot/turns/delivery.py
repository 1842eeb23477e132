"""Delivery: brings the outbox of a turn to its platform, each post once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from bot.domain.backoff import Backoff
from bot.domain.errors import AdapterError, RateLimitError
from bot.domain.turns import Post
from bot.ports.platform import Adapter
from bot.ports.store import Lease, WorkStore

log = structlog.stdlib.get_logger(__name__)

MAX_FAILURES = 4
RETRY = Backoff(first_s=1.0, max_s=8.0)
MAYBE_TWICE = "\n\n_The bot was restarted while it was posting this; you may see it twice._"


async def deliver(
    lease: Lease, *, store: WorkStore, adapter: Adapter, is_fresh: bool, is_alive: Callable[[], bool]
) -> None:
    """Post what the turn's outbox holds, in order; the last post ends the turn.

    `is_fresh`: this process has just stored the outbox, so that nothing of it can be visible yet. The store marks the
    first post as about to be sent together with the reply, and each next one together with the end of the one before.
    `is_alive` returns whether the process holds its lease; after a pause in which it ran out, the store is asked before
    anything is posted.

    Raises:
        AdapterError: The platform refused for good, or again and again; what was posted is marked so.
        LeaseLostError: Another worker delivers the turn now.
    """
    posts = await store.outbox(lease.turn_id)
    last = posts[-1].post.part
    is_marked = False
    for item in posts:
        if item.state == "posted":
            continue
        if item.state == "pending" and not is_marked:
            await store.mark_posting(lease, item.post.part)
        may_be_visible = item.state == "posting" and not is_fresh
        reference = await _Placing(lease, store, adapter, is_alive).place(item.post, may_be_visible=may_be_visible)
        await store.mark_posted(lease, item.post.part, reference=reference, ends_turn=item.post.part == last)
        is_marked = True


@dataclass(frozen=True, slots=True)
class _Placing:
    lease: Lease
    store: WorkStore
    adapter: Adapter
    is_alive: Callable[[], bool]

    async def place(self, post: Post, *, may_be_visible: bool) -> str:
        failures = 0
        while True:
            try:
                if may_be_visible:
                    found = await _look_for(post, self.adapter)
                    if isinstance(found, str):
                        return found
                    post = found
                if not self.is_alive():
                    await self.store.mark_posting(self.lease, post.part)
                return await self.adapter.post(post)
            except RateLimitError as error:  # nothing was posted: waiting is all there is to do
                may_be_visible = False
                await asyncio.sleep(error.retry_after_s)
            except AdapterError as error:
                failures += 1
                if error.is_permanent or failures == MAX_FAILURES:
                    raise
                log.warning("post_failed", part=post.part, failures=failures, error=str(error))
                may_be_visible = True
                await asyncio.sleep(RETRY.wait_s(failures))
            await self.store.mark_posting(self.lease, post.part)  # after the wait another worker may have the turn


async def _look_for(post: Post, adapter: Adapter) -> str | Post:
    """Return the reference of the post where the platform shows it, otherwise the post to send."""
    try:
        found = await adapter.find(post)
    except AdapterError:
        if post.text.endswith(MAYBE_TWICE):
            return post
        return replace(post, text=post.text + MAYBE_TWICE)
    return found.reference if found else post
