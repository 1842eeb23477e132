"""The answer in Discord: short or long, grown by edits, whatever Discord refuses on the way."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.fakes.discord.world import ALL_BOT_PERMISSIONS, Message
from tests.scenarios.discord.rooms import Room, check_exactly, check_manners, general, kinds
from tests.scenarios.discord.serving import open_world, serving
from tests.scenarios.model import calls, words
from tests.scenarios.tools import with_workshop, without_tools

POST, EDIT, DELETE = "create_message", "edit_message", "delete_message"


@asynccontextmanager
async def open_room(
    home: Path, *, options: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None
) -> AsyncGenerator[Room]:
    async with (
        open_world() as world,
        serving(world, home, options=options, settings=settings or without_tools(home)) as bot,
    ):
        yield general(world, bot)


async def ask_for(room: Room, text: str, *, chunk_s: float = 0.0) -> Message:
    """Have someone ask a question whose answer is this text."""
    await room.world.model.pace(chunk_s=chunk_s)
    await room.world.model.script({"text": text})
    return await room.ask(room.world.ada, "tell me")


# --- short and long ---


async def test_a_short_answer_is_one_post_without_an_edit(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        question = await ask_for(room, "Both **done**.")
        await check_exactly(room, "Both **done**.")
        assert room.messages[0].reference == question.id
        assert len(room.world.discord.calls_of(POST)) == 1
        assert room.world.discord.calls_of(EDIT) == []


async def test_a_long_answer_grows_in_one_message_by_edits_with_pauses_between_them_and_ends_with_other_buttons(
    tmp_path: Path,
) -> None:
    gap_s = 0.2
    async with open_room(tmp_path, options={"edit_gap_s": gap_s}) as room:
        discord, text = room.world.discord, words(200)
        await ask_for(room, text, chunk_s=0.01)
        await discord.until(lambda: room.growing)
        [growing] = room.growing
        assert kinds(growing) == {"stop"}
        shown = growing.content
        assert shown and text.startswith(shown)
        await discord.until(lambda: growing.edits >= 3)
        await check_exactly(room, text)
        assert room.messages == [growing]
        times = [call.at for call in (*discord.calls_of(POST), *discord.calls_of(EDIT))]
        gaps = [later - earlier for earlier, later in pairwise(times[:-1])]
        assert gaps and min(gaps) >= gap_s  # the last edit ends the answer at once
        check_manners(discord)


async def test_code_is_a_whole_block_in_every_message_also_while_it_grows(tmp_path: Path) -> None:
    code = [f"line = {number}" for number in range(300)]
    written = "\n".join(["Look:", "", '````python title="x.py"', *code, "````", "", "Done."])
    async with open_room(tmp_path, options={"edit_gap_s": 0.2}) as room:
        discord = room.world.discord
        await ask_for(room, written, chunk_s=0.01)
        await room.answered()
        assert len(room.texts) > 1
        blocks = [found for text in room.texts for found in re.findall(r"```python\n(.*?)\n```", text, re.DOTALL)]
        assert "\n".join(blocks).split("\n") == code
        sent = [call.body["content"] for call in (*discord.calls_of(POST), *discord.calls_of(EDIT)) if call.body]
        assert len(sent) > len(room.texts)  # it was seen growing
        assert {text.count("```") % 2 for text in sent} == {0} and not [text for text in sent if "````" in text]


async def test_a_slow_discord_is_sent_fewer_edits(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        discord, text = room.world.discord, words(200)
        discord.latency_s = 0.15
        await ask_for(room, text, chunk_s=0.01)
        await check_exactly(room, text)
        times = [call.at for call in (*discord.calls_of(POST), *discord.calls_of(EDIT))]
        gaps = [later - earlier for earlier, later in pairwise(times[:-1])]
        assert gaps and min(gaps) >= 3 * discord.latency_s  # a pause of twice what a call takes, and the call


async def test_what_is_too_long_for_six_messages_goes_on_in_a_file(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        text = words(2_500)
        await ask_for(room, text)
        await room.answered()
        assert len(room.messages) == 6
        [file] = [file for message in room.messages for file in message.attachments]
        assert file.filename == "answer.md"
        assert room.messages[-1].attachments == [file]
        shown = room.texts[-1].partition("\n-# The answer goes on in the attached file answer.md")
        assert shown[1]
        seen = "\n\n".join([*room.texts[:-1], shown[0], file.content.decode()])
        assert seen.split() == text.split()
        assert await room.stored_answers() == [text]


async def test_an_answer_whose_message_is_older_than_an_hour_is_posted_afresh(tmp_path: Path) -> None:
    released = tmp_path / "released"
    settings = with_workshop(tmp_path, RELEASE_FILE=str(released))
    async with open_room(tmp_path, options={"trace": "off"}, settings=settings) as room:
        discord = room.world.discord
        discord.old_edits = 0
        # The bot's clock is the machine's, so Discord's goes from an hour ago to now.
        discord.advance(-3_610)
        await room.world.model.script({"text": words(100), **calls("shop__act")}, {"text": "That is all."})
        question = await room.ask(room.world.ada, "tell me, then act")
        await discord.until(lambda: room.growing)
        [growing] = room.growing
        discord.advance(3_610)
        released.touch()
        await check_exactly(room, f"{words(100)}\n\nThat is all.")
        assert growing.is_deleted
        assert room.messages[0].reference == question.id
        assert not [call for call in discord.calls_of(EDIT) if call.code]


# --- faults ---

SIGNS = ("trigger_typing", "create_reaction", "delete_own_reaction")


@pytest.mark.parametrize(
    "routes", [(POST,), (EDIT,), ("start_thread_from_message",), SIGNS], ids=lambda routes: routes[0]
)
async def test_whatever_is_slowed_down_or_fails_on_the_way_the_whole_answers_arrive_exactly_once(
    tmp_path: Path, routes: Sequence[str]
) -> None:
    async with open_room(tmp_path, settings=with_workshop(tmp_path)) as room:
        world, discord = room.world, room.world.discord
        for route in routes:
            discord.fail_next(route, drop="after")
            discord.fail_next(route, drop="before")
            discord.fail_next(route, status=503)
            discord.limit_next(route, retry_after=0.1)
            discord.limit_next(route, retry_after=0.1, scope="shared")
        text = words(150)
        await world.model.pace(chunk_s=0.004)
        await world.model.script(*[{"text": words(20)}, calls("shop__look"), {"text": text}] * 2)
        for number in range(4):
            await room.ask(world.ada, f"question {number}")
        await room.answered(4)
        discord.clear_faults()
        assert room.texts == [words(20), text] * 2
        assert room.messages == room.answers
        assert await room.stored_answers() == [words(20), text] * 2


async def test_a_post_whose_answer_was_lost_is_found_or_known_by_its_nonce(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        discord, text = room.world.discord, words(100)
        discord.fail_next(POST, drop="after")  # of the growing message
        discord.fail_next("list_messages", status=503)
        await ask_for(room, text, chunk_s=0.01)
        await discord.until(lambda: len(discord.calls_of("list_messages")) >= 2)
        await check_exactly(room, text)
        assert len(discord.calls_of(POST)) == 1


async def test_while_cloudflare_bans_the_bot_nothing_is_sent_and_the_answer_comes_after_it(tmp_path: Path) -> None:
    async with open_room(tmp_path, options={"breaker_s": 1.0}) as room:
        discord, text = room.world.discord, words(100)
        await ask_for(room, text, chunk_s=0.005)
        await discord.until(lambda: room.growing)
        with capture_logs() as logs:
            discord.cloudflare_next()
            await check_exactly(room, text)
        banned = next(number for number, call in enumerate(discord.calls) if call.status == 429)
        before, after = discord.calls[banned], discord.calls[banned + 1]
        assert after.at - before.at >= 1.0
        assert [line["for_s"] for line in logs if line["event"] == "discord_blocked"] == [1.0]


async def test_a_refusal_with_status_429_and_a_code_of_discords_own_does_not_stop_everything(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        discord, text = room.world.discord, words(100)
        await ask_for(room, text, chunk_s=0.01)
        await discord.until(lambda: room.growing)
        discord.fail_next(EDIT, code=30046, times=1_000)
        await check_exactly(room, text)
        assert len(discord.calls_of(POST)) == 2  # posted afresh


async def test_a_growing_message_that_a_moderator_deletes_does_not_take_the_answer_with_it(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        discord, text = room.world.discord, words(350)
        await ask_for(room, text, chunk_s=0.004)
        await discord.until(lambda: len(room.growing) == 2)
        await discord.delete(room.channel, room.growing[0])
        await check_exactly(room, text)


async def test_a_question_that_is_deleted_while_it_is_answered_is_still_answered(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        discord, text = room.world.discord, words(50)
        await room.world.model.pace(first_token_s=0.3)
        await room.world.model.script({"text": text})
        question = await room.ask(room.world.ada, "tell me")
        await discord.until(lambda: discord.typing(room.channel))
        await discord.delete(room.channel, question)
        await discord.until(lambda: len(room.messages) == 2)
        assert sorted(len(kinds(message)) for message in room.messages) == [0, 2]
        assert any("`stop` ends that" in each for each in room.texts) and text in room.texts


# --- where Discord keeps the bot from writing ---


def without(*names: str) -> list[str]:
    return [name for name in ALL_BOT_PERMISSIONS if name not in names]


async def test_an_answer_that_may_not_be_posted_goes_to_the_asker_directly_and_names_the_missing_permission(
    tmp_path: Path,
) -> None:
    async with open_room(tmp_path) as room:
        discord, world = room.world.discord, room.world
        discord.allow_bot(room.channel, *without("SEND_MESSAGES"))
        await ask_for(room, "Done.")
        [told] = await discord.until(lambda: discord.own(discord.dm_channel(world.ada)))
        assert "Send Messages" in told.content and f"<#{room.channel.id}>" in told.content
        assert told.content.endswith("\nDone.")
        assert told.custom_ids == []  # what can be rated is the answer in its channel
        assert room.messages == []
        check_manners(discord)


async def test_without_read_message_history_the_answer_stands_in_the_channel_without_being_a_reply(
    tmp_path: Path,
) -> None:
    async with open_room(tmp_path) as room:
        room.world.discord.allow_bot(room.channel, *without("READ_MESSAGE_HISTORY"))
        await ask_for(room, "Done.")
        await check_exactly(room, "Done.")
        assert room.messages[0].reference is None


@pytest.mark.parametrize("way", ["archived", "locked", "deleted"])
async def test_an_answer_for_a_thread_that_was_closed_meanwhile_is_seen_all_the_same(tmp_path: Path, way: str) -> None:
    async with open_room(tmp_path) as room:
        discord, world, text = room.world.discord, room.world, words(100)
        channel = await discord.start_thread(room.channel, world.ada, "Plans")
        thread = Room(world=world, bot=room.bot, channel=channel)
        await ask_for(thread, text, chunk_s=0.01)
        await discord.until(lambda: thread.growing)
        if way == "deleted":
            discord.delete_channel(channel)
        else:
            await discord.archive_thread(channel, locked=way == "locked")
        if way == "archived":
            await thread.answered()  # writing opens it again
            await discord.until(lambda: not thread.growing)
            await check_exactly(thread, text)
        else:
            [told] = await discord.until(lambda: discord.own(discord.dm_channel(world.ada)))
            assert told.content.endswith(text)
            assert (
                ("locked" in told.content or "archived" in told.content)
                if way == "locked"
                else ("not there any more" in told.content)
            )


async def test_a_channel_that_refuses_everything_is_not_asked_again_and_again(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        discord = room.world.discord
        discord.allow_bot(room.channel, *without("SEND_MESSAGES"))
        await ask_for(room, words(200), chunk_s=0.01)
        async with asyncio.timeout(60):
            await discord.until(lambda: discord.own(discord.dm_channel(room.world.ada)))
        refused = [call for call in discord.calls_of(POST) if call.status == 403]
        assert len(refused) <= 8  # of about forty edits that it would have been
