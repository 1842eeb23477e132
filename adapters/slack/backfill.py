"""What was written while the bot was away: fetched from Slack, and handed over as if it had been delivered."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol, cast

import structlog

from adapters.shared.exclusive import exclusive
from adapters.slack.authors import Authors
from adapters.slack.identities import Identities
from adapters.slack.own_messages import Slack, next_cursor
from adapters.slack.parse import PLATFORM, Told
from bot.domain.errors import AdapterError, BotError
from bot.domain.events import ConversationKey
from bot.ports.cluster import Cluster, LoneCluster, Slot
from bot.ports.store import NoteStore

log = structlog.stdlib.get_logger(__name__)

ALIVE, CHANNEL = "slack/alive/", "slack/channel/"
OVERLAP_S = 30.0  # messages are recognised by their key, so looking further back does no harm
MAX_THREADS = 30  # of a channel: those in which the bot was asked something most recently
MAX_CHANNELS = 2_000
PAGE = 200
MAX_PAGES = 10
# Apps outside the Marketplace may ask once a minute: https://docs.slack.dev/apis/web-api/rate-limits
PATIENCE_S = 300.0

Take = Callable[[Told], Awaitable[None]]


class Connection(Protocol):
    """How deliveries come in."""

    @property
    def opened(self) -> asyncio.Event:
        """Set once they could come in."""
        ...

    @property
    def is_connected(self) -> bool:
        """Whether they can come in now."""
        ...

    @property
    def gaps(self) -> int:
        """How often they could not, so far."""
        ...


class Threads:
    """Remembers, over restarts, the threads in which the bot was asked something most recently."""

    def __init__(self, notes: NoteStore, cluster: Cluster | None = None) -> None:
        self._notes = notes
        self._cluster = cluster or LoneCluster()
        self._of: dict[tuple[str, str], list[str]] = {}  # (workspace, channel) -> its threads, the newest last

    async def note(self, conversation: ConversationKey) -> None:
        """Remember a thread in which the bot was asked something."""
        key = (conversation.space, conversation.channel)
        if conversation.thread in self._of.get(key, [])[-MAX_THREADS // 2 :]:
            return  # far from being forgotten: moving it up is not worth a write for each question
        try:
            if not await self._cluster.has_company(PLATFORM):
                await self._note(key, conversation.thread)
                return
            async with exclusive(self._cluster, f"{CHANNEL}{key[0]}"):  # of two that note at once, neither is lost
                await self._note(key, conversation.thread)
        except BotError as error:  # the next message notes it
            log.warning("thread_not_noted", channel=conversation.channel, error=str(error))
            if conversation.thread in self._of.get(key, []):
                self._of[key].remove(conversation.thread)

    async def _note(self, key: tuple[str, str], thread: str) -> None:
        name = f"{CHANNEL}{key[0]}/{key[1]}"
        noted = _threads((await self._notes.notes(name)).get(name, ""))
        others = [one for one in _merged(noted, self._of.get(key, [])) if one != thread]
        threads = self._of[key] = [*others, thread][-MAX_THREADS:]
        await self._notes.put_note(name, json.dumps(threads))

    async def recall(self) -> None:
        """Read what other processes noted, and earlier ones. Raises StoreError."""
        noted = {name: _threads(text) for name, text in (await self._notes.notes(CHANNEL)).items()}
        for name, threads in sorted(noted.items(), key=lambda item: item[1][-1:])[-MAX_CHANNELS:]:
            team, _, channel = name.removeprefix(CHANNEL).partition("/")
            self._of[team, channel] = _merged(threads, self._of.get((team, channel), []))[-MAX_THREADS:]

    def teams(self) -> Iterable[str]:
        """Return the workspaces with such threads."""
        return dict.fromkeys(team for team, _ in self._of)

    def newest_first(self) -> Sequence[tuple[str, str, Sequence[str]]]:
        """Return (workspace, channel, threads), the most recently used channels first."""
        channels = sorted(self._of.items(), key=lambda item: item[1][-1:], reverse=True)
        return [(team, channel, threads) for (team, channel), threads in channels]


class Backfill:
    """Notes until when the bot was there, and catches up after it was not.

    Of the processes of a bot one does that, which holds the slot `watch`: it is connected, so all that is delivered
    reaches the bot. When it ends or loses its connections another one takes the slot, and catches up first.
    """

    def __init__(
        self,
        slack: Slack,
        *,
        identities: Identities,
        authors: Authors,
        notes: NoteStore,
        threads: Threads,
        cluster: Cluster,
        watch: str,
        max_age_s: float,
        tick_s: float,
        take: Take,
    ) -> None:
        self._slack = slack
        self._identities = identities
        self._authors = authors
        self._notes = notes
        self._threads = threads
        self._cluster = cluster
        self._watch = watch
        self._slot: Slot | None = None
        self._max_age_s = max_age_s
        self._tick_s = tick_s
        self._take = take
        cluster.on_gap(self._lose)

    async def run(self, connection: Connection) -> None:
        """Catch up at the start and after each gap, and note regularly that the bot is there; one process does it.

        Raises:
            BotError: The notes cannot be read.
        """
        try:
            await self._watch_over(connection)
        finally:
            with suppress(BotError):  # it is free when this process has ended
                await self._leave()

    async def _watch_over(self, connection: Connection) -> None:
        seen_gaps: int | None = None
        missed_from: Mapping[str, float] | None = None
        await connection.opened.wait()
        while True:
            if await self._begins_to_watch(connection):
                seen_gaps = None
            if self._slot is not None:
                if seen_gaps != (gaps := connection.gaps):
                    await self._threads.recall()
                    missed_from, seen_gaps = missed_from or await self._last_alive(), gaps
                if missed_from is not None and await self._catch_up(missed_from):
                    missed_from = None
                if missed_from is None and connection.gaps == gaps:
                    await self._note_alive()
            await asyncio.sleep(self._tick_s)

    async def _begins_to_watch(self, connection: Connection) -> bool:
        """Take the slot where it is free, or leave it to a process with a connection; return whether it was taken now.

        Raises:
            StoreError: The slot cannot be taken or given.
        """
        if connection.is_connected and self._slot is None:
            self._slot = await self._cluster.take(self._watch)
            return self._slot is not None
        if not connection.is_connected:
            await self._leave()
        return False

    async def _leave(self) -> None:
        slot, self._slot = self._slot, None
        if slot is not None:
            await self._cluster.give(slot)

    async def _lose(self) -> None:
        """Start again after a time in which another process may have begun to watch."""
        self._slot = None

    async def _last_alive(self) -> Mapping[str, float]:
        """Return for each workspace until when the bot was there, in seconds since the epoch."""
        notes = await self._notes.notes(ALIVE)
        return {name.removeprefix(ALIVE): float(text) for name, text in notes.items()}

    async def _note_alive(self) -> None:
        now = time.time()
        for team in self._threads.teams() if self._cluster.is_held() else ():
            with suppress(BotError):
                await self._notes.put_note(f"{ALIVE}{team}", f"{now:.3f}")

    async def _catch_up(self, missed_from: Mapping[str, float]) -> bool:
        """Hand over what was missed; return False where it has to be tried again.

        Channels come first, then threads, both the newest first: where Slack is slow, the latest question waits least.
        A thread begins with a message of its channel, so the messages of one conversation come in their order.
        """
        oldest = time.time() - self._max_age_s
        threads: dict[tuple[str, str, str], str] = {}
        is_done = True
        for team, channel, noted in self._threads.newest_first():
            since = f"{max(missed_from.get(team, 0.0) - OVERLAP_S, oldest):.6f}"
            threads |= {(team, channel, thread): since for thread in noted}
            with self._isolated(channel) as outcome:
                messages = await self._read("conversations.history", team=team, channel=channel, oldest=since)
                roots = [str(message["ts"]) for message in messages if str(message.get("latest_reply", "")) > since]
                threads |= {(team, channel, root): since for root in roots}
                await self._hand_over(messages, team, channel)
            is_done = is_done and outcome.is_done
        for (team, channel, thread), since in sorted(threads.items(), key=lambda item: item[0][2], reverse=True):
            with self._isolated(channel) as outcome:
                messages = await self._read(
                    "conversations.replies", team=team, channel=channel, ts=thread, oldest=since
                )
                replies = [message for message in messages if str(message["ts"]) > since]  # Slack always adds the root
                await self._hand_over(replies, team, channel)
            is_done = is_done and outcome.is_done
        return is_done

    @contextmanager
    def _isolated(self, channel: str) -> Generator[_Outcome]:
        """Isolate failures per channel or thread."""
        outcome = _Outcome()
        try:
            yield outcome
        except AdapterError as error:
            log.warning("backfill_failed", channel=channel, error=str(error))
            outcome.is_done = error.is_permanent
        except BotError as error:
            log.warning("backfill_failed", channel=channel, error=str(error))
            outcome.is_done = False

    async def _hand_over(self, messages: Iterable[Mapping[str, Any]], team: str, channel: str) -> None:
        bot_user = (await self._identities.of(team)).user
        oldest_first = sorted(messages, key=lambda message: str(message["ts"]))
        for message in oldest_first:
            event = await self._authors.read(message, team=team, bot_user=bot_user, channel=channel)
            if event is not None:
                await self._take(event)

    async def _read(self, method: str, *, team: str, **arguments: Any) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = []
        cursor = ""
        for _ in range(MAX_PAGES):
            answer = await self._slack.call(
                method,
                team=team,
                may_repeat=True,
                wait_s=PATIENCE_S,
                limit=PAGE,
                cursor=cursor or None,
                **arguments,
            )
            messages += cast("list[dict[str, Any]]", answer.get("messages") or [])
            cursor = next_cursor(answer)
            if not cursor:
                break
        return messages


@dataclass(slots=True)
class _Outcome:
    is_done: bool = True


def _merged(noted: Sequence[str], own: Sequence[str]) -> list[str]:
    """Return the threads that are noted with those that another process overwrote, or did not know of."""
    return [*(one for one in own if one not in noted), *noted]


def _threads(text: str) -> list[str]:
    try:
        return [str(thread) for thread in json.loads(text)]
    except (ValueError, TypeError):
        return []
