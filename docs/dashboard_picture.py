"""Draws the picture of the Grafana dashboard: docs/dashboard-light.svg and docs/dashboard-dark.svg.

`toolbridge run` serves a loopback Slack and a loopback Discord for a minute and a half, with a scripted model and
scripted tools; a Prometheus of Debian's package scrapes it. The panels show what Prometheus answers to the dashboard's
own queries; Grafana itself is not started. Each run differs a little, so the picture does too. Run it from the
repository's folder, with `prometheus` on the PATH or named by PROMETHEUS: `python -m docs.dashboard_picture`.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

from docs.panels import LOOKS, Line, draw_dashboard, line_of
from docs.prometheus import Prometheus, free_port, open_prometheus
from docs.team_pictures import SERVERS, Team, Tool, asks_for, call
from tests.scenarios.drivers import DRIVERS, Conversation, Driver, Person
from tests.scenarios.drivers.slack import SlackDriver

FOLDER = Path(__file__).parent
DASHBOARD = FOLDER.parent / "deploy" / "grafana" / "dashboards" / "toolbridge.json"
# What Grafana puts in place of its variables: the interval is the shortest that it takes where it scrapes every second
# and shows a quarter of an hour; any process.
VARIABLES = {"$__rate_interval": "15s", "$instance": ".*"}
ROUNDS = 4
THOUGHT_S = 6.0  # until someone presses
REST_S = 5.0
PRICES = {"MODEL_PRICE_INPUT_USD": "2", "MODEL_PRICE_OUTPUT_USD": "8", "MODEL_PRICE_CACHED_INPUT_USD": "0.5"}
TOOLS = {
    **SERVERS,
    "tracker": (
        Tool(name="blockers", arguments=["release"], result="No open blockers for 4.2.0.", reads=True, takes_s=0.3),
        Tool(name="search", arguments=["text"], result="The index is being rebuilt.", reads=True, fails=True),
    ),
    "deploys": (
        Tool(name="status", arguments=["env"], result="4.1.3, 3 of 3 instances healthy", reads=True, takes_s=0.1),
        Tool(name="restart", arguments=["env", "service"], result="restarted", takes_s=1.5),
    ),
}
LOOKED = asks_for(call("tracker__blockers", release="4.2.0"), call("deploys__status", env="prod"))
SEARCHED = asks_for(call("tracker__search", text="login"))
RESTARTED = asks_for(call("deploys__restart", env="staging", service="search"))
SAID = {"text": "There were no blockers for **4.2.0**; production runs 4.1.3, and all 3 instances are healthy. " * 3}
PEOPLE: Sequence[Person] = ("ada", "ben", "cleo")


class Afternoon:
    """What people ask of the bot, on both platforms."""

    def __init__(self, team: Team, discord: Driver) -> None:
        self._model = team.model
        self._slack, self._discord = team.driver, discord

    async def pass_by(self) -> None:
        """Let everything happen that the dashboard shows."""
        await self._model.pace(first_token_s=0.5, chunk_s=0.03)
        for number in range(ROUNDS):
            await self._ask(self._slack, LOOKED, SAID)
            await self._ask(self._discord, SEARCHED, SAID)
            await self._decide(self._slack if number % 2 else self._discord, "Decline" if number == 1 else "Run")
            await self._go_wrong(number)
            await self._crowd()

    async def _ask(self, driver: Driver, *answers: Mapping[str, Any], by: Person = "ada", times: int = 1) -> None:
        """Ask `times` questions in a row in a thread of its own, and wait for the answers."""
        await self._model.script(*answers * times)
        thread = await self._open(driver, by)
        for _ in range(times):
            await thread.ask("is anything in the way of 4.2.0?", by=by)
        await thread.answered(times)

    async def _open(self, driver: Driver, by: Person) -> Conversation:
        """Return a new thread: in Slack they begin with the question, and are in as many places as there are people."""
        return await driver.open("direct" if driver is self._slack else "thread", by=by)

    async def _decide(self, driver: Driver, label: str) -> None:
        """Ask for what needs an approval; other questions are answered until someone presses."""
        await self._model.script(RESTARTED)
        thread = await self._open(driver, "ada")
        await thread.ask("restart search on staging, please")
        asked = await thread.asked()
        ends_at = time.monotonic() + THOUGHT_S
        while time.monotonic() < ends_at:
            await self._ask(self._slack, SAID, by="ben")
        await self._model.script(SAID)
        await asked.press(label)
        await thread.answered()

    async def _crowd(self) -> None:
        """Everybody asks at once, one of them several questions in one thread, which have to wait for each other."""
        async with asyncio.TaskGroup() as group:
            for by in PEOPLE:
                group.create_task(self._ask(self._slack, SAID, by=by))
            group.create_task(self._ask(self._discord, SAID, times=4))

    async def _go_wrong(self, number: int) -> None:
        """The model, or a platform, refuses a request with a pause; a connection breaks; questions fail."""
        match number:
            case 0:
                await self._model.fail("rate_limit", retry_after_s=2, times=2)
            case 1:
                self._slack.fail_post("429")
            case _:
                await self._discord.cut()
        await self._fail(self._slack)

    async def _fail(self, driver: Driver) -> None:
        """Ask what the model refuses to answer."""
        await self._model.fail("content_filter")
        thread = await self._open(driver, "cleo")
        await thread.ask("and what do you think of that?", by="cleo")
        await driver.until(lambda: thread.messages)


async def watch(home: Path) -> tuple[Mapping[int, Sequence[Line]], tuple[int, int]]:
    """Return what each panel of the dashboard shows of the run, by its id, and when it began and ended."""
    async with AsyncExitStack() as stack:
        slack = await stack.enter_async_context(DRIVERS["slack"](home))
        discord = await stack.enter_async_context(DRIVERS["discord"](home))
        cast("SlackDriver", slack).slack.add_user_group("S0614TZR7", "U2", "U3")  # of the rules
        team = Team(driver=slack, servers=TOOLS)
        port = free_port()
        settings = {**discord.environment, **PRICES, "METRICS": "true", "HTTP_PORT": str(port)}
        await stack.enter_async_context(team.run(**settings, REQUESTS_PER_MINUTE="10000"))
        await discord.until(lambda: discord.is_connected)
        prometheus = await stack.enter_async_context(open_prometheus(home, port=port))
        await prometheus.until_scraped()
        start_at = int(time.time())
        await Afternoon(team, discord).pass_by()
        await asyncio.sleep(REST_S)
        span = start_at, int(time.time()) - 1
        return {panel["id"]: await _read(panel, prometheus, span) for panel in dashboard()["panels"]}, span


def dashboard() -> Mapping[str, Any]:
    return json.loads(DASHBOARD.read_text(encoding="utf-8"))


async def _read(panel: Mapping[str, Any], prometheus: Prometheus, span: tuple[int, int]) -> Sequence[Line]:
    start_at, end_at = span
    return [
        line_of(series, target["legendFormat"])
        for target in panel.get("targets", ())
        for series in await prometheus.read(_filled(target["expr"]), start_at=start_at, end_at=end_at)
    ]


def _filled(query: str) -> str:
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    return query


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        found, (start_at, end_at) = asyncio.run(watch(Path(home)))
    for look in LOOKS:
        picture = draw_dashboard(dashboard(), found, start_at=start_at, end_at=end_at, look=look)
        FOLDER.joinpath(f"dashboard-{look}.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
