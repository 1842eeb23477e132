"""What Slack delivers to several processes in any order."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from adapters.shared.arrivals import Arrivals, Notices, WaitingSign
from adapters.shared.tasks import Background
from adapters.slack.arrivals import SlackArrivals
from adapters.slack.parse import conversation_key
from bot.domain.answers import Done, Ignored, Queued
from bot.domain.events import MessageDeleted, MessageReceived
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
    """A core that takes every message, and has the words as they are."""

    def __init__(self) -> None:
        self.taken: list[Any] = []

    async def accept(self, event: MessageReceived) -> Queued:
        self.taken.append(event)
        return Queued(turn_id=1, waits_behind=0)

    async def revise(self, event: MessageDeleted) -> Done | Ignored:
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
