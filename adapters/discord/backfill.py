"""What was written while the bot was away: fetched from Discord, and handed over as if it had been delivered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

import structlog

from adapters.discord.api import Rest
from adapters.discord.own_messages import PAGE, snowflake
from adapters.discord.session import Session
from bot.domain.errors import AdapterError, BotError
from bot.ports.store import Notes

log = structlog.stdlib.get_logger(__name__)

ALIVE, DIRECT = "discord/alive", "discord/direct/"
TICK_S = 10.0
# That a connection is dead is noticed after a heartbeat's interval and its timeout, about 100 s. Messages are known by
# their key, so it does no harm to look further back.
OVERLAP_S = 120.0
RETRY_S, MAX_RETRY_S = 1.0, 60.0  # before what could not be read is tried again; doubled each time
MAX_CHANNELS = 200
MAX_PAGES = 10

# (message as Discord's API returns it, its channel, the server's id or "")
Take = Callable[[Mapping[str, Any], str, str], Awaitable[None]]


class Backfill:
    """Remembers until when the bot was there; catches up after it was not."""

    def __init__(
        self,
        rest: Rest,
        *,
        session: Session,
        notes: Notes,
        max_age_s: float,
        take: Take,
        is_behind: Callable[[], bool],
    ) -> None:
        self._rest = rest
        self._session = session
        self._notes = notes
        self._max_age_s = max_age_s
        self._take = take
        self._is_behind = is_behind  # something that arrived is not stored yet
        self._direct: dict[str, float] = {}  # channel -> about when it was last written in, seconds since the epoch
        self._written: set[str] = set()  # direct messages' channels, by this process
        self._behind: dict[str, str] = {}  # channels in which something could not be taken -> their servers
        self._missed_from = 0.0  # seconds since the epoch; 0: the bot was never there

    async def note_direct(self, channel: str) -> None:
        """Remember a direct message's channel: the gateway does not tell of them."""
        self._direct[channel] = time.time()
        if channel not in self._written:
            self._written.add(channel)
            with suppress(BotError):
                await self._notes.put_note(f"{DIRECT}{channel}", f"{time.time():.0f}")

    def look_in(self, channel: str, guild: str) -> None:
        """Catch up in the channel soon: something that was delivered there could not be taken."""
        self._behind[channel] = guild
        self._session.began_anew.set()

    async def run(self) -> None:
        """Catch up whenever a new gateway session has begun, and say from time to time that the bot is there.

        Raises:
            StoreError: The notes cannot be read.
        """
        for name, noted_at in (await self._notes.notes(DIRECT)).items():
            self._direct.setdefault(name.removeprefix(DIRECT), float(noted_at or 0))
        alive = (await self._notes.notes(ALIVE)).get(ALIVE)
        self._missed_from = self._missed_from or (float(alive) if alive else 0.0)
        began_anew = self._session.began_anew
        await self._session.opened.wait()
        while True:
            if began_anew.is_set():
                began_anew.clear()
                await self._catch_up()
            if self._session.is_connected and not (began_anew.is_set() or self._is_behind()):
                self._missed_from = time.time()
                with suppress(BotError):
                    await self._notes.put_note(ALIVE, f"{self._missed_from:.3f}")
            await self._wait_for_news(TICK_S)

    async def _wait_for_news(self, timeout_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._session.began_anew.wait()

    async def _catch_up(self) -> None:
        """Hand over what was missed; what cannot be read is tried again until it would be too old.

        It ends early where a further session has begun: then there is more to be looked for.
        """
        if not self._missed_from:
            return
        began_at, wait_s = time.time(), RETRY_S
        left = self._with_news(int(self._since))
        while left and time.time() - began_at < self._max_age_s:
            left = [place for place in left if not await self._try_in(*place)]
            if left:
                await self._wait_for_news(wait_s)
                if self._session.began_anew.is_set():
                    return
                wait_s = min(2 * wait_s, MAX_RETRY_S)

    @property
    def _since(self) -> str:
        return snowflake(max(self._missed_from - OVERLAP_S, time.time() - self._max_age_s))

    async def _try_in(self, channel: str, guild: str) -> bool:
        """Catch up in one channel; False where it has to be tried again."""
        self._behind.pop(channel, None)
        try:
            await self._catch_up_in(channel, guild, since=self._since)
        except BotError as error:
            log.warning("backfill_failed", channel=channel, error=str(error))
            if isinstance(error, AdapterError) and error.is_permanent:
                return True
            self._behind[channel] = guild
            return False
        return True

    def _with_news(self, since: int) -> Sequence[tuple[str, str]]:
        """Return the channels and threads, with their servers, in which something may be that was not taken.

        The gateway tells what was last written in them when a session begins, and of direct messages nothing.
        """
        found = [
            (int(last), str(channel.id), str(channel.guild.id))
            for channel in self._session.channels()
            if (last := getattr(channel, "last_message_id", None)) is not None and int(last) > since
        ]
        found.sort(reverse=True)
        direct = sorted(self._direct, key=lambda channel: self._direct[channel], reverse=True)
        places = [
            *self._behind.items(),
            *((channel, guild) for _, channel, guild in found[:MAX_CHANNELS]),
            *((channel, "") for channel in direct[:MAX_CHANNELS]),
        ]
        return list(dict.fromkeys(places))

    async def _catch_up_in(self, channel: str, guild: str, *, since: str) -> None:
        messages: list[dict[str, Any]] = []
        after = since
        for _ in range(MAX_PAGES):
            page = cast(
                "list[dict[str, Any]]",
                await self._rest.call(
                    "GET", "/channels/{channel_id}/messages", params={"after": after, "limit": PAGE}, channel_id=channel
                ),
            )
            page.sort(key=lambda message: int(message["id"]))
            messages += page
            if len(page) < PAGE:
                break
            after = str(page[-1]["id"])
        for message in messages:
            await self._take(message, channel, guild)
        if messages:
            log.info("backfilled", channel=channel, messages=len(messages))
