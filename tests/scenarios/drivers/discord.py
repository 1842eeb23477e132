"""The people of the loopback Discord: Ada, Ben and Cleo in one server. A channel or a thread is a conversation."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from adapters.discord.adapter import DiscordOptions
from adapters.discord.backfill import ALIVE
from adapters.discord.diagnose import diagnose
from bot.app import App
from bot.domain.events import ConversationKey
from bot.domain.messages import Message as StoredMessage
from bot.stores.sqlite.store import open_sqlite
from bot.turns.limits import Patience
from tests.fakes.discord import Channel, FakeDiscord, Interaction, Message, User, permissions_of
from tests.fakes.discord.server import Asked
from tests.fakes.discord.world import PERMISSIONS, Upload
from tests.scenarios import memory
from tests.scenarios.discord.rooms import Room, check_exactly, check_manners, is_ask, kinds
from tests.scenarios.discord.serving import WATCH, Bot, World, open_world, serving
from tests.scenarios.drivers.asks import DiscordAsked, DiscordWindow
from tests.scenarios.drivers.driver import (
    Alert,
    Conversation,
    Door,
    File,
    Kind,
    LongAnswer,
    PassOn,
    Person,
    Rating,
    Rows,
)
from tests.scenarios.drivers.reading import ended_calls
from tests.scenarios.tools import without_tools

HOURGLASS = "⏳"
POST, EDIT = "create_message", "edit_message"
SHARDS = 2  # of a bot that shares its work
WATCHFUL = replace(WATCH, look_s=0.2, look_alone_s=0.2)  # of other processes


@dataclass
class DiscordQuestion:
    """A message of a person; `table` is the text of the table in it."""

    discord: FakeDiscord
    message: Message
    table: str = ""

    @property
    def is_waiting(self) -> bool:
        return HOURGLASS in self.message.reactions

    @property
    def is_unmarked(self) -> bool:
        return not self.message.reactions

    async def edit(self, text: str, *, mention: bool = False) -> None:
        content = f"{self.discord.bot.mention} {text}" if mention else text
        await self.discord.edit(self.message.channel, self.message, content)

    async def edit_table(self, rows: Rows) -> None:
        changed = self.message.content.replace(self.table, as_text(rows))
        await self.discord.edit(self.message.channel, self.message, changed)

    async def delete(self) -> None:
        await self.discord.delete(self.message.channel, self.message)


def as_text(rows: Rows) -> str:
    """Return a table as people have to write it in Discord."""
    return "\n".join(" | ".join(row) for row in rows)


class DiscordConversation:
    """A channel, a thread or direct messages."""

    def __init__(self, driver: DiscordDriver, channel: Channel) -> None:
        self._driver = driver
        self._channel = channel
        self._questions: list[Message] = []

    @property
    def room(self) -> Room:
        return Room(world=self._driver.world, bot=self._driver.served, channel=self._channel)

    @property
    def key(self) -> ConversationKey:
        return self.room.key

    async def ask(
        self, text: str, *, by: Person = "ada", files: Sequence[File] = (), deliver: bool = True
    ) -> DiscordQuestion:
        needs_mention = not self._channel.is_dm and not (self._channel.is_thread and self._questions)
        return await self._write(text, by=by, files=files, deliver=deliver, mention=needs_mention)

    async def say(
        self, text: str, *, by: Person = "ada", to: Person | None = None, deliver: bool = True
    ) -> DiscordQuestion:
        call = f"{self._driver.user(to).mention} " if to else ""
        return await self._write(f"{call}{text}", by=by, deliver=deliver)

    async def mention(
        self, text: str = "", *, by: Person = "ada", files: Sequence[File] = (), table: Rows = ()
    ) -> DiscordQuestion:
        shown = as_text(table)
        question = await self._write("\n".join(filter(None, (text, shown))), by=by, files=files, mention=True)
        return replace(question, table=shown)

    async def forward(
        self, words: str, text: str, *, of: Person, by: Person = "ada", files: Sequence[File] = ()
    ) -> DiscordQuestion:
        discord = self._driver.discord
        elsewhere = self._driver.elsewhere
        original = await discord.say(elsewhere, self._driver.user(of), words, files=_uploads(files))
        forwarded = await discord.forward(self._channel, self._driver.user(by), original)
        user = self._driver.user(by)
        message = await discord.say(self._channel, user, text, mention=True, reply_to=forwarded)
        return DiscordQuestion(discord, message)

    async def alert(self, alert: Alert) -> None:
        await self._driver.post_alert(alert, self._channel)

    async def say_as_app(self, text: str, *, mention: bool = False) -> DiscordQuestion:
        discord = self._driver.discord
        content = f"{discord.bot.mention} {text}" if mention else text
        return DiscordQuestion(discord, await discord.say_as_other_bot(self._channel, content))

    async def _write(
        self, text: str, *, by: Person, files: Sequence[File] = (), deliver: bool = True, mention: bool = False
    ) -> DiscordQuestion:
        discord = self._driver.discord
        user = self._driver.user(by)
        sent = _uploads(files)
        message = await discord.say(self._channel, user, text, mention=mention, files=sent, deliver=deliver)
        self._questions.append(message)
        return DiscordQuestion(discord, message)

    @property
    def messages(self) -> Sequence[Message]:
        return self.room.messages

    @property
    def answers(self) -> Sequence[Message]:
        return self.room.answers

    @property
    def written(self) -> Sequence[Message]:
        return [message for message in self.messages if "details" not in kinds(message)]

    @property
    def files(self) -> Mapping[str, bytes]:
        found = [file for message in self.messages for file in message.attachments]
        assert len({file.filename for file in found}) == len(found), [file.filename for file in found]
        return {file.filename: file.content for file in found}

    @property
    def side_threads(self) -> int:
        return len(self._driver.discord.threads(self._channel))

    @property
    def texts(self) -> Sequence[str]:
        return self.room.texts

    @property
    def growing(self) -> Sequence[Message]:
        return self.room.growing

    @property
    def traces(self) -> Sequence[Message]:
        discord = self._driver.discord
        threads = discord.threads(self._channel) if self._channel.guild and not self._channel.is_thread else []
        places = [self._channel, *threads]
        return [message for place in places for message in discord.own(place) if "details" in kinds(message)]

    def notices(self, question: DiscordQuestion, *, to: Person = "ada") -> Sequence[str]:
        if question.message.author is not self._driver.user(to):
            return []
        told = [message for message in self.answers if message.reference == question.message.id]
        return [message.content for message in told if not kinds(message)]

    async def answered(self, times: int = 1) -> Sequence[str]:
        return await self.room.answered(times)

    async def at_work(self) -> None:
        discord = self._driver.discord
        await discord.until(lambda: discord.typing(self._channel))

    async def stop(self, way: str) -> None:
        world, room = self._driver.world, self.room
        match way:
            case "button":
                stopped = await room.press(room.growing[-1], world.ada, "stop")
                assert stopped.original is not None and stopped.original.is_ephemeral
            case "moderator":
                world.guild.members[world.cleo.id].permissions |= PERMISSIONS["MANAGE_MESSAGES"]
                await room.press(room.growing[-1], world.cleo, "stop")
            case "word" if self._channel.is_thread:
                await room.say(world.ada, "stop")
            case "word":
                await room.ask(world.ada, "stop")
            case "reply":
                await room.say(world.ada, "Stop", reply_to=room.growing[-1])
            case "command":
                await world.discord.slash(self._channel, world.ada, "stop")
            case _:
                raise ValueError(way)

    async def details(self, *, by: Person = "ada", trace: int = 0) -> str:
        discord, user = self._driver.discord, self._driver.user(by)
        message = self.traces[trace]
        pressed = await discord.press(message.channel, message, user, "tb:details:")
        await discord.until(lambda: pressed.text)
        assert pressed.original is not None and pressed.original.ephemeral_to == user.id
        return pressed.text

    async def rate(self, answer: int, rating: Rating, *, by: Person = "ada") -> str:
        user = self._driver.user(by)
        told = await self.room.press(self.answers[answer], user, rating)
        assert told.original is not None and told.original.ephemeral_to == user.id
        return told.text

    async def asked(self, number: int = 0) -> DiscordAsked:
        def found() -> list[Message]:
            return [message for message in self.messages if is_ask(message)][number:]

        return DiscordAsked(self._driver.discord, (await self._driver.until(found))[0], self._driver.users)

    async def stored(self) -> Sequence[StoredMessage]:
        return await self.room.stored()

    async def stored_answers(self) -> Sequence[str]:
        return await self.room.stored_answers()

    async def check_whole(self, text: str) -> None:
        await check_exactly(self.room, text)

    def check_answered(self, *questions: DiscordQuestion) -> None:
        assert [message.reference for message in self.answers] == [question.message.id for question in questions]

    def check_parts(self, question: DiscordQuestion) -> None:
        assert 4 <= len(self.texts) <= 6
        for part in self.texts:
            assert len(part) <= 2_000
            assert part.count("```") % 2 == 0
            assert "|---" not in part
            if "row 1" in part or "row 59" in part:
                assert "a      | b" in part  # each part of the table has its header
        references = [message.reference for message in self.room.messages]
        assert references == [question.message.id] + [None] * (len(references) - 1)
        assert self.messages == sorted(self.room.messages, key=lambda message: message.id)
        check_manners(self._driver.discord)

    # --- as on the terminal

    async def converse(self, text: str, *, tools: int = 0) -> tuple[str, str]:
        discord = self._driver.discord
        asked = sum("good" in kinds(message) for message in self.messages)
        question = await self.ask(text)
        texts = await self.answered(asked + 1)

        def shown() -> str:
            thread = discord.thread_of(question.message)
            return "\n".join(message.shown for message in discord.own(thread)) if thread is not None else ""

        await discord.until(lambda: len(ended_calls(shown())) == tools)
        return texts[-1], shown()

    async def command(self, name: str, argument: str = "") -> str:
        return (await self._driver.slash(name, argument, channel=self._channel)).content


def _uploads(files: Sequence[File]) -> list[Upload]:
    return [Upload(filename=file.name, content=file.content, content_type=file.content_type) for file in files]


@dataclass
class DiscordPages:
    """An ephemeral message with pages."""

    driver: DiscordDriver
    message: Message

    @property
    def text(self) -> str:
        return self.message.content

    @property
    def buttons(self) -> Sequence[str]:
        return [str(each["label"]) for each in self.message.elements if each.get("type") == 2 and "label" in each]

    async def turn(self, label: Literal["Next", "Previous"]) -> str:
        discord, message, edits = self.driver.discord, self.message, self.message.edits
        custom_id = next(each["custom_id"] for each in message.elements if each.get("label") == label)
        pressed = await discord.press(message.channel, message, self.driver.user("ada"), custom_id)
        assert pressed.is_acked
        await discord.until(lambda: message.edits > edits)
        return message.content


class DiscordDriver:
    """See `Driver`."""

    name = "discord"
    direct: Mapping[str, Any] = {"allow_dms": True}
    long_answer = LongAnswer(words_before=150, lines=90, rows=60, row_chars=20, words_after=100)
    history_pages = 3
    no_history = "no messages yet"
    usage_there = ("**This conversation**: 1 turn,",)
    presence_note = ALIVE
    post_call = POST
    edit_call = EDIT
    begins_threads = True
    ways_to_stop = ("button", "moderator", "word", "reply", "command")
    refusals: Mapping[str, str] = {
        "200000": "An AutoMod rule of this server",
        "240000": "filter for harmful links",
        "20009": "filter for explicit content",
        "50035": "Discord refused the request (HTTP 400, code 50035)",
        "30033": "code 30033",  # one that has no sentence of its own
    }
    ailments: Mapping[str, Sequence[str]] = {
        "no server": ["in 0 servers", "Invite it: https://discord.com/oauth2/authorize?"],
        "no intent": ["in 1 server", "Message Content intent", "DISCORD_MESSAGE_CONTENT=false"],
        "no permission": ["Team (Attach Files, Create Public Threads)", "oauth2/authorize"],
        "cloudflare": ["lets nothing through", "too many requests", "stop whatever else uses this token"],
        "long pause": ["lets nothing through for 900 s"],
        "unavailable": ["cannot be reached", "network", "DISCORD_API_URL"],
        "not there": ["cannot be reached", "network", "DISCORD_API_URL"],
    }

    def __init__(self, world: World, home: Path) -> None:
        self.world = world
        self.discord = world.discord
        self.model = world.model
        self.home = home
        self.pings = f"@everyone @here {world.ben.mention} <@&{world.discord.add_role(world.guild, 'helpers').id}>"
        self.served: Bot | None = None  # in this process; None while the bot is away or a process of its own

    # --- the lives of the bot

    @property
    def app(self) -> App:
        assert self.served is not None, "the bot is not served in this process"
        return self.served.app

    @asynccontextmanager
    async def serving(
        self, *, options: Mapping[str, Any] | None = None, patience: Patience | None = None, **settings: Any
    ) -> AsyncGenerator[Conversation]:
        given = {**without_tools(self.home), **settings}
        async with serving(self.world, self.home, options=options, settings=given, patience=patience) as self.served:
            yield await self.open()

    @asynccontextmanager
    async def sharing(self, **settings: Any) -> AsyncGenerator[tuple[Conversation, PassOn]]:
        discord, world = self.discord, self.world
        discord.recommended_shards = SHARDS
        world.guild = discord.add_guild("Second team")  # of the last shard, which goes to the second process
        for user in self.users.values():
            discord.add_member(world.guild, user)
        world.channel = discord.add_channel(world.guild, "general")
        given, options = {**without_tools(self.home), **settings}, {"watch": WATCHFUL}
        async with self.serving(options=options, **settings) as conversation, AsyncExitStack() as others:

            async def pass_on() -> None:
                opening = serving(world, self.home, options=options, settings=given)
                shards = (await others.enter_async_context(opening)).adapter.session.shards
                await discord.until(lambda: SHARDS - 1 in shards.numbers and shards.are_connected)

            yield conversation, pass_on

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "DISCORD_BOT_TOKEN": self.discord.token,
            "DISCORD_API_URL": self.discord.api_url,
            "DISCORD_GATEWAY_URL": self.discord.gateway_url,
        }

    # --- people

    @property
    def users(self) -> Mapping[Person, User]:
        return {"ada": self.world.ada, "ben": self.world.ben, "cleo": self.world.cleo}

    def user(self, person: Person) -> User:
        return self.users[person]

    async def open(self, kind: Kind = "channel", *, by: Person = "ada") -> DiscordConversation:
        match kind:
            case "channel":
                channel = self.world.channel
            case "direct":
                channel = self.discord.dm_channel(self.user(by))
            case "thread":
                channel = await self.discord.start_thread(self.world.channel, self.user(by), "Plans")
        return DiscordConversation(self, channel)

    async def begin(self, said: str | Alert, *, by: Person = "ada") -> DiscordConversation:
        if isinstance(said, Alert):
            starter = await self.post_alert(said, self.world.channel)
        else:
            starter = await self.discord.say(self.world.channel, self.user(by), said)
        thread = await self.discord.start_thread(self.world.channel, self.user(by), "About this", message=starter)
        return DiscordConversation(self, thread)

    async def post_alert(self, alert: Alert, channel: Channel) -> Message:
        fields = [{"name": name, "value": value, "inline": True} for name, value in alert.fields.items()]
        embed: dict[str, Any] = {"title": alert.title, "description": alert.text, "fields": fields}
        if alert.footer:
            embed["footer"] = {"text": alert.footer}
        return await self.discord.say_as_webhook(channel, name="Uptime", embeds=[embed])

    def hide_threads(self) -> None:
        self.discord.fail_next("list_messages", code=50001, times=1_000)

    @property
    def elsewhere(self) -> Channel:
        """Another channel of the same server."""
        guild = self.world.guild
        known = (each for each in self.discord.channels.values() if each.name == "elsewhere")
        return next(known, None) or self.discord.add_channel(guild, "elsewhere")

    @property
    def calls_to_others(self) -> Sequence[str]:
        role = next(role for role in self.world.guild.roles.values() if role.name == "helpers")
        return [self.world.ben.mention, f"<@&{role.id}>", "@everyone", "@here"]

    @property
    def app_ids(self) -> Sequence[str]:
        return [f"discord:{self.discord.other_bot.id}"]

    async def mutter(self, text: str, *, by: Person = "ada", deliver: bool = True) -> None:
        await self.discord.say(self.world.channel, self.user(by), text, deliver=deliver)

    async def chatter(self, conversation: Conversation) -> None:
        assert isinstance(conversation, DiscordConversation)
        world, discord, room = self.world, self.discord, conversation.room
        other = await discord.start_thread(world.channel, world.ben, "Lunch")
        role = discord.add_role(world.guild, "helpers")
        for channel in (world.channel, room.channel):
            await discord.say_as_other_bot(channel, f"{discord.bot.mention} build 17 has failed")
            await discord.say_as_webhook(channel, f"{discord.bot.mention} deployed")
            await discord.join(channel, world.cleo)
        await discord.say(world.channel, world.ben, "good morning everybody @everyone")
        await discord.say(world.channel, world.ben, f"<@&{role.id}> is anybody there?")
        said = await discord.say(world.channel, world.ada, "lunch?")
        await discord.say(world.channel, world.ben, "gladly", reply_to=said)
        await discord.say(other, world.ada, "soup?")  # a thread in which the bot does not take part
        await room.say(world.ada, f"{world.ben.mention} what do you think?")

    @property
    def in_channel(self) -> Sequence[Message]:
        return self.discord.visible(self.world.channel)

    @property
    def is_connected(self) -> bool:
        return bool(self.discord.connected())

    @property
    def is_settled(self) -> bool:
        return True  # a gateway's events are not acknowledged one by one

    @property
    def is_gone(self) -> bool:
        return not self.discord.connected()

    def user_id(self, person: Person) -> str:
        return str(self.user(person).id)

    async def until(self, condition: Any, timeout_s: float = 60.0) -> Any:
        return await self.discord.until(condition, timeout_s)

    async def command(self, name: str, argument: str = "", *, by: Person = "ada") -> str:
        return (await self.slash(name, argument, by=by)).content

    async def slash(
        self, name: str, argument: str = "", *, by: Person = "ada", channel: Channel | None = None
    ) -> Message:
        """Run a slash command; return what it answers that person, once it is there."""
        await self.discord.until(lambda: self.discord.commands(self.world.guild))
        options = {"files" if name == "clear" else "word": argument} if argument else {}
        asked = await self.discord.slash(channel or self.world.channel, self.user(by), name, options)
        return await self._answer_to(asked)

    async def _answer_to(self, interaction: Interaction) -> Message:
        assert interaction.is_acked, self.discord.describe()
        await self.discord.until(lambda: interaction.original and not interaction.original.is_loading)
        assert interaction.original is not None
        assert interaction.original.ephemeral_to == interaction.user.id
        return interaction.original

    async def run_tool(self, tool: str, arguments: str = "", *, by: Person = "ada") -> DiscordConversation:
        number = len(self._runs())
        options = {"tool": tool} | ({"arguments": arguments} if arguments else {})
        await self._run(options, by)
        return await self.running(number)

    async def run_form(self, tool: str, *, by: Person = "ada") -> DiscordWindow:
        return DiscordWindow(self.discord, await self._run({"tool": tool}, by))

    async def _run(self, options: Mapping[str, str], by: Person) -> Interaction:
        await self.discord.until(lambda: self.discord.commands(self.world.guild))
        return await self.discord.slash(self.world.channel, self.user(by), "run", options)

    async def running(self, number: int = 0) -> DiscordConversation:
        await self.until(lambda: self._runs()[number:])
        return DiscordConversation(self, self.world.channel)

    def _runs(self) -> Sequence[Message]:
        return [message for message in self.discord.own(self.world.channel) if "** runs: " in message.content]

    def notation(self, person: Person) -> str:
        return f"discord:{self.user_id(person)}"

    async def history(self) -> DiscordPages:
        return DiscordPages(self, await self.slash("history"))

    async def remember(self, texts: Sequence[str]) -> None:
        channel = str(self.world.channel.id)
        conversation = ConversationKey(platform="discord", space=str(self.world.guild.id), channel=channel)
        questions = {f"discord:{channel}:{number}": text for number, text in enumerate(texts, start=1)}
        await memory.remember(self.home, conversation, questions=questions, author_id=self.user_id("ada"))

    def private(self, person: Person) -> Sequence[str]:
        return [message.content for message in self.discord.ephemerals(self.user(person))]

    # --- time, and what goes wrong

    def advance(self, seconds: float) -> None:
        self.discord.advance(seconds)

    async def noted(self) -> None:
        while not await self.app.store.notes(ALIVE):  # noqa: ASYNC110  (a store sets no event)
            await asyncio.sleep(0.01)

    async def was_there(self, seconds_ago: float) -> None:
        async with open_sqlite(self.home / "toolbridge.db") as store:
            await store.put_note(ALIVE, f"{time.time() - seconds_ago:.3f}")

    def be_impatient(self) -> None:
        pass

    @property
    def calls(self) -> int:
        return len(self.discord.calls)

    @property
    def looks_back(self) -> int:
        return len(self.discord.calls_of("list_messages"))

    def deliver_next_again(self) -> None:
        self.discord.duplicate_next()

    async def settled(self) -> None:
        pass  # the gateway waits for no answer

    async def cut(self) -> None:
        await self.discord.cut()

    def release_held(self) -> None:
        self.discord.release()

    async def notice_death(self) -> None:
        await self.discord.cut()
        self.discord.forget_sessions()
        self.release_held()

    def hold_next(self, call: str, *, is_done: bool = True, behind: Door | None = None) -> None:
        self.discord.hang_next(call, is_done=is_done, where=lambda asked: behind is None or self._door(asked) == behind)

    async def until_held(self) -> None:
        await self.until(lambda: self.discord.hung)

    async def crowd(self, count: int, *, channels: int) -> Sequence[DiscordConversation]:
        self.discord.rates = {"*": (5, 5.0)}
        rooms = [self.discord.add_channel(self.world.guild, f"room-{number}") for number in range(count)]
        return [DiscordConversation(self, room) for room in rooms]

    def fail_downloads(self, fault: Literal["503", "drop"]) -> None:
        details: dict[str, Any] = {"status": 503} if fault == "503" else {"drop": "before"}
        self.discord.fail_next("attachment", times=10, **details)

    @property
    def limited_posts(self) -> int:
        return sum(call.status == 429 for call in self.discord.calls)

    def fail_post(self, fault: str) -> None:
        match fault:
            case "429":
                self.discord.limit_next(POST)
            case "global":
                self.discord.limit_next(POST, scope="global")
            case "500":
                self.discord.fail_next(POST, status=500)
            case "before" | "after":
                self.discord.fail_next(POST, drop=fault)
            case _:
                raise ValueError(fault)

    def close(self, refusal: str, *doors: Door) -> None:
        self.discord.refuse(
            POST, EDIT, code=int(refusal), where=lambda asked: self._door(asked) in doors and _is_answer(asked.text)
        )

    def close_for_posts(self, refusal: str) -> None:
        self.discord.refuse(POST, code=int(refusal), where=lambda asked: self._door(asked) == "place")

    def refuse_files(self) -> str:
        self.discord.refuse(POST, EDIT, code=400001, where=lambda asked: asked.has_files)
        return "Discord accepts no files in this server"

    def fail_with(self, status: int, what: Literal["posts", "files"]) -> None:
        self.discord.refuse(POST, EDIT, status=status, where=lambda asked: what == "posts" or asked.has_files)

    def fail_place(self, status: int) -> None:
        self.discord.refuse(POST, EDIT, status=status, where=lambda asked: self._door(asked) == "place")

    def _door(self, asked: Asked) -> Door:
        """Return behind which door a call acts; the place of a conversation is its channel."""
        return "direct" if self.discord.channel(asked.channel).is_dm else "place"

    def heal(self) -> None:
        self.discord.clear_faults()

    def direct_messages(self, person: Person) -> Sequence[str]:
        own = self.discord.own(self.discord.dm_channel(self.user(person)))
        rests = [[file.content.decode() for file in one.attachments if file.filename == "answer.md"] for one in own]
        return ["\n".join([one.shown, *rest]) for one, rest in zip(own, rests, strict=True)]

    def sentences(self, person: Person) -> Sequence[str]:
        return [message.shown for message in self._own_messages() if not message.is_ephemeral]

    async def check_nothing_lives(self) -> None:
        await self.until(lambda: not any("stop" in kinds(message) for message in self._own_messages()))

    def _own_messages(self) -> Sequence[Message]:
        places = [self.world.channel, *self.discord.threads(self.world.channel)]
        return [message for place in places for message in self.discord.own(place)]

    def check_led_back(self, message: str) -> None:
        guild, channel = self.world.guild.id, self.world.channel.id
        assert f"<#{channel}> (https://discord.com/channels/{guild}/{channel}/" in message

    @property
    def posts(self) -> int:
        return len(self.discord.calls_of(POST))

    @property
    def downloads(self) -> int:
        return len(self.discord.calls_of("attachment"))

    @property
    def sent(self) -> str:
        return json.dumps([call.body for call in self.discord.calls])

    # --- the operator's side

    async def diagnose(self, ailment: str) -> str:
        discord, guild = self.discord, self.world.guild
        options = DiscordOptions(bot_token=discord.token, api_url=discord.api_url, gateway_url=discord.gateway_url)
        match ailment:
            case "no server":
                discord.remove_bot(guild)
            case "no intent":
                discord.has_message_content = False
            case "no permission":
                guild.bot_permissions &= ~permissions_of("ATTACH_FILES", "CREATE_PUBLIC_THREADS")
            case "cloudflare":
                discord.cloudflare_next()
            case "long pause":
                discord.limit_next("*", retry_after=900.0)
            case "unavailable":
                discord.fail_next("*", status=503)
            case "not there":
                options = replace(options, api_url="http://127.0.0.1:9/api/v10")
            case _:
                raise ValueError(ailment)
        found = await diagnose(options)
        assert found.cure
        return f"{found.detail} {found.cure}"

    # --- checks

    async def check_silence(self) -> None:
        others = [thread for thread in self.discord.threads(self.world.channel) if thread.name == "Lunch"]
        assert [self.discord.own(channel) for channel in (self.world.channel, *others)] == [[], *([] for _ in others)]
        assert self.discord.all_ephemerals() == []

    async def check_nobody_is_notified(self, *answers: Message) -> None:
        for answer in answers:
            assert self.pings in answer.content
            await self.discord.unfurl(answer.channel, answer)
            assert answer.embeds == []
        check_manners(self.discord)

    def check_manners(self) -> None:
        assert [ping for ping in self.discord.pings if ping.message.author is self.discord.bot] == []
        assert self.discord.unknown_requests == []


def _is_answer(text: str) -> bool:
    """Whether the bot sends more than a sentence of its own about an answer."""
    own = ("-# My answer in ", "My answer could not be posted")
    return not all(line.startswith(own) for line in text.splitlines())


@asynccontextmanager
async def open_driver(home: Path) -> AsyncGenerator[DiscordDriver]:
    async with open_world() as world:
        yield DiscordDriver(world, home)
