"""A bot in a loopback Discord whose core is a script: what it asks people, and what becomes of their presses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from adapters.discord.adapter import DiscordAdapter, DiscordOptions, open_discord
from adapters.discord.backfill import ALIVE
from adapters.discord.parse import conversation_in, event_key
from bot.domain.answers import Done
from bot.domain.asks import ArgumentLine, AskPost, AskView
from bot.domain.events import MessageReceived
from tests.fakes.discord import Channel, FakeDiscord, Guild, Interaction, Message, User
from tests.fakes.hosts import Event, Outcome, ScriptedHost
from tests.scenarios.discord.serving import QUICK, WATCH

DIGEST = "5f" * 32
VIEW = AskView(
    ask_id=7,
    kind="approval",
    state="pending",
    title="Run deploys/deploy?",
    lines=("Ada asks for it in discord:1:2.", "Who may decide: @oncall."),
    arguments=(ArgumentLine(name="env", value='"prod" @everyone'),),
    choices=("run", "run_for_an_hour", "decline", "withdraw", "suggest_rule"),
    form_target="edit:7",
    expires_at=1_900_000_000.0,
    digest=DIGEST,
)
T = TypeVar("T", bound=Event)
Answer = Outcome | Callable[[], Awaitable[Outcome]]


@dataclass
class Script:
    """The core: answers each kind of event as scripted, and keeps what came."""

    answers: dict[type, Answer] = field(default_factory=dict[type, Answer])
    events: list[Event] = field(default_factory=list[Event])

    async def receive(self, event: Event) -> Outcome:
        self.events.append(event)
        answer = self.answers.get(type(event), Done(notice="Noted."))
        return await answer() if callable(answer) else answer

    def of(self, kind: type[T]) -> list[T]:
        return [event for event in self.events if isinstance(event, kind)]


@dataclass
class Here:
    """Ada, who asked something in a channel, Ben, who is on call, and the bot."""

    discord: FakeDiscord
    script: Script
    guild: Guild
    channel: Channel
    ada: User
    ben: User
    question: Message
    adapter: DiscordAdapter
    host: ScriptedHost

    def post(self, view: AskView = VIEW, **details: Any) -> AskPost:
        """What is asked below the question, or elsewhere."""
        place = conversation_in(str(self.channel.id), None, guild=str(self.guild.id), bot_user="")
        asked = event_key(str(self.channel.id), str(self.question.id))
        return replace(AskPost(key="k" * 40, view=view, place=place, in_reply_to=asked), **details)

    async def put(self, view: AskView = VIEW, **details: Any) -> Message:
        """Have it posted or changed; return the message."""
        return self.message(await self.adapter.put_ask(self.post(view, **details)))

    def message(self, reference: str) -> Message:
        return self.discord.message(reference.rpartition(":")[2])

    async def press(self, message: Message, user: User, label: str) -> Interaction:
        """Press the button of that label; return once there is a form or an answer that only that person sees."""
        (custom_id,) = [each["custom_id"] for each in message.elements if each.get("label") == label]
        return await self.answered(await self.discord.press(message.channel, message, user, custom_id), is_private=True)

    async def answered(self, interaction: Interaction, *, is_private: bool = False) -> Interaction:
        assert interaction.is_acked, self.discord.describe()
        shown = interaction.original
        await self.discord.until(lambda: interaction.modal or (shown and not shown.is_loading))
        assert not is_private or shown is None or shown.ephemeral_to == interaction.user.id
        return interaction

    async def fill_in(self, form: Interaction, values: Mapping[str, Any]) -> Interaction:
        """Send a form; return once its answer can be read."""
        return await self.answered(await self.discord.fill_in(form, values), is_private=True)


@dataclass
class Town:
    """The world without the bot, which can be started in it more than once."""

    discord: FakeDiscord
    guild: Guild
    channel: Channel
    ada: User
    ben: User
    question: Message
    script: Script
    host: ScriptedHost

    @asynccontextmanager
    async def bot(self, **options: Any) -> AsyncGenerator[Here]:
        """Start the bot; by default nobody may write to it directly."""
        discord = self.discord
        given = DiscordOptions(
            bot_token=discord.token,
            api_url=discord.api_url,
            gateway_url=discord.gateway_url,
            pace=QUICK,
            edit_gap_s=0.05,
            watch=WATCH,
        )
        async with open_discord(replace(given, **options), self.host) as adapter:
            running = asyncio.create_task(adapter.run())
            try:
                await discord.until(lambda: adapter.session.opened.is_set() and discord.commands())
                yield Here(
                    discord,
                    self.script,
                    self.guild,
                    self.channel,
                    self.ada,
                    self.ben,
                    self.question,
                    adapter,
                    self.host,
                )
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def open_town(*, missed_since: float = 0.0) -> AsyncGenerator[Town]:
    """A server with a channel, in which Ada has asked something; Ben has a role, and moderates."""
    async with FakeDiscord() as discord, asyncio.timeout(90):
        guild = discord.add_guild("Team")
        ada, ben = discord.add_user("Ada", guilds=[guild]), discord.add_user("Ben", guilds=[guild])
        role = discord.add_role(guild, "oncall", permissions=["MANAGE_MESSAGES"])
        discord.add_member(guild, ben, roles=[role], permissions=["MANAGE_MESSAGES"])
        channel = discord.add_channel(guild, "general")
        question = await discord.say(channel, ada, "Deploy it", mention=True, deliver=False)
        script = Script()
        host = ScriptedHost(script.receive)
        if missed_since:
            await host.notes.put_note(ALIVE, f"{missed_since:.3f}")
        yield Town(discord, guild, channel, ada, ben, question, script, host)


@asynccontextmanager
async def open_here(**options: Any) -> AsyncGenerator[Here]:
    async with open_town() as town, town.bot(**options) as here:
        yield here


def role_of(here: Here) -> str:
    (role,) = [role for role in here.guild.roles.values() if role.name == "oncall"]
    return str(role.id)


def labels(message: Message) -> list[str]:
    """The labels of its buttons, in their order."""
    return [str(each["label"]) for each in message.elements if "label" in each]


def questions(script: Script) -> list[MessageReceived]:
    return script.of(MessageReceived)
