"""The bot's commands in Discord: typed with a slash, written to it as a word, or chosen at a message."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from adapters.discord.api import DiscordApi
from adapters.discord.manifest import ASK_ABOUT, NOTE, keep_synced
from adapters.discord.phrases import NO_DIRECT, OLD_BUTTON, OLD_COMMAND, OLD_FORM
from bot.domain.backoff import Backoff
from bot.domain.commands import COMMANDS
from bot.domain.events import ConversationKey
from bot.intake.commands.acting import OLD_STOP
from bot.stores.sqlite.store import open_sqlite
from tests.fakes.discord import Channel, FakeDiscord, Interaction, Message, User
from tests.scenarios import memory
from tests.scenarios.discord.serving import Bot, World, open_world, serving
from tests.scenarios.model import spoken
from tests.scenarios.tools import with_workshop, without_tools

BUNDLED: dict[str, Any] = {"mcp_config": None}  # the server that comes with the bot
TOKYO = "What time is it in Tokyo?"


@dataclass
class Here:
    """The bot in a world, and what people do there; by default Ada does it in the channel."""

    world: World
    bot: Bot

    async def slash(
        self, command: str, word: str | None = None, *, user: User | None = None, channel: Channel | None = None
    ) -> Message:
        """Run a slash command; return the answer that only that person sees, once it is there."""
        options = {} if word is None else {"word": word}
        asked = await self.world.discord.slash(channel or self.world.channel, user or self.world.ada, command, options)
        return await self.answer_to(asked)

    async def answer_to(self, interaction: Interaction) -> Message:
        """Return the answer to an interaction, once it is there; only that person sees it."""
        assert interaction.is_acked, self.world.discord.describe()
        await self.world.discord.until(lambda: interaction.original and not interaction.original.is_loading)
        assert interaction.original is not None
        assert interaction.original.ephemeral_to == interaction.user.id
        return interaction.original

    async def turn(self, shown: Message, custom_id: str) -> str:
        """Press a button that changes its message; return what the message shows then."""
        edits = shown.edits
        pressed = await self.world.discord.press(shown.channel, shown, shown.ephemeral_to or self.world.ada, custom_id)
        assert pressed.is_acked
        await self.world.discord.until(lambda: shown.edits > edits)
        return shown.content

    async def told(self, shown: Message, custom_id: str, *, user: User | None = None) -> str:
        """Press a button that is answered by a message only that person sees; return what it says."""
        pressed = await self.world.discord.press(shown.channel, shown, user or self.world.ada, custom_id)
        return (await self.answer_to(pressed)).content

    async def asks(self, text: str, *, user: User | None = None, channel: Channel | None = None) -> Message:
        """Mention the bot (in direct messages: write to it) and wait for the answer, which is returned."""
        room = channel or self.world.channel
        before = len(self.answers(room))
        await self.world.discord.say(room, user or self.world.ada, text, mention=not room.is_dm)
        return await self.next_answer(room, after=before)

    async def next_answer(self, channel: Channel, *, after: int) -> Message:
        await self.world.discord.until(lambda: len(self.answers(channel)) > after)
        return self.answers(channel)[after]

    def answers(self, channel: Channel) -> list[Message]:
        """The finished answers in a channel: those that can be rated."""
        return [each for each in self.world.discord.own(channel) if any("good" in mark for mark in each.custom_ids)]

    async def is_working(self, channel: Channel | None = None) -> None:
        await self.world.discord.until(lambda: self.world.discord.typing(channel or self.world.channel))


@asynccontextmanager
async def open_bot(home: Path, *, options: Mapping[str, Any] | None = None, **settings: Any) -> AsyncGenerator[Here]:
    """The bot in a new world; by default without tools."""
    async with open_world() as world, serving_in(world, home, options=options, **settings) as here:
        yield here


@asynccontextmanager
async def serving_in(
    world: World, home: Path, *, options: Mapping[str, Any] | None = None, **settings: Any
) -> AsyncGenerator[Here]:
    async with serving(world, home, options=options, settings={**without_tools(home), **settings}) as bot:
        await world.discord.until(lambda: world.discord.commands(world.guild))
        yield Here(world, bot)


async def remember(world: World, home: Path, *, texts: Sequence[str]) -> None:
    """Put the channel's conversation into the bot's memory before it starts: the bot repeated each of Ada's lines."""
    channel = str(world.channel.id)
    conversation = ConversationKey(platform="discord", space=str(world.guild.id), channel=channel)
    questions = {f"discord:{channel}:{number}": text for number, text in enumerate(texts, start=1)}
    await memory.remember(home, conversation, questions=questions, author_id=str(world.ada.id))


def labels(message: Message) -> list[str]:
    """The labels of the buttons, in their order."""
    return [str(each["label"]) for each in message.elements if each.get("type") == 2 and "label" in each]


def select_of(message: Message) -> dict[str, Any]:
    (select,) = [each for each in message.elements if each.get("type") == 3]
    return select


# --- slash commands ---


async def test_while_a_word_is_typed_the_names_of_tools_are_offered_that_have_it(tmp_path: Path) -> None:
    async with open_bot(tmp_path, **BUNDLED) as here:
        await here.bot.app.tools.offer(None)

        async def offered(typed: str) -> list[str]:
            choices = await here.world.discord.autocomplete(
                here.world.channel, here.world.ada, "tools", {"word": typed}
            )
            assert all(choice["name"] == choice["value"] for choice in choices)
            return [choice["value"] for choice in choices]

        assert await offered("CALC") == ["calculate"]
        everything = await offered("")
        assert {"calculate", "save_text_file"} <= set(everything) and everything == sorted(everything)
        assert await offered("zzz") == []
        assert here.world.discord.all_ephemerals() == []


async def test_while_tool_servers_are_still_starting_no_names_are_offered_in_time_and_tools_is_answered_later(
    tmp_path: Path,
) -> None:
    gate = tmp_path / "gate"
    settings = with_slow_server(tmp_path, gate)
    async with open_bot(tmp_path, **settings) as here:
        discord = here.world.discord
        offered = await discord.autocomplete(here.world.channel, here.world.ada, "tools", {"word": "loo"})
        assert offered == []
        assert not any(each.is_failed for each in discord.interactions.values())
        asked = await discord.slash(here.world.channel, here.world.ada, "tools")
        assert asked.is_acked and asked.original is not None and asked.original.is_loading  # it is thinking
        gate.touch()
        assert "`look`" in (await here.answer_to(asked)).content


def with_slow_server(home: Path, gate: Path) -> dict[str, Any]:
    """The settings of a bot whose tool server starts only once the gate is there."""
    file = home / "slow.json"
    settings = with_workshop(home)
    server = settings["mcp_config"].read_text(encoding="utf-8")
    script = home / "slow.sh"
    script.write_text(f'until [ -e "{gate}" ]; do sleep 0.05; done\nexec "$@"\n', encoding="utf-8")
    data = json.loads(server)
    shop = data["mcpServers"]["shop"]
    shop["args"] = [str(script), shop["command"], *shop["args"]]
    shop["command"] = "/bin/sh"
    file.write_text(json.dumps(data), encoding="utf-8")
    return {"mcp_config": file}


async def test_history_and_clear_are_about_the_channel_and_in_a_thread_about_that_thread(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as here:
        world, discord = here.world, here.world.discord
        assert "no messages yet" in (await here.slash("history")).content
        await world.model.script({"text": "It is red."}, {"text": "It is blue."})
        await here.asks("Which <colour>?", user=world.ben)
        thread = await discord.start_thread(world.channel, world.cleo, "Elsewhere")
        await here.asks("And here?", channel=thread, user=world.cleo)

        in_channel, in_thread = await here.slash("history"), await here.slash("history", channel=thread)
        assert "**Ben**: Which \\<colour\\>?" in in_channel.content and "It is red." in in_channel.content
        assert "blue" not in in_channel.content
        assert "**Cleo**: And here?" in in_thread.content and "red" not in in_thread.content

        assert "The person who began this conversation" in (await here.slash("clear", channel=thread)).content
        cleared = await here.slash("clear", channel=thread, user=world.cleo)
        assert "2 messages of this conversation deleted" in cleared.content
        assert "no messages yet" in (await here.slash("history", channel=thread)).content
        assert "It is red." in (await here.slash("history")).content
        assert "nothing to forget" in (await here.slash("clear", channel=thread)).content


async def test_stop_stops_the_answer_of_its_channel_and_in_a_thread_that_of_the_thread(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as here:
        world, discord = here.world, here.world.discord
        assert "Nothing is running in this conversation." in (await here.slash("stop")).content
        await world.model.fail("stall", times=2)
        thread = await discord.start_thread(world.channel, world.ben, "Elsewhere")
        await discord.say(world.channel, world.ada, "One", mention=True)
        await discord.say(thread, world.ben, "Two", mention=True)
        await here.is_working()
        await here.is_working(thread)
        assert "Someone else asked" in (await here.slash("stop", channel=thread)).content
        assert "Stopping." in (await here.slash("stop", channel=thread, user=world.ben)).content
        assert "stopped" in (await here.next_answer(thread, after=0)).content.lower()
        assert here.answers(world.channel) == []
        assert "Stopping." in (await here.slash("stop")).content
        assert "stopped" in (await here.next_answer(world.channel, after=0)).content.lower()


@pytest.mark.parametrize(
    ("options", "told", "not_told"),
    [
        ({}, ["just write", "switched off here", "the word `stop` in a thread"], ["need no mention"]),
        ({"allow_dms": True}, ["just write", "need no mention"], ["switched off"]),
        ({"message_content": False}, ["in a thread as well"], ["just write", "the word `stop` in a thread"]),
    ],
    ids=["as delivered", "direct messages", "without message content"],
)
async def test_help_tells_the_commands_and_how_things_are_done_in_discord(
    tmp_path: Path, options: dict[str, Any], told: list[str], not_told: list[str]
) -> None:
    async with open_bot(tmp_path, options=options) as here:
        shown = (await here.slash("help")).content
        assert [command.name for command in COMMANDS if f"`{command.name}" not in shown] == []
        told = [*told, "**In Discord**", "`@toolbridge history`", ASK_ABOUT, "inside a thread only that thread"]
        assert [words for words in told if words not in shown] == []
        assert [words for words in not_told if words in shown] == []


async def test_a_command_that_an_older_version_registered_is_answered_with_the_nearest_one(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as here:
        commands = here.world.discord.global_commands
        old = next(each for each in commands if each["name"] == "history")
        commands += [{**old, "id": "1", "name": "histry"}, {**old, "id": "2", "name": "About", "type": 2}]
        shown = (await here.slash("histry")).content
        assert "There is no command `histry`. Did you mean `history`?" in shown
        menu = await user_menu(here, "About")
        assert (await here.answer_to(menu)).content == OLD_COMMAND


async def user_menu(here: Here, name: str) -> Interaction:
    """Choose an entry in the menu of a person, which this version has none of."""
    discord = here.world.discord
    data = {"id": "2", "name": name, "type": 2, "target_id": str(here.world.ben.id), "resolved": {}}
    number = discord.next_id()
    interaction = Interaction(
        id=number,
        token=f"interaction-{number}",
        kind="command",
        user=here.world.ada,
        channel=here.world.channel,
        guild=here.world.guild.id,
        data=data,
        created_at=discord.now(),
    )
    discord.interactions[number] = interaction
    discord.dispatch("INTERACTION_CREATE", discord.interaction_json(interaction), guild=here.world.guild)
    await discord.until(lambda: interaction.is_acked)
    return interaction


# --- pages ---


def next_of(message: Message) -> str:
    return next(each["custom_id"] for each in message.elements if each.get("label") == "Next")


def previous_of(message: Message) -> str:
    return next(each["custom_id"] for each in message.elements if each.get("label") == "Previous")


async def test_anyone_can_turn_the_pages_of_an_answer_that_everyone_sees(tmp_path: Path) -> None:
    async with open_world() as world:
        await remember(world, tmp_path, texts=[f"First {number}? {'many _words_ ' * 20}" for number in range(12)])
        async with serving_in(world, tmp_path):
            discord = world.discord
            await discord.say(world.channel, world.ada, "history", mention=True)
            message = await discord.until(lambda: next(iter(discord.own(world.channel)), None))
            first = message.content
            pressed = await discord.press(world.channel, message, world.ben, next_of(message))
            assert pressed.is_acked
            await discord.until(lambda: message.content != first)
            assert "Page 2 of" in message.content and message.suppresses_embeds
            assert discord.own(world.channel) == [message] and discord.all_ephemerals() == []


async def test_pages_keep_the_word_that_was_searched_for(tmp_path: Path) -> None:
    async with open_bot(tmp_path, **BUNDLED) as here:
        message = await here.slash("tools", "")
        assert labels(message) == []  # all of it fits
        shown = await here.slash("tools", "file")
        message.components = [
            {"type": 1, "components": [{"type": 2, "style": 2, "label": "Next", "custom_id": "tb:page:7:tools:file"}]}
        ]
        assert await here.turn(message, "tb:page:7:tools:file") == shown.content


# --- buttons that are old or not theirs ---


async def test_a_button_of_an_older_version_tells_that_it_does_nothing(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as here:
        answer = await here.asks("hello")
        for custom_id in ("tb:approve:1", "tb:example:0", "something"):
            pressed = await here.world.discord.press_gone(here.world.channel, answer, here.world.ben, custom_id)
            assert (await here.answer_to(pressed)).content == OLD_BUTTON
        assert here.world.discord.ephemerals(here.world.ada) == []


async def test_only_the_asker_or_a_moderator_stops_an_answer_and_an_old_stop_button_stops_no_other_answer(
    tmp_path: Path,
) -> None:
    async with open_bot(tmp_path) as here:
        world, discord = here.world, here.world.discord
        await world.model.script({"text": "word " * 400})
        await world.model.pace(chunk_s=0.05)
        await discord.say(world.channel, world.ada, "Tell me a lot", mention=True)
        live = await discord.until(
            lambda: next((each for each in discord.own(world.channel) if "Stop" in labels(each)), None)
        )
        (stop,) = [mark for mark in live.custom_ids if mark.startswith("tb:stop")]
        assert "Someone else asked for what runs here" in await here.told(live, stop, user=world.ben)
        member = world.guild.members[world.cleo.id]
        member.permissions |= 1 << 13  # Manage Messages
        assert await here.told(live, stop, user=world.cleo) == "Stopping."
        await here.next_answer(world.channel, after=0)

        await world.model.pace(chunk_s=0.0)
        await world.model.fail("stall")
        await discord.say(world.channel, world.ben, "And now?", mention=True)
        await here.is_working()
        for user in (world.ada, world.ben):
            pressed = await discord.press_gone(world.channel, live, user, stop)
            assert (await here.answer_to(pressed)).content == OLD_STOP
        assert discord.typing(world.channel) and len(here.answers(world.channel)) == 1
        await here.slash("stop", user=world.ben)
        await here.next_answer(world.channel, after=1)


async def test_the_details_of_a_forgotten_answer_say_that_it_was_forgotten(tmp_path: Path) -> None:
    async with open_bot(tmp_path, **with_workshop(tmp_path)) as here:
        world, discord = here.world, here.world.discord
        await world.model.script({"tool_calls": [{"name": "shop__look", "arguments": {}}]}, {"text": "I looked."})
        await here.asks("Look")
        question = discord.visible(world.channel)[0]
        thread = await discord.until(lambda: discord.thread_of(question))
        trace = await discord.until(lambda: next(iter(discord.own(thread)), None))
        assert "looked" in await here.told(trace, "tb:details", user=world.ben)
        await here.slash("clear")
        assert "forgotten with" in await here.told(trace, "tb:details")


# --- examples ---


async def test_an_example_is_started_in_the_channel_in_the_name_of_who_chose_it_once(tmp_path: Path) -> None:
    async with open_bot(tmp_path, **BUNDLED) as here:
        world, discord = here.world, here.world.discord
        message = await here.slash("examples", user=world.ben)
        select = select_of(message)
        assert [option["label"] for option in select["options"]][:2] == ["Time somewhere else", "Two tools at once"]
        tokyo = next(option["value"] for option in select["options"] if option["description"] == TOKYO)
        discord.duplicate_next()  # Discord delivers the choice twice
        chosen = await discord.choose(world.channel, message, world.ben, select["custom_id"], [tokyo])
        assert (await here.answer_to(chosen)).content == "Asked below."
        answer = await here.next_answer(world.channel, after=0)
        question = discord.visible(world.channel)[0]
        assert question.content == f"**Ben** asks: {TOKYO}" and question.author is discord.bot
        assert "Tokyo" in answer.content and answer.reference == question.id
        assert discord.visible(world.channel) == [question, answer]
        assert discord.thread_of(question) is not None  # with the trace
        assert "**You**: today 1 turn," in (await here.slash("usage", user=world.ben)).content
        assert f"**Ben**: {TOKYO}" in (await here.slash("history")).content
        assert discord.pings == []


async def test_choosing_an_example_that_is_no_longer_offered_says_so(tmp_path: Path) -> None:
    async with open_world() as world:
        discord = world.discord
        async with serving_in(world, tmp_path, **BUNDLED) as here:
            message = await here.slash("examples")
            value = select_of(message)["options"][0]["value"]
        async with serving_in(world, tmp_path) as here:  # without tools
            chosen = await discord.choose(world.channel, message, world.ada, "tb:example:0", [value])
            assert "not offered any more" in (await here.answer_to(chosen)).content
            assert discord.visible(world.channel) == []


async def test_where_the_bot_may_not_write_commands_work_and_an_example_names_the_missing_permission(
    tmp_path: Path,
) -> None:
    async with open_bot(tmp_path, **BUNDLED) as here:
        world, discord = here.world, here.world.discord
        discord.allow_bot(world.channel, "VIEW_CHANNEL")
        message = await here.slash("examples")
        value = select_of(message)["options"][0]["value"]
        chosen = await discord.choose(world.channel, message, world.ada, "tb:example:0", [value])
        told = (await here.answer_to(chosen)).content
        assert "I lack a permission in this channel" in told and "Send Messages" in told
        assert discord.visible(world.channel) == []


# --- written as a word ---


async def test_a_mention_with_a_commands_word_is_the_command_and_everyone_sees_its_answer_below(tmp_path: Path) -> None:
    async with open_bot(tmp_path, **BUNDLED) as here:
        world, discord = here.world, here.world.discord
        await world.model.script({"text": "Hello, Ada."})
        await here.asks("hello")

        async def command(text: str, user: User = world.ben) -> Message:
            before = len(discord.own(world.channel))
            written = await discord.say(world.channel, user, text, mention=True)
            await discord.until(lambda: len(discord.own(world.channel)) > before)
            answer = discord.own(world.channel)[before]
            assert answer.reference == written.id
            return answer

        assert "**Ada**: hello" in (await command("history")).content
        assert "`calculate`" in (await command("tools calc")).content
        assert "**In Discord**" in (await command("Help")).content
        assert "The person who began this conversation" in (await command("clear")).content
        assert "2 messages of this conversation deleted" in (await command("clear", world.ada)).content
        examples = await command("examples")
        assert select_of(examples)["options"]
        assert len(await world.model.requests()) == 1 and discord.all_ephemerals() == []
        assert [ping for ping in discord.pings if ping.message.author is discord.bot] == []


async def test_a_command_that_is_delivered_twice_is_answered_once(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as here:
        world, discord = here.world, here.world.discord
        await here.asks("hello")
        discord.duplicate_next()
        assert "2 messages of this conversation deleted" in (await here.slash("clear")).content
        discord.duplicate_next()
        await discord.say(world.channel, world.ada, "history", mention=True)
        usage = await discord.say(world.channel, world.ada, "usage", mention=True)
        await discord.until(lambda: any(each.reference == usage.id for each in discord.own(world.channel)))
        await here.asks("hello")  # what came before has been taken
        assert sum("no messages yet" in each.content for each in discord.own(world.channel)) == 1
        assert len(discord.ephemerals(world.ada)) == 1 and len(discord.calls_of("respond")) == 1


async def test_more_than_a_commands_word_is_a_question(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as here:
        await here.world.model.script({"text": "Rome was not built in a day."})
        assert (await here.asks("history of Rome?")).content == "Rome was not built in a day."


async def test_the_single_word_stop_in_a_thread_stops_its_answer_without_a_mention(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as here:
        world, discord = here.world, here.world.discord
        thread = await discord.start_thread(world.channel, world.ada, "Ours")
        await world.model.fail("stall")
        await discord.say(thread, world.ada, "hello", mention=True)
        await here.is_working(thread)
        await discord.say(thread, world.ada, "stop")
        await discord.until(lambda: any(each.content == "Stopping." for each in discord.own(thread)))
        assert "stopped" in (await here.next_answer(thread, after=0)).content.lower()


# --- "Ask about this" ---


async def test_ask_about_this_asks_the_question_of_the_form_about_the_chosen_message(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as here:
        world, discord = here.world, here.world.discord
        chosen = await discord.say(world.channel, world.ben, "The build fails since *noon*.")
        await world.model.script({"text": "A test is flaky."})
        form = await discord.context_menu(world.channel, chosen, world.ada, ASK_ABOUT)
        assert form.modal is not None and form.modal["title"] == ASK_ABOUT
        discord.duplicate_next()
        sent = await discord.submit(form, {"question": "Why? <@&1> @everyone"})
        assert (await here.answer_to(sent)).content == "Asked below."
        answer = await here.next_answer(world.channel, after=0)
        assert answer.content == "A test is flaky."
        _, question, _ = discord.visible(world.channel)
        assert question.content == "**Ada** asks: Why? <@&1> @everyone" and question.reference == chosen.id
        assert answer.reference == question.id
        (request,) = await world.model.requests()
        asked = spoken(request["messages"][-1]["content"])
        assert ": Ben⟧: " in asked and ": The build fails since *noon*." in asked and "Why?" in asked
        assert discord.pings == []

        again = await discord.submit(form, {"question": "Since when?"})  # the form may be sent once more
        assert (await here.answer_to(again)).content == "Asked below."
        await here.next_answer(world.channel, after=1)


async def test_a_form_that_is_sent_after_a_restart_asks_about_the_message_that_it_was_opened_at(tmp_path: Path) -> None:
    async with open_world() as world:
        chosen = await world.discord.say(world.channel, world.ben, "The build fails.")
        async with serving_in(world, tmp_path) as here:
            form = await world.discord.context_menu(world.channel, chosen, world.ada, ASK_ABOUT)
        async with serving_in(world, tmp_path) as here:
            sent = await world.discord.submit(form, {"question": "Why?"})
            assert (await here.answer_to(sent)).content == "Asked below."
            answer = await here.next_answer(world.channel, after=0)
            _, question, _ = world.discord.visible(world.channel)
            assert question.content == "**Ada** asks: Why?" and question.reference == chosen.id
            assert answer.reference == question.id
            (request,) = await world.model.requests()
            asked = spoken(request["messages"][-1]["content"])
            assert ": Ben⟧: " in asked and ": The build fails." in asked and "[Ada] Why?" in asked


async def test_a_form_about_a_message_that_is_gone_or_no_longer_readable_gets_the_reason(tmp_path: Path) -> None:
    async with open_world() as world:
        discord = world.discord
        gone, unread = [await discord.say(world.channel, world.ben, text) for text in ("one", "two")]
        async with serving_in(world, tmp_path) as here:
            forms = [await discord.context_menu(world.channel, each, world.ada, ASK_ABOUT) for each in (gone, unread)]
        discord.has_message_content = False
        await discord.delete(world.channel, gone)
        async with serving_in(world, tmp_path, options={"message_content": False}) as here:
            told = [await here.answer_to(await discord.submit(form, {"question": "Why?"})) for form in forms]
            assert "not there any more" in told[0].content
            assert told[1].content == OLD_FORM
            assert discord.visible(world.channel) == [unread]


async def test_a_form_is_for_the_one_who_opened_it(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as here:
        world, discord = here.world, here.world.discord
        chosen = await discord.say(world.channel, world.ben, "The build fails.")
        form = await discord.context_menu(world.channel, chosen, world.ada, ASK_ABOUT)
        sent = await discord.submit(replace(form, user=world.ben), {"question": "Why?"})
        assert (await here.answer_to(sent)).content == OLD_FORM
        assert discord.visible(world.channel) == [chosen]


async def test_in_a_thread_ask_about_this_is_answered_there_and_part_of_its_conversation(
    tmp_path: Path,
) -> None:
    async with open_bot(tmp_path) as here:
        world, discord = here.world, here.world.discord
        thread = await discord.start_thread(world.channel, world.ben, "Build")
        chosen = await discord.say(thread, world.ben, "The build fails.")
        form = await discord.context_menu(thread, chosen, world.ada, ASK_ABOUT)
        await discord.submit(form, {"question": "Why?"})
        await here.next_answer(thread, after=0)
        assert "Why?" in (await here.slash("history", channel=thread)).content
        assert discord.visible(world.channel) == []
        await discord.say(thread, world.ben, "And now?")  # it goes on without a mention
        await here.next_answer(thread, after=1)


# --- in direct messages ---


async def test_in_direct_messages_commands_are_about_them_where_they_are_allowed(tmp_path: Path) -> None:
    async with open_bot(tmp_path, options={"allow_dms": True}) as here:
        world, discord = here.world, here.world.discord
        room = discord.dm_channel(world.ada)
        await world.model.script({"text": "Between us."}, {"text": "Loud."})
        await here.asks("A quiet word", channel=room)
        await here.asks("A loud word")
        shown = (await here.slash("history", channel=room)).content
        assert "Between us." in shown and "Loud" not in shown
        assert "2 messages of this conversation deleted" in (await here.slash("clear", channel=room)).content
        assert "Loud." in (await here.slash("history")).content


async def test_where_direct_messages_are_off_commands_are_not_offered_in_them_and_old_ones_get_the_reason(
    tmp_path: Path,
) -> None:
    async with open_world() as world:
        discord = world.discord
        room = discord.dm_channel(world.ada)
        async with serving_in(world, tmp_path, options={"allow_dms": True}) as here:
            answer = await here.asks("hello", channel=room)
            offered = list(discord.global_commands)
        async with serving_in(world, tmp_path) as here:
            await discord.until(lambda: all(1 not in each["contexts"] for each in discord.commands()))
            discord.global_commands = offered  # her app still shows the old ones
            assert (await here.slash("history", channel=room)).content == NO_DIRECT
            menu = await discord.context_menu(room, answer, world.ada, ASK_ABOUT)
            assert (await here.answer_to(menu)).content == NO_DIRECT
            assert await here.told(answer, "tb:good") == NO_DIRECT
            assert await discord.autocomplete(room, world.ada, "tools", {"word": "x"}) == []


# --- when it does not work ---


@pytest.mark.parametrize("route", ["respond", "edit_followup"])
@pytest.mark.parametrize("drop", ["before", "after"])
async def test_a_command_is_answered_although_the_connection_breaks_while_it_is(
    tmp_path: Path, route: str, drop: Any
) -> None:
    async with open_bot(tmp_path) as here:
        here.world.discord.fail_next(route, drop=drop)
        with structlog.testing.capture_logs() as logged:
            assert "no messages yet" in (await here.slash("history")).content
        assert [entry for entry in logged if entry["event"] == "interaction_not_answered"] == []
        assert len(here.world.discord.ephemerals(here.world.ada)) == 1


async def test_an_interaction_that_discord_does_not_know_any_more_is_logged_and_the_next_one_is_answered(
    tmp_path: Path,
) -> None:
    async with open_bot(tmp_path) as here:
        world = here.world
        world.discord.fail_next("respond", code=10062)
        world.discord.ack_timeout_s = 0.2
        with structlog.testing.capture_logs() as logged:
            asked = await world.discord.slash(world.channel, world.ada, "history")
        assert asked.is_failed
        assert [entry for entry in logged if entry["event"] == "interaction_not_answered"]
        world.discord.ack_timeout_s = 3.0
        assert "no messages yet" in (await here.slash("history")).content


# --- telling Discord the commands ---


def told_commands(world: World) -> list[Any]:
    return world.discord.calls_of("put_commands")


async def test_the_commands_are_registered_once_and_again_only_when_they_have_changed(tmp_path: Path) -> None:
    async with open_world() as world:
        for _ in range(2):
            async with serving_in(world, tmp_path):
                names = [command["name"] for command in world.discord.global_commands]
                assert names == [*(command.name for command in COMMANDS), ASK_ABOUT]
        assert len(told_commands(world)) == 1
        async with serving_in(world, tmp_path, options={"allow_dms": True}):
            await world.discord.until(lambda: len(told_commands(world)) == 2)
        assert world.discord.global_commands[0]["contexts"] == [0, 1]


async def test_for_development_the_commands_are_registered_in_one_server(tmp_path: Path) -> None:
    async with open_world() as world:
        guild = str(world.guild.id)
        for _ in range(2):
            async with serving_in(world, tmp_path, options={"dev_guild": guild}) as here:
                assert "no messages yet" in (await here.slash("history")).content
        assert world.discord.global_commands == []
        assert len(told_commands(world)) == 1
        async with serving_in(world, tmp_path):  # they are there for everybody now, and there not twice
            await world.discord.until(lambda: world.discord.global_commands)
        assert world.discord.guild_commands[world.guild.id] == []


@pytest.mark.parametrize(
    "failure", [{"code": 50001}, {"drop": "before", "times": 3}], ids=["refused", "connection lost"]
)
async def test_commands_that_discord_does_not_take_do_not_keep_the_bot_from_answering(
    tmp_path: Path, failure: dict[str, Any]
) -> None:
    async with open_world() as world:
        world.discord.fail_next("put_commands", **failure)
        with structlog.testing.capture_logs() as logged:
            async with serving(world, tmp_path, settings=without_tools(tmp_path)) as bot:
                assert (await Here(world, bot).asks("hello")).content
        assert [entry for entry in logged if entry["event"] == "discord_commands_not_registered"]
        async with serving_in(world, tmp_path):  # the next start makes up for it
            assert world.discord.global_commands


async def test_commands_that_could_not_be_registered_are_registered_later(tmp_path: Path) -> None:
    async with FakeDiscord() as discord, open_sqlite(tmp_path / "toolbridge.db") as store:
        async with DiscordApi(discord.token, api_url=discord.api_url) as api:
            await api.log_in()
            discord.fail_next("put_commands", drop="before", times=6)
            await keep_synced(api, store, allow_dms=False, retry=Backoff(first_s=0.05))
        assert discord.global_commands
        assert await store.notes(NOTE)


async def test_the_bot_answers_while_discord_takes_its_time_with_the_commands(tmp_path: Path) -> None:
    async with open_world() as world:
        world.discord.hang_next("put_commands")
        async with serving(world, tmp_path, settings=without_tools(tmp_path)) as bot:
            assert (await Here(world, bot).asks("hello")).content
            assert [call.route for call in world.discord.hung] == ["put_commands"]
            world.discord.release()
