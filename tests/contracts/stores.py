"""How the contract tests of the store open one, and bring a turn where they need it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bot.domain.answers import Queued
from bot.domain.events import ConversationKey, MessageReceived
from bot.domain.messages import AssistantMessage, Attachment, Message, Usage, UserMessage
from bot.domain.turns import CallStarted, Post, Step
from bot.ports.store import Store
from bot.ports.work_store import ClaimedTurn, Lease

HERE, THERE = "worker-here", "worker-there"
ASKER = "test:u1"
LEASE_S = 15.0
ALL = ("test/",)
numbers = itertools.count(1)


@dataclass
class Clock:
    """Seconds since the epoch, moved by hand."""

    now: float = 1_800_000_000.0
    set_by_s: float = 0.0

    def __call__(self) -> float:
        return self.now

    def steady(self) -> float:
        return self.now - self.set_by_s

    def set(self, by_s: float) -> None:
        """Set the clock, as a person or a time server does; no time passes."""
        self.now += by_s
        self.set_by_s += by_s


OpenStore = Callable[[], AbstractAsyncContextManager[Store]]


def room(name: str) -> ConversationKey:
    return ConversationKey(platform="test", space="team", channel=name)


def thread(name: str, channel: str = "room") -> ConversationKey:
    return replace(room(channel), thread=name)


def question(conversation: str = "room", *, text: str = "How much is 2 + 2?", key: str = "") -> MessageReceived:
    return MessageReceived(
        conversation=room(conversation),
        event_key=key or f"event-{next(numbers)}",
        author_id="u1",
        author_name="Ann",
        text=text,
        sent_at=datetime(2026, 11, 1, 12, 30, 0, 123456, tzinfo=UTC),
        is_shared=True,
    )


async def ask(store: Store, conversation: str = "room", *, worker: str = HERE, text: str = "How much is 2 + 2?") -> int:
    outcome = await store.accept(question(conversation, text=text), worker=worker, max_waiting=1_000)
    assert isinstance(outcome, Queued)
    return outcome.turn_id


async def accepted(store: Store, event: MessageReceived) -> int:
    """Accept a new question and return its turn."""
    outcome = await store.accept(event, worker=HERE, max_waiting=20)
    assert isinstance(outcome, Queued)
    return outcome.turn_id


async def claim(
    store: Store, *, worker: str = HERE, serves: Sequence[str] = ALL, limit: int = 100, reserved: int = 0
) -> list[int]:
    turns = await store.claim(worker, serves=serves, limit=limit, reserved=reserved)
    return [turn.lease.turn_id for turn in turns]


async def claim_one(store: Store, *, worker: str = HERE) -> ClaimedTurn:
    (turn,) = await store.claim(worker, serves=ALL, limit=100)
    return turn


async def begin(store: Store, conversation: str = "room", *, text: str = "How much is 2 + 2?") -> Lease:
    """Accept a question and claim its turn."""
    turn_id = await ask(store, conversation, text=text)
    turn = await claim_one(store)
    assert turn.lease.turn_id == turn_id
    return turn.lease


def post(lease: Lease, *, part: int = 0, text: str = "4", attachments: tuple[Attachment, ...] = ()) -> Post:
    return Post(
        key=f"{lease.turn_id}.{part}",
        conversation=room("room"),
        turn_id=lease.turn_id,
        part=part,
        text=text,
        in_reply_to="event",
        attachments=attachments,
    )


async def answer(
    store: Store,
    lease: Lease,
    *messages: Message,
    posts: Sequence[Post] = (),
    usage: Usage | None = None,
    steps: Sequence[Step] = (),
) -> None:
    await store.reply(
        lease,
        state="answered",
        messages=messages,
        posts=posts or [post(lease)],
        usage=usage or Usage(input_tokens=1),
        steps=steps,
    )


async def finish(store: Store, lease: Lease, *messages: Message, usage: Usage | None = None) -> None:
    await answer(store, lease, *messages, usage=usage)
    await store.mark_posted(lease, 0, reference="ref", ends_turn=True)


def said(text: str) -> tuple[Message, Message]:
    return UserMessage(text=f"{text}?"), AssistantMessage(text=f"{text}!")


STARTED = CallStarted(round=0, call_id="c1")
