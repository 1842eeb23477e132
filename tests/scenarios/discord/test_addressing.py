"""When a message in Discord is for the bot: its role, the missing intent, copies by a proxy, buttons of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.fakes.discord import Message
from tests.scenarios.discord.rooms import Room, general, open_room
from tests.scenarios.discord.serving import open_world, serving
from tests.scenarios.discord.test_pointing import at, read
from tests.scenarios.model import calls
from tests.scenarios.tools import with_workshop, without_tools


def role_of(room: Room) -> str:
    """Return the mention of the role that Discord made for the bot."""
    discord = room.world.discord
    [role] = [role for role in room.world.guild.roles.values() if role.bot == discord.bot.id]
    return f"<@&{role.id}>"


# --- the bot's role ---


async def test_the_bots_role_counts_as_the_bot(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        world, discord = room.world, room.world.discord
        await world.model.script({"text": "There are four."}, {"text": "In the thread."}, {"text": "By an edit."})
        await room.say(world.ada, f"{role_of(room)} list the open tickets")
        assert await room.answered() == ["There are four."]
        assert await read(world) == "[Ada] list the open tickets"

        thread = at(room, await discord.start_thread(room.channel, world.ben, "Plans"))
        await thread.say(world.ben, f"{role_of(room)} and here?")
        assert await thread.answered() == ["In the thread."]

        late = await room.say(world.cleo, "what is it?")
        await discord.edit(room.channel, late, f"{role_of(room)} what is it?")
        assert (await room.answered(2))[-1] == "By an edit."

        await room.say(world.cleo, f"{role_of(room)} usage")
        await discord.until(lambda: "turns" in room.texts[-1])
        assert len(await world.model.requests()) == 3


async def test_another_role_does_not_count_as_the_bot_even_if_it_has_its_name(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        world, discord = room.world, room.world.discord
        await world.model.script({"text": "Here I am."})
        same = discord.add_role(world.guild, discord.bot.name)
        await room.say(world.ada, f"<@&{same.id}> hello?")
        await room.ask(world.ada, "are you there?")
        assert await room.answered() == ["Here I am."]
        assert len(await world.model.requests()) == 1


async def test_a_mention_in_a_text_component_of_a_listed_app_counts_as_one(tmp_path: Path) -> None:
    async with open_room(tmp_path, allowed_apps="discord:90") as room:
        world, discord = room.world, room.world.discord
        await world.model.script({"text": "Rack 7."})
        words = [{"type": 10, "content": f"{discord.bot.mention} which rack is hot?"}]
        await discord.say_as_webhook(room.channel, name="Alerts", components=words, application=90)
        assert await room.answered() == ["Rack 7."]
        assert await read(world) == "[Alerts] which rack is hot?"


# --- without the Message Content intent ---


async def test_what_cannot_be_read_without_the_intent_gets_one_notice_where_the_bot_takes_part(tmp_path: Path) -> None:
    async with open_world() as world:
        discord = world.discord
        discord.has_message_content = False
        settings = {**without_tools(tmp_path)}
        async with serving(world, tmp_path, settings=settings) as bot:
            room = general(world, bot)
            thread, other = [
                at(room, await discord.start_thread(world.channel, world.ada, name)) for name in ("Plans", "Lunch")
            ]
            await other.say(world.ben, "soup?")
            await thread.ask(world.ada, "hello")
            await thread.answered()
        async with serving(world, tmp_path, settings=settings) as bot:  # it knows after a restart where it takes part
            room, thread, other = [Room(world=world, bot=bot, channel=each.channel) for each in (room, thread, other)]
            unread = [await thread.say(world.ben, "and now?") for _ in range(2)]
            await discord.until(lambda: len(thread.answers) == 2)
            assert "I cannot read this; mention me" in thread.answers[1].content
            await thread.say(world.ben, f"{world.cleo.mention} and you?")
            await other.say(world.ben, "or salad?")
            await thread.ask(world.ben, "what did I say?", reply_to=unread[-1])
            await thread.answered(2)
            assert len(thread.answers) == 3 and other.messages == []
            assert "for lack of the Message Content intent" in await read(world)

            await room.say(world.ada, f"{role_of(room)} hello?")  # only a mention by name shows the words
            await discord.until(lambda: len(room.answers) == 1)
            assert "I cannot read this; mention me" in room.answers[0].content


async def test_each_mention_that_cannot_be_read_and_gets_no_notice_is_a_line_in_the_log(tmp_path: Path) -> None:
    async with open_world() as world:
        world.discord.has_message_content = False
        async with serving(world, tmp_path, settings=without_tools(tmp_path)) as bot:
            room = general(world, bot)
            await room.say(world.ada, f"{role_of(room)} hello?")
            await world.discord.until(lambda: room.answers)
            with capture_logs() as logs:
                await room.say(world.ben, f"{role_of(room)} and me?")
                await room.ask(world.cleo, "are you there?")
                await room.answered()
            [line] = [line for line in logs if line["event"] == "mention_not_answered"]
            assert "cannot be read" in line["reason"] and line["log_level"] == "info"


async def test_a_reply_to_the_bot_that_cannot_be_read_gets_the_notice(tmp_path: Path) -> None:
    async with open_world() as world:
        world.discord.has_message_content = False
        async with serving(world, tmp_path, settings=without_tools(tmp_path)) as bot:
            room = general(world, bot)
            await world.model.script({"text": "Hello."}, {"text": "A pleasure."})
            await room.ask(world.ada, "hello")
            await room.answered()
            for ping in (False, True):
                await room.say(world.ben, "nice to meet you", reply_to=room.answers[0], ping=ping)
            assert (await room.answered(2))[-1] == "A pleasure."  # a reply that notifies the bot can be read
            [told] = [text for text in room.texts if "I cannot read this" in text]
            assert "Message Content intent" in told


# --- copies by a proxy ---


@pytest.mark.parametrize("copied_first", [True, False])
async def test_a_message_that_a_proxy_replaces_is_answered_once_and_nothing_is_said_of_its_deletion(
    tmp_path: Path, copied_first: bool
) -> None:
    async with open_room(tmp_path) as room:
        world, discord = room.world, room.world.discord
        await world.model.pace(first_token_s=0.5)
        await world.model.script({"text": "Four minutes."}, {"text": "Yes."})
        content = f"{discord.bot.mention} how long is the build?"
        original = await room.say(world.ada, f"m: {content}")
        await discord.until(lambda: discord.typing(room.channel))
        steps = [lambda: copy(room, content), lambda: discord.delete(room.channel, original)]
        for step in steps if copied_first else reversed(steps):
            await step()
        assert await room.answered() == ["Four minutes."]
        await room.ask(world.ben, "is that all?")
        assert await room.answered(2) == ["Four minutes.", "Yes."]
        assert len(await world.model.requests()) == 2
        assert discord.unknown_requests == []


@pytest.mark.parametrize("copied_first", [True, False])
async def test_a_message_that_a_proxy_replaces_while_it_waits_is_answered_once(
    tmp_path: Path, copied_first: bool
) -> None:
    released = tmp_path / "released"
    async with open_room(tmp_path, **with_workshop(tmp_path, RELEASE_FILE=str(released))) as room:
        world, discord = room.world, room.world.discord
        await world.model.script(calls("shop__act"), {"text": "One."}, {"text": "Four minutes."})
        await room.ask(world.ben, "first")
        await discord.until(lambda: discord.threads(room.channel))
        content = f"{discord.bot.mention} how long is the build?"
        original = await room.say(world.ada, f"{content} -m")
        await discord.until(lambda: original.reactions)
        steps = [lambda: copy(room, content), lambda: discord.delete(room.channel, original)]
        for step in steps if copied_first else reversed(steps):
            await step()
        released.touch()
        assert await room.answered(2) == ["One.", "Four minutes."]
        assert "how long is the build?" in await read(world) and "[Ada]" in await read(world)


async def test_an_alert_that_repeats_a_word_of_a_question_takes_nothing_from_it(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        world, discord = room.world, room.world.discord
        await world.model.script({"text": "Here I am."}, {"text": "Yes."})
        thread = at(room, await discord.start_thread(room.channel, world.ada, "Builds"))
        await thread.ask(world.ada, "are you there?")
        await thread.answered()
        with capture_logs() as logs:
            asked = await thread.say(world.ada, "is the build green?")
            await discord.say_as_webhook(thread.channel, "build", application=90)
            assert await thread.answered(2) == ["Here I am.", "Yes."]
            await discord.delete(thread.channel, asked)
            await thread.ask(world.ben, "and now?")
            await thread.answered(3)
        assert not {"mention_not_answered", "replaced_message_deleted"} & {line["event"] for line in logs}


async def copy(room: Room, content: str) -> Message:
    return await room.world.discord.say_as_webhook(room.channel, content, name="Mira", application=90)


# --- what nobody can make sense of ---

MALFORMED: list[dict[str, Any]] = [
    {"type": 3, "data": {"custom_id": "tb|v0|;;%%not-ours", "component_type": 2}},
    {"type": 3, "data": {"custom_id": "tb:example:0", "component_type": 3, "values": [None, {"a": 1}]}},
    {"type": 3, "data": {"custom_id": "tb:page:99:none:" + "9" * 5_000, "component_type": 2}},
    {"type": 3, "data": []},
    {"type": 3, "data": {"custom_id": "tb:stop:1:0"}, "member": [], "message": 7},
    {"type": 5, "data": {"custom_id": "tb:ask:1:1", "components": [None, {"components": [7]}]}},
    {"type": 5, "data": None},
    {"type": 2, "data": {"name": ["help"], "type": 1, "options": [None, {"value": {}}]}},
    {"type": 2, "data": {"type": 3, "target_id": 7, "resolved": {"messages": []}}},
    {"type": 4, "data": {"name": "tools", "options": 7}},
    {"type": 99},
]


async def test_no_button_or_form_of_others_makes_the_bot_stumble(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        world, discord = room.world, room.world.discord
        await world.model.script({"text": "Here I am."})
        with capture_logs() as logs:
            for interaction in MALFORMED:
                frame = {
                    "id": str(discord.next_id()),
                    "token": "nobody's",
                    "guild_id": str(world.guild.id),
                    "channel_id": str(room.channel.id),
                    "channel": {"id": str(room.channel.id), "type": 0},
                    "member": {"user": {"id": str(world.ada.id), "username": "Ada"}, "permissions": "x"},
                    **interaction,
                }
                await discord.send_raw({"op": 0, "t": "INTERACTION_CREATE", "d": frame})
            await room.ask(world.ada, "are you there?")
            assert await room.answered() == ["Here I am."]
        assert [line for line in logs if line["log_level"] == "error" or line["event"] == "task_failed"] == []


async def test_a_message_that_was_changed_long_ago_is_no_question_when_it_is_pinned(tmp_path: Path) -> None:
    async with open_world(began_s_ago=7_200) as world:
        discord = world.discord
        old = await discord.say(world.channel, world.ada, "what is it?")
        await discord.edit(world.channel, old, f"{discord.bot.mention} what is it?")
        discord.advance(7_200)
        async with serving(world, tmp_path, settings=without_tools(tmp_path)) as bot:
            room = general(world, bot)
            await world.model.script({"text": "Here I am."})
            await discord.unfurl(room.channel, old)  # a pin and a link's preview bring the message once more
            question = await room.ask(world.ben, "are you there?")
            assert await room.answered() == ["Here I am."]
            assert room.answers[0].reference == question.id
