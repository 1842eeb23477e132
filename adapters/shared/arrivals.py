"""What arrives, on its way to the host: logging in, handing over, what the author hears of it, and catching up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, assert_never

import structlog
from cachetools import LRUCache

from adapters.shared.tasks import Background
from bot.domain.answers import Accepted, CommandAnswer, Done, Held, Ignored, Known, Queued, Refused, Revised
from bot.domain.backoff import Backoff
from bot.domain.errors import AdapterError, BotError, StoreUnreachableError
from bot.domain.events import CommandInvoked, ConversationKey, MessageDeleted, MessageEdited, MessageReceived
from bot.domain.turns import TurnView
from bot.ports.cluster import Cluster, LoneCluster
from bot.ports.once import ONCE_S, Once
from bot.ports.platform import Host

log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")

MAX_NOTICES = 5_000
MAX_SIGNS = 5_000
AWAY_S = 5.0  # at most between two looks whether a database is back

Written = MessageReceived | MessageEdited | MessageDeleted  # a message, or a change to one


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """A message that mentions the bot and gets no answer."""

    event_key: str
    reason: str  # in a few words, for the log


def note_unanswered(message: Unanswered) -> None:
    """Say in the log why a message that mentions the bot gets no answer."""
    log.info("mention_not_answered", message=message.event_key, reason=message.reason)


# --- logging in ------------------------------------------------------------------------------------------------


async def log_in(ask: Callable[[], Awaitable[T]], *, platform: str, backoff: Backoff) -> T:
    """Return what `ask` returns, which is tried until the platform answers.

    Raises:
        AdapterError: The platform does not let the bot in, and trying again cannot help.
    """
    failures = 0
    while True:
        try:
            return await ask()
        except AdapterError as error:
            if error.is_permanent:
                raise
            log.warning(f"{platform}_unreachable", error=str(error))
        failures += 1
        await asyncio.sleep(backoff.wait_s(failures))


# --- handing over ----------------------------------------------------------------------------------------------


class Notices:
    """Short sentences for the author of a message, each sent once over all processes.

    A platform may deliver the message again, to another process as well.
    """

    def __init__(
        self,
        tell: Callable[[Written, str], Coroutine[Any, Any, None]],
        background: Background,
        cluster: Cluster | None = None,
    ) -> None:
        self._tell = tell
        self._background = background
        self._sent = Once("notice", cluster or LoneCluster(), max_keys=MAX_NOTICES)

    def send(self, event: Written, text: str, *, topic: str = "") -> None:
        """Send the text in the background, unless it was sent before about this message (or this change to it).

        Of texts on the same `topic` only the first is sent.
        """
        change = str(event.message.edited_at or "") if isinstance(event, MessageEdited) else ""
        key = "\n".join((event.event_key, change, topic or text))
        if key not in self._sent:
            self._background.spawn(self._send(event, text, key), name="notice")

    async def _send(self, event: Written, text: str, key: str) -> None:
        if await self._sent.add(key):
            await self._tell(event, text)

    def follow(self, work: Coroutine[Any, Any, None]) -> None:
        """Do what leads to a notice in the background."""
        self._background.spawn(work, name="notice")


class React(Protocol):
    """Adds or removes the bot's hourglass reaction on a message."""

    async def __call__(self, conversation: ConversationKey, event_key: str, *, is_waiting: bool) -> None:
        """Raises AdapterError."""
        ...


class WaitingSign:
    """The hourglass on messages that wait behind others of their conversation.

    It may be added by the process that took the message, and removed by another, which answers it.
    """

    def __init__(self, react: React, background: Background, cluster: Cluster | None = None) -> None:
        self._react = react
        self._background = background
        self._cluster = cluster or LoneCluster()
        self._adding: LRUCache[str, asyncio.Task[None]] = LRUCache(MAX_SIGNS)

    def add(self, event: MessageReceived) -> None:
        """Add it in the background."""
        self._adding[event.event_key] = self._background.spawn(self._add(event), name="sign")

    async def _add(self, event: MessageReceived) -> None:
        await self._set(event.conversation, event.event_key, is_waiting=True)
        if not await self._is_first(event.event_key):  # it was removed before it was there
            await self._set(event.conversation, event.event_key, is_waiting=False)

    async def remove(self, view: TurnView) -> None:
        """Remove it from the turn's question, if the question ever waited."""
        if not view.has_waited:
            return
        if (adding := self._adding.pop(view.in_reply_to, None)) is not None:
            await asyncio.wait([adding])
        else:
            await self._is_first(view.in_reply_to)  # a process that adds it now removes it again
        await self._set(view.conversation, view.in_reply_to, is_waiting=False)

    async def _is_first(self, event_key: str) -> bool:
        return await self._cluster.is_first(f"sign/{event_key}", within_s=ONCE_S)

    async def _set(self, conversation: ConversationKey, event_key: str, *, is_waiting: bool) -> None:
        try:
            await self._react(conversation, event_key, is_waiting=is_waiting)
        except AdapterError as error:
            log.info("sign_not_shown", is_waiting=is_waiting, error=str(error))


class Arrivals:
    """Hands messages, and changes to them, to the host, and shows their author what became of them.

    With `tries` above 1, an event that could not be stored is tried again after `backoff`, and for as long as the
    database cannot be reached: for platforms that deliver an event only once. `hears` returns whether the author is to
    hear of a failure: whether the message is surely for the bot.
    """

    def __init__(
        self,
        host: Host,
        *,
        notices: Notices,
        sign: WaitingSign,
        tries: int = 1,
        backoff: Backoff | None = None,
        hears: Callable[[Written], bool] = lambda _: True,
    ) -> None:
        self._host = host
        self._notices = notices
        self._sign = sign
        self._tries = tries
        self._backoff = backoff or Backoff(first_s=0.5)
        self._hears = hears
        self._unstored: dict[str, int] = {}  # event key -> how many hand it over now

    @property
    def is_behind(self) -> bool:
        """Whether something that arrived is not stored yet."""
        return bool(self._unstored)

    async def expects_follow_ups(self, conversation: ConversationKey) -> bool:
        """Return whether what is said there is answered without a mention. Raises StoreError."""
        return await self._host.expects_follow_ups(conversation)

    async def hand_over(self, event: Written) -> Accepted | Revised:
        """Return what became of the event; only now may the platform be told that it arrived.

        Raises:
            BotError: It could not be stored.
        """
        key = event.event_key
        self._unstored[key] = self._unstored.get(key, 0) + 1
        try:
            outcome = await self._store(event)
        finally:
            self._unstored[key] -= 1
            if not self._unstored[key]:
                del self._unstored[key]
        self._show(event, outcome)
        return outcome

    async def _store(self, event: Written) -> Accepted | Revised:
        failures = 0
        while True:
            try:
                match event:
                    case MessageReceived():
                        return await self._host.accept(event)
                    case MessageEdited() | MessageDeleted():
                        return await self._host.revise(event)
                    case _:
                        assert_never(event)
            except BotError as error:
                failures += 1
                if self._hears(event):
                    self._notices.send(event, str(error), topic="not stored")
                is_away = self._tries > 1 and isinstance(error, StoreUnreachableError)
                if failures >= self._tries and not is_away:
                    raise
            wait_s = self._backoff.wait_s(failures)
            await asyncio.sleep(min(wait_s, AWAY_S) if is_away else wait_s)

    def _show(self, event: Written, outcome: Accepted | Revised) -> None:
        match outcome:
            case Queued(waits_behind=waits_behind):
                if waits_behind and not isinstance(event, MessageDeleted):
                    self._sign.add(event.message if isinstance(event, MessageEdited) else event)
            case Refused(notice=notice) | Done(notice=notice):
                if notice:
                    self._notices.send(event, notice)
            case Held(outcome=deciding):
                self._notices.follow(self._show_later(event, deciding))
            case Known() | Ignored():
                pass
            case _:
                assert_never(outcome)

    async def _show_later(self, event: Written, deciding: Awaitable[Accepted]) -> None:
        self._show(event, await deciding)


async def answer_command(host: Host, invoked: CommandInvoked) -> CommandAnswer | None:
    """Return the host's answer to a command, or why there is none; None where the command is not for the bot."""
    try:
        answer = await host.command(invoked)
    except BotError as error:
        return CommandAnswer(text=str(error))
    return None if isinstance(answer, Ignored) else answer


# --- catching up -----------------------------------------------------------------------------------------------


async def keep_catching_up(catch_up: Callable[[], Awaitable[None]], *, pause_s: float) -> None:
    """Run `catch_up` until cancelled; after a failure, which never reaches what arrives meanwhile, again."""
    while True:
        try:
            await catch_up()
        except BotError as error:  # the store's: it will be back
            log.warning("backfill_failed", error=str(error))
        except Exception:  # a fault here must not end what is delivered
            log.exception("backfill_failed")
        await asyncio.sleep(pause_s)
