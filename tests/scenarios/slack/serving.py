"""Toolbridge serving a loopback Slack within the test's process: all of the bot, the real SDK, a model by script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from adapters.slack.adapter import SlackAdapter
from adapters.slack.opening import open_slack
from adapters.slack.options import SlackOptions
from adapters.slack.progress import Pace
from adapters.slack.session import Watch
from bot.app import App, OpenAdapter, open_app
from bot.domain.backoff import Backoff
from bot.http.listener import open_listener
from bot.settings import load_settings
from bot.turns.limits import LEASE_S, Patience
from tests.fakes.openai import serve_openai
from tests.fakes.rights import allow_all
from tests.fakes.slack import FakeSlack
from tests.scenarios.model import Model
from tests.scenarios.tools import bundled_tools, without_tools

WAIT_S = 60.0
Mode = Literal["socket", "http"]
# Faster than people need it, so that tests do not wait.
QUICK = Pace(
    trace_delay_s=0.3,
    trace_gap_s=0.1,
    append_gap_s=0.05,
    edit_gap_s=0.05,
    grow_from_chars=400,
    grow_from_s=0.5,
    status_delay_s=0.0,
    status_gap_s=0.05,
)
WATCH = Watch(
    ping_interval_s=1.0,
    look_s=0.05,
    stuck_s=2.0,
    steady_s=0.0,
    backoff=Backoff(first_s=0.1),
    closed_backoff=Backoff(first_s=0.5),
    note_s=0.2,
    share_s=0.2,
)


@dataclass
class Bot:
    """The bot as it serves, with the world around it."""

    slack: FakeSlack
    app: App
    adapter: SlackAdapter
    model: Model


@asynccontextmanager
async def open_world() -> AsyncGenerator[tuple[FakeSlack, Model]]:
    """A loopback Slack with a channel C1 of three people, a direct message each, and a model."""
    async with FakeSlack() as slack, serve_openai(control=True) as url:
        for user, name in (("U1", "Ada"), ("U2", "Ben"), ("U3", "Cleo")):
            slack.add_user(user, name=name.lower(), display_name=name)
        slack.add_channel("C1", members=["U1", "U2", "U3"])
        yield slack, Model(url)


@asynccontextmanager
async def serving(
    slack: FakeSlack,
    model: Model,
    home: Path,
    *,
    mode: Mode = "socket",
    options: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    patience: Patience | None = None,
    lease_s: float = LEASE_S,
    beside: Sequence[OpenAdapter] = (),
) -> AsyncGenerator[Bot]:
    """One life of the bot in `home`; a second one in the same home goes on where the first ended.

    It serves other platforms `beside` Slack.
    """
    slack_options = SlackOptions(
        bot_token="xoxb-test",
        app_token="xapp-test" if mode == "socket" else "",
        signing_secret="signing-test" if mode == "http" else "",
        api_url=slack.api_url,
        pace=QUICK,
        watch=WATCH,
    )
    slack_options = replace(slack_options, **(options or {}))
    allow_all(home)
    given = {
        "openai_base_url": model.url,
        "openai_model": "rehearsal",
        "toolbridge_home": home,
        "requests_per_minute": 10_000,
        **(settings or {}),
    }
    async with (
        bundled_tools(home, given) as tools,
        open_listener("127.0.0.1", 0) as http,
        open_app(
            load_settings(env_file=None, **{**given, **tools}),
            [lambda host: open_slack(slack_options, host), *beside],
            drain_s=0.5,
            patience=patience,
            lease_s=lease_s,
            http=http,
        ) as app,
        asyncio.TaskGroup() as group,
    ):
        adapter, *others = app.adapters
        assert isinstance(adapter, SlackAdapter)
        running = group.create_task(adapter.run())
        all_running = [running, *(group.create_task(other.run()) for other in others)]
        try:
            async with asyncio.timeout(WAIT_S):
                await _opened(adapter, running)
            slack.mode = mode
            if mode == "http":
                slack.events_url = f"http://127.0.0.1:{adapter.session.port}/slack/events"
            yield Bot(slack, app, adapter, model)
        finally:
            for task in all_running:
                task.cancel()


@asynccontextmanager
async def open_bot(
    home: Path,
    *,
    mode: Mode = "socket",
    options: Mapping[str, Any] | None = None,
    patience: Patience | None = None,
    **settings: Any,
) -> AsyncGenerator[Bot]:
    """The bot in a new world; by default without tools, which most conversations need none of."""
    async with (
        open_world() as (slack, model),
        serving(
            slack,
            model,
            home,
            mode=mode,
            options=options,
            patience=patience,
            settings={**without_tools(home), **settings},
        ) as bot,
    ):
        yield bot


async def _opened(adapter: SlackAdapter, running: asyncio.Task[None]) -> None:
    opening = asyncio.ensure_future(adapter.session.opened.wait())
    await asyncio.wait([opening, running], return_when=asyncio.FIRST_COMPLETED)
    opening.cancel()
    if running.done():
        running.result()
