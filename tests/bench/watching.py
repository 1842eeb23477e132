"""What it costs to be watched, and how soon `toolbridge run` is ready."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median

import psutil

from bot.cli.footprint import exempt_what_stays
from tests.bench.measure import Row, compare
from tests.bench.product import one_by_one, open_product
from tests.bench.servers import (
    HOUSE,
    ChatServer,
    DiscordServer,
    serve_collector,
    serve_discord,
    serve_model,
    serve_slack,
    serve_tools,
)
from tests.bench.slack import in_slack, serving_slack
from tests.bench.turn import QUESTION
from tests.fakes.rights import allow_all

GOAL = 1.03
READY_GOAL_S, IDLE_GOAL_MIB = 2.0, 120.0
IDLE_S = 3.0
WAIT_S = 60.0
MIB = 1024**2


async def watched_turns(folder: Path, *, quick: bool) -> Sequence[Row]:
    """Compare turns with metrics, and with traces too, with turns that nobody watches: bare ones, and in Slack."""
    rounds, turns = (1, 2) if quick else (21, 40)
    async with (
        serve_model() as endpoint,
        serve_tools(folder / "workspaces") as tools_url,
        serve_collector() as collector_url,
        AsyncExitStack() as stack,
    ):
        traced = {"metrics": True, "otel_exporter_otlp_endpoint": collector_url}
        ways: Mapping[str, Mapping[str, object]] = {"plain": {}, "metrics": {"metrics": True}, "traces": traced}
        bare = {
            name: one_by_one(
                await stack.enter_async_context(
                    open_product(home=folder / name, model_url=endpoint.url, tools_url=tools_url, **settings)
                ),
                QUESTION,
                turns=turns,
            )
            for name, settings in ways.items()
        }
        exempt_what_stays()  # as `toolbridge run` does
        costs = {"a turn": await compare(bare, rounds=rounds, units=turns)}
        slacks = {name: await stack.enter_async_context(serve_slack()) for name in ways}
        for name, settings in ways.items():
            home = folder / f"slack {name}"
            serving = serving_slack(slacks[name], home=home, endpoint=endpoint, tools_url=tools_url, **settings)
            await stack.enter_async_context(serving)
        exempt_what_stays()
        in_slacks = {name: in_slack(slack, turns) for name, slack in slacks.items()}
        costs["a turn in Slack"] = await compare(in_slacks, rounds=rounds, units=turns)
    return [
        Row(
            figure=f"CPU of {turn} with {what}, over one that nobody watches",
            value=cost.cpu_ratio(name, over="plain"),
            goal=GOAL,
            beside=f"{cost.cpu_s(name) * 1e3:.2f} ms over {cost.cpu_s('plain') * 1e3:.2f} ms",
        )
        for turn, cost in costs.items()
        for name, what in (("metrics", "metrics"), ("traces", "metrics and traces"))
    ]


async def readiness(folder: Path, *, quick: bool) -> Sequence[Row]:
    """Time `toolbridge run` with both platforms from its start to its line "ready", and measure its idle memory."""
    starts = 1 if quick else 7
    async with (
        serve_model() as endpoint,
        serve_slack() as slack,
        serve_discord(guilds=3, channels=5) as discord,
    ):
        models: Mapping[str, Mapping[str, str]] = {
            "a model's endpoint": {
                "OPENAI_API_KEY": "sk-test",
                "OPENAI_MODEL": "model",
                "OPENAI_BASE_URL": endpoint.url,
            },
            "the built-in rehearsal model": {"MODEL_PROVIDER": "rehearsal"},
        }
        took: dict[str, list[float]] = {model: [] for model in models}
        memory: dict[str, list[float]] = {model: [] for model in models}
        for number in range(starts):
            for model, settings in models.items():
                home = folder / f"{number} {len(settings)}"
                allow_all(home)
                began = time.perf_counter()
                async with _running(home, slack, discord, settings) as (pid, ready_at):
                    took[model].append(ready_at - began)
                    await asyncio.sleep(0.1 if quick else IDLE_S)
                    memory[model].append(psutil.Process(pid).memory_info().rss / MIB)
    return [
        *(
            Row(
                figure=f"`toolbridge run` with Slack, Discord, the bundled tools and {model}, from its start to ready",
                value=median(seconds),
                unit="s",
                goal=READY_GOAL_S,
                beside=f"{min(seconds):.2f} to {max(seconds):.2f} s",
            )
            for model, seconds in took.items()
        ),
        *(
            Row(
                figure=f"its resident memory, idle, with {model}",
                value=median(sizes),
                unit="MiB",
                goal=IDLE_GOAL_MIB,
                beside=f"{min(sizes):.0f} to {max(sizes):.0f} MiB",
            )
            for model, sizes in memory.items()
        ),
    ]


@asynccontextmanager
async def _running(
    home: Path, slack: ChatServer, discord: DiscordServer, model: Mapping[str, str]
) -> AsyncGenerator[tuple[int, float]]:
    """Yield the process id of a bot that is ready, and when it was, in seconds of time.perf_counter()."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    settings = {
        "TOOLBRIDGE_HOME": str(home),
        "HTTP_PORT": "0",
        "SLACK_BOT_TOKEN": "xoxb-test",
        "SLACK_APP_TOKEN": "xapp-test",
        "SLACK_API_URL": slack.api_url,
        "DISCORD_BOT_TOKEN": "bot-test",
        "DISCORD_API_URL": discord.api_url,
        "DISCORD_GATEWAY_URL": discord.gateway_url,
        "PYTHONPATH": str(HOUSE),
        "PYTHONUTF8": "1",
        **model,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "run"),
        cwd=home,
        env=kept | settings,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process.pid, await _ready(process)
    finally:
        process.kill()
        await process.communicate()


async def _ready(process: asyncio.subprocess.Process) -> float:
    assert process.stderr is not None
    said: list[str] = []
    async with asyncio.timeout(WAIT_S):
        while line := (await process.stderr.readline()).decode():
            said.append(line)
            if "ready: " in line:
                return time.perf_counter()
    raise AssertionError("".join(said))
