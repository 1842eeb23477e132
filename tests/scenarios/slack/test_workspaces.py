"""Several workspaces install the bot by themselves, and remove it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from tests.fakes.slack import FakeSlack
from tests.scenarios.model import Model
from tests.scenarios.slack.seen import answers, until_answered
from tests.scenarios.slack.serving import Bot, Mode, open_world, serving
from tests.scenarios.tools import without_tools

PAGE_S = 60.0


@asynccontextmanager
async def two_workspaces() -> AsyncGenerator[tuple[FakeSlack, Model]]:
    """T1 with the channel C1 and U1 in it, T2 with C9 and U9; the bot is installed in neither."""
    async with open_world() as (slack, model):
        slack.add_team("T2", token="xoxb-test-2", bot_user="UBOT2", bot_id="B2")
        slack.add_user("U9", name="ina", display_name="Ina", team="T2")
        slack.add_channel("C9", members=["U9"], team="T2")
        yield slack, model


def many(slack: FakeSlack, model: Model, home: Path, *, mode: Mode = "socket") -> Any:
    """The bot for several workspaces, with its install pages."""
    options: dict[str, Any] = {"bot_token": "", "client_id": "client-test", "client_secret": "client-secret-test"}
    return serving(slack, model, home, mode=mode, options=options, settings=without_tools(home))


@dataclass
class Page:
    status: int
    text: str


@dataclass
class Browser:
    """An administrator's browser: it keeps the cookie that the install page sets."""

    bot: Bot
    cookie: str = ""

    async def visit(self, path: str) -> Page:
        assert self.bot.adapter.session is not None
        await self.bot.slack.until(lambda: self.bot.adapter.session and self.bot.adapter.session.port)
        url = f"http://127.0.0.1:{self.bot.adapter.session.port}{path}"
        async with (
            asyncio.timeout(PAGE_S),
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as browser,
            browser.get(url, headers={"Cookie": self.cookie}, allow_redirects=False) as answer,
        ):
            if set_cookie := answer.headers.get("Set-Cookie"):
                self.cookie = set_cookie.partition(";")[0]
            return Page(answer.status, await answer.text())

    async def allow(self, team: str) -> str:
        """Open the install page, follow its button, allow the app in that workspace; return where Slack leads back."""
        page = await self.visit("/slack/install")
        assert page.status == 200
        link = urlsplit(page.text.partition('href="https://')[2].partition('"')[0].replace("&amp;", "&"))
        asked = parse_qs(link.query)
        assert link.path == "slack.com/oauth/v2/authorize"
        assert asked["client_id"] == ["client-test"]
        assert "chat:write" in asked["scope"][0]
        query = f"code={self.bot.slack.grant_code(team, 'U1')}&state={asked['state'][0]}"
        return f"/slack/oauth_redirect?{query}"

    async def install(self, team: str) -> Page:
        return await self.visit(await self.allow(team))


async def ask(slack: FakeSlack, channel: str = "C1", user: str = "U1", text: str = "good morning") -> str:
    return await slack.say(channel, user, text, mention=True)


@pytest.mark.parametrize("mode", ["socket", "http"])
async def test_two_workspaces_install_the_bot_and_are_served_apart_by_their_own_tokens(
    tmp_path: Path, mode: Mode
) -> None:
    async with two_workspaces() as (slack, model), many(slack, model, tmp_path, mode=mode) as bot:
        slack.api.rotates_tokens = False
        for team in ("T1", "T2"):
            page = await Browser(bot).install(team)
            assert page.status == 200
            assert "Thank you" in page.text
        roots = {"C1": await ask(slack), "C9": await ask(slack, "C9", "U9")}
        for channel, root in roots.items():
            await until_answered(slack, channel, root)
        assert {call.arguments["channel"]: call.team for call in slack.calls_of("chat.postMessage")} == {
            "C1": "T1",
            "C9": "T2",
        }
        stored = await bot.app.store.conversations(limit=10)
        assert sorted((one.conversation.space, one.conversation.channel) for one in stored) == [
            ("T1", "C1"),
            ("T2", "C9"),
        ]
        assert answers(slack, "C9", roots["C9"])[0].user == "UBOT2"


async def test_over_sockets_nothing_is_taken_that_comes_to_the_install_pages_address_instead(tmp_path: Path) -> None:
    async with (
        two_workspaces() as (slack, model),
        many(slack, model, tmp_path) as bot,
    ):
        await Browser(bot).install("T1")
        slack.hold()
        await ask(slack)
        forged = slack.held[0].payload
        url = f"http://127.0.0.1:{bot.adapter.session.port}/slack/events"
        status, _ = await slack.deliver_http(url, forged, signing_secret="guessed")
        assert status == 404
        assert await model.requests() == []


async def test_an_installation_outlives_the_process(tmp_path: Path) -> None:
    async with two_workspaces() as (slack, model):
        async with many(slack, model, tmp_path) as bot:
            await Browser(bot).install("T2")
        async with many(slack, model, tmp_path):
            root = await ask(slack, "C9", "U9")
            await until_answered(slack, "C9", root)


async def test_a_link_back_is_good_once_and_in_the_browser_that_asked_for_it(tmp_path: Path) -> None:
    async with two_workspaces() as (slack, model), many(slack, model, tmp_path) as bot:
        browser = Browser(bot)
        back = await browser.allow("T1")
        code, _, state = back.partition("&state=")
        assert (await Browser(bot).visit(back)).status == 400  # stolen
        assert (await Browser(bot, browser.cookie).visit(f"{code}&state=forged")).status == 400
        replaying = Browser(bot, browser.cookie)
        assert (await browser.visit(back)).status == 200
        again = f"/slack/oauth_redirect?code={slack.grant_code('T2')}&state={state}"
        assert (await replaying.visit(again)).status == 401
        refused = await browser.visit((await browser.allow("T2")).replace("code=", "code=wrong-"))
        assert refused.status == 401
        cancelled = await browser.visit("/slack/oauth_redirect?error=access_denied")
        assert "access_denied" in cancelled.text
        root = await ask(slack, "C9", "U9")
        await slack.settled()
        assert answers(slack, "C9", root) == []


async def test_an_installation_that_cannot_be_finished_says_so(tmp_path: Path) -> None:
    async with two_workspaces() as (slack, model), many(slack, model, tmp_path) as bot:
        browser = Browser(bot)
        slack.fail_next("oauth.v2.access", drop="before")
        page = await browser.install("T1")
        assert page.status == 503
        assert "/slack/install" in page.text
        assert (await browser.install("T1")).status == 200


async def test_a_token_that_runs_out_is_renewed_once_for_all_who_ask(tmp_path: Path) -> None:
    async with two_workspaces() as (slack, model), many(slack, model, tmp_path) as bot:
        slack.api.token_life_s = 600
        await Browser(bot).install("T1")
        slack.api.token_life_s = 43_200
        slack.advance(700)
        roots = [await ask(slack, text=f"good morning {number}") for number in range(5)]
        for root in roots:
            await until_answered(slack, "C1", root)
        installed, renewed = slack.calls_of("oauth.v2.access")
        assert installed.ok
        assert renewed.ok
        assert renewed.arguments["grant_type"] == "refresh_token"


@pytest.mark.parametrize("how", ["uninstalled", "revoked"])
async def test_a_workspace_that_removes_the_bot_is_forgotten_and_others_go_on(tmp_path: Path, how: str) -> None:
    async with two_workspaces() as (slack, model), many(slack, model, tmp_path) as bot:
        for team in ("T1", "T2"):
            await Browser(bot).install(team)
        first = await ask(slack)
        await until_answered(slack, "C1", first)
        if how == "uninstalled":
            for delivery in await slack.uninstall("T1"):
                await slack.ended(delivery)
            slack.teams["T1"].is_installed = True  # a delivery that comes late
        else:
            await slack.ended(await slack.revoke_tokens("T1"))
        assert [name for name in await bot.app.store.notes("slack/install/") if "T1" in name] == []
        late, other = await ask(slack), await ask(slack, "C9", "U9")
        await until_answered(slack, "C9", other)
        await slack.settled()
        assert answers(slack, "C1", late) == []
        assert not [delivery for delivery in slack.acks if delivery.gave_up]
        await Browser(bot).install("T1")
        back = await ask(slack)
        await until_answered(slack, "C1", back)


async def test_an_installation_for_a_whole_organisation_serves_its_workspaces(tmp_path: Path) -> None:
    async with two_workspaces() as (slack, model):
        slack.teams["T2"].enterprise = "E1"
        slack.api.installs_org_wide = True
        async with many(slack, model, tmp_path) as bot:
            assert (await Browser(bot).install("T2")).status == 200
            assert list(await bot.app.store.notes("slack/install/")) == ["slack/install/E1/-"]
            root = await ask(slack, "C9", "U9")
            await until_answered(slack, "C9", root)
            await ask(slack)  # a workspace outside of it
            await slack.settled()
            await slack.ended(await slack.slash("C9", "U9", "/history"))
            await slack.until(lambda: slack.ephemerals("U9"))
        missed = await slack.say("C9", "U9", "good evening", mention=True, deliver=False)
        async with many(slack, model, tmp_path):  # it has not heard of the workspace's organisation yet
            await until_answered(slack, "C9", missed)
        assert {call.team for call in slack.calls_of("chat.postMessage")} == {"T2"}


async def test_an_organisation_that_removes_the_app_leaves_no_installation(tmp_path: Path) -> None:
    async with two_workspaces() as (slack, model):
        slack.teams["T2"].enterprise = "E1"
        slack.api.installs_org_wide = True
        async with many(slack, model, tmp_path) as bot:
            await Browser(bot).install("T2")
            await until_answered(slack, "C9", await ask(slack, "C9", "U9"))
            for delivery in await slack.uninstall("T2"):
                await slack.ended(delivery)
            assert list(await bot.app.store.notes("slack/install/")) == []


async def test_one_token_for_an_organisation_serves_its_workspace(tmp_path: Path) -> None:
    """An organisation's own app is installed in the app's settings: its token goes into SLACK_BOT_TOKEN."""
    async with open_world() as (slack, model):
        slack.teams["T1"].enterprise, slack.teams["T1"].is_org_wide = "E1", True
        async with serving(slack, model, tmp_path, settings=without_tools(tmp_path)):
            await until_answered(slack, "C1", await ask(slack))
