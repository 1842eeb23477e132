"""The way to Discord breaks: gateways that refuse, go or stay silent, sessions that are lost, a store that is full."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapters.discord.adapter import DiscordOptions, open_discord
from bot.domain.errors import AdapterError
from tests.fakes.discord import Channel, FakeDiscord, Message
from tests.fakes.discord.world import ChannelId
from tests.fakes.hosts import ScriptedHost
from tests.scenarios.discord.rooms import Room, general, kinds
from tests.scenarios.discord.serving import WAIT_S, WATCH, World, open_world, serving
from tests.scenarios.tools import without_tools


@asynccontextmanager
async def one_bot(
    home: Path, *, world: World | None = None, options: Mapping[str, Any] | None = None
) -> AsyncGenerator[Room]:
    """The bot in a channel, of a new world unless one is given."""
    if world is None:
        async with open_world() as world, one_bot(home, world=world, options=options) as room:
            yield room
        return
    async with serving(world, home, options=options, settings=without_tools(home)) as bot:
        yield general(world, bot)


async def ask(room: Room, text: str = "What is 6 * 7?") -> Message:
    return await room.ask(room.world.ada, text)


async def until_answered_once(room: Room, question: Message, text: str = "6 * 7") -> None:
    """Wait for the answer to that question and see that it is the only one, and whole."""
    await until_answered_in(room.world.discord, room.channel, question)
    (answer,) = replies_to(room.world.discord, room.channel, question)
    assert text in answer.content


async def until_answered_in(discord: FakeDiscord, channel: Channel, question: Message) -> None:
    await discord.until(lambda: any("good" in kinds(one) for one in replies_to(discord, channel, question)))


def replies_to(discord: FakeDiscord, channel: Channel, question: Message) -> list[Message]:
    return [message for message in discord.own(channel) if message.reference == question.id]


async def until_connected(discord: FakeDiscord, *, before: int = 0) -> None:
    """Wait until a session is connected, after so many that were begun before."""
    await discord.until(lambda: discord.connected() and len(identifies(discord)) > before)


def identifies(discord: FakeDiscord) -> list[dict[str, Any]]:
    return [frame["d"] for frame in discord.frames if frame["op"] == 2]


def resumes(discord: FakeDiscord) -> int:
    return sum(frame["op"] == 6 for frame in discord.frames)


# --- the start -------------------------------------------------------------------------------------------------


async def test_a_gateway_that_refuses_the_first_connections_is_tried_again_with_growing_pauses(tmp_path: Path) -> None:
    async with open_world() as world:
        world.discord.refuse_gateway(2)
        async with one_bot(tmp_path, world=world) as room:
            assert world.discord.refused_handshakes == 2
            await until_answered_once(room, await ask(room))


async def test_discord_that_fails_while_the_bot_logs_in_is_asked_again_with_growing_pauses(tmp_path: Path) -> None:
    async with open_world() as world:
        world.discord.fail_next("get_me", status=503, times=3)
        world.discord.fail_next("get_application", status=503)
        world.discord.fail_next("get_gateway_bot", status=503, times=2)
        async with one_bot(tmp_path, world=world) as room:
            await until_answered_once(room, await ask(room))
        first, second, third, fourth = [call.at for call in world.discord.calls_of("get_me")[:4]]
        assert 0.1 <= second - first < third - second < fourth - third


async def test_no_session_is_begun_while_discord_lets_none_be_begun(tmp_path: Path) -> None:
    async with open_world() as world:
        discord = world.discord
        discord.session_starts_left = 0
        async with asyncio.TaskGroup() as group:
            group.create_task(_let_in_after(discord, questions=3))
            async with one_bot(tmp_path, world=world) as room:
                assert len(identifies(discord)) == 1
                await until_answered_once(room, await ask(room))


async def _let_in_after(discord: FakeDiscord, *, questions: int) -> None:
    await discord.until(lambda: len(discord.calls_of("get_gateway_bot")) >= questions)
    assert identifies(discord) == []
    discord.session_starts_left = 1_000


@asynccontextmanager
async def _running(discord: FakeDiscord, **changes: Any) -> AsyncGenerator[asyncio.Task[None]]:
    """An adapter that runs without the rest of the bot: nothing is to arrive."""
    options = DiscordOptions(
        bot_token=discord.token, api_url=discord.api_url, gateway_url=discord.gateway_url, watch=WATCH
    )
    async with open_discord(replace(options, **changes), ScriptedHost()) as adapter:
        running = asyncio.create_task(adapter.run())
        yield running
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_token_that_discord_does_not_know_ends_the_start_with_a_sentence() -> None:
    async with FakeDiscord() as discord, _running(discord, bot_token="wrong") as running:
        with pytest.raises(AdapterError, match="DISCORD_BOT_TOKEN") as caught:
            async with asyncio.timeout(WAIT_S):
                await running
    assert caught.value.is_permanent
    assert "wrong" not in str(caught.value)


async def test_a_token_that_is_taken_back_ends_the_bot_with_a_sentence_and_not_with_ever_more_logins() -> None:
    async with FakeDiscord() as discord, _running(discord) as running:
        await until_connected(discord)
        discord.token = "another"
        await discord.close_sockets(4004, is_resumable=False)
        with pytest.raises(AdapterError, match="DISCORD_BOT_TOKEN") as caught:
            async with asyncio.timeout(WAIT_S):
                await running
        assert discord.invalid_requests <= 2
    assert caught.value.is_permanent


async def test_without_the_privileged_intent_the_bot_says_so_in_the_log_and_needs_mentions(tmp_path: Path) -> None:
    async with open_world() as world:
        discord = world.discord
        discord.has_message_content = False
        with capture_logs() as logs:
            async with one_bot(tmp_path, world=world) as room:
                question = await ask(room)
                await until_answered_once(room, question)
                thread = await discord.start_thread(room.channel, world.ada, "More", message=question)
                first = await discord.say(thread, world.ada, "What is 2 * 4?", mention=True)
                await until_answered_in(discord, thread, first)
                for _ in range(2):
                    await discord.say(thread, world.ada, "and without a mention?")  # its text does not come
                third = await discord.say(thread, world.ada, "What is 3 * 5?", mention=True)
                await until_answered_in(discord, thread, third)
                assert ["I cannot read this; mention me" in message.content for message in discord.own(thread)] == [
                    False,
                    True,  # once
                    False,
                ]
        (line,) = [line for line in logs if line["event"] == "discord_without_message_content"]
        assert "Message Content Intent" in line["hint"]
        assert [bool(frame["intents"] & 1 << 15) for frame in identifies(discord)] == [True, False]


# --- connections that go ---------------------------------------------------------------------------------------


async def test_when_discord_asks_to_reconnect_the_session_goes_on_and_each_message_is_answered_once(
    tmp_path: Path,
) -> None:
    async with one_bot(tmp_path) as room:
        discord = room.world.discord
        first = await ask(room)
        await discord.ask_to_reconnect()
        second = await ask(room, "What is 2 * 4?")
        await discord.until(lambda: resumes(discord) == 1)
        third = await ask(room, "What is 3 * 5?")
        await until_answered_once(room, first)
        await until_answered_once(room, second, "2 * 4")
        await until_answered_once(room, third, "3 * 5")
        assert len(identifies(discord)) == 1
        assert len(await room.world.model.requests()) == 3


async def test_a_connection_that_breaks_while_a_question_is_answered_does_not_show(tmp_path: Path) -> None:
    async with one_bot(tmp_path) as room:
        discord = room.world.discord
        await room.world.model.pace(first_token_s=0.5)
        first = await ask(room)
        await discord.until(lambda: discord.typing(room.channel))
        await discord.cut()
        missed = await ask(room, "What is 2 * 4?")  # while nothing is connected: it comes when the session is resumed
        await until_answered_once(room, first)
        await until_answered_once(room, missed, "2 * 4")
        assert (len(identifies(discord)), resumes(discord)) == (1, 1)
        connection = room.bot.adapter.connection
        assert (connection.is_open, connection.detail) == (True, "as @toolbridge in 1 server")
        assert connection.reconnects == 1


async def test_after_a_lost_session_a_new_one_begins_and_what_was_missed_is_answered_once(tmp_path: Path) -> None:
    async with one_bot(tmp_path) as room:
        discord = room.world.discord
        first = await ask(room)
        await until_answered_once(room, first)
        discord.refuse_gateway(1)
        await discord.invalidate()
        missed = await ask(room, "What is 2 * 4?")
        await until_answered_once(room, missed, "2 * 4")
        assert len(identifies(discord)) == 2
        await until_answered_once(room, await ask(room, "What is 3 * 5?"), "3 * 5")
        assert len(replies_to(discord, room.channel, first)) == 1
        assert len(await room.world.model.requests()) == 3


async def test_a_connection_on_which_no_heartbeat_is_acknowledged_is_given_up_and_resumed(tmp_path: Path) -> None:
    async with open_world() as world:
        discord = world.discord
        discord.heartbeat_interval_s = 0.2
        watch = replace(WATCH, heartbeat_timeout_s=0.6)
        async with one_bot(tmp_path, world=world, options={"watch": watch}) as room:
            discord.freeze()
            question = await ask(room)
            await until_answered_once(room, question)
            assert (len(identifies(discord)), resumes(discord)) == (1, 1)


async def test_a_gateway_that_stays_away_is_given_up_and_what_was_missed_is_answered_by_the_next_session(
    tmp_path: Path,
) -> None:
    watch = replace(WATCH, give_up_s=0.4)
    async with one_bot(tmp_path, options={"watch": watch}) as room:
        discord = room.world.discord
        await until_answered_once(room, await ask(room))
        discord.is_gateway_down = True
        await discord.cut()
        missed = await ask(room, "What is 2 * 4?")
        await discord.until(lambda: len(discord.calls_of("get_gateway_bot")) >= 3)
        discord.is_gateway_down = False
        await until_answered_once(room, missed, "2 * 4")
        assert resumes(discord) == 0


async def test_events_and_frames_that_cannot_be_read_do_not_end_the_connection(tmp_path: Path) -> None:
    async with one_bot(tmp_path) as room:
        discord = room.world.discord
        guild = str(room.world.guild.id)
        for event, data in (
            ("MESSAGE_CREATE", {"id": "x"}),
            ("MESSAGE_CREATE", None),
            ("MESSAGE_UPDATE", {"channel_id": 5}),
            ("MESSAGE_DELETE_BULK", {"ids": None}),
            ("INTERACTION_CREATE", {}),
            ("CHANNEL_UPDATE", {"guild_id": guild, "id": "not a number"}),
            ("THREAD_CREATE", {}),
            ("SOMETHING_NEW", {"of": "tomorrow"}),
        ):
            await discord.send_raw({"op": 0, "t": event, "d": data})
        await until_answered_once(room, await ask(room))
        assert (len(identifies(discord)), resumes(discord)) == (1, 0)
        await discord.send_raw("{")
        await until_connected(discord, before=1)
        await until_answered_once(room, await ask(room, "What is 2 * 4?"), "2 * 4")


# --- several shards --------------------------------------------------------------------------------------------


@asynccontextmanager
async def _sharded(home: Path) -> AsyncGenerator[tuple[Room, Room]]:
    """The bot with a shard for each of two servers, and a channel in each."""
    async with open_world() as world:
        world.discord.recommended_shards = 2
        other = world.discord.add_guild("Other team")
        world.discord.add_member(other, world.ada)
        channel = world.discord.add_channel(other, "elsewhere")
        async with one_bot(home, world=world) as room:
            yield room, replace(room, channel=channel)


async def test_where_discord_recommends_two_shards_both_servers_are_answered(tmp_path: Path) -> None:
    async with _sharded(tmp_path) as (room, other):
        discord = room.world.discord
        assert sorted(frame["shard"][0] for frame in identifies(discord)) == [0, 1]
        here, there = await ask(room), await ask(other, "What is 2 * 4?")
        await until_answered_once(room, here)
        await until_answered_once(other, there, "2 * 4")


async def test_one_shard_that_loses_its_session_is_caught_up_and_the_other_goes_on(tmp_path: Path) -> None:
    async with _sharded(tmp_path) as (room, other):
        discord = room.world.discord
        await until_answered_once(other, await ask(other))
        await discord.invalidate(shard=1)
        missed = await ask(other, "What is 2 * 4?")
        await until_answered_once(room, await ask(room))
        await until_answered_once(other, missed, "2 * 4")
        assert [frame["shard"][0] for frame in identifies(discord)].count(0) == 1


# --- nothing is lost that cannot be stored ---------------------------------------------------------------------


def execute(home: Path, statement: str) -> None:
    database = sqlite3.connect(home / "toolbridge.db")
    with database:
        database.execute(statement)
    database.close()


FILL = "CREATE TRIGGER full BEFORE INSERT ON turn BEGIN SELECT RAISE(ABORT, 'disk full'); END"


async def test_a_question_that_cannot_be_stored_gets_one_notice_and_its_answer_later(tmp_path: Path) -> None:
    async with one_bot(tmp_path) as room:
        execute(tmp_path, FILL)
        question = await ask(room)
        (told,) = await room.world.discord.until(lambda: replies_to(room.world.discord, room.channel, question))
        assert "database" in told.content
        assert "disk full" not in told.content
        second = await ask(room, "What is 2 * 4?")
        await room.world.discord.until(lambda: replies_to(room.world.discord, room.channel, question))
        execute(tmp_path, "DROP TRIGGER full")
        for each, text in ((question, "6 * 7"), (second, "2 * 4")):
            await until_answered_in(room.world.discord, room.channel, each)
            assert [text in message.content for message in replies_to(room.world.discord, room.channel, each)][-1]
        assert len(replies_to(room.world.discord, room.channel, question)) == 2
        assert len(await room.world.model.requests()) == 2


async def test_what_cannot_be_stored_for_long_is_looked_for_until_it_can(tmp_path: Path) -> None:
    with capture_logs() as logged:
        async with one_bot(tmp_path, options={"store_pause_s": 0.001}) as room:
            await until_answered_once(room, await ask(room))
            execute(tmp_path, FILL)
            question = await ask(room, "What is 2 * 4?")
            await room.world.discord.until(lambda: [line for line in logged if line["event"] == "backfill_failed"])
            execute(tmp_path, "DROP TRIGGER full")
            await until_answered_in(room.world.discord, room.channel, question)
            told, answer = replies_to(room.world.discord, room.channel, question)
            assert "database" in told.content and "2 * 4" in answer.content


async def test_a_message_whose_thread_discord_does_not_tell_at_once_is_answered_a_little_later(tmp_path: Path) -> None:
    async with open_world() as world:
        thread = await world.discord.start_thread(world.channel, world.ben, "Old talk")
        await world.discord.archive_thread(thread)
        async with one_bot(tmp_path, world=world) as room:
            await until_answered_once(room, await ask(room))
            here = replace(room, channel=thread)
            world.discord.fail_next("get_channel", status=503)
            thread.is_archived = False  # the gateway has told nothing of the thread by the time of the message
            await until_answered_once(here, await ask(here, "What is 2 * 4?"), "2 * 4")
            assert [call.ok for call in world.discord.calls_of("get_channel")] == [False, True]


async def test_people_who_asked_nothing_get_no_notice_of_a_failing_store(tmp_path: Path) -> None:
    async with one_bot(tmp_path, options={"store_pause_s": 0.001}) as room:
        discord, ben = room.world.discord, room.world.ben
        await until_answered_once(room, await ask(room))
        talk, more_talk = [await room.say(ben, text) for text in ("lunch?", "pizza?")]
        thread = await discord.start_thread(room.channel, ben, "Lunch")
        execute(tmp_path, "ALTER TABLE turn RENAME TO hidden")
        await discord.edit(room.channel, talk, "lunch at noon?")
        await discord.delete(room.channel, more_talk)
        await discord.say(thread, ben, "or soup")
        asked = [await ask(room, "What is 2 * 4?"), await discord.say(thread, ben, "And you?", mention=True)]
        for question in asked:
            await discord.until(lambda question=question: _with(discord, question.channel, "database", to=question))
        execute(tmp_path, "ALTER TABLE hidden RENAME TO turn")
        for question in asked:
            await discord.until(lambda question=question: len(_with(discord, question.channel, "", to=question)) > 1)
        told = [*_with(discord, room.channel, "database"), *_with(discord, thread, "database")]
        assert [message.reference for message in told] == [question.id for question in asked]


def _with(discord: FakeDiscord, channel: ChannelId, text: str, *, to: Message | None = None) -> list[Message]:
    shown = discord.own(channel)
    return [one for one in shown if text in one.content and (to is None or one.reference == to.id)]


async def test_what_could_not_be_stored_before_the_bot_ended_is_answered_by_the_next(tmp_path: Path) -> None:
    async with open_world() as world:
        async with one_bot(tmp_path, world=world) as room:
            await until_answered_once(room, await ask(room))
            execute(tmp_path, FILL)
            question = await ask(room, "What is 2 * 4?")
            await world.discord.until(lambda: replies_to(world.discord, room.channel, question))
        execute(tmp_path, "DROP TRIGGER full")
        async with one_bot(tmp_path, world=world) as room:
            await until_answered_in(world.discord, room.channel, question)
            assert ["2 * 4" in one.content for one in replies_to(world.discord, room.channel, question)] == [
                False,
                True,
            ]


# --- the end ---------------------------------------------------------------------------------------------------


async def test_a_turn_that_is_nearly_done_when_the_bot_ends_is_answered_before_it_does(tmp_path: Path) -> None:
    async with open_world() as world:
        async with one_bot(tmp_path, world=world) as room:
            await world.model.pace(first_token_s=0.3)
            question = await ask(room)
            await world.discord.until(lambda: world.discord.typing(room.channel))
        (answer,) = replies_to(world.discord, world.channel, question)
        assert "6 * 7" in answer.content and "good" in kinds(answer)
        assert world.discord.sockets == []


async def test_what_is_asked_while_the_bot_ends_is_answered_by_the_next(tmp_path: Path) -> None:
    async with open_world() as world:
        async with one_bot(tmp_path, world=world) as room:
            await until_answered_once(room, await ask(room))
            question = await ask(room, "What is 2 * 4?")  # and ends at once
        async with one_bot(tmp_path, world=world) as room:
            await until_answered_once(room, question, "2 * 4")
