"""Discord as a chat platform: the Adapter port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

import aiohttp
import discord
import structlog

from adapters.discord.answer import EDIT_GAP_S, AnswerWriter
from adapters.discord.api import API_URL, BREAKER_S, REQUESTS_PER_S, Identity, Rest
from adapters.discord.backfill import Backfill
from adapters.discord.errors import (
    ARCHIVED_THREAD,
    LOCKED_THREAD,
    MISSING_ACCESS,
    MISSING_PERMISSIONS,
    UNKNOWN_CHANNEL,
    DiscordRefusedError,
)
from adapters.discord.files import download
from adapters.discord.interactions import NO_DIRECT, Interactions
from adapters.discord.invite import missing
from adapters.discord.manifest import keep_synced
from adapters.discord.own_messages import OwnMessage, Place, find_own, send_message
from adapters.discord.parse import (
    DIRECT,
    PLATFORM,
    DirectRefused,
    message_place,
    parse_delete,
    parse_edit,
    parse_message,
)
from adapters.discord.render import Shown, command_message, notice_text, part_message, split_answer
from adapters.discord.session import GATEWAY_URL, MAX_BACK_OFF_S, Session, Watch
from adapters.discord.status import TYPING_S, Typing
from adapters.discord.traces import Threadless, Trace, TraceLevel, open_trace
from adapters.shared.progress import ENDED, LiveTurn, LiveTurns, Pace
from adapters.shared.tasks import Background, Queues, Recent
from bot.domain.answers import CommandAnswer, Receipt
from bot.domain.errors import AdapterError, BotError
from bot.domain.events import (
    CommandInvoked,
    ConversationKey,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    SharedFile,
)
from bot.domain.turns import Post, TurnView
from bot.ports.platform import Found, Receive
from bot.ports.store import Notes

log = structlog.stdlib.get_logger(__name__)

WAITING_SIGN = "⏳"
DRAIN_S = 3.0
MAX_KNOWN = 5_000
STORE_TRIES = 8  # a message that cannot be stored is tried again: Discord does not deliver it twice
STORE_PAUSE_S = 0.5
THREAD_TYPES = frozenset({10, 11, 12})
_NOT_THERE = frozenset({MISSING_ACCESS, MISSING_PERMISSIONS, UNKNOWN_CHANNEL, ARCHIVED_THREAD, LOCKED_THREAD})

Message = MessageReceived | MessageEdited | MessageDeleted
Payload = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscordOptions:
    """How to reach Discord."""

    bot_token: str = field(repr=False)
    api_url: str = API_URL
    gateway_url: str = GATEWAY_URL
    allow_dms: bool = False
    message_content: bool = True
    dev_guild: str = ""
    backfill_minutes: float = 15.0
    trace: TraceLevel = "summary"
    pace: Pace = field(default_factory=lambda: Pace(status_gap_s=0.0, status_refresh_s=TYPING_S))
    edit_gap_s: float = EDIT_GAP_S
    breaker_s: float = BREAKER_S
    requests_per_s: float = REQUESTS_PER_S
    store_pause_s: float = STORE_PAUSE_S
    watch: Watch = field(default_factory=Watch)


@asynccontextmanager
async def open_discord(options: DiscordOptions) -> AsyncGenerator[DiscordAdapter]:
    """Open the adapter; posts can be made until the end of the context, which `run` need not reach."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        rest = await stack.enter_async_context(
            Rest(
                options.bot_token,
                api_url=options.api_url,
                breaker_s=options.breaker_s,
                requests_per_s=options.requests_per_s,
            )
        )
        adapter = DiscordAdapter(options, rest=rest, session=session)
        stack.push_async_callback(adapter.drain)
        yield adapter


class DiscordAdapter:
    """See `bot.ports.platform.Adapter`. Made by `open_discord`."""

    name = PLATFORM
    serves = f"{PLATFORM}/"

    def __init__(self, options: DiscordOptions, *, rest: Rest, session: aiohttp.ClientSession) -> None:
        self._options = options
        self._rest = rest
        self._downloads = session
        self._background = Background("discord")
        self._arriving = Background("discord")
        self._order: Queues[str] = Queues()
        self._live = LiveTurns(self._open_live, self._background)
        self._threadless = Threadless()
        self._texts: Recent[str, str] = Recent(MAX_KNOWN)  # of questions, for the names of their threads
        self._parents: Recent[str, str] = Recent(MAX_KNOWN)  # of threads; "" of channels
        self._signs: Recent[str, asyncio.Task[None]] = Recent(MAX_KNOWN)
        self._told: Recent[str, bool] = Recent(MAX_KNOWN)
        self._changes: Recent[str, bool] = Recent(MAX_KNOWN)  # of messages, that the core was told of
        self._talks: Recent[ConversationKey, bool] = Recent(MAX_KNOWN)  # conversations in which there was a turn
        self._refused: Recent[str, bool] = Recent(MAX_KNOWN)  # messages; delivered again, they are not taken either
        self._unstored: set[str] = set()
        self._notes: Notes | None = None
        self._receive: Receive | None = None
        self._me: Identity | None = None
        self._interactions: Interactions | None = None
        self._backfill: Backfill | None = None
        self.session: Session | None = None

    def remember_in(self, notes: Notes) -> None:
        """Take the core's notes: until when the bot was there, and which commands Discord knows."""
        self._notes = notes

    # --- what arrives ------------------------------------------------------------------------------------------

    async def run(self, receive: Receive) -> None:
        """Receive until cancelled, and what was written while the bot was away.

        Raises:
            AdapterError: Discord does not let the bot in, and trying again cannot help.
        """
        assert self._notes is not None, "open_app gives the notes"
        self._receive = receive
        self._me = await self._log_in()
        self._interactions = Interactions(
            rest=self._rest,
            me=self._me,
            receive=receive,
            take=self._take,
            author_of=self._author_of,
            allow_dms=self._options.allow_dms,
            reads_content=lambda: self.session is not None and self.session.reads_content,
        )
        self.session = Session(
            self._options.bot_token,
            rest=self._rest,
            gateway_url=self._options.gateway_url,
            wants_content=self._options.message_content,
            handle=self._handle,
            watch=self._options.watch,
        )
        self._backfill = Backfill(
            self._rest,
            session=self.session,
            notes=self._notes,
            max_age_s=60 * self._options.backfill_minutes,
            take=self._take_missed,
            is_behind=lambda: bool(self._unstored),
        )
        syncing = keep_synced(
            self._rest,
            self._notes,
            application=self._me.application,
            allow_dms=self._options.allow_dms,
            dev_guild=self._options.dev_guild,
        )
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(syncing, name="discord:commands")
                group.create_task(self.session.run(), name="discord:session")
                group.create_task(self._fill_gaps(self._backfill), name="discord:backfill")
        except* BotError as failures:
            raise failures.exceptions[0] from None
        finally:
            await self._arriving.drain(timeout_s=DRAIN_S)  # while the core can still store them

    def _author_of(self, turn: int) -> str | None:
        live = self._live.get(turn)
        # One that has ended may still be shown for a moment, in which the next one runs.
        return None if live is None or live.view.state in ENDED else live.view.author_id

    async def _log_in(self) -> Identity:
        """Return who the bot is, asking until Discord answers."""
        wait_s = self._options.watch.back_off_s
        while True:
            try:
                me = await self._rest.log_in()
            except AdapterError as error:
                if error.is_permanent:
                    raise
                log.warning("discord_unreachable", error=str(error))
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, MAX_BACK_OFF_S)
            else:
                log.info("discord_bot", user=me.user, application=me.application)
                return me

    async def _fill_gaps(self, backfill: Backfill) -> None:
        while True:
            try:
                await backfill.run()
            except BotError as error:  # the store's: it is there again later
                log.warning("backfill_failed", error=str(error))
            except Exception:  # what was missed must not take what arrives with it
                log.exception("backfill_failed")
            await asyncio.sleep(10.0)

    def _handle(self, dispatch: str, payload: Payload) -> None:
        """Take what the gateway tells; returns at once."""
        interactions = self._interactions
        assert interactions is not None, "nothing arrives before run"
        if dispatch == "INTERACTION_CREATE":
            self._background.spawn(interactions.handle(payload), name="interaction")
        else:
            self._arriving.spawn(self._take_in_order(dispatch, payload), name="message")

    async def _take_in_order(self, dispatch: str, payload: Payload) -> None:
        """Take messages of one channel in the order in which they came."""
        channel = str(payload.get("channel_id", ""))
        async with self._order.turn(channel):
            match dispatch:
                case "MESSAGE_CREATE":
                    await self._take_delivered(payload, channel)
                case "MESSAGE_UPDATE":
                    await self._take_edit(payload, channel)
                case _:
                    parent = await self._parent_of(channel, is_direct=not payload.get("guild_id"))
                    for deleted in parse_delete(payload, parent=parent):
                        await self._take(deleted)

    async def _take_delivered(self, payload: Payload, channel: str) -> None:
        try:
            await self._take_message(payload, guild="")
        except BotError as error:
            # Discord delivers it once: it is looked for among what was missed, also after a restart.
            if self._backfill is not None and not (isinstance(error, AdapterError) and error.is_permanent):
                self._backfill.look_in(channel, str(payload.get("guild_id") or ""))
            raise

    async def _take_edit(self, payload: Payload, channel: str) -> None:
        edited = parse_edit(
            payload,
            bot_user=self._identity.user,
            parent=await self._parent_of(channel, is_direct=not payload.get("guild_id")),
            allow_dms=self._options.allow_dms,
            names=self._names_in(payload),
        )
        if edited is None:
            return
        # A thread on the message, a pin or a link's preview bring the same change again.
        change = f"{edited.event_key} {edited.message.edited_at}"
        if change not in self._changes:
            await self._take(edited)
            self._changes.put(change, True)

    async def _take_missed(self, payload: Payload, channel: str, guild: str) -> None:
        async with self._order.turn(channel):
            await self._take_message({**payload, "channel_id": channel}, guild=guild, is_missed=True)

    async def _take_message(self, payload: Payload, *, guild: str, is_missed: bool = False) -> None:
        channel = str(payload.get("channel_id", ""))
        if not self._may_concern(payload):
            return
        guild = guild or str(payload.get("guild_id") or "")
        arrived = parse_message(
            payload,
            bot_user=self._identity.user,
            parent=await self._parent_of(channel, is_direct=not guild),
            allow_dms=self._options.allow_dms,
            guild=guild,
            names=self._names_in(payload),
        )
        match arrived:
            case None:
                pass
            case DirectRefused():
                await self._refuse_direct(arrived)
            case CommandInvoked():
                # Whoever wanted one that was missed has long invoked it again.
                if not is_missed and arrived.event_key not in self._told:
                    self._told.put(arrived.event_key, True)
                    self._background.spawn(self._answer_command(arrived), name="command")
            case MessageReceived():
                if not guild and self._backfill is not None:
                    await self._backfill.note_direct(channel)
                await self._take(arrived)
            case _:
                assert_never(arrived)

    def _may_concern(self, payload: Payload) -> bool:
        """Tell at once of most messages that they are none of ours: own ones, and other bots'."""
        author: Mapping[str, Any] = payload.get("author") or {}
        return not author.get("bot") and author.get("id") != self._identity.user

    async def _take(self, event: Message) -> None:
        """Hand a message, or a change to one, to the core; again where the store fails: Discord delivers it once."""
        if isinstance(event, MessageReceived) and event.event_key in self._refused:
            return
        self._unstored.add(event.event_key)
        try:
            self._show_receipt(event, await self._store(event))
        finally:
            self._unstored.discard(event.event_key)

    async def _store(self, event: Message) -> Receipt:
        for attempt in range(STORE_TRIES):
            try:
                return await self._core()(event)
            except BotError as error:
                if self._was_asked_by(event) and event.event_key not in self._told:
                    self._told.put(event.event_key, True)
                    self._background.spawn(self._reply(event.event_key, str(error)), name="tell")
                if attempt == STORE_TRIES - 1:
                    raise
                await asyncio.sleep(self._options.store_pause_s * 2**attempt)
        raise AssertionError("the last try returns or raises")

    def _was_asked_by(self, event: Message) -> bool:
        """Tell whether the message is surely for the bot, so that its author is to hear what became of it."""
        if not isinstance(event, MessageReceived):
            return event.event_key in self._texts
        return event.is_addressed or event.conversation in self._talks

    def _show_receipt(self, event: Message, receipt: Receipt) -> None:
        if receipt.is_ignored:
            return
        if receipt.notice:
            self._background.spawn(self._reply(event.event_key, receipt.notice), name="tell")
        if isinstance(event, MessageReceived) and receipt.turn_id is None:
            self._refused.put(event.event_key, True)
        if isinstance(event, MessageReceived) and receipt.turn_id is not None:
            self._texts.put(event.event_key, event.text)
            self._talks.put(event.conversation, True)
            if receipt.is_new and receipt.waits_behind:
                self._signs.put(event.event_key, self._background.spawn(self._add_sign(event.event_key), name="sign"))

    async def _answer_command(self, command: CommandInvoked) -> None:
        """Answer a command that was written as a message, below it: there is no other place."""
        try:
            receipt = await self._core()(command)
        except BotError as error:
            receipt = Receipt(turn_id=None, notice=str(error))
        if not receipt.is_ignored and self._interactions is not None:
            answer = self._interactions.with_ways(command.name, receipt.answer or CommandAnswer(text=receipt.notice))
            shown = command_message(answer, command=command.name, argument=command.argument)
            await self._send(command.event_key, shown)

    async def _refuse_direct(self, refused: DirectRefused) -> None:
        if refused.author_id not in self._told:
            self._told.put(refused.author_id, True)
            await self._reply(refused.event_key, NO_DIRECT)

    # --- what the gateway knows --------------------------------------------------------------------------------

    async def _parent_of(self, channel: str, *, is_direct: bool) -> str | None:
        """Return the channel that a thread belongs to, None for what is no thread. Raises AdapterError."""
        if is_direct:
            return None
        known = self.session.channel(channel) if self.session is not None else None
        if known is not None:
            return str(known.parent_id) if isinstance(known, discord.Thread) else None
        parent = self._parents.get(channel)
        if parent is None:
            told = await self._rest.call("GET", "/channels/{channel_id}", channel_id=channel)
            parent = str(told.get("parent_id") or "") if told.get("type") in THREAD_TYPES else ""
            self._parents.put(channel, parent)
        return parent or None

    def _names_in(self, payload: Payload) -> Mapping[str, str]:
        """Return the names of the roles and channels that a message mentions."""
        content = str(payload.get("content", ""))
        channel = self.session.channel(str(payload.get("channel_id", 0))) if self.session is not None else None
        guild = getattr(channel, "guild", None)
        if guild is None or not ("<#" in content or "<@&" in content):
            return {}
        return {str(thing.id): thing.name for thing in (*guild.roles, *guild.channels, *guild.threads)}

    def _missing_in(self, channel: str) -> str:
        """Return which permissions the bot lacks in a channel, as a sentence; "" where that is not known."""
        known = self.session.channel(channel) if self.session is not None else None
        guild = getattr(known, "guild", None)
        if known is None or guild is None or guild.me is None:
            return ""
        names = missing(known.permissions_for(guild.me).value)
        return (
            f"I lack {', '.join(names)} there; somebody who manages the channel gives it to my role." if names else ""
        )

    # --- small things that are said ----------------------------------------------------------------------------

    async def _reply(self, key: str, text: str) -> None:
        await self._send(key, Shown(text=notice_text(text)))

    async def _send(self, key: str, shown: Shown) -> None:
        channel, message = message_place(key)
        if channel:
            await send_message(self._rest, channel, text=shown.text, rows=shown.rows, reply_to=message)

    async def _add_sign(self, key: str) -> None:
        await self._react("PUT", key)

    async def _remove_sign(self, view: TurnView) -> None:
        if view.has_waited:
            if (adding := self._signs.pop(view.in_reply_to)) is not None:
                await asyncio.wait([adding])
            await self._react("DELETE", view.in_reply_to)

    async def _react(self, method: str, key: str) -> None:
        channel, message = message_place(key)
        path = "/channels/{channel_id}/messages/{message_id}/reactions/{emoji}/@me"
        try:
            await self._rest.call(method, path, channel_id=channel, message_id=message, emoji=WAITING_SIGN)
        except AdapterError as error:
            log.info("sign_not_shown", method=method, error=str(error))

    # --- what is shown -----------------------------------------------------------------------------------------

    def show(self, view: TurnView) -> None:
        """Show progress; see `adapters.shared.progress.LiveTurn`."""
        self._live.show(view)

    def split(self, text: str) -> Sequence[str]:
        """Cut an answer into messages of 2,000 characters; the rest of a very long one is one part, for a file."""
        return split_answer(text) or (text,)

    async def post(self, post: Post) -> str:
        """Let the post stand in its channel, with its files, and return its id.

        What cannot be posted where it was asked for goes to the one who asked, with the reason.
        """
        if self._live.is_closed:
            raise AdapterError("The connection to Discord is closed. The answer is posted after the next start.")
        live = self._live.get(post.turn_id)
        try:
            return await (live.post(post) if live else self._writer(post.conversation, post).finish(post))
        except DiscordRefusedError as error:
            if error.code not in _NOT_THERE or not post.author_id:
                raise
            return await self._post_directly(post, error)

    async def find(self, post: Post) -> Found | None:
        """Look for the post in its channel. Raises AdapterError where Discord does not show it."""
        live = self._live.get(post.turn_id)
        if live is not None and live.answer.has(post.part):
            return None  # its message is known: posting it again changes that one
        own = await self._own_in(_place(post.conversation).channel, message_place(post.in_reply_to)[1])
        text = part_message(post.text).text
        for message in own:
            is_it = message.has("good", turn=post.turn_id) if post.is_last else message.text == text
            if is_it and not message.has("stop", turn=post.turn_id):
                return Found(reference=message.id)
        return None

    async def fetch(self, file: SharedFile, conversation: ConversationKey, *, max_bytes: int) -> bytes:
        """Return the bytes of a file that somebody sent. Raises AdapterError."""
        return await download(self._downloads, file.reference, max_bytes=max_bytes, api_url=self._options.api_url)

    async def drain(self) -> None:
        """Give what is still to be shown of ended turns a moment, then stop showing; nothing can be posted after."""
        self._live.close()
        await self._background.drain(timeout_s=DRAIN_S)

    # --- their parts -------------------------------------------------------------------------------------------

    def _open_live(self, view: TurnView) -> LiveTurn:
        place = _place(view.conversation)
        question = message_place(view.in_reply_to)[1]
        answer = self._writer(view.conversation, view)
        trace = open_trace(
            self._options.trace,
            rest=self._rest,
            place=place,
            turn_id=view.turn_id,
            question=question,
            question_text=self._texts.get(view.in_reply_to) or "",
            threadless=self._threadless,
            search=lambda channel: self._own_in(channel, question),
        )
        return LiveTurn(
            view=view,
            status=Typing(discord=self._rest, place=place),
            trace=trace,
            answer=answer,
            pace=self._options.pace,
            on_running=self._remove_sign,
            adopt=lambda: self._adopt(answer, trace, place, question),
        )

    async def _adopt(self, answer: AnswerWriter, trace: Trace, place: Place, question: str) -> None:
        answer.adopt(await self._own_in(place.channel, question))
        await trace.find_before()

    def _writer(self, conversation: ConversationKey, what: Post | TurnView) -> AnswerWriter:
        place = _place(conversation)
        question = message_place(what.in_reply_to)[1]
        return AnswerWriter(
            rest=self._rest,
            place=place,
            turn_id=what.turn_id,
            question=question,
            search=lambda: self._own_in(place.channel, question),
            edit_gap_s=self._options.edit_gap_s,
        )

    async def _own_in(self, channel: str, since: str) -> Sequence[OwnMessage]:
        return await find_own(self._rest, channel, bot_user=self._identity.user, since=since)

    async def _post_directly(self, post: Post, error: DiscordRefusedError) -> str:
        """Send an answer to the one who asked, because it cannot stand where it was asked for."""
        log.warning("answer_sent_directly", code=error.code, part=post.part)
        opened = await self._rest.call("POST", "/users/@me/channels", json={"recipient_id": post.author_id})
        place = Place(space=DIRECT, channel=str(opened["id"]), is_thread=False)
        reason = self._missing_in(_place(post.conversation).channel) or str(error)
        why = f"-# My answer in <#{post.conversation.channel}> could not be posted there. {reason}"
        writer = AnswerWriter(
            rest=self._rest,
            place=place,
            turn_id=post.turn_id,
            question="",
            search=lambda: self._own_in(place.channel, "0"),
        )
        text = f"{why}\n{post.text}" if post.part == 0 else post.text
        # Without buttons: the turn belongs to the other channel, where nobody can rate it now.
        return await writer.finish(replace(post, text=text, is_last=False))

    @property
    def _identity(self) -> Identity:
        assert self._me is not None, "nothing is posted or arrives before run"
        return self._me

    def _core(self) -> Receive:
        assert self._receive is not None, "nothing arrives before run"
        return self._receive


def _place(conversation: ConversationKey) -> Place:
    return Place(
        space=conversation.space,
        channel=conversation.thread or conversation.channel,
        is_thread=bool(conversation.thread),
    )
