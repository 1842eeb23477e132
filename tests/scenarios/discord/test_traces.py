"""What is seen of the tools in Discord: the trace and its thread, details; and what people think of an answer."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.fakes.discord.world import ALL_BOT_PERMISSIONS, Channel, Message
from tests.scenarios.discord.rooms import Room, general, kinds
from tests.scenarios.discord.serving import open_world, serving
from tests.scenarios.model import calls
from tests.scenarios.tools import with_workshop

START, POST = "start_thread_from_message", "create_message"


@asynccontextmanager
async def open_room(
    home: Path, *, options: Mapping[str, Any] | None = None, **environment: str
) -> AsyncGenerator[Room]:
    async with (
        open_world() as world,
        serving(world, home, options=options, settings=with_workshop(home, **environment)) as bot,
    ):
        yield general(world, bot)


async def trace_of(room: Room, question: Message) -> Room:
    """Wait for the thread on the question with a trace in it, and return it."""
    discord = room.world.discord
    thread: Channel = await discord.until(lambda: discord.thread_of(question))
    await discord.until(lambda: discord.own(thread))
    return Room(world=room.world, bot=room.bot, channel=thread)


def all_traces(room: Room) -> list[Message]:
    """Return the traces in the channel and in all its threads."""
    discord = room.world.discord
    places = [room.channel, *discord.threads(room.channel)]
    return [message for place in places for message in discord.own(place) if "details" in kinds(message)]


# --- the trace ---


async def test_the_trace_is_one_message_in_a_thread_on_the_question_that_follows_a_slow_tool_to_its_end(
    tmp_path: Path,
) -> None:
    released = tmp_path / "released"
    async with open_room(tmp_path, RELEASE_FILE=str(released)) as room:
        world, discord = room.world, room.world.discord
        await world.model.script(calls("shop__act", "shop__refuse"), calls("shop__look"), {"text": "All done."})
        question = await room.ask(world.ada, "act,\nplease " + "x" * 200)
        thread = await trace_of(room, question)
        assert thread.channel.name.startswith("act, please xxx") and len(thread.channel.name) <= 100
        [trace] = thread.messages
        await discord.until(lambda: "✗ refuse" in trace.content)
        assert trace.content.splitlines()[0] == "… act · shop · running"
        assert re.fullmatch(r"✗ refuse · shop · error · \d+\.\d s", trace.content.splitlines()[1])
        released.touch()
        assert await room.answered() == ["All done."]
        ended = r"✓ act · shop · \d+\.\d s\n✗ refuse · shop · error · \d+\.\d s\n✓ look · shop · \d+\.\d s"
        await discord.until(lambda: re.fullmatch(ended, trace.content))
        assert thread.messages == [trace]
        assert trace.edits >= 1 and trace.suppresses_embeds
        assert room.messages == room.answers


# --- where there can be no thread ---


@pytest.mark.parametrize("why", ["forbidden", "cap", "silent"])
async def test_where_no_thread_can_be_had_the_trace_is_a_reply_which_is_said_once_in_the_log(
    tmp_path: Path, why: str
) -> None:
    async with open_room(tmp_path) as room:
        world, discord = room.world, room.world.discord
        match why:
            case "forbidden":
                discord.allow_bot(room.channel, *(p for p in ALL_BOT_PERMISSIONS if p != "CREATE_PUBLIC_THREADS"))
            case "silent":  # a thread may be begun, but nothing written in it
                discord.allow_bot(room.channel, *(p for p in ALL_BOT_PERMISSIONS if p != "SEND_MESSAGES_IN_THREADS"))
            case _:
                world.guild.max_active_threads = 0
        await world.model.script(*[calls("shop__look"), {"text": "All done."}] * 2)
        with capture_logs() as logs:
            questions = [await room.ask(world.ada, f"look {number}") for number in range(2)]
            await room.answered(2)
        assert [message.reference for message in room.traces] == [question.id for question in questions]
        assert [kinds(message) for message in room.messages] == [{"details"}, {"good", "bad"}] * 2
        assert all(trace.content.startswith("✓ look · shop") for trace in room.traces)
        said = [line for line in logs if line["event"] == "trace_without_thread"]
        assert [line["channel"] for line in said] == [str(room.channel.id)]
        assert len(discord.calls_of(START)) == 1


async def test_a_thread_that_someone_began_on_the_question_before_gets_the_trace(tmp_path: Path) -> None:
    released = tmp_path / "released"
    async with open_room(tmp_path, RELEASE_FILE=str(released)) as room:
        world, discord = room.world, room.world.discord
        await world.model.script(calls("shop__act"), {"text": "All done."})
        question = await room.ask(world.ada, "act")
        theirs = await discord.start_thread(room.channel, world.ben, "I know that", message=question)
        thread = await trace_of(room, question)
        assert thread.channel is theirs and len(thread.traces) == 1
        released.touch()
        await room.answered()
        assert all_traces(room) == thread.traces


@pytest.mark.parametrize("way", ["archived", "locked", "deleted"])
async def test_a_trace_whose_thread_is_closed_meanwhile_goes_on_as_a_reply(tmp_path: Path, way: str) -> None:
    released = tmp_path / "released"
    async with open_room(tmp_path, RELEASE_FILE=str(released)) as room:
        world, discord = room.world, room.world.discord
        await world.model.script(calls("shop__act"), calls("shop__look"), {"text": "All done."})
        question = await room.ask(world.ada, "act")
        thread = await trace_of(room, question)
        with capture_logs() as logs:
            if way == "deleted":
                discord.delete_channel(thread.channel)
            else:
                await discord.archive_thread(thread.channel, locked=way == "locked")
            released.touch()
            assert (await room.answered())[-1:] == ["All done."]
            await discord.until(lambda: room.traces and "✓ look" in room.traces[0].content)
        [trace] = room.traces
        assert trace.reference == question.id and trace.content.startswith("✓ act")
        assert len([line for line in logs if line["event"] == "trace_without_thread"]) == 1


async def test_a_trace_that_someone_deletes_is_not_posted_again(tmp_path: Path) -> None:
    released = tmp_path / "released"
    async with open_room(tmp_path, RELEASE_FILE=str(released)) as room:
        world, discord = room.world, room.world.discord
        await world.model.script(calls("shop__act"), calls("shop__look"), {"text": "All done."})
        thread = await trace_of(room, await room.ask(world.ada, "act"))
        await discord.delete(thread.channel, thread.traces[0])
        released.touch()
        assert await room.answered() == ["All done."]
    assert all_traces(room) == []


@pytest.mark.parametrize("route", [START, POST])
@pytest.mark.parametrize("drop", ["before", "after"])
async def test_a_trace_whose_post_is_cut_off_is_there_once_and_keeps_no_answer_back(
    tmp_path: Path, route: str, drop: Any
) -> None:
    async with open_room(tmp_path) as room:
        world, discord = room.world, room.world.discord
        discord.fail_next(route, drop=drop)
        await world.model.script(calls("shop__look"), {"text": "All done."})
        question = await room.ask(world.ada, "look")
        assert await room.answered() == ["All done."]
    [trace] = all_traces(room)  # it may have come after the answer
    assert trace.channel == question.id
    assert trace.content.startswith("✓ look")


# --- details ---


async def test_the_details_show_exact_arguments_and_result_to_anybody_even_after_a_restart(tmp_path: Path) -> None:
    async with open_world() as world:
        settings = with_workshop(tmp_path)
        async with serving(world, tmp_path, settings=settings) as bot:
            room = general(world, bot)
            arguments = json.dumps({"city": "Zürich ```and``` @everyone"})
            await world.model.script({"tool_calls": [{"name": "shop__with_dots", "arguments": arguments}]})
            await world.model.script({"text": "21.5 °C"})
            thread = await trace_of(room, await room.ask(world.ada, "weather?"))
            await room.answered()
            pressed = await thread.press(thread.traces[0], world.ben, "details")
            shown = pressed.text
            assert pressed.original is not None and pressed.original.ephemeral_to == world.ben.id
            assert arguments in shown.replace("\u200d", "") and "21.5" in shown
            assert shown.count("\n```") == 4  # two blocks, which nothing in them ends
        async with serving(world, tmp_path, settings=settings) as bot:
            again = Room(world=world, bot=bot, channel=thread.channel)
            await bot.app.tools.offer(None)  # the tools' own names are known once their server has started
            assert (await again.press(again.traces[0], world.ben, "details")).text == shown
            assert (await again.press(again.traces[0], world.cleo, "details")).text == shown
        assert [ping for ping in world.discord.pings if ping.message.author is world.discord.bot] == []


async def test_details_too_long_for_a_message_come_whole_as_a_file(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        world = room.world
        await world.model.script(calls("shop__big", chars=150_000), {"text": "All done."})
        thread = await trace_of(room, await room.ask(world.ada, "be big"))
        await room.answered()
        pressed = await thread.press(thread.traces[0], world.ben, "details")
        assert re.search(r"the first [\d,]+ of 150,000 characters", pressed.text)
        assert pressed.original is not None
        [file] = pressed.original.attachments
        assert file.filename == "details.txt" and b"x" * 150_000 in file.content


# --- feedback ---
