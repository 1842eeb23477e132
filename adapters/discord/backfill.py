"""What was written while the bot was away: fetched from Discord, and handed over as if it had been delivered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, cast

import structlog

from adapters.discord.own import PAGE, snowflake
from adapters.discord.rest import Rest
from adapters.discord.session import Session
from bot.errors import AdapterError, BotError
from bot.ports import Notes

log = structlog.stdlib.get_logger(__name__)

ALIVE, DIRECT = "discord/alive", "discord/direct/"
TICK_S = 10.0
OVERLAP_S = 30.0  # messages are recognised by their key, so it does no harm to look further back
MAX_CHANNELS = 200
MAX_PAGES = 10

# (message as Discord's API returns it, its channel, the server's id or "")
Take = Callable[[Mapping[str, Any], str, str], Awaitable[None]]


class Backfill:
    """Remembers until when the bot was there; catches up after it was not."""

    def __init__(self, rest: Rest, *, session: Session, notes: Notes, max_age_s: float, take: Take) -> None:
        self._rest = rest
        self._session = session
        self._notes = notes
        self._max_age_s = max_age_s
        self._take = take
        self._direct: set[str] = set()

    async def note_direct(self, channel: str) -> None:
        """Remember a direct message's channel: the gateway does not tell of them."""
        if channel not in self._direct:
            self._direct.add(channel)
            with suppress(BotError):
                await self._notes.put_note(f"{DIRECT}{channel}", "")

    async def run(self) -> None:
        """Catch up whenever a new gateway session has begun, and say from time to time that the bot is there."""
        self._direct |= {name.removeprefix(DIRECT) for name in await self._notes.notes(DIRECT)}
        alive = (await self._notes.notes(ALIVE)).get(ALIVE)
        missed_from = float(alive) if alive else 0.0
        await self._session.opened.wait()
        while True:
            if self._session.began_anew.is_set() and missed_from:
                self._session.began_anew.clear()
                if not await self._catch_up(missed_from):
                    self._session.began_anew.set()  # again, later
            if self._session.is_connected and not (self._session.began_anew.is_set() and missed_from):
                self._session.began_anew.clear()
                missed_from = time.time()
                with suppress(BotError):
                    await self._notes.put_note(ALIVE, f"{missed_from:.3f}")
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._session.began_anew.wait()
                    await asyncio.sleep(0.1)

    async def _catch_up(self, missed_from: float) -> bool:
        """Hand over what was missed; False where it has to be tried again."""
        since = snowflake(max(missed_from - OVERLAP_S, time.time() - self._max_age_s))
        is_done = True
        for channel, guild in self._with_news(int(since)):
            try:
                await self._catch_up_in(channel, guild, since=since)
            except AdapterError as error:
                log.warning("backfill_failed", channel=channel, error=str(error))
                is_done = is_done and error.is_permanent
            except BotError as error:
                log.warning("backfill_failed", channel=channel, error=str(error))
                is_done = False
        return is_done

    def _with_news(self, since: int) -> Iterable[tuple[str, str]]:
        """Return the channels and threads, with their servers, in which something was written since then."""
        found = [
            (int(last), str(channel.id), str(channel.guild.id))
            for channel in self._session.channels()
            if (last := getattr(channel, "last_message_id", None)) is not None and int(last) > since
        ]
        found.sort(reverse=True)
        return [*((channel, guild) for _, channel, guild in found[:MAX_CHANNELS]), *((id_, "") for id_ in self._direct)]

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
