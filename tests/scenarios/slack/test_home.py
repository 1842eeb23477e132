"""The app's Home tab: what the bot is, how its tool servers are, what to try, and what the person has used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.slack.pressing import labels
from tests.scenarios.slack.serving import Bot, Mode, open_bot
from tests.scenarios.slack.threads import start

BUNDLED: dict[str, Any] = {"mcp_config": None}  # the server that comes with the bot
TOKYO = "What time is it in Tokyo?"


async def opened(bot: Bot, user: str, *, showing: str) -> str:
    """Open someone's Home tab and return what it shows once that is in it."""
    before = len(bot.slack.calls_of("views.publish"))
    await bot.slack.open_home(user)
    await bot.slack.until(lambda: len(bot.slack.calls_of("views.publish")) > before and bot.slack.home(user))
    shown = bot.slack.text_of(bot.slack.home(user))
    assert showing in shown
    return shown


@pytest.mark.parametrize("mode", ["socket", "http"])
async def test_the_home_tab_tells_what_the_bot_is_its_servers_the_examples_and_the_askers_own_use(
    tmp_path: Path, mode: Mode
) -> None:
    async with open_bot(tmp_path, mode=mode, **BUNDLED) as bot:
        await bot.model.script({"text": "Hello."})
        await (await start(bot, "U2", "hello")).answered()
        shown = await opened(bot, "U1", showing="I answer questions with the tools of your team's MCP servers.")
        assert "Model: `rehearsal`" in shown and "mention me in a channel" in shown
        assert "*toolbridge*: ready, 9 tools" in shown
        assert "*Your use so far*: today 0 turns" in shown
        home = bot.slack.home("U1")
        assert home and home["type"] == "home"
        assert labels(home["blocks"])[:3] == ["Time somewhere else", "Two tools at once", "Calculate and save"]
        assert "*Your use so far*: today 1 turn," in await opened(bot, "U2", showing="*Your use so far*")
        assert "**" not in shown  # a view shows mrkdwn


async def test_the_home_tab_shows_a_guest_no_tools_and_says_why(tmp_path: Path) -> None:
    async with open_bot(tmp_path, **BUNDLED) as bot:
        bot.slack.add_user("U4", display_name="Gus", is_restricted=True)
        shown = await opened(bot, "U4", showing="a guest of this workspace")
        home = bot.slack.home("U4")
        assert "toolbridge" not in shown and home and labels(home["blocks"]) == []


async def test_an_example_in_the_home_tab_is_started_in_a_direct_message_once(tmp_path: Path) -> None:
    async with open_bot(tmp_path, **BUNDLED) as bot:
        await opened(bot, "U1", showing="toolbridge")
        pressed = await bot.slack.press_in_home("U1", "tb:example:1")
        bot.slack.deliver("interactive", pressed.payload, team="T1")  # Slack delivers it once more
        await bot.slack.settled()
        room = bot.slack.dm("U1")
        await bot.slack.until(lambda: bot.slack.bot_messages(room))
        (question,) = bot.slack.bot_messages(room)
        assert question.text == f"<@U1> asks: {TOKYO}"
        await bot.slack.until(lambda: "Tokyo" in bot.slack.visible(room, question.ts)[-1].shown)
        await bot.slack.until(lambda: bot.slack.status(room, question.ts) == "active")
        assert "*Your use so far*: today 1 turn," in await opened(bot, "U1", showing="*Your use so far*")


async def test_an_example_that_cannot_be_started_from_the_home_tab_is_explained_in_a_window(tmp_path: Path) -> None:
    async with open_bot(tmp_path, **BUNDLED) as bot:
        await opened(bot, "U1", showing="toolbridge")
        token = bot.slack.tokens["xoxb-test"]
        token.scopes = tuple(scope for scope in token.scopes if scope != "im:write")
        await bot.slack.press_in_home("U1", "tb:example:1")
        await bot.slack.until(lambda: bot.slack.views("U1"))
        assert "lacks the permission im:write" in bot.slack.text_of(bot.slack.views("U1")[-1])


async def test_a_tool_server_that_is_dead_is_shown_as_down_with_the_reason(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_text(json.dumps({"mcpServers": {"dead": {"command": str(tmp_path / "missing")}}}), encoding="utf-8")
    async with open_bot(tmp_path, mcp_config=file) as bot:
        shown = await opened(bot, "U1", showing="*dead*: down (")
        assert "0 tools" in shown


async def test_the_home_tab_is_drawn_though_slack_fails_at_first(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        bot.slack.fail_next("views.publish", status=500)
        await bot.slack.open_home("U1")
        await bot.slack.until(lambda: bot.slack.home("U1"))
        assert "No tool server is set up." in bot.slack.text_of(bot.slack.home("U1"))


async def test_opening_the_messages_tab_draws_nothing(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        event = {"type": "app_home_opened", "user": "U2", "channel": bot.slack.dm("U2"), "tab": "messages"}
        bot.slack.deliver_event(event, team="T1")
        await opened(bot, "U1", showing="How to ask")
        await bot.slack.settled()
        assert bot.slack.home("U2") is None
