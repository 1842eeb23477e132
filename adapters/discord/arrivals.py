"""Messages on their way to the host, with their edits and deletions: in order for each channel, each once."""

from __future__ import annotations

from typing import assert_never

from adapters.discord.api import DiscordApi, Identity
from adapters.discord.backfill import Backfill
from adapters.discord.channels import Channels
from adapters.discord.commands import Commands
from adapters.discord.own_messages import send_reply
from adapters.discord.parse import DirectRefused, parse_delete, parse_edit, parse_message
from adapters.discord.payloads import Payload
from adapters.discord.phrases import NO_DIRECT
from adapters.discord.questions import Questions
from adapters.discord.render import command_message, notice
from adapters.shared.arrivals import Arrivals, Written
from adapters.shared.tasks import Background, KeyedLock, RecentKeys
from bot.domain.answers import Done, Ignored, Known, Queued, Refused
from bot.domain.errors import AdapterError, BotError
from bot.domain.events import CommandInvoked, MessageReceived

MAX_KEYS = 5_000


class DiscordArrivals:
    """Takes the messages of one run, from the gateway and from the backfill."""

    def __init__(
        self,
        api: DiscordApi,
        *,
        me: Identity,
        arrivals: Arrivals,
        channels: Channels,
        backfill: Backfill,
        commands: Commands,
        questions: Questions,
        background: Background,
        allow_dms: bool,
    ) -> None:
        self._api = api
        self._me = me
        self._arrivals = arrivals
        self._channels = channels
        self._backfill = backfill
        self._commands = commands
        self._questions = questions
        self._allow_dms = allow_dms
        self._background = background
        self._storing = Background("discord")
        self._order: KeyedLock[str] = KeyedLock()  # by channel
        self._answered: RecentKeys[str] = RecentKeys(MAX_KEYS)  # commands; delivered again, they are not answered again
        self._refused: RecentKeys[str] = RecentKeys(MAX_KEYS)  # messages; delivered again, they are not taken either
        self._changes: RecentKeys[str] = RecentKeys(MAX_KEYS)  # to messages, that the host knows
        self._turned_away: RecentKeys[str] = RecentKeys(MAX_KEYS)  # authors of direct messages that are not allowed

    def take(self, dispatch: str, payload: Payload) -> None:
        """Take a message, an edit or a deletion from the gateway; returns at once."""
        self._storing.spawn(self._take_in_order(dispatch, payload), name="message")

    async def take_missed(self, payload: Payload, channel: str, guild: str) -> None:
        """Take a message that was fetched; "" as `guild` means a direct message. Raises BotError."""
        async with self._order.hold(channel):
            await self._take_message({**payload, "channel_id": channel}, guild=guild, is_missed=True)

    async def hand_over(self, event: Written) -> None:
        """Give a message, or a change to one, to the host, and show its author what became of it. Raises BotError."""
        if isinstance(event, MessageReceived) and event.event_key in self._refused:
            return
        outcome = await self._arrivals.hand_over(event)
        if not isinstance(event, MessageReceived):
            return
        match outcome:
            case Queued() | Known():
                self._questions.note(event)
            case Refused():
                self._refused.add(event.event_key)
            case Done() | Ignored():
                pass
            case _:
                assert_never(outcome)

    async def drain(self, *, timeout_s: float) -> None:
        """Wait up to `timeout_s` for what arrived to be stored, then cancel what is left."""
        await self._storing.drain(timeout_s=timeout_s)

    # --- from the gateway ---

    async def _take_in_order(self, dispatch: str, payload: Payload) -> None:
        channel = str(payload.get("channel_id", ""))
        async with self._order.hold(channel):
            match dispatch:
                case "MESSAGE_CREATE":
                    await self._take_delivered(payload, channel)
                case "MESSAGE_UPDATE":
                    await self._take_edit(payload, channel)
                case _:
                    parent = await self._channels.parent_of(channel, is_direct=not payload.get("guild_id"))
                    for deleted in parse_delete(payload, parent=parent):
                        await self.hand_over(deleted)

    async def _take_delivered(self, payload: Payload, channel: str) -> None:
        guild = str(payload.get("guild_id") or "")
        try:
            await self._take_message(payload, guild=guild)
        except BotError as error:
            # Discord delivers it only once: the backfill looks for it, also after a restart.
            if not (isinstance(error, AdapterError) and error.is_permanent):
                self._backfill.look_in(channel, guild)
            raise

    async def _take_edit(self, payload: Payload, channel: str) -> None:
        edited = parse_edit(
            payload,
            bot_user=self._me.user,
            parent=await self._channels.parent_of(channel, is_direct=not payload.get("guild_id")),
            allow_dms=self._allow_dms,
            names=self._channels.names_in(payload),
        )
        if edited is None:
            return
        # A thread on the message, a pin or a link's preview brings the same change again.
        change = f"{edited.event_key} {edited.message.edited_at}"
        if change not in self._changes:
            await self.hand_over(edited)
            self._changes.add(change)

    # --- messages ---

    async def _take_message(self, payload: Payload, *, guild: str, is_missed: bool = False) -> None:
        if self._is_by_bot(payload):
            return
        channel = str(payload.get("channel_id", ""))
        arrived = parse_message(
            payload,
            bot_user=self._me.user,
            parent=await self._channels.parent_of(channel, is_direct=not guild),
            allow_dms=self._allow_dms,
            guild=guild,
            names=self._channels.names_in(payload),
        )
        match arrived:
            case None:
                pass
            case DirectRefused():
                if self._turned_away.add(arrived.author_id):
                    await send_reply(self._api, arrived.event_key, notice(NO_DIRECT))
            case CommandInvoked():
                # Nobody still waits for the answer to a missed command.
                if not is_missed and self._answered.add(arrived.event_key):
                    self._background.spawn(self._answer(arrived), name="command")
            case MessageReceived():
                if not guild:
                    await self._backfill.note_direct(channel)
                await self.hand_over(arrived)
            case _:
                assert_never(arrived)

    def _is_by_bot(self, payload: Payload) -> bool:
        """Sort out, before any other work, most messages that are not for the bot: its own, and other bots'."""
        author: Payload = payload.get("author") or {}
        return bool(author.get("bot")) or author.get("id") == self._me.user

    async def _answer(self, command: CommandInvoked) -> None:
        """Answer a command that was written as a message; a reply is the only place for it."""
        answer = await self._commands.answer(command)
        if answer is not None:
            shown = command_message(answer, command=command.name, argument=command.argument)
            await send_reply(self._api, command.event_key, shown)
