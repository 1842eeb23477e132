"""How long a quiet person waits while another one floods the bot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from adapters.slack.limits import RATES
from bot.domain.messages import ModelAnswer
from bot.ports.model import ModelRequest
from bot.stores.sqlite.store import open_sqlite
from bot.turns.limits import Limits
from tests.fakes.platforms import Platform, room
from tests.fakes.ports import ScriptedModel, message, says
from tests.integration.test_runner import core
from tests.scenarios.discord import serving as discord_serving
from tests.scenarios.slack import serving as slack_serving
from tests.scenarios.slack.threads import start
from tests.scenarios.tools import without_tools

SLOW_QUESTIONS = 220
ROUNDS = 5


async def measure() -> Mapping[str, float | str]:
    """Return the longest waits of a quiet person, each while another one floods."""
    with TemporaryDirectory() as folder:
        home = Path(folder)
        for name in ("slack", "discord"):
            (home / name).mkdir()
        return {
            f"first question behind {SLOW_QUESTIONS} slow ones of one person (s)": await _behind_slow_questions(
                home / "a.db"
            ),
            "answer in a Slack channel that one person floods with 60 questions (s)": await _on_slack(home / "slack"),
            "command in a Discord channel that one person floods with 60 commands (s)": await _on_discord(
                home / "discord"
            ),
        }


async def _behind_slow_questions(path: Path) -> float:
    opened, platform = asyncio.Event(), Platform()

    async def answer(request: ModelRequest) -> ModelAnswer:
        if not request.asker.endswith(":quiet"):
            await opened.wait()
        return says("Here you are.")

    async with (
        open_sqlite(path) as store,
        core(store, ScriptedModel([answer]), adapter=platform, limits=Limits(drain_s=0.0)) as bot,
    ):
        flood = (message("?", key=f"f{number}", conversation=room(number)) for number in range(SLOW_QUESTIONS))
        await asyncio.gather(*map(bot.inbox.accept, flood))
        waits: list[float] = []
        for number in range(ROUNDS):
            began = time.monotonic()
            quiet = message("?", key=f"q{number}", conversation=room(f"quiet{number}"))
            await bot.inbox.accept(replace(quiet, author_id="quiet"))
            await platform.wait_for_posts(number + 1)
            waits.append(time.monotonic() - began)
        opened.set()
    return round(max(waits), 3)


async def _on_slack(home: Path) -> float:
    async with slack_serving.open_bot(home, options={"rates": RATES}) as bot:
        bot.slack.rates.posts_at_once = 25
        for number in range(60):
            await start(bot, "U1", f"flood {number}")
        began = time.monotonic()
        thread = await start(bot, "U2", "hello")
        await bot.slack.until(lambda: thread.answers)
        return round(time.monotonic() - began, 3)


async def _on_discord(home: Path) -> float:
    async with discord_serving.open_world() as world:
        settings = {**without_tools(home)}
        async with discord_serving.serving(world, home, settings=settings):
            shown = world.discord
            shown.rates["create_message"] = (5, 5.0)  # Discord's own
            for _ in range(60):
                await shown.say(world.channel, world.ada, "help", mention=True)
            began = time.monotonic()
            asked = await shown.say(world.channel, world.ben, "help", mention=True)
            await shown.until(lambda: any(each.reference == asked.id for each in shown.visible(world.channel)))
            return round(time.monotonic() - began, 3)
