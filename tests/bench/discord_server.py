"""The loopback Discord in a process of its own, so that its work is not counted: it asks, and says how long it took.

`python -m tests.bench.discord_server GUILDS CHANNELS` (so many in each guild) prints its addresses. `POST /control/ask`
with `{"questions": N, "text": TEXT, "at_once": BOOL}` asks each question in a channel of its own and answers with what
was seen; times are those of time.monotonic(), which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from itertools import cycle
from typing import Any, NamedTuple

from aiohttp import web

from tests.bench.servers import serve_control
from tests.fakes.discord import Call, Channel, FakeDiscord

WAIT_S = 100.0
SIGNS = ("trigger_typing", "start_thread_from_message", "create_message", "create_reaction")


class Asked(NamedTuple):
    """A question, and when it was sent."""

    channel: Channel
    message: str
    at: float


class Asker:
    """Someone who asks, and looks at a clock."""

    def __init__(self, discord: FakeDiscord, *, guilds: int, channels: int) -> None:
        self._discord = discord
        homes = [discord.add_guild(f"Team {number}") for number in range(guilds)]
        self._ada = discord.add_user("Ada")
        # Those that ask at once are spread over the guilds.
        rooms = [discord.add_channel(home, f"room-{number}") for number in range(channels) for home in homes]
        self._rooms = cycle(rooms)

    async def ask(self, request: web.Request) -> web.Response:
        wanted = await request.json()
        self._discord.calls.clear()
        asked: list[Asked] = []
        for _ in range(wanted["questions"]):
            asked.append(await self._say(wanted["text"]))
            if not wanted["at_once"]:
                await self._answered(asked[-1:])
        await self._answered(asked)
        return web.json_response(self._seen(asked))

    async def _say(self, text: str) -> Asked:
        channel = next(self._rooms)
        at = time.monotonic()
        message = await self._discord.say(channel, self._ada, text, mention=True)
        return Asked(channel, str(message.id), at)

    async def _answered(self, asked: Sequence[Asked]) -> None:
        waiting = list(asked)

        def all_are() -> bool:
            waiting[:] = [each for each in waiting if not self._is_answered(each)]
            return not waiting

        await self._discord.until(all_are, timeout_s=WAIT_S)

    def _is_answered(self, asked: Asked) -> bool:
        for message in reversed(asked.channel.messages.values()):
            if message.id <= int(asked.message):
                return False
            if any(mark.startswith("tb:good") for mark in message.custom_ids):
                return True
        return False

    def _seen(self, asked: Sequence[Asked]) -> dict[str, Any]:
        calls: dict[str, list[Call]] = {}
        for call in self._discord.calls:
            # A thread has the id of the message that it was begun on.
            calls.setdefault(call.parameters.get("channel", ""), []).append(call)
        own = {each.message: [*calls.get(str(each.channel.id), ()), *calls.get(each.message, ())] for each in asked}
        return {
            "sent": {f"discord:{each.channel.id}:{each.message}": each.at for each in asked},
            "first_sign_s": [
                min(call.at for call in own[each.message] if call.route in SIGNS and call.at >= each.at) - each.at
                for each in asked
            ],
            "calls": len(self._discord.calls),
        }


async def main(guilds: int, channels: int) -> None:
    async with FakeDiscord() as discord:
        asker = Asker(discord, guilds=guilds, channels=channels)
        await serve_control(asker.ask, discord.api_url, discord.gateway_url)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
