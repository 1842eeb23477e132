"""What Slack delivers to several processes in any order."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from adapters.shared.arrivals import Arrivals, Notices, WaitingSign
from adapters.shared.tasks import Background
from adapters.slack.arrivals import SlackArrivals
from adapters.slack.parse import conversation_key
from bot.domain.answers import Ignored, Known, Queued, Revised
from bot.domain.events import ConversationKey, MessageDeleted, MessageEdited, MessageReceived
from bot.ports.store import Store
from bot.stores.sqlite.store import open_sqlite
from bot.turns.cluster import ProcessCluster
from tests.contracts.stores import HERE, LEASE_S, THERE
from tests.fakes.ports import message


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_sqlite(tmp_path / "toolbridge.db") as store:
        await store.heartbeat(HERE, lease_s=LEASE_S)
        await store.heartbeat(THERE, lease_s=LEASE_S)
        yield store


class Core:
    """A core that takes every message once, and has the words as they are."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.takes_part = False

    async def accept(self, event: MessageReceived) -> Queued | Known:
        is_known = any(event.event_key == one.event_key for one in self.taken if isinstance(one, MessageReceived))
        self.taken.append(event)
        return Known(turn_id=1) if is_known else Queued(turn_id=1, waits_behind=0)

    async def expects_follow_ups(self, conversation: ConversationKey) -> bool:
        return self.takes_part

    async def revise(self, event: MessageDeleted | MessageEdited) -> Revised:
        if isinstance(event, MessageEdited) and event.message.is_addressed:
            return await self.accept(event.message)
        self.taken.append(event)
        return Ignored()

    async def message(self, event: MessageReceived) -> MessageReceived:
        return event

    async def stamp(self, event: MessageReceived) -> MessageReceived:
        return event


def arrivals(store: Store, worker: str, core: Core) -> SlackArrivals:
    async def nothing(*_: object, **__: object) -> None:
        pass

    background = Background("test")
    return SlackArrivals(
        Arrivals(cast("Any", core), notices=Notices(nothing, background), sign=WaitingSign(nothing, background)),
        readable=cast("Any", core),
        standings=cast("Any", core),
        note=nothing,
        background=background,
        cluster=ProcessCluster(store=store, worker=worker),
    )


def kinds(core: Core) -> Sequence[str]:
    return [type(event).__name__ for event in core.taken]


async def test_a_message_whose_deletion_reached_another_process_first_is_taken_back(store: Store) -> None:
    here, there = Core(), Core()
    first, second = arrivals(store, HERE, here), arrivals(store, THERE, there)
    key = f"slack:T1:C1:{time.time():.6f}"
    said = replace(message("Never mind", key=key), conversation=conversation_key("T1", "C1", "1.0"))
    await first.take(MessageDeleted(conversation=said.conversation, event_key=key))
    await second.take(said)
    await second.take(replace(said, event_key=f"slack:T1:C1:{time.time() + 1:.6f}"))
    assert kinds(there) == ["MessageReceived", "MessageDeleted", "MessageReceived"]


@pytest.mark.parametrize("takes_part", [False, True])
async def test_a_message_whose_mention_was_removed_at_another_process_first_is_taken_back_unless_it_follows_up(
    store: Store, *, takes_part: bool
) -> None:
    here, there = Core(), Core()
    here.takes_part = there.takes_part = takes_part
    first, second = arrivals(store, HERE, here), arrivals(store, THERE, there)
    said = question("hello")
    await first.take(edited(said, "hello all", is_addressed=False))
    await second.take(said)
    assert kinds(there) == ["MessageReceived"] if takes_part else ["MessageReceived", "MessageDeleted"]


async def test_a_message_that_was_edited_before_it_arrived_reads_as_the_edit_left_it(store: Store) -> None:
    core = Core()
    taking, said = arrivals(store, HERE, core), question("hello")
    await taking.take(edited(said, "hello all", is_addressed=False))
    await taking.take(said)
    assert [(event.text, event.is_addressed) for event in core.taken[1:]] == [("hello all", False)]


async def test_a_mention_that_was_removed_and_given_back_before_the_message_arrives_counts(store: Store) -> None:
    core = Core()
    taking, said = arrivals(store, HERE, core), question("hello")
    await taking.take(edited(said, "hello all", is_addressed=False))
    await taking.take(edited(said, "hello", is_addressed=True))
    await taking.take(said)
    assert kinds(core) == ["MessageEdited", "MessageReceived", "MessageReceived"]
    assert core.taken[-1] == said


def question(text: str) -> MessageReceived:
    said = message(text, key=f"slack:T1:C1:{time.time():.6f}")
    return replace(said, conversation=conversation_key("T1", "C1", "1.0"), is_addressed=True)


def edited(said: MessageReceived, text: str, *, is_addressed: bool) -> MessageEdited:
    edited_at = said.sent_at + timedelta(seconds=1 + is_addressed)
    return MessageEdited(message=replace(said, text=text, is_addressed=is_addressed, edited_at=edited_at))
