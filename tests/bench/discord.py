"""What Discord adds to a turn, how long people wait for it there, and what many channels take.

`python -m tests.bench.discord HOME MODEL_URL TOOLS_URL API_URL GATEWAY_URL` serves a Discord until it is killed, and
prints a line once it is there: to be measured from without.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any, cast

import psutil

from adapters.discord.adapter import DiscordAdapter, DiscordOptions, open_discord
from bot.app import open_app
from bot.domain.answers import Accepted
from bot.domain.events import MessageReceived
from bot.observe.logs import configure_logs
from bot.ports.platform import Host
from tests.bench.measure import Row, compare, p99
from tests.bench.product import one_by_one, open_product, settings_for
from tests.bench.servers import DiscordServer, Endpoint, serve_discord, serve_discord_bot, serve_model, serve_tools
from tests.bench.turn import QUESTION

TOKEN = "bot-test"
MAX_CALLS = 4.0
AT_ONCE = 200
GUILDS, CHANNELS = 50, 40  # 2,000 channels


async def discord_cost(folder: Path, *, quick: bool) -> Sequence[Row]:
    """Compare a turn in Discord with one on a platform that costs nothing, time what people see, fill many channels."""
    at_once = 4 if quick else AT_ONCE
    guilds, channels = (2, 3) if quick else (GUILDS, CHANNELS)
    async with serve_model() as endpoint, serve_tools(folder / "workspaces") as tools_url:
        alone = await _alone(folder, endpoint=endpoint, tools_url=tools_url, at_once=at_once, quick=quick)
        many = await _many(
            folder, endpoint=endpoint, tools_url=tools_url, guilds=guilds, channels=channels, at_once=at_once
        )
    return [*alone, *many]


async def _alone(folder: Path, *, endpoint: Endpoint, tools_url: str, at_once: int, quick: bool) -> Sequence[Row]:
    rounds, turns, questions = (1, 2, 2) if quick else (9, 20, 30)
    stored = Stored()
    async with (
        serve_discord(guilds=1, channels=at_once) as discord,
        open_product(home=folder / "plain", model_url=endpoint.url, tools_url=tools_url) as product,
        _serving(discord, home=folder / "discord", endpoint=endpoint, tools_url=tools_url, stored=stored),
    ):
        costs = await compare(
            {"discord": _in_discord(discord, turns), "plain": one_by_one(product, QUESTION, turns=turns)},
            rounds=rounds,
            units=turns,
        )
        alone = await discord.ask(QUESTION, questions=questions, at_once=False)
        together = await discord.ask(QUESTION, questions=at_once, at_once=True)
    first_sign = together["first_sign_s"]
    kept = [stored.at[key] - sent for key, sent in together["sent"].items()]
    return [
        Row(
            figure="CPU of a turn in Discord over the same turn on a platform that costs nothing",
            value=costs.cpu_ratio("discord", over="plain"),
            beside=f"{costs.cpu_s('discord') * 1e3:.1f} ms over {costs.cpu_s('plain') * 1e3:.1f} ms",
        ),
        Row(
            figure="calls of Discord's API for a short answer with two tool calls",
            value=alone["calls"] / questions,
            unit="calls",
            goal=MAX_CALLS,
        ),
        Row(
            figure="from delivery to the first visible sign, one at a time (median)",
            value=median(alone["first_sign_s"]) * 1e3,
            unit="ms",
        ),
        Row(
            figure=f"from delivery to being stored, {at_once} channels at once (p99)",
            value=p99(kept) * 1e3,
            unit="ms",
            beside=f"median {median(kept) * 1e3:.0f} ms; Discord wants no acknowledgement",
        ),
        Row(
            figure=f"from delivery to the first visible sign, {at_once} channels at once (p99)",
            value=p99(first_sign) * 1e3,
            unit="ms",
            beside=f"median {median(first_sign) * 1e3:.0f} ms",
        ),
    ]


async def _many(
    folder: Path, *, endpoint: Endpoint, tools_url: str, guilds: int, channels: int, at_once: int
) -> Sequence[Row]:
    async with (
        serve_discord(guilds=guilds, channels=channels) as discord,
        serve_discord_bot(folder / "many", endpoint.url, tools_url, discord.api_url, discord.gateway_url) as pid,
    ):
        process = psutil.Process(pid)
        idle, before = process.memory_info().rss, process.cpu_times()
        seen = await discord.ask(QUESTION, questions=at_once, at_once=True)
        used, after = process.memory_info().rss, process.cpu_times()
    cpu_s = (after.user + after.system - before.user - before.system) / at_once
    where = f"{guilds * channels:,} channels in {guilds} servers"
    active = f"{where}, {at_once} of them active at once"
    return [
        Row(figure=f"memory with {where}, idle", value=idle / 2**20, unit="MiB"),
        Row(
            figure=f"memory with {active}",
            value=used / 2**20,
            unit="MiB",
            beside=f"{(used - idle) / at_once / 2**10:.0f} KiB more for each active channel",
        ),
        Row(
            figure=f"CPU of a turn with {active}",
            value=cpu_s * 1e3,
            unit="ms",
            beside=f"first visible sign p99 {p99(seen['first_sign_s']) * 1e3:.0f} ms",
        ),
    ]


class Stored:
    """When each message was stored, in seconds of time.monotonic()."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}

    def watching(self, host: Host) -> Host:
        """Return the host, with a look at the clock after each message."""
        return cast("Host", _Watched(host, self.at))


class _Watched:
    def __init__(self, host: Host, at: dict[str, float]) -> None:
        self._host = host
        self._at = at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    async def accept(self, event: MessageReceived) -> Accepted:
        outcome = await self._host.accept(event)
        self._at[event.event_key] = time.monotonic()
        return outcome


@asynccontextmanager
async def _serving(
    discord: DiscordServer, *, home: Path, endpoint: Endpoint, tools_url: str, stored: Stored
) -> AsyncGenerator[None]:
    # What the bot itself takes: with the 50 requests a second that Discord lets through, pauses would be measured.
    options = DiscordOptions(
        bot_token=TOKEN, api_url=discord.api_url, gateway_url=discord.gateway_url, requests_per_s=100_000.0
    )
    settings = settings_for(home=home, model_url=endpoint.url, tools_url=tools_url)
    adapters = [lambda host: open_discord(options, stored.watching(host))]
    async with open_app(settings, adapters, drain_s=1) as app:
        (adapter,) = app.adapters
        assert isinstance(adapter, DiscordAdapter)
        running = asyncio.create_task(adapter.run())
        try:
            await app.tools.offer(None)
            async with asyncio.timeout(30):
                while not adapter.session.shards.are_connected:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def _in_discord(discord: DiscordServer, turns: int) -> Callable[[], Awaitable[None]]:
    async def work() -> None:
        await discord.ask(QUESTION, questions=turns, at_once=False)

    return work


async def main(home: Path, model_url: str, tools_url: str, api_url: str, gateway_url: str) -> None:
    configure_logs(log_format="json", level="INFO", file=home / "logs" / "toolbridge.log")
    server = DiscordServer(api_url=api_url, gateway_url=gateway_url, control_url="")
    async with _serving(server, home=home, endpoint=Endpoint(model_url), tools_url=tools_url, stored=Stored()):
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    home, *urls = sys.argv[1:]
    asyncio.run(main(Path(home), *urls))
