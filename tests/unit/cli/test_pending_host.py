"""The host of a chat whose prompt is shown before the app behind it is open."""

from __future__ import annotations

import asyncio

import pytest

from bot.cli.chat import PendingHost
from bot.domain.answers import CommandAnswer
from bot.domain.events import CommandInvoked, ConversationKey
from bot.ports.platform import Host
from bot.tools.toolset import Toolset

ROOM = ConversationKey(platform="test", space="", channel="room")
HELP = CommandInvoked(conversation=ROOM, event_key="1", author_id="U1", name="help")


class Notes:
    async def notes(self, prefix: str) -> dict[str, str]:
        return {f"{prefix}seen": "yes"}

    async def put_note(self, name: str, text: str | None) -> None:
        raise AssertionError(f"nothing here writes {name}")


class Opened(PendingHost):
    """A host that is there, for what the tests ask of it."""

    directory = Toolset([])
    notes = Notes()

    async def command(self, event: CommandInvoked) -> CommandAnswer:
        return CommandAnswer(text=f"/{event.name}")


async def test_a_command_waits_until_the_app_is_open_and_then_gets_its_answer() -> None:
    pending = PendingHost(about="a bot")
    host: Host = pending
    asked = asyncio.create_task(host.command(HELP))
    await asyncio.sleep(0)
    assert not asked.done()
    pending.resolve(Opened(about=""))
    assert await asked == CommandAnswer(text="/help")


async def test_one_that_waits_and_is_given_up_leaves_the_others_waiting() -> None:
    pending = PendingHost(about="a bot")
    given_up, kept = (asyncio.create_task(pending.command(HELP)) for _ in range(2))
    await asyncio.sleep(0)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    pending.resolve(Opened(about=""))
    assert await kept == CommandAnswer(text="/help")


async def test_what_is_known_before_is_said_at_once() -> None:
    pending = PendingHost(about="a bot")
    assert pending.about == "a bot"
    assert pending.directory.status() == ()


async def test_notes_and_tools_are_those_of_the_opened_host() -> None:
    pending = PendingHost(about="a bot")
    notes, directory = pending.notes, pending.directory
    pending.resolve(Opened(about=""))
    assert await notes.notes("a/") == {"a/seen": "yes"}
    assert (await directory.offer(None)).tools == ()
    assert directory.status() == []
