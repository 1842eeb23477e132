"""Setting the bot up for Slack and running it, as its operator does: each command is a process."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from adapters.slack.diagnose import diagnose
from adapters.slack.manifest import BOT_SCOPES
from adapters.slack.opening import open_slack
from adapters.slack.options import SlackOptions
from bot.domain.commands import COMMANDS
from bot.domain.errors import AdapterError
from bot.ports.platform import SetUp
from mcp_server.examples import EXAMPLES
from tests.fakes.hosts import ScriptedHost
from tests.fakes.slack import FakeSlack
from tests.scenarios.conftest import WAIT_S, Toolbridge
from tests.scenarios.drivers.slack import complaint
from tests.scenarios.slack.serving import open_bot

TERMINATED = 128 + signal.SIGTERM
SOCKET = {"SLACK_BOT_TOKEN": "xoxb-test", "SLACK_APP_TOKEN": "xapp-test"}


@pytest.fixture
async def slack(toolbridge: Toolbridge) -> AsyncGenerator[FakeSlack]:
    """A loopback Slack with a channel, at which the command is pointed; no tool server is set up."""
    toolbridge.write_mcp_json({})
    async with FakeSlack() as slack:
        slack.add_user("U1", display_name="Ada")
        slack.add_channel("C1", members=["U1"])
        toolbridge.settings |= {"SLACK_API_URL": slack.api_url}
        yield slack


# --- toolbridge slack-manifest ---


async def test_the_manifest_is_json_to_paste_with_the_bundled_examples_as_suggested_prompts(
    toolbridge: Toolbridge,
) -> None:
    ran = await toolbridge.run("slack-manifest")
    assert (ran.code, ran.err) == (0, "")
    app = json.loads(ran.out)
    prompts = app["features"]["agent_view"]["suggested_prompts"]
    assert [prompt["message"] for prompt in prompts] == [example.request for example in EXAMPLES[:4]]
    assert commands_of(app) == [f"/{command.name}" for command in COMMANDS]
    assert app["settings"]["socket_mode_enabled"] is True
    assert app["features"]["shortcuts"][0]["name"] == "Tools and history"
    assert set(app["oauth_config"]["scopes"]["bot"]) == set(BOT_SCOPES)
    assert "request_url" not in ran.out


async def test_the_manifest_has_the_commands_prefix_and_for_http_the_bots_address(toolbridge: Toolbridge) -> None:
    toolbridge.write_mcp_json({})
    toolbridge.settings |= {"SLACK_COMMAND_PREFIX": "tb-"}
    ran = await toolbridge.run("slack-manifest", "--url", "https://bot.example.org/")
    app = json.loads(ran.out)
    assert commands_of(app) == [f"/tb-{command.name}" for command in COMMANDS]
    assert app["settings"]["socket_mode_enabled"] is False
    address = "https://bot.example.org/slack/events"
    assert app["settings"]["event_subscriptions"]["request_url"] == address
    assert app["settings"]["interactivity"]["request_url"] == address
    assert {command["url"] for command in app["features"]["slash_commands"]} == {address}


async def test_the_manifest_can_be_for_all_workspaces_of_an_organization(toolbridge: Toolbridge) -> None:
    toolbridge.write_mcp_json({})
    plain, org = [json.loads((await toolbridge.run("slack-manifest", *flags)).out) for flags in ([], ["--org"])]
    assert org == {**plain, "settings": {**plain["settings"], "org_deploy_enabled": True}}


async def test_a_prefix_that_slack_takes_in_no_command_is_refused(toolbridge: Toolbridge) -> None:
    toolbridge.settings |= {"SLACK_COMMAND_PREFIX": "Team "}
    ran = await toolbridge.run("slack-manifest")
    assert (ran.code, ran.out) == (2, "")
    assert "SLACK_COMMAND_PREFIX" in ran.err


def commands_of(app: Mapping[str, Any]) -> list[str]:
    return [command["command"] for command in app["features"]["slash_commands"]]


# --- toolbridge doctor ---


async def examine(toolbridge: Toolbridge) -> tuple[int, dict[str, str]]:
    """Run the doctor; return its exit code and what it says of Slack."""
    ran = await toolbridge.run("doctor", "--json")
    (check,) = [check for check in json.loads(ran.out) if check["part"] == "slack"]
    assert not [token for token in ("xoxb-", "xapp-") if f"{token}test" in ran.out + ran.err]
    return ran.code, check


async def test_the_doctor_says_who_the_bot_is_and_how_slack_reaches_it(
    toolbridge: Toolbridge, slack: FakeSlack
) -> None:
    toolbridge.settings |= SOCKET
    ran = await toolbridge.run("doctor")
    assert ran.code == 0
    assert "ok     slack: @toolbridge in t1, Socket Mode" in ran.out.splitlines()


async def test_over_http_the_doctor_says_where_slack_has_to_reach_the_bot(slack: FakeSlack) -> None:
    options = SlackOptions(
        bot_token="xoxb-test", signing_secret="signing-test", api_url=slack.api_url, http_address="127.0.0.1:1234"
    )
    assert await diagnose(options) == SetUp(detail="@toolbridge in t1, HTTP on 127.0.0.1:1234")


async def test_the_doctor_names_the_scopes_that_are_missing_with_the_cure(
    toolbridge: Toolbridge, slack: FakeSlack
) -> None:
    toolbridge.settings |= SOCKET
    slack.tokens["xoxb-test"].scopes = tuple(set(BOT_SCOPES) - {"im:history", "files:write"})
    code, check = await examine(toolbridge)
    assert (code, check["state"]) == (1, "failed")
    assert check["detail"] == "@toolbridge in t1, Socket Mode; scopes missing: files:write, im:history"
    assert "OAuth & Permissions" in check["cure"] and "reinstall" in check["cure"]


async def test_the_doctor_misses_the_scope_for_user_groups_only_where_rules_name_one(slack: FakeSlack) -> None:
    slack.tokens["xoxb-test"].scopes = tuple(set(BOT_SCOPES) - {"usergroups:read"})
    options = SlackOptions(bot_token="xoxb-test", app_token="xapp-test", api_url=slack.api_url)
    assert (await diagnose(options)).cure == ""
    found = await diagnose(options, uses_groups=True)
    assert found.detail.endswith("scopes missing: usergroups:read") and found.cure


async def test_the_doctor_says_which_setting_is_missing(toolbridge: Toolbridge, slack: FakeSlack) -> None:
    toolbridge.settings |= {"SLACK_BOT_TOKEN": "xoxb-test"}
    code, check = await examine(toolbridge)
    assert (code, check["state"]) == (1, "failed")
    assert "SLACK_APP_TOKEN" in check["detail"] and "SLACK_SIGNING_SECRET" in check["detail"]


@pytest.mark.parametrize(("method", "status"), [("auth.test", 500), ("apps.connections.open", 503)])
async def test_the_doctor_tells_a_slack_that_fails_from_a_token_that_is_wrong(
    slack: FakeSlack, method: str, status: int
) -> None:
    slack.fail_next(method, status=status)
    options = SlackOptions(bot_token="xoxb-test", app_token="xapp-test", api_url=slack.api_url)
    assert (await complaint(options)).startswith("Slack cannot be reached")


# --- toolbridge run ---


async def terminate(process: asyncio.subprocess.Process) -> int:
    """Send SIGTERM and return the exit code."""
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(WAIT_S):
        await process.communicate()
    assert process.returncode is not None
    return process.returncode


async def logged(process: asyncio.subprocess.Process, event: str) -> None:
    """Wait until the process has logged the event."""
    assert process.stdout is not None and process.stderr is not None
    async with asyncio.timeout(WAIT_S):
        while event.encode() not in (line := await process.stderr.readline()):
            assert line, "the process has ended"


async def test_a_stop_is_no_loss_of_the_connection_in_the_log(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with open_bot(tmp_path):
            pass
    events = [line["event"] for line in logs]
    assert "slack_connected" in events and "slack_disconnected" not in events


async def test_run_answers_over_http(toolbridge: Toolbridge, slack: FakeSlack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    toolbridge.settings |= {
        "SLACK_BOT_TOKEN": "xoxb-test",
        "SLACK_SIGNING_SECRET": "signing-test",
        "HTTP_PORT": str(port),
    }
    slack.mode, slack.events_url = "http", f"http://127.0.0.1:{port}/slack/events"
    async with toolbridge.serving("--model", "rehearsal") as process:
        await logged(process, "slack_http_open")
        ts = await slack.say("C1", "U1", "hello", mention=True)
        await slack.until(lambda: slack.bot_messages("C1", ts), WAIT_S)
        await slack.slash("C1", "U1", "/help")
        await slack.until(lambda: slack.ephemerals("U1"), WAIT_S)
        assert await terminate(process) == TERMINATED


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "Set SLACK_BOT_TOKEN and SLACK_APP_TOKEN for Slack"),
        ({"SLACK_BOT_TOKEN": "xoxb-test"}, "SLACK_APP_TOKEN (Socket Mode, no public address) or SLACK_SIGNING_SECRET"),
        ({"SLACK_APP_TOKEN": "xapp-test"}, "SLACK_BOT_TOKEN for one workspace"),
        (SOCKET | {"SLACK_CLIENT_ID": "1.2"}, "both SLACK_CLIENT_ID and SLACK_CLIENT_SECRET"),
        (SOCKET | {"SLACK_CLIENT_ID": "1.2", "SLACK_CLIENT_SECRET": "client-secret-test"}, "Set one of the two."),
    ],
    ids=["nothing", "no way in", "no bot token", "no client secret", "both kinds"],
)
async def test_settings_that_are_half_made_are_refused_with_what_to_set(
    toolbridge: Toolbridge, settings: dict[str, str], told: str
) -> None:
    toolbridge.settings |= settings
    ran = await toolbridge.run("run", "--model", "rehearsal")
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err and "Traceback" not in ran.err
    assert "-test" not in ran.err


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"SLACK_BOT_TOKEN": "xoxb-wrong"}, "The bot's token is no longer valid (invalid_auth)."),
        ({"SLACK_APP_TOKEN": "xapp-wrong"}, "Slack does not accept SLACK_APP_TOKEN (invalid_auth)."),
    ],
    ids=["bot token", "app token"],
)
async def test_a_token_that_slack_does_not_accept_ends_the_bot_with_the_reason(
    toolbridge: Toolbridge, slack: FakeSlack, settings: dict[str, str], told: str
) -> None:
    toolbridge.settings |= SOCKET | settings
    ran = await toolbridge.run("run", "--model", "rehearsal")
    assert ran.code == 1
    assert f"toolbridge: {told}" in ran.err and "Traceback" not in ran.err
    assert "-wrong" not in ran.err


@pytest.mark.parametrize("code", ["token_revoked", "account_inactive"])
async def test_a_token_that_was_revoked_ends_the_bot_at_its_start(slack: FakeSlack, code: str) -> None:
    slack.fail_next("auth.test", error=code)
    options = SlackOptions(bot_token="xoxb-test", app_token="xapp-test", api_url=slack.api_url)
    async with open_slack(options, ScriptedHost()) as adapter, asyncio.timeout(WAIT_S):
        with pytest.raises(AdapterError, match=rf"no longer valid \({code}\).*reinstall the app in Slack"):
            await adapter.run()
    assert slack.open_sockets() == []


async def test_over_sockets_the_bot_works_where_nothing_listens_for_its_install_pages(slack: FakeSlack) -> None:
    options = SlackOptions(client_id="c", client_secret="s", app_token="xapp-test", api_url=slack.api_url)
    async with open_slack(options, ScriptedHost()) as adapter, asyncio.timeout(WAIT_S):
        running = asyncio.create_task(adapter.run())
        await adapter.session.opened.wait()
        assert adapter.session.port == 0 and not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_an_http_port_that_is_taken_ends_the_bot_with_the_cure(toolbridge: Toolbridge, slack: FakeSlack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        toolbridge.settings |= {
            "SLACK_BOT_TOKEN": "xoxb-test",
            "SLACK_SIGNING_SECRET": "signing-test",
            "HTTP_PORT": port,
        }
        ran = await toolbridge.run("run", "--model", "rehearsal")
    assert ran.code == 1
    assert f"cannot listen on 127.0.0.1:{port}" in ran.err and "Set HTTP_HOST and HTTP_PORT" in ran.err
    assert "Traceback" not in ran.err


async def test_run_says_that_it_is_ready_and_then_health_and_metrics_tell_how_it_does(
    toolbridge: Toolbridge, slack: FakeSlack
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    toolbridge.settings |= SOCKET | {"HTTP_PORT": str(port), "METRICS": "true", "METRICS_TOKEN": "metrics-test"}
    assert (await toolbridge.run("health")).code == 1
    async with toolbridge.serving("--model", "rehearsal") as process:
        await logged(process, "ready: Slack as @toolbridge in 1 workspace, 0 tools of 0 servers, model rehearsal")
        health = await toolbridge.run("health")
        assert (health.code, health.out) == (0, "ready\n")
        ts = await slack.say("C1", "U1", "hello", mention=True)
        await slack.until(lambda: slack.bot_messages("C1", ts), WAIT_S)
        async with asyncio.timeout(WAIT_S), httpx2.AsyncClient(trust_env=False) as client:
            url = f"http://127.0.0.1:{port}/metrics"
            assert (await client.get(url)).status_code == 401
            metrics = ""
            while 'toolbridge_turns_total{platform="slack",state="answered"} 1.0' not in metrics:
                metrics = (await client.get(url, headers={"authorization": "Bearer metrics-test"})).text
        assert 'toolbridge_posts_total{outcome="posted",platform="slack"} 1.0' in metrics
        assert 'toolbridge_turn_first_sign_seconds_count{platform="slack"} 1.0' in metrics
        assert 'toolbridge_platform_connected{platform="slack"} 1.0' in metrics
        assert 'toolbridge_turns_open{state="queued"} 0.0' in metrics
        assert "toolbridge_store_batch_writes_count" in metrics and "toolbridge_store_up 1.0" in metrics
        assert 'gen_ai_provider_name="toolbridge",gen_ai_request_model="rehearsal"' in metrics
        assert await terminate(process) == TERMINATED
