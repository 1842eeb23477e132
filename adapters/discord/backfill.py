"""Messages that were sent while the bot was offline: fetched from Discord and handed over as if just delivered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress

import structlog

from adapters.discord.api import DiscordApi
from adapters.discord.own_messages import messages_after
from adapters.discord.session import Session
from adapters.discord.snowflakes import first_snowflake
from adapters.shared.payloads import Payload
from adapters.shared.tasks import RecentKeys
from bot.domain.backoff import Backoff
from bot.domain.errors import AdapterError, BotError
from bot.ports.store import NoteStore

log = structlog.stdlib.get_logger(__name__)

ALIVE, BEGAN, DIRECT = "discord/alive", "discord/began", "discord/direct/"
# It takes a heartbeat's interval and its timeout, about 100 s, to notice a dead connection. Messages are known by their
# keys, so looking further back does no harm.
OVERLAP_S = 120.0
RETRY = Backoff(first_s=1.0)  # of channels that could not be read
MAX_CHANNELS = 200
MAX_PAGES = 10

# (message as Discord's API returns it, its channel, the server's id or "")
Take = Callable[[Payload, str, str], Awaitable[None]]


class Backfill:
    """Notes regularly that the bot is online, and catches up after it was not, in the shards of this process."""

    def __init__(self, api: DiscordApi, *, session: Session, notes: NoteStore, max_age_s: float) -> None:
        self._api = api
        self._session = session
        self._notes = notes
        self._max_age_s = max_age_s
        self._direct: dict[str, float] = {}  # channel -> about when it was last written in, seconds since the epoch
        self._noted: RecentKeys[str] = RecentKeys(10 * MAX_CHANNELS)  # direct messages' channels, by this process
        self._behind: dict[str, str] = {}  # channels with a message that could not be taken -> their servers
        self._began_from = 0.0  # until when the bot was online before; seconds since the epoch, 0: never
        self._since = "0"
        self._is_looking = False

    @property
    def is_behind(self) -> bool:
        """Whether something is to be looked for."""
        return self._is_looking or bool(self._behind)

    async def note_direct(self, channel: str) -> None:
        """Remember the channel of a direct message: the gateway does not list these."""
        self._direct[channel] = time.time()
        if self._noted.add(channel):
            with suppress(BotError):
                await self._notes.put_note(f"{DIRECT}{channel}", f"{time.time():.0f}")

    def look_in(self, channel: str, guild: str) -> None:
        """Catch up in the channel soon: a message that was delivered there could not be taken."""
        self._behind[channel] = guild
        self._session.has_gap.set()

    async def run(self, take: Take, *, is_behind: Callable[[], bool]) -> None:
        """Catch up whenever a new gateway session has begun, and note from time to time that the bot is online.

        Missed messages go to `take`. While `is_behind`, something that arrived is not stored yet.

        Raises:
            StoreError: The notes cannot be read.
        """
        self._began_from = self._began_from or await self._last_online()
        has_gap = self._session.has_gap
        await self._session.opened.wait()
        while True:
            if has_gap.is_set():
                has_gap.clear()
                await self._catch_up(take)
            if not (has_gap.is_set() or is_behind()):
                await self._note_online()
            await self._wait_for_gap(self._session.tick_s)

    async def _note_online(self) -> None:
        with suppress(BotError):
            if online_at := await self._session.settle():
                self._began_from = online_at
                await self._notes.put_note(ALIVE, f"{online_at:.3f}")

    async def _last_online(self) -> float:
        """Return until when the bot was online, in seconds since the epoch; 0 on its first start.

        A first run that ended before it was connected may have left messages behind as well: its start is noted.
        """
        known = (await self._notes.notes(ALIVE)).get(ALIVE) or (await self._notes.notes(BEGAN)).get(BEGAN)
        if known is None:
            with suppress(BotError):
                await self._notes.put_note(BEGAN, f"{time.time():.3f}")
        return float(known or 0)

    async def _wait_for_gap(self, timeout_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._session.has_gap.wait()

    async def _catch_up(self, take: Take) -> None:
        self._is_looking = True
        try:
            await self._look_for_missed(take)
        finally:
            self._is_looking = False

    async def _look_for_missed(self, take: Take) -> None:
        """Hand over what was missed; a channel that cannot be read is tried again until its messages are too old.

        Returns early when another session has begun: then there is more to look for.
        """
        gaps = self._session.shards.gaps()
        if self._session.shards.were_taken_over(gaps):  # others may have noted it since
            self._began_from = self._began_from or await self._last_online()
        missed_from = min((at or self._began_from for at in gaps.values()), default=self._began_from)
        if not missed_from:
            self._session.shards.close_gaps(gaps)
            return
        await self._learn_direct(gaps)
        began_at, failures = time.time(), 0
        self._since = first_snowflake(max(missed_from - OVERLAP_S, began_at - self._max_age_s))
        left = self._channels_with_news(gaps)
        while left and time.time() - began_at < self._max_age_s:
            left = [place for place in left if not await self._try_in(*place, take)]
            if left:
                failures += 1
                await self._wait_for_gap(RETRY.wait_s(failures))
                if self._session.has_gap.is_set():
                    return
        self._session.shards.close_gaps(gaps)

    async def _learn_direct(self, shards: Collection[int]) -> None:
        """Read where people write directly: another process may have noted it. All of that comes to shard 0."""
        if 0 in shards:
            for name, noted_at in (await self._notes.notes(DIRECT)).items():
                self._direct.setdefault(name.removeprefix(DIRECT), float(noted_at or 0))

    async def _try_in(self, channel: str, guild: str, take: Take) -> bool:
        """Catch up in one channel; return False where it has to be tried again."""
        self._behind.pop(channel, None)
        try:
            messages = await messages_after(self._api, channel, since=self._since, max_pages=MAX_PAGES)
            for message in messages:
                await take(message, channel, guild)
        except BotError as error:
            log.warning("backfill_failed", channel=channel, error=str(error))
            if isinstance(error, AdapterError) and error.is_permanent:
                return True
            self._behind[channel] = guild
            return False
        if messages:
            log.info("backfilled", channel=channel, messages=len(messages))
        return True

    def _channels_with_news(self, shards: Collection[int]) -> Sequence[tuple[str, str]]:
        """Return the channels and threads, with their servers, that may have messages which were not taken.

        When a session begins, the gateway names each channel's last message, but says nothing about direct messages.
        """
        found = [
            (int(last), str(channel.id), str(channel.guild.id))
            for channel in self._session.shards.channels(shards)
            if (last := getattr(channel, "last_message_id", None)) is not None and int(last) > int(self._since)
        ]
        found.sort(reverse=True)
        direct = sorted(self._direct, key=lambda channel: self._direct[channel], reverse=True) if 0 in shards else []
        places = [
            *self._behind.items(),
            *((channel, guild) for _, channel, guild in found[:MAX_CHANNELS]),
            *((channel, "") for channel in direct[:MAX_CHANNELS]),
        ]
        return list(dict.fromkeys(places))
