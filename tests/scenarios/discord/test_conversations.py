"""Talking with the bot in Discord: where it answers, whom it tells apart, what it leaves alone, how it is stopped."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bot.domain.messages import AssistantMessage, ToolMessage, UserMessage
from tests.fakes.discord.world import PERMISSIONS
from tests.scenarios.discord.rooms import Room, general, marks, open_room
from tests.scenarios.discord.serving import open_world, serving
from tests.scenarios.model import calls, last_word
from tests.scenarios.tools import with_workshop, without_tools

HOURGLASS = "⏳"
CHUNK_S = 0.005  # of an answer that is slow enough to be stopped


async def asked(room: Room) -> list[str]:
    """Return the questions that the model read in its last request."""
    messages = (await room.world.model.requests())[-1]["messages"]
    return [message["content"] for message in messages if message["role"] == "user"]


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


async def test_whoever_writes_directly_is_told_once_where_that_is_switched_off(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        world = room.world
        await world.model.script({"text": "Here I am."})
        for user in (world.ada, world.ada, world.ben):
            await world.discord.dm(user, "hello?")
        direct = [world.discord.dm_channel(user) for user in (world.ada, world.ben)]
        await world.discord.until(lambda: all(world.discord.own(channel) for channel in direct))
        await room.ask(world.ada, "are you there?")
        await room.answered()
        for channel in direct:
            [told] = world.discord.own(channel)
            assert "Direct messages are switched off" in told.content
        assert len(await world.model.requests()) == 1


async def test_what_is_not_for_the_bot_is_left_alone(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        world, discord = room.world, room.world.discord
        await world.model.script({"text": "Here I am."}, {"text": "Still here."})
        thread = Room(
            world=world, bot=room.bot, channel=await world.discord.start_thread(world.channel, world.ada, "Plans")
        )
        other = await discord.start_thread(world.channel, world.ben, "Lunch")
        await thread.ask(world.ada, "are you there?")
        await thread.answered()

        role = discord.add_role(world.guild, "helpers")
        for channel in (world.channel, thread.channel):
            await discord.say_as_other_bot(channel, f"{discord.bot.mention} build 17 has failed")
            await discord.say_as_webhook(channel, f"{discord.bot.mention} deployed")
            await discord.join(channel, world.cleo)
        await room.say(world.ben, "good morning everybody @everyone")
        await room.say(world.ben, f"<@&{role.id}> is anybody there?")
        said = await room.say(world.ada, "lunch?")
        await room.say(world.ben, "gladly", reply_to=said)
        await discord.say(other, world.ada, "soup?")  # a thread in which the bot does not take part
        await thread.say(world.ada, f"{world.ben.mention} what do you think?")
        await thread.say(world.ben, "stop it, I think")
        assert (await thread.answered(2))[1:] == ["Still here."]

        assert await asked(room) == ["[Ada] are you there?", "[Ben] stop it, I think"]
        assert len(await world.model.requests()) == 2  # the question, and the only follow-up
        assert room.messages == discord.own(other) == []


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
                assert await thread.answered(2) == ["Here too.", "And again."]
                assert await asked(room) == ["[Ada] and here?", "[Ada] once more"]
    [said] = [line for line in logs if line["event"] == "discord_without_message_content"]
    assert "Message Content Intent" in said["hint"]


# --- deliveries ---


async def test_a_message_that_is_delivered_again_is_answered_once(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        world = room.world
        await world.model.script({"text": "Once."}, {"text": "Twice."})
        question = await room.ask(world.ada, "how often?")
        world.discord.dispatch_message("MESSAGE_CREATE", question)
        await room.answered()
        world.discord.dispatch_message("MESSAGE_CREATE", question)
        await room.ask(world.ada, "and now?")
        assert await room.answered(2) == ["Once.", "Twice."]
        assert len(await world.model.requests()) == 2


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


async def test_three_quick_messages_are_answered_in_order_and_those_that_wait_show_an_hourglass(tmp_path: Path) -> None:
    async with busy_room(tmp_path) as (room, release):
        discord = room.world.discord
        await room.world.model.script({"text": "Two."}, {"text": "Three."})
        second, third = [await room.ask(room.world.ada, text) for text in ("second", "third")]
        await discord.until(lambda: HOURGLASS in second.reactions and HOURGLASS in third.reactions)
        first = next(message for message in discord.visible(room.channel) if message.content.endswith("first"))
        assert first.reactions == {}
        assert room.messages == []
        release()
        assert await room.answered(3) == ["One.", "Two.", "Three."]
        assert [message.reference for message in room.answers] == [first.id, second.id, third.id]
        await discord.until(lambda: not second.reactions and not third.reactions)
        assert (await asked(room))[-2:] == ["[Ada] second", "[Ada] third"]


async def test_what_waits_can_still_be_changed_or_deleted_and_what_runs_is_said_to_be_too_late(tmp_path: Path) -> None:
    async with busy_room(tmp_path) as (room, release):
        world, discord = room.world, room.world.discord
        await world.model.script({"text": "Two."})
        first = next(message for message in discord.visible(room.channel) if message.content.endswith("first"))
        second, third = [await room.ask(world.ben, text) for text in ("secnod", "third")]
        await discord.until(lambda: HOURGLASS in second.reactions and HOURGLASS in third.reactions)
        await discord.edit(room.channel, second, "second")  # it lost its mention, and is a question all the same
        await discord.delete(room.channel, third)
        await discord.edit(room.channel, first, f"{discord.bot.mention} fisrt")
        [told] = await discord.until(lambda: room.answers)
        assert "Send the change as a new message" in told.content
        assert told.reference == first.id
        release()
        assert await room.answered(2) == [told.content, "One.", "Two."]
        assert await asked(room) == ["[Ada] first", "[Ben] second"]
        assert len(await world.model.requests()) == 3  # two for the first


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


async def test_a_message_that_is_too_long_is_refused_with_the_limit(tmp_path: Path) -> None:
    async with open_room(tmp_path, max_input_chars=100) as room:
        question = await room.ask(room.world.ada, "word " * 40)
        [told] = await room.world.discord.until(lambda: room.messages)
        assert "at most 100" in told.content
        assert told.reference == question.id
        assert await room.world.model.requests() == []


async def test_forty_channels_at_once_are_all_answered_within_discords_rates(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        world, discord = room.world, room.world.discord
        discord.rates = {"*": (5, 5.0)}
        rooms = [
            Room(world=world, bot=room.bot, channel=discord.add_channel(world.guild, f"room-{number}"))
            for number in range(40)
        ]
        for number, each in enumerate(rooms):
            await each.ask(world.ada, f"question {number}")
        for each in rooms:
            await each.answered()
        assert all(len(each.messages) == 1 for each in rooms)
        assert not [call for call in discord.calls if call.status == 429]


# --- stopping ---


@pytest.mark.parametrize("way", ["button", "moderator", "word", "reply", "command"])
async def test_stop_ends_the_answer_within_a_second_and_what_was_seen_of_it_stays(tmp_path: Path, way: str) -> None:
    async with open_room(tmp_path) as room:
        world, discord = room.world, room.world.discord
        words = " ".join(f"word{number}" for number in range(2_000))
        await world.model.pace(chunk_s=CHUNK_S)
        await world.model.script({"text": words}, {"text": "Gladly."})
        await room.ask(world.ada, "tell me everything")
        await discord.until(lambda: any("word150 " in message.content for message in room.growing))
        [growing] = room.growing
        seen = growing.content
        match way:
            case "button":
                stopped = await room.press(growing, world.ada, "stop")
                assert stopped.original is not None and stopped.original.is_ephemeral
            case "moderator":
                world.guild.members[world.cleo.id].permissions |= PERMISSIONS["MANAGE_MESSAGES"]
                await room.press(growing, world.cleo, "stop")
            case "word":
                await room.ask(world.ben, "stop")
            case "reply":
                await room.say(world.ada, "Stop", reply_to=growing)
            case _:
                await discord.slash(room.channel, world.ben, "stop")
        await room.answered()
        [text] = [message.content for message in room.answers if message is growing]
        assert (last_word(text) - last_word(seen)) * CHUNK_S < 1.0  # so long did the model go on
        assert text.startswith(seen) and text.endswith("\n\n_Stopped._")
        assert [text] == await room.stored_answers()
        assert room.growing == []

        await room.ask(world.ada, "stop the server")  # a question
        assert (await room.answered(2))[-1] == "Gladly."


async def test_somebody_else_cannot_stop_an_answer_by_its_button_and_is_told_so_alone(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        world = room.world
        await world.model.pace(chunk_s=0.01)
        text = " ".join(f"word{number}" for number in range(200))
        await world.model.script({"text": text})
        await room.ask(world.ada, "tell me everything")
        await world.discord.until(lambda: room.growing)
        pressed = await room.press(room.growing[0], world.ben, "stop")
        assert "Only the person who asked" in pressed.text
        assert pressed.original is not None and pressed.original.ephemeral_to == world.ben.id
        assert "".join(await room.answered()) == text


async def test_an_old_stop_button_does_not_stop_the_answer_to_somebody_elses_question(tmp_path: Path) -> None:
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


async def test_stop_while_a_tool_runs_leaves_a_history_that_the_model_accepts(tmp_path: Path) -> None:
    released = tmp_path / "released"
    async with open_room(tmp_path, **with_workshop(tmp_path, RELEASE_FILE=str(released))) as room:
        world, discord = room.world, room.world.discord
        thread = Room(world=world, bot=room.bot, channel=await discord.start_thread(world.channel, world.ada, "Plans"))
        await world.model.script(calls("shop__act", "shop__refuse"), {"text": "Where were we?"})
        await thread.ask(world.ada, "act")
        await discord.until(lambda: thread.traces and "… act" in thread.traces[0].content)
        await thread.say(world.ben, "stop")
        await thread.answered()
        assert "Stopped." in thread.texts
        await discord.until(lambda: "■ act" in thread.traces[0].content)
        released.touch()
        await thread.say(world.ada, "go on")
        assert (await thread.answered(2))[-1] == "Where were we?"
        stored = await thread.stored()
        wanted = [call.id for message in stored if isinstance(message, AssistantMessage) for call in message.tool_calls]
        assert sorted(wanted) == sorted(message.call_id for message in stored if isinstance(message, ToolMessage))
        assert len([message for message in stored if isinstance(message, UserMessage)]) == 2


async def test_the_bot_is_seen_to_type_for_as_long_as_it_works(tmp_path: Path) -> None:
    async with busy_room(tmp_path) as (room, release):
        discord = room.world.discord
        assert discord.typing(room.channel)
        release()
        await room.answered()
        assert not discord.typing(room.channel)
