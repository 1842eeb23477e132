"""What was written while the bot was away: fetched from Slack, and handed over as if it had been delivered."""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

import structlog

from adapters.slack.identities import Identities
from adapters.slack.own import Slack, next_cursor
from adapters.slack.parse import parse_message
from bot.errors import AdapterError, BotError
from bot.events import CommandInvoked, ConversationKey, MessageDeleted, MessageEdited, MessageReceived
from bot.ports import Notes

log = structlog.stdlib.get_logger(__name__)

ALIVE, CHANNEL = "slack/alive/", "slack/channel/"
TICK_S = 10.0
OVERLAP_S = 30.0  # messages are recognised by their key, so it does no harm to look further back
MAX_THREADS = 30  # of a channel, those in which the bot was asked something last
MAX_CHANNELS = 2_000
PAGE = 200
MAX_PAGES = 10
# Apps outside the Marketplace may ask once a minute: https://docs.slack.dev/apis/web-api/rate-limits
PATIENCE_S = 300.0

Written = MessageReceived | MessageEdited | MessageDeleted | CommandInvoked
Take = Callable[[Written], Awaitable[None]]


class Backfill:
    """Remembers until when the bot was there and where it is talked to; catches up after it was not."""

    def __init__(self, slack: Slack, *, identities: Identities, notes: Notes, max_age_s: float, take: Take) -> None:
        self._slack = slack
        self._identities = identities
        self._notes = notes
        self._max_age_s = max_age_s
        self._take = take
        self._channels: OrderedDict[tuple[str, str], list[str]] = OrderedDict()  # their threads, the newest last

    async def note(self, conversation: ConversationKey, *, takes_part: bool) -> None:
        """Remember where messages come from."""
        key = (conversation.space, conversation.channel)
        threads = self._channels.get(key)
        is_known = threads is not None and (not takes_part or conversation.thread in threads)
        if is_known:
            return
        threads = self._channels.setdefault(key, [])
        if takes_part:
            threads.append(conversation.thread)
            del threads[:-MAX_THREADS]
        with suppress(BotError):  # it is noted again after the next start
            await self._notes.put_note(f"{CHANNEL}{key[0]}/{key[1]}", json.dumps(threads))

    async def run(self, is_connected: Callable[[], bool], opened: asyncio.Event) -> None:
        """Catch up at the start and after each gap, and say from time to time that the bot is there."""
        await self._recall()
        missed_from: Mapping[str, float] = await self._last_alive()
        await opened.wait()
        while True:
            if is_connected():
                if missed_from and await self._catch_up(missed_from):
                    missed_from = {}
                if not missed_from:
                    await self._say_alive()
            elif not missed_from:
                missed_from = await self._last_alive()
                log.warning("slack_disconnected")
            await asyncio.sleep(TICK_S)

    async def _recall(self) -> None:
        notes = await self._notes.notes(CHANNEL)
        for name, text in list(notes.items())[-MAX_CHANNELS:]:
            team, _, channel = name.removeprefix(CHANNEL).partition("/")
            self._channels[team, channel] = _threads(text)

    async def _last_alive(self) -> Mapping[str, float]:
        """Return for each workspace until when the bot was there, in seconds since the epoch."""
        notes = await self._notes.notes(ALIVE)
        return {name.removeprefix(ALIVE): float(text) for name, text in notes.items()}

    async def _say_alive(self) -> None:
        now = time.time()
        for team in dict.fromkeys(team for team, _ in self._channels):
            with suppress(BotError):
                await self._notes.put_note(f"{ALIVE}{team}", f"{now:.3f}")

    async def _catch_up(self, missed_from: Mapping[str, float]) -> bool:
        """Hand over what was missed; False where it has to be tried again."""
        is_done = True
        for (team, channel), threads in list(self._channels.items()):
            since = max(missed_from.get(team, time.time()) - OVERLAP_S, time.time() - self._max_age_s)
            try:
                await self._catch_up_in(team, channel, threads, since=f"{since:.6f}")
            except AdapterError as error:
                log.warning("backfill_failed", channel=channel, error=str(error))
                is_done = is_done and error.is_permanent
            except BotError as error:
                log.warning("backfill_failed", channel=channel, error=str(error))
                is_done = False
        return is_done

    async def _catch_up_in(self, team: str, channel: str, threads: Sequence[str], *, since: str) -> None:
        bot_user = (await self._identities.of(team)).user
        messages = await self._read("conversations.history", team=team, channel=channel, oldest=since)
        roots = [str(message["ts"]) for message in messages if str(message.get("latest_reply", "")) > since]
        for thread in dict.fromkeys([*threads, *roots]):
            with suppress(_GoneError):
                messages += await self._read(
                    "conversations.replies", team=team, channel=channel, ts=thread, oldest=since
                )
        by_time = sorted({str(message["ts"]): message for message in messages}.items())
        written = _written((message for _, message in by_time), team=team, channel=channel, bot_user=bot_user)
        for event in written:
            await self._take(event)
        if written:
            log.info("backfilled", channel=channel, messages=len(written))

    async def _read(self, method: str, *, team: str, **arguments: Any) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = []
        cursor = ""
        for _ in range(MAX_PAGES):
            try:
                answer = await self._slack.call(
                    method,
                    team=team,
                    may_repeat=True,
                    wait_s=PATIENCE_S,
                    limit=PAGE,
                    cursor=cursor or None,
                    **arguments,
                )
            except AdapterError as error:
                if getattr(error, "code", "") == "thread_not_found":
                    raise _GoneError from None
                raise
            messages += cast("list[dict[str, Any]]", answer.get("messages") or [])
            cursor = next_cursor(answer)
            if not cursor:
                break
        return messages


class _GoneError(Exception):
    """The thread was deleted."""


def _written(messages: Iterable[Mapping[str, Any]], *, team: str, channel: str, bot_user: str) -> list[Written]:
    events = (parse_message(message, team=team, bot_user=bot_user, channel=channel) for message in messages)
    return [event for event in events if event is not None]


def _threads(text: str) -> list[str]:
    try:
        return [str(thread) for thread in json.loads(text)]
    except (ValueError, TypeError):
        return []
