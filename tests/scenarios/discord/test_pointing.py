"""What people point at in Discord: threads, posts of a forum, replies, forwards, polls; and threads of traces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bot.domain.messages import UserMessage
from tests.fakes.discord import Channel, Message
from tests.fakes.discord.world import ALL_BOT_PERMISSIONS, Upload
from tests.scenarios.discord.rooms import Room, kinds, open_room
from tests.scenarios.discord.serving import World
from tests.scenarios.discord.test_traces import trace_of
from tests.scenarios.model import calls, last_word, spoken
from tests.scenarios.tools import with_workshop

CHUNK_S = 0.005  # of an answer that is slow enough to be stopped
POLL: dict[str, Any] = {
    "question": {"text": "Where do we meet?"},
    "answers": [{"answer_id": 1, "poll_media": {"text": "Ghent"}}, {"answer_id": 2, "poll_media": {"text": "online"}}],
    "results": {"answer_counts": [{"id": 1, "count": 4, "me_voted": False}], "is_finalized": False},
}


async def read(world: World) -> str:
    """Return the last question as the model read it, with what it points at."""
    messages = (await world.model.requests())[-1]["messages"]
    return [spoken(message["content"]) for message in messages if message["role"] == "user"][-1]


def at(room: Room, channel: Channel) -> Room:
    return Room(world=room.world, bot=room.bot, channel=channel)


def calls_of(room: Room, *routes: str) -> int:
    return sum(len(room.world.discord.calls_of(route)) for route in routes)


def in_order(text: str, parts: Sequence[str]) -> bool:
    places = [text.find(part) for part in parts]
    return -1 not in places and places == sorted(places)


# --- threads among people ---


async def test_a_thread_on_a_message_is_known_from_its_start_at_the_price_of_one_call(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        world, discord = room.world, room.world.discord
        await world.model.script({"text": "Its encoding."}, {"text": "Yes."})
        said = await room.say(world.ben, "The invoice export drops umlauts since yesterday.")
        thread = at(room, await discord.start_thread(room.channel, world.ben, "Umlauts in the export", message=said))
        await thread.say(world.cleo, "only in the CSV")
        before = len(discord.calls)
        question = await thread.ask(world.ada, "what could be the cause?")
        assert await thread.answered() == ["Its encoding."]
        assert thread.answers[0].reference == question.id
        asked = await read(world)
        starter, other = ": Ben⟧: ", ": Cleo⟧: "
        assert in_order(
            asked,
            [starter, "The invoice export drops umlauts", other, "only in the CSV", "[Ada] what could be the cause?"],
        )
        assert asked.count("what could be the cause?") == 1
        assert calls_of(room, "list_messages", "get_message", "get_channel") == 1
        assert len(discord.calls) - before <= 5

        await thread.say(world.ben, "are you sure?")  # nothing was said that it did not hear
        await thread.answered(2)
        assert await read(world) == "[Ben] are you sure?"
        assert calls_of(room, "list_messages", "get_message", "get_channel") == 1


async def test_a_first_question_in_a_channel_costs_no_call_for_what_was_said_before(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        await room.world.model.script({"text": "Hello."})
        await room.say(room.world.ben, "good morning")
        await room.ask(room.world.ada, "hello")
        await room.answered()
        assert await read(room.world) == "[Ada] hello"
        assert calls_of(room, "list_messages", "get_message", "get_channel") == 0


@pytest.mark.parametrize("is_post", [True, False])
async def test_a_thread_that_begins_with_a_question_costs_at_most_one_call(tmp_path: Path, is_post: bool) -> None:
    async with open_room(tmp_path) as room:
        world, discord = room.world, room.world.discord
        await world.model.script({"text": "Hello."}, {"text": "Again."})
        if is_post:
            forum = discord.add_forum(world.guild, "questions")
            thread = at(room, await discord.post(forum, world.ada, "Plans", "hello", mention=True))
        else:
            thread = at(room, await discord.start_thread(room.channel, world.ben, "Plans"))
            await thread.ask(world.ada, "hello")
        await thread.answered()
        assert await read(world) == ("[Ada] Plans\n\nhello" if is_post else "[Ada] hello")
        await thread.say(world.ben, "and again")
        await thread.answered(2)
        assert await read(world) == "[Ben] and again"
        # Only of a post it is known from the message itself that nothing is before it.
        assert calls_of(room, "list_messages", "get_message", "get_channel") == (0 if is_post else 1)


async def test_a_post_in_a_forum_is_known_with_its_title(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        world, discord = room.world, room.world.discord
        await world.model.script({"text": "It is known."}, {"text": "Gladly."})
        forum = discord.add_forum(world.guild)
        post = at(room, await discord.post(forum, world.cleo, "VPN asks for the code twice", "Only after suspend."))
        await post.ask(world.ada, "is this known?")
        assert await post.answered() == ["It is known."]
        assert in_order(
            await read(world), [": Cleo⟧: ", "VPN asks for the code twice", "Only after suspend.", "[Ada] is"]
        )

        own = at(room, await discord.post(forum, world.ben, "Two monitors", "How do I do that?", mention=True))
        assert await own.answered() == ["Gladly."]
        assert await read(world) == "[Ben] Two monitors\n\nHow do I do that?"
        assert calls_of(room, "list_messages") == 1


async def test_a_thread_on_the_bots_own_answer_knows_that_answer(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        world, discord = room.world, room.world.discord
        await world.model.script({"text": "Take the 22:51."}, {"text": "From platform 4."})
        await room.ask(world.ada, "which train?")
        await room.answered()
        thread = at(room, await discord.start_thread(room.channel, world.ben, "Trains", message=room.answers[0]))
        await thread.ask(world.ben, "from where?")
        assert await thread.answered() == ["From platform 4."]
        assert in_order(await read(world), ["from you, the assistant⟧: ", "Take the 22:51.", "[Ben] from where?"])


async def test_a_starter_that_is_deleted_is_said_to_be(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        world, discord = room.world, room.world.discord
        said = await room.say(world.ben, "a secret")
        thread = at(room, await discord.start_thread(room.channel, world.ben, "Secrets", message=said))
        await discord.delete(room.channel, said)
        await thread.ask(world.ada, "what was it?")
        await thread.answered()
        asked = await read(world)
        assert "everything, as it was deleted" in asked and "a secret" not in asked


async def test_of_a_long_thread_the_starter_and_the_last_messages_are_read_and_the_cut_is_said(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        world, discord = room.world, room.world.discord
        said = await room.say(world.ben, "It began so.")
        thread = at(room, await discord.start_thread(room.channel, world.ben, "Long", message=said))
        for number in range(120):
            await thread.say(world.cleo, f"line {number}.")
        await thread.ask(world.ada, "and?")
        await thread.answered()
        asked = await read(world)
        assert in_order(
            asked, ["It began so.", "still earlier ones were left out", "line 70.", "line 119.", "[Ada] and?"]
        )
        assert "line 69." not in asked
        assert calls_of(room, "list_messages", "get_message") == 2


async def test_a_thread_that_cannot_be_read_is_answered_all_the_same_and_the_model_knows(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        world, discord = room.world, room.world.discord
        discord.allow_bot(room.channel, *(name for name in ALL_BOT_PERMISSIONS if name != "READ_MESSAGE_HISTORY"))
        thread = at(room, await discord.start_thread(room.channel, world.ben, "Plans"))
        await thread.say(world.ben, "on Friday")
        await thread.ask(world.ada, "when?")
        await thread.answered()
        asked = await read(world)
        assert "could not be read" in asked and "Read Message History" in asked and "on Friday" not in asked


async def test_what_people_reply_to_each_other_in_the_bots_thread_is_left_alone_and_known(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        world = room.world
        await world.model.script({"text": "Here I am."}, {"text": "On Friday."})
        thread = at(room, await world.discord.start_thread(room.channel, world.ada, "Plans"))
        await thread.ask(world.ada, "are you there?")
        await thread.answered()
        when = await thread.say(world.ada, f"{world.ben.mention} when can you?")
        await thread.say(world.ben, "on Friday", reply_to=when, ping=False)
        await world.discord.say_as_webhook(thread.channel, embeds=[{"title": "Build 17 is green"}])
        await thread.say(world.ada, "so, when?")
        assert await thread.answered(2) == ["Here I am.", "On Friday."]
        said = ["@Ben (", ") when can you?", "on Friday", "from a bot: hook⟧: ", "Build 17 is green", "[Ada] so, when?"]
        assert in_order(await read(world), said)
        assert "are you there?" not in await read(world)


# --- the thread of a trace ---


async def test_a_follow_up_in_the_thread_of_a_trace_is_answered_there_in_the_channels_conversation(
    tmp_path: Path,
) -> None:
    async with open_room(tmp_path, **with_workshop(tmp_path)) as room:
        world, discord = room.world, room.world.discord
        await world.model.script(
            calls("shop__look"), {"text": "I have looked."}, calls("shop__look"), {"text": "Slow."}
        )
        await world.model.script({"text": "So I said."})
        question = await room.ask(world.ada, "please look around")
        await room.answered()
        thread = await trace_of(room, question)
        follow_up = await thread.say(world.ben, "why so slow?")
        assert (await thread.answered())[-1] == "Slow."
        assert thread.answers[-1].reference == follow_up.id
        assert len(thread.traces) == 2  # the second one is below it
        assert len(room.messages) == 1 and len(discord.threads(room.channel)) == 1

        await room.ask(world.cleo, "what did you say?")
        assert (await room.answered(2))[-1] == "So I said."
        stored = [message.text for message in await room.stored() if isinstance(message, UserMessage)]
        assert stored == ["please look around", "why so slow?", "what did you say?"]
        assert calls_of(room, "list_messages", "get_message") == 0

        details = await thread.press(thread.traces[1], world.ben, "details")
        assert "look" in details.text
        rated = await thread.press(thread.answers[-1], world.ben, "good")
        assert "Thank you" in rated.text


async def test_talk_in_the_thread_of_a_trace_is_known_to_the_next_question_there_whatever_is_asked_elsewhere(
    tmp_path: Path,
) -> None:
    async with open_room(tmp_path, **with_workshop(tmp_path)) as room:
        world = room.world
        await world.model.script(calls("shop__look"), {"text": "One."}, calls("shop__look"), {"text": "Two."})
        await world.model.script({"text": "Three."}, {"text": "Four."}, {"text": "On Friday."}, {"text": "Of course."})
        questions = [await room.ask(world.ada, "please look around"), await room.ask(world.ada, "and once more")]
        await room.answered(2)
        thread, other = [await trace_of(room, question) for question in questions]
        when = await thread.say(world.ada, f"{world.ben.mention} when can you?")
        await thread.say(world.ben, "on Friday", reply_to=when, ping=False)
        await room.ask(world.cleo, "and in the channel?")
        await room.answered(3)
        await other.say(world.cleo, "and in the other thread?")
        await other.answered()

        await thread.say(world.ada, "so, when?")
        assert (await thread.answered())[-1] == "On Friday."
        assert in_order(await read(world), ["@Ben (", ") when can you?", "on Friday", "[Ada] so, when?"])
        await thread.say(world.ada, "sure?")
        await thread.answered(2)
        assert await read(world) == "[Ada] sure?"


async def test_an_answer_in_the_thread_of_a_trace_grows_and_is_stopped_there(tmp_path: Path) -> None:
    async with open_room(tmp_path, **with_workshop(tmp_path)) as room:
        world, discord = room.world, room.world.discord
        await world.model.script(calls("shop__look"), {"text": "I have looked."})
        question = await room.ask(world.ada, "please look around")
        await room.answered()
        thread = await trace_of(room, question)
        await world.model.pace(chunk_s=CHUNK_S)
        for way in ("word", "button", "command"):
            count = sum("good" in kinds(message) for message in thread.messages)
            await world.model.script({"text": " ".join(f"word{number}" for number in range(2_000))})
            await thread.say(world.ben, "tell me everything")
            await discord.until(lambda: any("word150 " in message.content for message in thread.growing))
            waiting = await thread.say(world.cleo, "and then?")
            await discord.until(lambda waiting=waiting: waiting.reactions)
            await world.model.script({"text": "Nothing."})
            match way:
                case "word":
                    await thread.say(world.ben, "stop")
                case "button":
                    await thread.press(thread.growing[-1], world.ben, "stop")
                case _:
                    await discord.slash(thread.channel, world.ben, "stop")
            answers = await thread.answered(count + 2)
            [stopped] = [text for text in answers if "_Stopped._" in text][-1:]
            assert last_word(stopped) < 1_999 and answers[-1] == "Nothing."
            await discord.until(lambda waiting=waiting: not waiting.reactions)
        assert len(room.messages) == 1


async def test_a_thread_that_a_person_began_on_the_question_is_a_conversation_of_its_own(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        world, discord = room.world, room.world.discord
        await world.model.script({"text": "In the channel."}, {"text": "In the thread."})
        question = await room.ask(world.ada, "hello")
        await room.answered()
        thread = at(room, await discord.start_thread(room.channel, world.ben, "More", message=question))
        await thread.say(world.ben, "and here?")  # the bot takes no part in it yet
        await thread.ask(world.cleo, "are you here?")
        assert await thread.answered() == ["In the thread."]
        assert thread.key != room.key
        assert in_order(await read(world), [": Ada⟧: ", "hello", ": Ben⟧: ", "and here?", "[Cleo] are you here?"])


async def test_questions_and_commands_from_menus_in_the_thread_of_a_trace_are_the_channels(tmp_path: Path) -> None:
    async with open_room(tmp_path, **with_workshop(tmp_path)) as room:
        world, discord = room.world, room.world.discord
        await world.model.script(calls("shop__look"), {"text": "I have looked."}, {"text": "Nothing there."})
        question = await room.ask(world.ada, "please look around")
        await room.answered()
        thread = await trace_of(room, question)
        shown = await discord.slash(thread.channel, world.ben, "history")
        await discord.until(lambda: shown.text and not (shown.original and shown.original.is_loading))
        assert "please look around" in shown.text
        form = await discord.context_menu(thread.channel, thread.traces[0], world.ben, "Ask about this")
        await discord.submit(form, {"question": "Why?"})
        assert (await thread.answered())[-1] == "Nothing there."
        assert in_order(await read(world), ["from you, the assistant⟧: ", "look", "[Ben] Why?"])
        assert len(room.messages) == 1
        assert len([message for message in await room.stored() if isinstance(message, UserMessage)]) == 2


# --- replies ---


async def test_a_reply_to_an_older_answer_says_which_one_and_its_file_is_read(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        world, discord = room.world, room.world.discord
        texts = ["The list is long.", "The weather is fine.", "42 rows.", "Of course."]
        await world.model.script(*({"text": text} for text in texts))
        for text in ("list", "weather"):
            await room.ask(world.ada, text)
            await room.answered(1 if text == "list" else 2)
        older, newest = room.answers
        stored = discord.add_file(room.channel, Upload(filename="list.csv", content=b"a,b\n1,2"))
        older.attachments.append(stored)
        await room.say(world.ben, "how many rows?", reply_to=older)
        await room.answered(3)
        asked = await read(world)
        assert in_order(asked, ["from you, the assistant⟧: ", "The list is long.", "[Ben] how many rows?", "1,2"])
        newest = room.answers[-1]
        await room.say(world.ben, "are you sure?", reply_to=newest)
        await room.answered(4)
        assert await read(world) == "[Ben] are you sure?"


async def test_of_the_newest_answer_what_is_not_in_the_history_is_read_when_it_is_pointed_at(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        world, discord = room.world, room.world.discord
        await world.model.script({"text": "Here is the list."}, {"text": "One."}, {"text": "It says so."})
        await room.ask(world.ada, "list")
        await room.answered()
        newest = room.answers[-1]
        newest.attachments.append(discord.add_file(room.channel, Upload(filename="list.csv", content=b"a,b\n1,2")))
        await room.say(world.ben, "how many rows?", reply_to=newest)
        await room.answered(2)
        assert in_order(await read(world), ["Here is the list.", "[Ben] how many rows?", "1,2"])

        await room.ask(world.cleo, "", reply_to=room.answers[-1])  # the mention alone
        await room.answered(3)
        assert in_order(await read(world), ["from you, the assistant⟧: ", "One.", "what it points at is the question"])


async def test_a_reply_that_comes_without_its_message_is_completed_by_one_call(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        world, discord = room.world, room.world.discord
        await world.model.script({"text": "At the shop."}, {"text": "I do not know."}, {"text": "Gone."})
        said = await room.say(world.cleo, "The printer needs toner, model LX-40.")
        discord.duplicate_next()
        await room.ask(world.ada, "where can I order it?", reply_to=said, with_reference=False)
        assert await room.answered() == ["At the shop."]
        assert "LX-40" in await read(world)
        assert calls_of(room, "get_message") == 1

        discord.fail_next("get_message", code=50001)
        await room.ask(world.ada, "and when?", reply_to=said, with_reference=False)
        await room.answered(2)
        assert "the message that it replies to, which Discord did not show" in await read(world)

        await discord.delete(room.channel, said)
        await room.ask(world.ada, "and where?", reply_to=said, with_reference=False)
        await room.answered(3)
        assert "the message that it replies to, which was deleted" in await read(world)


async def test_a_reply_to_the_bot_that_comes_without_its_message_is_answered(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        world = room.world
        await world.model.script({"text": "Hello."}, {"text": "A pleasure."})
        await room.ask(world.ada, "hello")
        await room.answered()
        await room.say(world.ben, "nice to meet you", reply_to=room.answers[0], ping=False, with_reference=False)
        assert await room.answered(2) == ["Hello.", "A pleasure."]


async def test_what_is_pointed_at_by_the_mention_alone_is_the_question(tmp_path: Path) -> None:
    async with open_room(tmp_path, **with_workshop(tmp_path)) as room:
        world, discord = room.world, room.world.discord
        await world.model.script(calls("shop__look"), {"text": "Ghent leads."}, {"text": "Good idea."})
        poll = await room.say(world.ben, "", poll=POLL)
        question = await room.ask(world.ada, "", reply_to=poll)
        assert await room.answered() == ["Ghent leads."]
        assert in_order(await read(world), [": Ben⟧: ", "Poll: Where do we meet?", "Ghent: 4 votes", "online: 0 votes"])
        assert (await trace_of(room, question)).channel.name == "About Ben's message"

        sticker = await room.say(world.cleo, "", stickers=["coffee first"])
        await room.ask(world.ada, "", reply_to=sticker)
        await room.answered(2)
        assert "[sticker: coffee first]" in await read(world)
        assert discord.pings == [ping for ping in discord.pings if ping.message.author is not discord.bot]


async def test_the_thread_of_a_trace_is_named_after_the_question_and_not_after_what_it_quotes(tmp_path: Path) -> None:
    async with open_room(tmp_path, **with_workshop(tmp_path)) as room:
        world = room.world
        await world.model.script(calls("shop__look"), {"text": "Yes."})
        said = await room.say(world.ben, "The build fails since noon.")
        question = await room.ask(world.ada, "is that so?", reply_to=said)
        await room.answered()
        assert (await trace_of(room, question)).channel.name == "is that so?"


async def test_a_forward_in_direct_messages_is_read_with_its_file(tmp_path: Path) -> None:
    async with open_room(tmp_path, options={"allow_dms": True}) as room:
        world, discord = room.world, room.world.discord
        await world.model.script({"text": "Ask Ben."})
        plan = Upload(filename="plan.txt", content=b"second floor")
        said = await room.say(world.ben, f"The door code is on <#{room.channel.id}>.", files=[plan])
        direct = at(room, discord.dm_channel(world.ada))
        await discord.forward(direct.channel, world.ada, said)
        assert await direct.answered() == ["Ask Ben."]
        asked = await read(world)
        assert "from ?: name not known⟧: " in asked and f"The door code is on #{room.channel.id}." in asked
        assert "second floor" in asked and "Ben⟧" not in asked


async def test_an_alert_is_read_when_it_is_asked_about(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        world, discord = room.world, room.world.discord
        alert = await discord.say_as_webhook(
            room.channel,
            name="Nightly jobs",
            embeds=[{"title": "Backup is late", "fields": [{"name": "Owner", "value": "storage team"}]}],
        )
        await world.model.script({"text": "The storage team."})
        form = await discord.context_menu(room.channel, alert, world.ada, "Ask about this")
        await discord.submit(form, {"question": "whose is it?"})
        assert await room.answered() == ["**Ada** asks: whose is it?", "The storage team."]
        parts = ["from a bot: Nightly jobs⟧: ", "Backup is late", "Owner: storage team", "[Ada] whose is it?"]
        assert in_order(await read(world), parts)


@pytest.mark.parametrize("is_missed", [False, True])
async def test_what_a_message_points_at_is_known_as_well_when_it_was_missed(tmp_path: Path, is_missed: bool) -> None:
    async with open_room(tmp_path) as room:
        world, discord = room.world, room.world.discord
        said: Message = await room.say(world.ben, "The build fails.")
        if is_missed:
            await room.ask(world.ada, "why?", reply_to=said, deliver=False)
            discord.forget_sessions()
            await discord.invalidate()
        else:
            await room.ask(world.ada, "why?", reply_to=said)
        await room.answered()
        assert in_order(await read(world), [": Ben⟧: ", "The build fails.", "[Ada] why?"])
