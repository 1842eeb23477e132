"""Messages on their way to the host, with their edits and deletions: in order for each channel, each once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import assert_never

import structlog
from cachetools import TTLCache

from adapters.discord.api import DiscordApi, Identity
from adapters.discord.backfill import Backfill
from adapters.discord.channels import Channels
from adapters.discord.commands import Commands
from adapters.discord.elsewhere import Elsewhere
from adapters.discord.errors import UNKNOWN_MESSAGE, DiscordRefusedError
from adapters.discord.own_messages import MESSAGE, send_reply
from adapters.discord.parse import (
    DirectRefused,
    Parsed,
    Unreadable,
    event_key,
    parse_delete,
    parse_edit,
    parse_message,
    sent_at,
)
from adapters.discord.payloads import text_at, time_of
from adapters.discord.phrases import NO_DIRECT, UNREADABLE
from adapters.discord.proxies import Proxies
from adapters.discord.questions import Questions
from adapters.discord.readable import Reader, display_name
from adapters.discord.render import command_message, notice
from adapters.discord.snowflakes import as_number
from adapters.discord.words import lacks_what_it_answers
from adapters.shared.arrivals import Arrivals, Unanswered, Written, note_unanswered
from adapters.shared.payloads import Payload, dict_of
from adapters.shared.tasks import Background, KeyedLock, Newest, RecentKeys
from bot.domain.answers import Done, Held, Ignored, Known, Queued, Ready, Refused
from bot.domain.errors import AdapterError, BotError
from bot.domain.events import CommandInvoked, MessageDeleted, MessageEdited, MessageReceived
from bot.ports.once import Once
from bot.ports.platform import Host

log = structlog.stdlib.get_logger(__name__)

MAX_KEYS = 5_000
MAX_KEPT = 10_000  # messages, edits and deletions that cannot be stored for now
MAX_FETCHED = 500
FETCHED_S = 60.0
MAX_EDIT_AGE = timedelta(hours=1)  # Discord delivers a change at once, or when a session is resumed
TOLD_S = 86_400.0  # in which another process does not say it again
FETCH_S = 5.0  # for the message that another one answers; the channel's later messages wait meanwhile


class DiscordArrivals:
    """Takes the messages of one run, from the gateway and from the backfill."""

    def __init__(
        self,
        api: DiscordApi,
        *,
        host: Host,
        me: Identity,
        arrivals: Arrivals,
        channels: Channels,
        backfill: Backfill,
        commands: Commands,
        questions: Questions,
        proxies: Proxies,
        elsewhere: Elsewhere,
        background: Background,
        allow_dms: bool,
    ) -> None:
        self._api = api
        self._host = host
        self._me = me
        self._arrivals = arrivals
        self._channels = channels
        self._backfill = backfill
        self._commands = commands
        self._questions = questions
        self._allow_dms = allow_dms
        self._background = background
        self._storing = Background("discord")
        # What is not stored yet, by its channel and server.
        self._kept = Newest[tuple[str, str]](MAX_KEPT, lambda place: backfill.look_in(*place))
        self._order: KeyedLock[str] = KeyedLock()  # by channel
        # Commands; delivered again, also to another process, they are not answered again.
        self._answered = Once("command", host.cluster, max_keys=MAX_KEYS)
        self._refused: RecentKeys[str] = RecentKeys(MAX_KEYS)  # messages; delivered again, they are not taken either
        self._changes: RecentKeys[str] = RecentKeys(MAX_KEYS)  # to messages, that the host knows
        # Authors of direct messages that are not allowed; conversations that cannot be read.
        self._turned_away = _told("direct", host)
        self._told_unreadable = _told("unreadable", host)
        self._proxies = proxies
        self._elsewhere = elsewhere
        # What replies answer that came without it, for a moment: Discord may deliver them again.
        self._fetched = TTLCache[str, Payload](MAX_FETCHED, ttl=FETCHED_S)  # by the reply

    @property
    def is_behind(self) -> bool:
        """Whether something that the gateway delivered is not stored yet."""
        return self._storing.is_busy or self._arrivals.is_behind

    def take(self, dispatch: str, payload: Payload) -> None:
        """Take a message, an edit or a deletion from the gateway; returns at once.

        While it cannot be stored it is kept, as the newest of `MAX_KEPT`; older ones are looked for in the channel.
        """
        task = self._storing.spawn(self._take_in_order(dispatch, payload), name="message")
        self._kept.add(task, (text_at(payload, "channel_id"), text_at(payload, "guild_id")))

    async def take_missed(self, payload: Payload, channel: str, guild: str) -> None:
        """Take a message that was fetched; "" as `guild` means a direct message. Raises BotError."""
        async with self._order.hold(channel):
            await self._take_message({**payload, "channel_id": channel}, guild=guild, is_missed=True)

    async def hand_over(self, event: Written) -> None:
        """Give a message, or a change to one, to the host, and show its author what became of it. Raises BotError."""
        if isinstance(event, MessageReceived) and event.event_key in self._refused:
            return
        outcome = await self._arrivals.hand_over(event)
        match outcome:
            case Queued() | Known():
                if not isinstance(event, MessageDeleted):
                    self._questions.note(event.message if isinstance(event, MessageEdited) else event)
            case Refused():
                if isinstance(event, MessageReceived):
                    self._refused.add(event.event_key)
            case Done():
                if isinstance(event, MessageDeleted):
                    self._proxies.note_withdrawn(event.event_key)
            case Ignored() | Held():
                pass
            case _:
                assert_never(outcome)

    async def drain(self, *, timeout_s: float) -> None:
        """Wait up to `timeout_s` for what arrived to be stored, then cancel what is left."""
        await self._storing.drain(timeout_s=timeout_s)

    # --- from the gateway ---

    async def _take_in_order(self, dispatch: str, payload: Payload) -> None:
        channel = text_at(payload, "channel_id")
        async with self._order.hold(channel):
            match dispatch:
                case "MESSAGE_CREATE":
                    await self._take_delivered(payload, channel)
                case "MESSAGE_UPDATE":
                    await self._take_edit(payload, channel)
                case _:
                    await self._take_deletion(payload, channel)

    async def _take_delivered(self, payload: Payload, channel: str) -> None:
        guild = text_at(payload, "guild_id")
        try:
            await self._take_message(payload, guild=guild)
        except BotError as error:
            # Discord delivers it only once: the backfill looks for it, also after a restart.
            if not (isinstance(error, AdapterError) and error.is_permanent):
                self._backfill.look_in(channel, guild)
            raise

    async def _take_edit(self, payload: Payload, channel: str) -> None:
        edited_at = time_of(payload.get("edited_timestamp"))
        if edited_at is None or datetime.now(UTC) - edited_at > MAX_EDIT_AGE:
            return  # a pin, a thread on the message or a link's preview: nobody changes it now
        guild = text_at(payload, "guild_id")
        await self._learn_of(payload, guild)
        reader = self._channels.reader(payload, guild)
        thread = await self._channels.thread(channel, is_direct=not guild)
        if reader.is_mentioned_in(payload) or self._questions.knows(event_key(channel, text_at(payload, "id"))):
            payload = await self._with_what_it_answers(payload, reader=reader)
        edited = parse_edit(payload, reader=reader, thread=thread, allow_dms=self._allow_dms)
        if edited is None:
            return
        if isinstance(edited, Unanswered):
            note_unanswered(edited)
            return
        # A thread on the message, a pin or a link's preview brings the same change again.
        change = f"{edited.event_key} {edited.message.edited_at}"
        if change not in self._changes:
            await self.hand_over(edited)
            self._changes.add(change)

    async def _take_deletion(self, payload: Payload, channel: str) -> None:
        guild = text_at(payload, "guild_id")
        thread = await self._channels.thread(channel, is_direct=not guild)
        for deleted in parse_delete(payload, reader=self._channels.reader(payload, guild), thread=thread):
            if self._proxies.is_replaced(deleted.event_key):
                log.info("replaced_message_deleted", message=deleted.event_key)
            else:
                await self.hand_over(deleted)

    # --- messages ---

    async def _take_message(self, payload: Payload, *, guild: str, is_missed: bool = False) -> None:
        if text_at(dict_of(payload.get("author")), "id") == self._me.user:
            return
        copied = self._proxies.claim(payload)
        if copied is not None and not copied:
            key = event_key(text_at(payload, "channel_id"), text_at(payload, "id"))
            note_unanswered(Unanswered(event_key=key, reason="it is the copy of a message that is taken already"))
            return
        payload = copied or payload
        await self._learn_of(payload, guild)
        reader = self._channels.reader(payload, guild)
        thread = await self._channels.thread(text_at(payload, "channel_id"), is_direct=not guild)
        if guild or self._allow_dms:
            payload = await self._with_what_it_answers(payload, reader=reader)
        arrived = parse_message(payload, reader=reader, thread=thread, allow_dms=self._allow_dms, guild=guild)
        if isinstance(arrived, MessageReceived) and arrived.author_kind == "person":
            self._proxies.note(payload)
        await self._take_parsed(arrived, payload, guild=guild, is_missed=is_missed)

    async def _learn_of(self, payload: Payload, guild: str) -> None:
        """Learn of the server of a message that may mention the bot: only it says which role is the bot's."""
        if payload.get("mention_roles") or payload.get("mentions"):
            await self._channels.learn(guild)

    async def _take_parsed(self, arrived: Parsed | None, payload: Payload, *, guild: str, is_missed: bool) -> None:
        match arrived:
            case None:
                pass
            case DirectRefused():
                if await self._turned_away.add(arrived.author_id):
                    await send_reply(self._api, arrived.event_key, notice(NO_DIRECT))
                else:
                    reason = "direct messages are switched off, which its author knows"
                    note_unanswered(Unanswered(event_key=arrived.event_key, reason=reason))
            case Unanswered():
                note_unanswered(arrived)
            case Unreadable():
                await self._take_unreadable(arrived)
            case CommandInvoked():
                await self._take_command(arrived, payload, is_missed=is_missed)
            case MessageReceived():
                if not guild:
                    await self._backfill.note_direct(text_at(payload, "channel_id"))
                await self.hand_over(arrived)
            case _:
                assert_never(arrived)

    async def _with_what_it_answers(self, payload: Payload, *, reader: Reader) -> Payload:
        """Return a reply together with the message that it answers, which Discord sometimes leaves out."""
        reference = dict_of(payload.get("message_reference"))
        channel = text_at(reference, "channel_id") or text_at(payload, "channel_id")
        message = text_at(reference, "message_id")
        if not lacks_what_it_answers(payload, reader) or not as_number(channel) or not as_number(message):
            return payload
        reply = text_at(payload, "id")
        found = self._fetched.get(reply)
        if found is None:
            found = self._fetched[reply] = await self._fetch(channel, message)
        return {**payload, **found}

    async def _fetch(self, channel: str, message: str) -> Payload:
        """Return what is to be added to a reply to the message; nothing where Discord does not show it."""
        try:
            async with asyncio.timeout(FETCH_S):
                found = await self._api.call("GET", MESSAGE, channel_id=channel, message_id=message)
        except (TimeoutError, AdapterError) as error:
            log.info("replied_message_not_fetched", error=str(error) or type(error).__name__)
            is_gone = isinstance(error, DiscordRefusedError) and error.code == UNKNOWN_MESSAGE
            return {"referenced_message": None} if is_gone else {}
        return {"referenced_message": found}

    async def _take_unreadable(self, message: Unreadable) -> None:
        """Say once in a conversation that its messages cannot be read, where they may be for the bot."""
        place = str(message.conversation)
        if place in self._told_unreadable:
            if message.is_addressed:
                reason = "it cannot be read, which was said in the conversation before"
                note_unanswered(Unanswered(event_key=message.event_key, reason=reason))
        elif (
            message.is_addressed or await self._host.expects_follow_ups(message.conversation)
        ) and await self._told_unreadable.add(place):
            await send_reply(self._api, message.event_key, notice(UNREADABLE))

    async def _take_command(self, command: CommandInvoked, payload: Payload, *, is_missed: bool) -> None:
        if not is_missed:
            if command.event_key not in self._answered:
                await self._channels.learn(text_at(payload, "guild_id"))
                is_moderator = self._channels.is_moderator(payload)
                command = replace(command, standing=replace(command.standing, is_moderator=is_moderator))
                self._background.spawn(self._answer(command, payload), name="command")
        elif command.is_addressed:  # nobody still waits for the answer
            note_unanswered(Unanswered(event_key=command.event_key, reason="the command was missed while I was away"))

    async def _answer(self, command: CommandInvoked, payload: Payload) -> None:
        """Answer a command that was written as a message; a reply is the only place for it.

        A call that can be made at once is asked for by that message.
        """
        if not await self._answered.add(command.event_key) or (answer := await self._commands.answer(command)) is None:
            return
        if answer.ready is not None:
            await self.hand_over(_asked(command, payload, answer.ready))
        else:
            shown = command_message(answer, command=command.name, argument=command.argument)
            await self._elsewhere.reply(command.conversation, command.event_key, shown, author=command.author_id)


def _told(topic: str, host: Host) -> Once:
    return Once(topic, host.cluster, max_keys=MAX_KEYS, within_s=TOLD_S)


def _asked(command: CommandInvoked, payload: Payload, ready: Ready) -> MessageReceived:
    return MessageReceived(
        conversation=command.conversation,
        event_key=command.event_key,
        author_id=command.author_id,
        author_name=display_name(dict_of(payload.get("author")), dict_of(payload.get("member"))),
        text=ready.text,
        sent_at=sent_at(text_at(payload, "id")),
        is_shared=not command.conversation.is_direct,
        standing=command.standing,
        run=ready.run,
    )
