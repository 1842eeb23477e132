"""What Slack adds to a turn, and how long people wait for it there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

from adapters.shared.buckets import Rate
from adapters.slack.adapter import SlackAdapter
from adapters.slack.limits import RATES
from adapters.slack.opening import open_slack
from adapters.slack.options import SlackOptions
from bot.app import open_app
from bot.composition.watching import open_watching
from bot.ports.http import NoListener
from tests.bench.measure import Row, compare, p99
from tests.bench.product import one_by_one, open_product, settings_for
from tests.bench.servers import ChatServer, Endpoint, serve_model, serve_slack, serve_tools
from tests.bench.turn import QUESTION

MAX_CALLS = 4.0
AT_ONCE = 200
BURST = 20
MAX_BURST_S = 2.0
GREETING = "good morning"
TOLERANCES = {"all at once": None, "25 at once": 25, "5 at once": 5, "one a second and no more": 1}
# Slack's own rates would make a benchmark a test of patience: what the work costs does not depend on them.
UNBOUNDED = {method: replace(rate, calls=100_000, per_channel=None) for method, rate in RATES.items()} | {
    method: replace(RATES["users.info"], calls=100_000)
    for method in ("agents.sessions.setStatus", "chat.update", "reactions.add")
}


async def slack_cost(folder: Path, *, quick: bool) -> Sequence[Row]:
    """Compare a turn in Slack with one on a platform that costs nothing, and time what people see."""
    rounds, turns, questions, at_once = (1, 2, 2, 4) if quick else (9, 20, 30, AT_ONCE)
    async with (
        serve_model() as endpoint,
        serve_tools(folder / "workspaces") as tools_url,
        serve_slack() as slack,
        open_product(home=folder / "plain", model_url=endpoint.url, tools_url=tools_url) as product,
        serving_slack(slack, home=folder / "slack", endpoint=endpoint, tools_url=tools_url),
    ):
        costs = await compare(
            {"slack": in_slack(slack, turns), "plain": one_by_one(product, QUESTION, turns=turns)},
            rounds=rounds,
            units=turns,
        )
        alone = await slack.ask(QUESTION, questions=questions, at_once=False)
        together = await slack.ask(QUESTION, questions=at_once, at_once=True)
    acknowledged, first_sign = together["acknowledged_s"], together["first_sign_s"]
    return [
        Row(
            figure="CPU of a turn in Slack over the same turn on a platform that costs nothing",
            value=costs.cpu_ratio("slack", over="plain"),
            beside=f"{costs.cpu_s('slack') * 1e3:.1f} ms over {costs.cpu_s('plain') * 1e3:.1f} ms",
        ),
        Row(
            figure="calls of Slack's API for a short answer with two tool calls",
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
            figure=f"from delivery to acknowledgement, {at_once} questions at once (p99)",
            value=p99(acknowledged) * 1e3,
            unit="ms",
            goal=3_000.0,
            beside=f"median {median(acknowledged) * 1e3:.0f} ms; {len(acknowledged)} deliveries",
        ),
        Row(
            figure=f"from delivery to the first visible sign, {at_once} questions at once (p99)",
            value=p99(first_sign) * 1e3,
            unit="ms",
            beside=f"median {median(first_sign) * 1e3:.0f} ms",
        ),
    ]


async def bursts(folder: Path, *, quick: bool) -> Sequence[Row]:
    """Time many mentions at once in one channel, for all that Slack may take of them."""
    questions = 2 if quick else BURST
    async with (
        serve_model() as endpoint,
        serve_tools(folder / "workspaces") as tools_url,
        serve_slack() as slack,
        serving_slack(slack, home=folder / "slack", endpoint=endpoint, tools_url=tools_url, rates=RATES),
    ):
        seen = {
            tolerance: await slack.burst(GREETING, questions=questions, posts_at_once=at_once)
            for tolerance, at_once in TOLERANCES.items()
        }
    return [
        Row(
            figure=f"{questions} mentions at once in one channel, until the last answer, where Slack takes {tolerance}",
            value=each["last_answer_s"],
            unit="s",
            goal=MAX_BURST_S if TOLERANCES[tolerance] is None else None,
            beside=f"{each['refused']} posts refused",
        )
        for tolerance, each in seen.items()
    ]


@asynccontextmanager
async def serving_slack(
    slack: ChatServer,
    *,
    home: Path,
    endpoint: Endpoint,
    tools_url: str,
    rates: Mapping[str, Rate] = UNBOUNDED,
    **others: object,
) -> AsyncGenerator[None]:
    """Serve the loopback Slack while the context is open; `others` are settings."""
    options = SlackOptions(bot_token="xoxb-test", app_token="xapp-test", api_url=slack.api_url, rates=rates)
    settings = settings_for(home=home, model_url=endpoint.url, tools_url=tools_url, **others)
    async with (
        open_watching(settings, NoListener()) as watching,
        open_app(settings, [lambda host: open_slack(options, host)], drain_s=1, watchers=watching.watchers) as app,
    ):
        watching.started(app)
        (adapter,) = app.adapters
        assert isinstance(adapter, SlackAdapter)
        running = asyncio.create_task(adapter.run())
        try:
            await app.tools.offer(None)
            async with asyncio.timeout(30):
                while not adapter.session.is_connected:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def in_slack(slack: ChatServer, turns: int) -> Callable[[], Awaitable[None]]:
    """Return a work: to ask the same so many times in Slack."""

    async def work() -> None:
        await slack.ask(QUESTION, questions=turns, at_once=False)

    return work
