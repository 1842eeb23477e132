"""What people write while the bot is away is answered when it is back, once and in order."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from adapters.discord.backfill import ALIVE
from tests.fakes.discord import Call, Channel, FakeDiscord
from tests.scenarios.discord.rooms import Room, general
from tests.scenarios.discord.serving import World, open_world, serving
from tests.scenarios.tools import without_tools

DIRECT = {"allow_dms": True}


@asynccontextmanager
async def life(
    world: World, home: Path, *, options: Mapping[str, Any] | None = None, **settings: Any
) -> AsyncGenerator[Room]:
    """One life of the bot, as seen from the first channel."""
    async with serving(world, home, options=options, settings={**without_tools(home), **settings}) as bot:
        yield general(world, bot)


async def until_noted(room: Room) -> None:
    """Wait until the bot has noted that it is there: then it has caught up."""
    while not await room.bot.app.store.notes(ALIVE):
        await room.world.discord.until(lambda: True)


async def spoken_to(
    world: World, home: Path, *channels: Channel, options: Mapping[str, Any] | None = None, there_s_ago: float = 0.0
) -> None:
    """Have the bot asked in the channels, and stop it; it was online for the last time so many seconds ago."""
    async with life(world, home, options=options) as room:
        for channel in channels:
            here = replace(room, channel=channel)
            await here.say(asker(world, channel), "the opening", mention=not channel.is_dm)
            await here.answered()
        await until_noted(room)
        if there_s_ago:
            await room.bot.app.store.put_note(ALIVE, f"{time.time() - there_s_ago:.3f}")


def asker(world: World, channel: Channel) -> Any:
    return channel.recipient if channel.is_dm else world.ada


async def known_thread(world: World) -> Channel:
    """Return a thread of the channel in which nobody has written yet."""
    starter = await world.discord.say(world.channel, world.ben, "let us talk", deliver=False)
    return await world.discord.start_thread(world.channel, world.ben, "Talk", message=starter)


def said(discord: FakeDiscord, channel: Channel, *texts: str) -> list[str]:
    """Return for each of the bot's messages there which of the texts is in it."""
    return [
        next((text for text in texts if text in message.content), message.content) for message in discord.own(channel)
    ]


def looked_at(discord: FakeDiscord, since: int) -> set[str]:
    """Return the channels whose history was read after so many calls."""
    return {call.parameters["channel"] for call in histories(discord)[since:]}


def histories(discord: FakeDiscord) -> list[Call]:
    return discord.calls_of("list_messages")


async def test_a_thread_that_was_begun_while_the_bot_was_away_is_looked_at(tmp_path: Path) -> None:
    async with open_world() as world:
        await spoken_to(world, tmp_path, world.channel)
        thread = await known_thread(world)
        await world.discord.say(thread, world.ada, "in the new thread", mention=True, deliver=False)
        async with life(world, tmp_path) as room:
            assert "in the new thread" in (await replace(room, channel=thread).answered())[0]


async def test_the_first_start_looks_at_nothing_that_was_written_before(tmp_path: Path) -> None:
    async with open_world() as world:
        await world.discord.say(world.channel, world.ada, "before there was a bot", mention=True, deliver=False)
        async with life(world, tmp_path) as room:
            await until_noted(room)
            assert histories(world.discord) == []
            await room.ask(world.ada, "the first words")
            assert "the first words" in (await room.answered())[0]
        assert len(world.discord.own(world.channel)) == 1


async def test_more_messages_than_one_page_holds_are_all_looked_at(tmp_path: Path) -> None:
    async with open_world() as world:
        await spoken_to(world, tmp_path, world.channel)
        await world.discord.say(world.channel, world.ada, "at first", mention=True, deliver=False)
        for number in range(150):
            await world.discord.say(world.channel, world.ben, f"among people {number}", deliver=False)
        await world.discord.say(world.channel, world.ada, "at last", mention=True, deliver=False)
        async with life(world, tmp_path) as room:
            await room.answered(3)
        assert said(world.discord, world.channel, "at first", "at last")[1:] == ["at first", "at last"]


async def test_a_missed_message_that_was_changed_or_deleted_meanwhile_counts_as_it_is(tmp_path: Path) -> None:
    async with open_world() as world:
        discord = world.discord
        await spoken_to(world, tmp_path, world.channel)
        gone = await discord.say(world.channel, world.ada, "never mind", mention=True, deliver=False)
        await discord.delete(world.channel, gone)
        changed = await discord.say(world.channel, world.ada, "wrong words", mention=True, deliver=False)
        await discord.edit(world.channel, changed, f"{discord.bot.mention} right words", deliver=False)
        async with life(world, tmp_path) as room:
            await room.answered(2)
        assert said(discord, world.channel, "never mind", "wrong words", "right words")[1:] == ["right words"]


async def test_discord_that_makes_the_bot_wait_for_what_it_missed_gets_its_time(tmp_path: Path) -> None:
    async with open_world() as world:
        discord = world.discord
        await spoken_to(world, tmp_path, world.channel)
        await discord.say(world.channel, world.ben, "one", mention=True, deliver=False)
        discord.limit_next("list_messages", retry_after=0.7)
        discord.fail_next("list_messages", status=503)
        before = len(histories(discord))
        async with life(world, tmp_path) as room:
            await room.answered(2)
        limited, failed, granted = histories(discord)[before:][:3]
        assert [limited.status, failed.status, granted.status] == [429, 503, 200]
        assert failed.at - limited.at >= 0.65
        assert granted.at - failed.at >= 0.9
        assert len(await world.model.requests()) == 2


async def test_a_channel_that_the_bot_may_not_read_keeps_no_other_waiting(tmp_path: Path) -> None:
    async with open_world() as world:
        discord = world.discord
        hidden = discord.add_channel(world.guild, "hidden")
        await spoken_to(world, tmp_path, world.channel, hidden)
        await discord.say(world.channel, world.ada, "still here", mention=True, deliver=False)
        await discord.say(hidden, world.ada, "in there", mention=True, deliver=False)  # the newer one: looked at first
        discord.allow_bot(hidden)
        async with life(world, tmp_path) as room:
            await room.answered(2)
            await until_noted(room)
        assert said(discord, world.channel, "still here")[1:] == ["still here"]
        refused = [call for call in histories(discord) if not call.ok]
        assert len(refused) <= 1  # what is refused for good is not asked for again


async def test_what_was_refused_is_not_refused_again_when_a_new_session_begins(tmp_path: Path) -> None:
    async with open_world() as world, life(world, tmp_path, max_input_chars=40) as room:
        discord = world.discord
        await until_noted(room)
        await room.ask(world.ada, "x" * 50)
        (notice,) = await discord.until(lambda: discord.own(world.channel))
        assert "40" in notice.content
        await discord.invalidate()
        await discord.until(lambda: histories(discord))
        await room.ask(world.ada, "another")
        await room.answered()
        assert len(discord.own(world.channel)) == 2
