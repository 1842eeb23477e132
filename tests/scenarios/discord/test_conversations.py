"""Talking with the bot in Discord: where it answers, whom it tells apart, what waits, and how it is stopped."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.scenarios.discord.rooms import Room, general, marks, open_room
from tests.scenarios.discord.serving import open_world, serving
from tests.scenarios.model import calls, spoken
from tests.scenarios.tools import with_workshop, without_tools

HOURGLASS = "⏳"
CHUNK_S = 0.005  # of an answer that is slow enough to be stopped


async def asked(room: Room) -> list[str]:
    """Return the questions that the model read in its last request, without what they point at."""
    messages = (await room.world.model.requests())[-1]["messages"]
    questions = [spoken(message["content"]) for message in messages if message["role"] == "user"]
    return [question.rpartition("⟦The message itself:⟧\n\n")[2] for question in questions]


# --- where it answers ---


async def test_a_mention_in_a_channel_is_answered_by_a_reply_with_its_trace_in_a_thread_and_the_channel_goes_on(
    tmp_path: Path,
) -> None:
    async with open_room(tmp_path, **with_workshop(tmp_path)) as room:
        world = room.world
        await world.model.script(calls("shop__look"), {"text": "I have looked."}, {"text": "Yes, again."})
        question = await room.ask(world.ada, "please look around")
        assert await room.answered() == ["I have looked."]
        assert [message.reference for message in room.messages] == [question.id]
        thread = world.discord.thread_of(question)
        assert thread is not None and thread.name == "please look around" and thread.auto_archive_minutes == 60
        [trace] = world.discord.own(thread)
        assert trace.content.startswith("✓ look · shop")

        second = await room.ask(world.ben, "and again?")
        assert await room.answered(2) == ["I have looked.", "Yes, again."]
        assert room.messages[1].reference == second.id
        assert world.discord.thread_of(second) is None  # no tool was used
        assert await asked(room) == ["[Ada] please look around", "[Ben] and again?"]
        assert [ping for ping in world.discord.pings if ping.message.author is world.discord.bot] == []


async def test_in_a_thread_the_conversation_is_the_threads_and_goes_on_without_mentions(tmp_path: Path) -> None:
    async with open_room(tmp_path, **with_workshop(tmp_path)) as room:
        world = room.world
        await world.model.script({"text": "In the channel."}, calls("shop__look"), {"text": "I have looked."})
        await world.model.script({"text": "Gladly."})
        await room.ask(world.ada, "hello")
        await room.answered()
        thread = Room(
            world=world, bot=room.bot, channel=await world.discord.start_thread(world.channel, world.ada, "Plans")
        )
        question = await thread.ask(world.ada, "look here")
        assert await thread.answered() == ["I have looked."]
        assert thread.messages == [thread.traces[0], thread.answers[0]]
        assert [message.reference for message in thread.messages] == [question.id] * 2
        follow_up = await thread.say(world.ben, "thank you")
        assert (await thread.answered(2))[1:] == ["Gladly."]
        assert thread.answers[1].reference == follow_up.id
        assert await asked(room) == ["[Ada] look here", "[Ben] thank you"]
        assert len(room.messages) == 1
        assert world.discord.threads(world.channel) == [thread.channel]


async def test_direct_messages_are_answered_where_the_operator_allows_them(tmp_path: Path) -> None:
    async with open_room(tmp_path, options={"allow_dms": True}, **with_workshop(tmp_path)) as room:
        world = room.world
        await world.model.script(calls("shop__look"), {"text": "Hello Ada."}, {"text": "As I said."})
        direct = Room(world=world, bot=room.bot, channel=world.discord.dm_channel(world.ada))
        question = await world.discord.dm(world.ada, "hello")
        assert await direct.answered() == ["Hello Ada."]
        assert direct.messages == [*direct.traces, *direct.answers]
        assert {message.reference for message in direct.messages} == {question.id}
        await world.discord.dm(world.ada, "what did you say?")
        assert (await direct.answered(2))[1:] == ["As I said."]
        assert await asked(room) == ["hello", "what did you say?"]


async def test_people_who_write_directly_get_one_notice_where_that_is_switched_off(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        world = room.world
        await world.model.script({"text": "Here I am."})
        with capture_logs() as logs:
            for user in (world.ada, world.ada, world.ben):
                await world.discord.dm(user, "hello?")
            await world.discord.until(lambda: [line for line in logs if line["event"] == "mention_not_answered"])
        direct = [world.discord.dm_channel(user) for user in (world.ada, world.ben)]
        await world.discord.until(lambda: all(world.discord.own(channel) for channel in direct))
        await room.ask(world.ada, "are you there?")
        await room.answered()
        for channel in direct:
            [told] = world.discord.own(channel)
            assert "Direct messages are switched off" in told.content
        assert len(await world.model.requests()) == 1


@pytest.mark.parametrize("ping", [True, False])
async def test_a_reply_to_the_bots_message_needs_no_mention(tmp_path: Path, ping: bool) -> None:
    async with open_room(tmp_path) as room:
        await room.world.model.script({"text": "Hello."}, {"text": "A pleasure."})
        await room.ask(room.world.ada, "hello")
        await room.answered()
        reply = await room.say(room.world.ben, "nice to meet you", reply_to=room.answers[0], ping=ping)
        assert await room.answered(2) == ["Hello.", "A pleasure."]
        assert room.answers[1].reference == reply.id


async def test_several_people_are_told_apart_by_their_names_and_mentions_are_read_as_names(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        world = room.world
        world.discord.add_member(world.guild, world.cleo, nick="Cleo\nAda")
        await world.model.script({"text": "Noted."}, {"text": "Noted too."})
        await room.ask(world.ada, f"remember what {world.ben.mention} likes in <#{world.channel.id}> <:tea:123>")
        await room.answered()
        await room.ask(world.cleo, "I like tea & cake")
        await room.answered(2)
        assert await asked(room) == [
            "[Ada] remember what @Ben likes in #general :tea:",
            "[Cleo Ada] I like tea & cake",
        ]


async def test_without_the_intent_to_read_messages_mentions_are_answered_and_the_log_says_what_is_lost(
    tmp_path: Path,
) -> None:
    async with open_world() as world:
        world.discord.has_message_content = False
        with capture_logs() as logs:
            async with serving(world, tmp_path, settings=without_tools(tmp_path)) as bot:
                await world.model.script({"text": "Hello."}, {"text": "Here too."}, {"text": "And again."})
                room = general(world, bot)
                await room.ask(world.ada, "hello")
                assert await room.answered() == ["Hello."]
                thread = Room(
                    world=world, bot=bot, channel=await world.discord.start_thread(world.channel, world.ada, "Plans")
                )
                await thread.ask(world.ada, "and here?")
                await thread.answered()
                await thread.say(world.ada, "a follow-up that the bot cannot read")
                await thread.ask(world.ada, "once more")
                first, told, second = await thread.answered(2)
                assert [first, second] == ["Here too.", "And again."] and "I cannot read this; mention me" in told
                assert await asked(room) == ["[Ada] and here?", "[Ada] once more"]
    [said] = [line for line in logs if line["event"] == "discord_without_message_content"]
    assert "Message Content Intent" in said["hint"]


# --- deliveries ---


# --- waiting its turn ---


@asynccontextmanager
async def busy_room(home: Path) -> AsyncGenerator[tuple[Room, Callable[[], None]]]:
    """A channel in which the bot is at work, and what lets that work end with the answer "One."."""
    released = home / "released"
    async with open_room(home, **with_workshop(home, RELEASE_FILE=str(released))) as room:
        await room.world.model.script(calls("shop__act"), {"text": "One."})
        await room.ask(room.world.ada, "first")
        await room.world.discord.until(lambda: room.world.discord.threads(room.channel))
        yield room, released.touch


async def test_that_a_change_comes_too_late_is_said_once_for_each_change(tmp_path: Path) -> None:
    async with busy_room(tmp_path) as (room, release):
        discord = room.world.discord
        first = next(message for message in discord.visible(room.channel) if message.content.endswith("first"))
        await discord.edit(room.channel, first, f"{discord.bot.mention} fisrt")
        await discord.until(lambda: len(room.answers) == 1)
        await discord.unfurl(room.channel, first)  # Discord tells of the message again, as it does when one is pinned
        await discord.edit(room.channel, first, f"{discord.bot.mention} 1st")
        await discord.until(lambda: len(room.answers) == 2)
        release()
        texts = await room.answered()
        assert ["Send the change" in text for text in texts] == [True, True, False]


# --- stopping ---


async def test_an_operator_can_stop_an_answer_by_its_button_and_only_who_may_not_sees_why(tmp_path: Path) -> None:
    async with open_world() as world:
        rules = f'[access]\noperators = ["discord:{world.cleo.id}"]\n'
        (tmp_path / "toolbridge.toml").write_text(rules, encoding="utf-8")
        async with serving(world, tmp_path, settings=without_tools(tmp_path)) as bot:
            room = general(world, bot)
            await world.model.pace(chunk_s=0.01)
            await world.model.script({"text": " ".join(f"word{number}" for number in range(2_000))})
            await room.ask(world.ada, "tell me everything")
            await world.discord.until(lambda: room.growing)
            refused = await room.press(room.growing[0], world.ben, "stop")
            assert "Someone else asked" in refused.text and room.growing
            assert refused.original is not None and refused.original.ephemeral_to == world.ben.id
            stopped = await room.press(room.growing[0], world.cleo, "stop")
            assert stopped.text == "Stopping."
            assert (await room.answered())[0].endswith("_Stopped._")


async def test_an_old_stop_button_does_not_stop_the_answer_to_someone_elses_question(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        world, discord = room.world, room.world.discord
        await world.model.pace(chunk_s=0.01)
        text = " ".join(f"word{number}" for number in range(200))
        await world.model.script({"text": "Short."}, {"text": text})
        await room.ask(world.ada, "first")
        await room.answered()
        await room.ask(world.ben, "second")
        await discord.until(lambda: room.growing)
        pressed = await discord.press_gone(room.channel, room.answers[0], world.ada, "tb:stop:1:0")
        await discord.until(lambda: pressed.text)
        assert "not being worked on any more" in pressed.text
        assert await room.answered(2) == ["Short.", text]


async def test_the_stop_button_of_an_ended_answer_stops_no_other_while_its_trace_is_still_shown(tmp_path: Path) -> None:
    async with busy_room(tmp_path) as (room, release):
        world, discord = room.world, room.world.discord
        discord.hang_next("edit_message")
        release()
        await room.answered()
        [answer] = room.answers
        await world.model.pace(chunk_s=0.01)
        text = " ".join(f"word{number}" for number in range(200))
        await world.model.script({"text": text})
        await room.ask(world.ben, "second")
        await discord.until(lambda: room.growing)
        pressed = await discord.press_gone(
            room.channel, answer, world.ada, f"tb:stop:{marks(answer)[0].turn}:{marks(answer)[0].number}"
        )
        await discord.until(lambda: pressed.text)
        assert "not being worked on any more" in pressed.text
        discord.release()
        assert (await room.answered(2))[-1] == text


async def test_the_bot_is_seen_to_type_for_as_long_as_it_works(tmp_path: Path) -> None:
    async with busy_room(tmp_path) as (room, release):
        discord = room.world.discord
        assert discord.typing(room.channel)
        release()
        await room.answered()
        assert not discord.typing(room.channel)
