"""Delivery: brings the outbox of a turn to its platform, each post once."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import structlog

from bot.domain.errors import AdapterError, RateLimitError
from bot.domain.turns import Post
from bot.ports.platform import Adapter
from bot.ports.store import Lease, OutboxPost, Store

log = structlog.stdlib.get_logger(__name__)

MAX_FAILURES = 4
BACK_OFF_S = 0.5
MAYBE_TWICE = "\n\n_The bot was restarted while it was posting this; you may see it twice._"


async def deliver(lease: Lease, *, store: Store, adapter: Adapter) -> None:
    """Post what the turn's outbox holds, in order; the last post ends the turn.

    Raises:
        AdapterError: The platform refused for good, or again and again; what was posted is marked so.
        LeaseLostError: Another worker delivers the turn now.
    """
    posts = await store.outbox(lease.turn_id)
    last = posts[-1].post.part
    for item in posts:
        if item.state != "posted":
            reference = await _place(item, lease, store, adapter)
            await store.mark_posted(lease, item.post.part, reference=reference, ends_turn=item.post.part == last)


async def _place(item: OutboxPost, lease: Lease, store: Store, adapter: Adapter) -> str:
    post, may_be_visible, failures = item.post, item.state == "posting", 0
    while True:
        try:
            if may_be_visible:
                found = await _look_for(post, adapter)
                if isinstance(found, str):
                    return found
                post = found
            await store.mark_posting(lease, post.part)
            return await adapter.post(post)
        except RateLimitError as error:  # nothing was posted: waiting is all there is to do
            may_be_visible = False
            await asyncio.sleep(error.retry_after_s)
        except AdapterError as error:
            failures += 1
            if error.is_permanent or failures == MAX_FAILURES:
                raise
            log.warning("post_failed", part=post.part, failures=failures, error=str(error))
            may_be_visible = True
            await asyncio.sleep(BACK_OFF_S * 2**failures)


async def _look_for(post: Post, adapter: Adapter) -> str | Post:
    """Return the reference of the post where the platform shows it, otherwise the post to send."""
    try:
        found = await adapter.find(post)
    except AdapterError:
        if post.text.endswith(MAYBE_TWICE):
            return post
        return replace(post, text=post.text + MAYBE_TWICE)
    return found.reference if found else post
