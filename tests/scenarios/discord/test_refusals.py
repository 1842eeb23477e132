"""Answers that Discord refuses for good: the asker gets the answer or one sentence, and nothing is left half-done."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.fakes.discord.errors import POSTING_CODES
from tests.fakes.discord.world import ALL_BOT_PERMISSIONS, Channel, Message
from tests.scenarios.discord.rooms import Room, check_exactly, check_manners, general, kinds
from tests.scenarios.discord.serving import open_world, serving
from tests.scenarios.discord.test_traces import trace_of
from tests.scenarios.model import calls, words
from tests.scenarios.tools import with_workshop, without_tools

POST, EDIT, DELETE, THREAD = "create_message", "edit_message", "delete_message", "start_thread_from_message"
SIGN = "⚠️"
NOTE = "-# The rest of this answer could not be posted here. The person who asked got it in a direct message."
# They pass: Discord takes the same message a little later.
PASSING = {20016, 20028, 20029, 40003, 40004, 40006, 40062, 110001, 130000}
ABOUT_FILES = (20009, 30015, 40005, 50013, 50045, 50046, 50110, 50123, 50138, 50146, 400001)
FINAL = [code for code in POSTING_CODES if code not in PASSING]


@asynccontextmanager
async def open_room(home: Path, **settings: Any) -> AsyncGenerator[Room]:
    given = settings or without_tools(home)
    async with open_world() as world, serving(world, home, settings=given) as bot:
        yield general(world, bot)


def direct(room: Room) -> Sequence[Message]:
    """Return what Ada got in direct messages."""
    discord = room.world.discord
    return discord.own(discord.dm_channel(room.world.ada))


def without(*names: str) -> Sequence[str]:
    return [name for name in ALL_BOT_PERMISSIONS if name not in names]


def tracebacks(logs: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    return [line for line in logs if line.get("exc_info")]


async def ask_in_many(room: Room, codes: Sequence[int], text: str) -> dict[int, Room]:
    """Have Ada ask in one channel for each code, with this text as every answer; return the channels."""
    world = room.world
    await world.model.script(*[{"text": text} for _ in codes])
    return {
        code: Room(world=world, bot=room.bot, channel=world.discord.add_channel(world.guild, f"code-{code}"))
        for code in codes
    }


def refuse_in(room: Room, route: str, code: int) -> None:
    """Refuse each call of the route in that room."""
    room.world.discord.refuse(route, code=code, where=lambda asked: asked.channel == room.channel.id)


# --- every code of the documentation ---


async def test_whatever_a_post_is_refused_with_the_answer_is_seen(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        discord = room.world.discord
        rooms = await ask_in_many(room, FINAL, "All done.")
        with capture_logs() as logs:
            for code, each in rooms.items():
                refuse_in(each, POST, code)
                await each.ask(room.world.ada, "tell me")
            await discord.until(lambda: len(direct(room)) == len(FINAL))
        for each, told in zip(rooms.values(), sorted(direct(room), key=lambda one: one.content), strict=True):
            assert told.content.endswith("\nAll done.")
            assert each.messages == []
        places = {told.content.split(">")[0].removeprefix("-# My answer in <#") for told in direct(room)}
        assert places == {str(each.channel.id) for each in rooms.values()}
        assert tracebacks(logs) == []
        check_manners(discord)


async def test_whatever_the_last_edit_is_refused_with_the_answer_is_seen_and_no_stop_button_is_left(
    tmp_path: Path,
) -> None:
    async with open_room(tmp_path) as room:
        discord, text = room.world.discord, words(100)
        codes = [code for code in FINAL if code != 10008]  # a message that is gone has no button
        rooms = await ask_in_many(room, codes, text)
        await room.world.model.pace(chunk_s=0.02)
        with capture_logs() as logs:
            for code, each in rooms.items():
                refuse_in(each, EDIT, code)
                await each.ask(room.world.ada, "tell me")

            def seen(each: Room) -> bool:
                found = [*each.answers, *direct(room)]
                about = f"<#{each.channel.id}>"
                return any(
                    one.content == text or (about in one.content and one.content.endswith(text)) for one in found
                )

            await discord.until(lambda: all(seen(each) for each in rooms.values()))
            await discord.until(lambda: not any(each.growing for each in rooms.values()))
        assert {call.code for call in discord.calls_of(EDIT)} == set(codes)
        assert tracebacks(logs) == []
        assert all(len(each.messages) <= 1 for each in rooms.values())


async def test_whatever_a_file_is_refused_with_it_costs_only_the_file(tmp_path: Path) -> None:
    async with open_room(tmp_path, **with_workshop(tmp_path)) as room:
        world, discord = room.world, room.world.discord
        await world.model.script(*[calls("shop__record"), {"text": "Listen."}] * len(ABOUT_FILES))
        for number, code in enumerate(ABOUT_FILES, start=1):
            lift = discord.refuse(POST, code=code, where=lambda asked: asked.has_files)
            await room.ask(world.ada, "draw")
            texts = await room.answered(number)
            assert texts[-1].startswith("Listen.\n-# 1 file could not be posted. ")
            lift()
        assert direct(room) == []


async def test_whatever_a_file_is_refused_with_on_the_last_edit_it_costs_only_the_file(tmp_path: Path) -> None:
    async with open_room(tmp_path, **with_workshop(tmp_path)) as room:
        world, discord, text = room.world, room.world.discord, words(100)
        codes = (40005, 50013, 400001)
        await world.model.pace(chunk_s=0.01)
        await world.model.script(*[calls("shop__record"), {"text": text}] * len(codes))
        for number, code in enumerate(codes, start=1):
            lift = discord.refuse(EDIT, code=code, where=lambda asked: asked.has_files)
            await room.ask(world.ada, "draw")
            texts = await room.answered(number)
            assert texts[-1].startswith(f"{text}\n-# 1 file could not be posted. ")
            lift()
        assert {call.code for call in discord.calls_of(EDIT)} >= set(codes)
        assert direct(room) == [] and room.growing == []


@pytest.mark.parametrize("code", sorted(PASSING))
async def test_a_refusal_that_passes_is_waited_out(tmp_path: Path, code: int) -> None:
    async with open_room(tmp_path) as room:
        room.world.discord.fail_next(POST, code=code)
        await room.world.model.script({"text": "All done."})
        await room.ask(room.world.ada, "tell me")
        await check_exactly(room, "All done.")


async def test_whatever_everything_is_refused_with_the_turn_ends_with_a_sign_and_a_line_in_the_log(
    tmp_path: Path,
) -> None:
    async with open_room(tmp_path) as room:
        discord = room.world.discord
        rooms = await ask_in_many(room, FINAL, "All done.")
        with capture_logs() as logs:
            for code, each in rooms.items():
                refuse_in(each, POST, code)
            room.world.ada.has_closed_dms = True
            asked = [await each.ask(room.world.ada, "tell me") for each in rooms.values()]
            await discord.until(lambda: all(SIGN in question.reactions for question in asked))
            await discord.until(
                lambda: sum(line["event"] == "answer_refused_everywhere" for line in logs) == len(FINAL)
            )
        assert tracebacks(logs) == []
        assert "All done" not in str(logs)
        assert direct(room) == []


# --- words that Discord refuses ---


async def test_an_answer_that_automod_blocks_goes_to_the_asker_with_the_reason_and_a_link(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        discord, world = room.world.discord, room.world
        discord.add_automod_rule(world.guild, "secret")
        await world.model.script({"text": "It is secret."})
        question = await room.ask(world.ada, "tell me")
        [told] = await discord.until(lambda: direct(room))
        heading, text = told.content.split("\n")
        link = f"https://discord.com/channels/{world.guild.id}/{room.channel.id}/{question.id}"
        assert heading.startswith(f"-# My answer in <#{room.channel.id}> ({link}) could not be posted there. ")
        assert "AutoMod" in heading and text == "It is secret."
        assert [call.body["content"] for call in discord.calls_of(POST)].count("It is secret.") == 1
        assert told.custom_ids == []


async def test_a_growing_answer_that_automod_blocks_ends_with_a_note_and_is_not_tried_again_and_again(
    tmp_path: Path,
) -> None:
    async with open_room(tmp_path) as room:
        discord, world = room.world.discord, room.world
        discord.add_automod_rule(world.guild, "word100")
        text = words(200)
        await world.model.pace(chunk_s=0.01)
        await world.model.script({"text": text})
        await room.ask(world.ada, "tell me")
        await discord.until(lambda: room.growing)
        [told] = await discord.until(lambda: direct(room))
        assert told.content.endswith(text) and "AutoMod" in told.content
        [half] = room.messages
        await discord.until(lambda: half.custom_ids == [])
        shown, note = half.content.rsplit("\n", 1)
        assert text.startswith(shown)
        assert note == NOTE
        refused = [call for call in discord.calls if call.code == 200000]
        assert len(refused) <= 2  # once while it grows, once with all of it
        assert len({call.body["content"] for call in refused}) == len(refused)


async def test_a_growing_answer_that_automod_blocks_on_the_way_is_whole_in_the_end(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        discord, text = room.world.discord, words(200)
        await room.world.model.pace(chunk_s=0.01)
        await room.world.model.script({"text": text})
        await room.ask(room.world.ada, "tell me")
        await discord.until(lambda: room.growing)
        discord.fail_next(EDIT, code=200000)  # half a word is another word
        await check_exactly(room, text)
        assert direct(room) == []


async def test_only_the_parts_of_an_answer_from_the_blocked_one_on_go_to_the_asker(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        discord, world = room.world.discord, room.world
        discord.add_automod_rule(world.guild, "word300")
        text = words(700)
        await world.model.script({"text": text})
        await room.ask(world.ada, "tell me")
        assert room.bot is not None
        first, *others = room.bot.adapter.split(text)
        await discord.until(lambda: len(direct(room)) >= len(others))
        await discord.until(lambda: room.texts == [f"{first}\n{NOTE}"])
        assert "\n".join(told.content for told in direct(room)).endswith("\n".join(others))
        assert sum("My answer in" in told.content for told in direct(room)) == 1


async def test_a_harmful_link_is_refused_everywhere_so_that_one_sentence_says_so(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        discord, world = room.world.discord, room.world
        discord.harmful_links.add("evil.example")
        await world.model.script({"text": "See https://evil.example/x."}, {"text": "Fine."})
        question = await room.ask(world.ada, "where?")
        [told] = await discord.until(lambda: room.messages)
        assert told.reference == question.id
        assert "could not be posted" in told.content and "harmful links" in told.content
        assert "evil.example" not in told.content
        assert direct(room) == []
        await room.ask(world.ada, "and now?")
        await room.answered()
        assert room.texts[-1] == "Fine."


async def test_a_form_that_discord_does_not_accept_is_named_in_the_sentence(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        wrong = {"content": {"_errors": [{"code": "BASE_TYPE_BAD_LENGTH", "message": "Must be less."}]}}
        answer = {"code": 50035, "message": "Invalid Form Body", "errors": wrong}
        room.world.discord.fail_next(POST, status=400, answer=answer, times=2)
        await room.world.model.script({"text": "All done."})
        await room.ask(room.world.ada, "tell me")
        [told] = await room.world.discord.until(lambda: room.messages)
        assert "content: BASE_TYPE_BAD_LENGTH" in told.content


# --- what is said besides answers ---


@pytest.mark.parametrize(("written", "said"), [("help", "**In Discord**"), ("", "is empty")])
async def test_a_reply_that_a_channel_refuses_reaches_its_reader_with_the_reason(
    tmp_path: Path, written: str, said: str
) -> None:
    async with open_room(tmp_path) as room:
        discord = room.world.discord
        discord.allow_bot(room.channel, *without("SEND_MESSAGES"))
        question = await room.ask(room.world.ada, written)
        await discord.until(lambda: any(said in told.content for told in direct(room)))
        [told, *more] = direct(room)
        assert f"<#{room.channel.id}>" in told.content and str(question.id) in told.content
        assert "Send Messages" in told.content and len(more) <= 1
        assert room.messages == [] and SIGN not in question.reactions


async def test_where_a_reply_is_refused_everywhere_the_message_gets_a_sign(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        discord = room.world.discord
        refuse_in(room, POST, 50013)
        room.world.ada.has_closed_dms = True
        with capture_logs() as logs:
            question = await room.ask(room.world.ada, "help")
            await discord.until(lambda: SIGN in question.reactions)
            await discord.until(lambda: any(line["event"] == "task_failed" for line in logs))
        assert tracebacks(logs) == []


# --- places that Discord refuses ---


async def test_an_answer_whose_question_takes_no_reply_comes_without_being_one(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        wrong = {"message_reference": {"_errors": [{"code": "REPLIES_CANNOT_REPLY_TO_SYSTEM_MESSAGE"}]}}
        room.world.discord.fail_next(POST, status=400, answer={"code": 50035, "errors": wrong})
        await room.world.model.script({"text": "All done."})
        await room.ask(room.world.ada, "tell me")
        await check_exactly(room, "All done.")
        assert room.messages[0].reference is None


async def test_where_neither_the_thread_nor_the_asker_can_be_written_to_the_channel_above_says_so(
    tmp_path: Path,
) -> None:
    async with open_room(tmp_path) as room:
        discord, world = room.world.discord, room.world
        world.ada.has_closed_dms = True
        channel: Channel = await discord.start_thread(room.channel, world.ada, "Plans")
        thread = Room(world=world, bot=room.bot, channel=channel)
        await world.model.pace(first_token_s=0.3)
        await world.model.script({"text": "All done."})
        await thread.ask(world.ada, "tell me")
        await discord.until(lambda: discord.typing(channel))
        await discord.archive_thread(channel, locked=True)
        [told] = await discord.until(lambda: room.messages)
        assert told.content.startswith(f"<#{channel.id}>: My answer could not be posted")
        assert "locked" in told.content


async def test_where_the_thread_of_a_trace_is_locked_the_channel_above_says_so(tmp_path: Path) -> None:
    async with open_room(tmp_path, **with_workshop(tmp_path)) as room:
        discord, world = room.world.discord, room.world
        world.ada.has_closed_dms = True
        await world.model.script(calls("shop__look"), {"text": "I have looked."}, {"text": "All done."})
        thread = await trace_of(room, await room.ask(world.ada, "look"))
        await room.answered()
        await world.model.pace(first_token_s=0.3)
        await thread.say(world.ada, "and now?")
        await discord.until(lambda: discord.typing(thread.channel))
        await discord.archive_thread(thread.channel, locked=True)
        [told] = await discord.until(lambda: room.answers[1:])
        assert told.content.startswith(f"<#{thread.channel.id}>: My answer could not be posted")


async def test_where_only_threads_take_messages_the_sentence_is_in_the_thread_of_the_trace(tmp_path: Path) -> None:
    async with open_room(tmp_path, **with_workshop(tmp_path)) as room:
        discord, world = room.world.discord, room.world
        world.ada.has_closed_dms = True
        discord.allow_bot(room.channel, *without("SEND_MESSAGES"))
        await world.model.script(calls("shop__look"), {"text": "All done."})
        question = await room.ask(world.ada, "look")
        thread = await discord.until(lambda: discord.thread_of(question))
        told = await discord.until(lambda: [one for one in discord.own(thread) if "details" not in kinds(one)])
        assert ["could not be posted" in one.content for one in told] == [True]


@pytest.mark.parametrize("status", [404, 405])
async def test_where_a_relay_knows_no_changes_the_answer_is_posted_afresh(tmp_path: Path, status: int) -> None:
    async with open_room(tmp_path) as room:
        discord, text = room.world.discord, words(100)
        discord.fail_next(EDIT, status=status, times=1_000)
        await room.world.model.pace(chunk_s=0.01)
        await room.world.model.script({"text": text})
        await room.ask(room.world.ada, "tell me")
        await check_exactly(room, text)


# --- traces ---


async def test_a_trace_that_automod_blocks_costs_neither_the_answer_nor_the_threads_of_its_channel(
    tmp_path: Path,
) -> None:
    async with open_world() as world, serving(world, tmp_path, settings=with_workshop(tmp_path)) as bot:
        room, discord = general(world, bot), world.discord
        discord.add_automod_rule(world.guild, "look*")
        await world.model.script(calls("shop__look"), {"text": "Done."}, calls("shop__refuse"), {"text": "No."})
        first = await room.ask(world.ada, "see")
        assert await room.answered() == ["Done."]
        refused = [call for call in discord.calls if call.code == 200000]
        assert len({str(call.body) for call in refused}) == len(refused)  # nothing was tried twice
        second = await room.ask(world.ada, "try")
        assert await room.answered(2) == ["Done.", "No."]
        thread = await discord.until(lambda: discord.thread_of(second))
        assert [kinds(one) for one in discord.own(thread)] == [{"details"}]
        assert discord.own(room.channel) == room.answers
        assert discord.thread_of(first) is None or discord.own(discord.thread_of(first)) == []


async def test_a_trace_whose_title_automod_blocks_has_another_one(tmp_path: Path) -> None:
    async with open_world() as world, serving(world, tmp_path, settings=with_workshop(tmp_path)) as bot:
        room, discord = general(world, bot), world.discord
        discord.add_automod_rule(world.guild, "secret")
        await world.model.script(calls("shop__look"), {"text": "Done."})
        question = await room.ask(world.ada, "the secret please")
        assert await room.answered() == ["Done."]
        thread = await discord.until(lambda: discord.thread_of(question))
        assert thread.name == "Tools"
        assert [kinds(one) for one in discord.own(thread)] == [{"details"}]


async def test_a_call_whose_arguments_automod_blocks_is_shown_by_its_name(tmp_path: Path) -> None:
    settings, options = with_workshop(tmp_path), {"trace": "full"}
    async with open_world() as world, serving(world, tmp_path, settings=settings, options=options) as bot:
        room, discord = general(world, bot), world.discord
        discord.add_automod_rule(world.guild, "secret")
        await world.model.script(calls("shop__look", place="secret"), {"text": "Done."})
        question = await room.ask(world.ada, "look")
        assert await room.answered() == ["Done."]
        thread = await discord.until(lambda: discord.thread_of(question))
        [trace] = discord.own(thread)
        await discord.until(lambda: "running" not in trace.content)
        assert "look" in trace.content and "secret" not in trace.content
        assert kinds(trace) == {"details"}
