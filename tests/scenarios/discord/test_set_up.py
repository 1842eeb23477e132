"""Setting the bot up for Discord and running it, beside Slack too, as its operator does: each command is a process."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from adapters.discord.adapter import DiscordOptions
from adapters.discord.diagnose import diagnose
from adapters.discord.invite import NEEDED, invite_url
from bot.ports.platform import SetUp
from tests.fakes.discord import Channel, FakeDiscord, Message, User
from tests.fakes.slack import FakeSlack
from tests.scenarios.conftest import WAIT_S, Toolbridge

TERMINATED = 128 + signal.SIGTERM
TOKEN = "bot-test"
INTENT_BIT = 1 << 15  # https://discord.com/developers/docs/events/gateway#gateway-intents


@dataclass(frozen=True)
class Place:
    """A loopback Discord with a server, a channel and Ada."""

    discord: FakeDiscord
    channel: Channel
    ada: User

    def answers(self) -> list[Message]:
        """The finished answers: those that can be rated."""
        own = self.discord.own(self.channel)
        return [each for each in own if any(mark.startswith("tb:good") for mark in each.custom_ids)]

    async def asked(self, text: str = "hello") -> Message:
        """Wait for the bot, then mention it."""
        await self.discord.until(self.discord.connected, WAIT_S)
        return await self.discord.say(self.channel, self.ada, text, mention=True)


@pytest.fixture
async def place(toolbridge: Toolbridge) -> AsyncGenerator[Place]:
    """A loopback Discord, at which the command is pointed; no tool server is set up."""
    toolbridge.write_mcp_json({})
    async with FakeDiscord() as discord:
        guild = discord.add_guild("Team")
        ada = discord.add_user("Ada", guilds=[guild])
        toolbridge.settings |= {
            "DISCORD_BOT_TOKEN": discord.token,
            "DISCORD_API_URL": discord.api_url,
            "DISCORD_GATEWAY_URL": discord.gateway_url,
        }
        yield Place(discord, discord.add_channel(guild, "general"), ada)


@pytest.fixture
async def slack(toolbridge: Toolbridge) -> AsyncGenerator[FakeSlack]:
    """A loopback Slack with a channel, at which the command is pointed as well."""
    async with FakeSlack() as slack:
        slack.add_user("U1", display_name="Ben")
        slack.add_channel("C1", members=["U1"])
        toolbridge.settings |= {
            "SLACK_BOT_TOKEN": "xoxb-test",
            "SLACK_APP_TOKEN": "xapp-test",
            "SLACK_API_URL": slack.api_url,
        }
        yield slack


# --- toolbridge discord-invite ---


async def test_the_invite_link_is_for_the_tokens_application_with_the_needed_permissions(
    toolbridge: Toolbridge,
) -> None:
    first = base64.urlsafe_b64encode(b"1234567890123456789").decode().rstrip("=")
    toolbridge.settings |= {"DISCORD_BOT_TOKEN": f"{first}.test.test"}
    ran = await toolbridge.run("discord-invite")
    assert (ran.code, ran.err) == (0, "")
    link = urlsplit(ran.out.strip())
    assert parse_qs(link.query) == {
        "client_id": ["1234567890123456789"],
        "scope": ["bot applications.commands"],
        "permissions": [str(NEEDED)],
    }
    assert first not in ran.out


@pytest.mark.parametrize(
    ("token", "told"), [("", "needs DISCORD_BOT_TOKEN"), ("not-a-token", "DISCORD_BOT_TOKEN is not a bot token")]
)
async def test_without_a_bot_token_there_is_no_invite_link_but_what_to_do(
    toolbridge: Toolbridge, token: str, told: str
) -> None:
    toolbridge.settings |= {"DISCORD_BOT_TOKEN": token}
    ran = await toolbridge.run("discord-invite")
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err and "https://discord.com/developers/applications" in ran.err
    assert not token or token not in ran.err


# --- toolbridge doctor ---


async def test_the_doctor_says_who_the_bot_is_and_in_how_many_servers(toolbridge: Toolbridge, place: Place) -> None:
    ran = await toolbridge.run("doctor")
    assert ran.code == 0
    assert "ok     discord: @toolbridge in 1 server" in ran.out.splitlines()
    assert TOKEN not in ran.out + ran.err


async def test_the_doctor_says_that_discord_is_off_where_no_token_is_set(toolbridge: Toolbridge) -> None:
    toolbridge.write_mcp_json({})
    ran = await toolbridge.run("doctor")
    assert ran.code == 0
    assert "off    discord: no token is set" in ran.out.splitlines()


async def test_the_doctor_fails_with_the_cure_where_the_token_is_wrong(toolbridge: Toolbridge, place: Place) -> None:
    toolbridge.settings |= {"DISCORD_BOT_TOKEN": "bot-wrong"}
    ran = await toolbridge.run("doctor", "--json")
    (check,) = [check for check in json.loads(ran.out) if check["part"] == "discord"]
    assert (ran.code, check["state"]) == (1, "failed")
    assert "does not accept DISCORD_BOT_TOKEN" in check["detail"] and "Developer Portal" in check["detail"]
    assert "bot-wrong" not in ran.out + ran.err and "Traceback" not in ran.err


async def test_the_doctor_is_content_without_the_intent_where_the_bot_does_without_it(place: Place) -> None:
    place.discord.has_message_content = False
    options = replace(options_for(place.discord), message_content=False)
    assert await diagnose(options) == SetUp(detail="@toolbridge in 1 server")


async def test_the_doctor_says_that_anyone_can_add_a_public_application_to_their_server(place: Place) -> None:
    place.discord.is_public = True
    found = await diagnose(options_for(place.discord))
    assert found.detail == (
        "@toolbridge in 1 server; the application is public, so that anyone can add it to a server of theirs"
    )
    assert found.is_advice and found.cure == (
        "Switch Public Bot off in the Developer Portal under Bot, or name the servers that may use it in "
        "toolbridge.toml, under places of [access]."
    )


async def test_a_servers_name_cannot_draw_on_the_operators_terminal(place: Place) -> None:
    place.discord.add_guild("Evil\x1b[2J\nok     everything").bot_permissions = 0
    found = await diagnose(options_for(place.discord))
    assert found.detail.isprintable()


async def test_the_link_that_the_doctor_gives_invites_this_bot(place: Place) -> None:
    (guild,) = place.discord.guilds.values()
    place.discord.remove_bot(guild)
    found = await diagnose(options_for(place.discord))
    assert found.cure.endswith(invite_url(str(place.discord.application_id)))


def options_for(discord: FakeDiscord) -> DiscordOptions:
    return DiscordOptions(bot_token=discord.token, api_url=discord.api_url, gateway_url=discord.gateway_url)


# --- toolbridge run ---


async def terminate(process: asyncio.subprocess.Process) -> tuple[int, str]:
    """Send SIGTERM; return the exit code and what stood on stderr since it was last read."""
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(WAIT_S):
        _, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, err.decode()


async def test_the_settings_for_discord_reach_the_bot(toolbridge: Toolbridge, place: Place) -> None:
    guild = place.channel.guild
    toolbridge.settings |= {
        "DISCORD_ALLOW_DMS": "true",
        "DISCORD_MESSAGE_CONTENT": "false",
        "DISCORD_DEV_GUILD": str(guild),
        "DISCORD_BACKFILL_MINUTES": "0",
    }
    async with toolbridge.serving("--model", "rehearsal") as process:
        await place.discord.until(place.discord.connected, WAIT_S)
        await place.discord.dm(place.ada, "hello")
        room = place.discord.dm_channel(place.ada)
        await place.discord.until(lambda: place.discord.own(room), WAIT_S)
        (session,) = place.discord.connected()
        assert not session.intents & INTENT_BIT
        assert place.discord.global_commands == []
        assert guild is not None and place.discord.guild_commands[guild][0]["contexts"] == [0, 1]
        assert (await terminate(process))[0] == TERMINATED


async def test_a_token_that_discord_does_not_accept_ends_the_bot_with_the_reason(
    toolbridge: Toolbridge, place: Place
) -> None:
    toolbridge.settings |= {"DISCORD_BOT_TOKEN": "bot-wrong"}
    ran = await toolbridge.run("run", "--model", "rehearsal")
    assert ran.code == 1
    assert "toolbridge: Discord does not accept DISCORD_BOT_TOKEN." in ran.err
    assert "Traceback" not in ran.err and "bot-wrong" not in ran.err


async def test_without_any_token_run_says_what_to_set_for_either_platform(toolbridge: Toolbridge) -> None:
    ran = await toolbridge.run("run", "--model", "rehearsal")
    assert (ran.code, ran.out) == (2, "")
    assert "Set SLACK_BOT_TOKEN and SLACK_APP_TOKEN for Slack" in ran.err
    assert "DISCORD_BOT_TOKEN for Discord (`toolbridge discord-invite`" in ran.err


@pytest.mark.parametrize(
    "setting",
    [{"DISCORD_DEV_GUILD": "Team"}, {"DISCORD_ALLOW_DMS": "perhaps"}, {"DISCORD_BACKFILL_MINUTES": "-1"}],
    ids=lambda setting: next(iter(setting)),
)
async def test_a_setting_that_discord_cannot_have_is_named(
    toolbridge: Toolbridge, place: Place, setting: dict[str, Any]
) -> None:
    toolbridge.settings |= setting
    ran = await toolbridge.run("run", "--model", "rehearsal")
    assert (ran.code, ran.out) == (2, "")
    assert next(iter(setting)) in ran.err


# --- Slack and Discord at once ---


async def test_run_answers_in_slack_and_in_discord_at_once(
    toolbridge: Toolbridge, place: Place, slack: FakeSlack
) -> None:
    async with toolbridge.serving("--model", "rehearsal") as process:
        await slack.until(slack.open_sockets, WAIT_S)
        await place.asked()
        ts = await slack.say("C1", "U1", "hello", mention=True)
        await place.discord.until(place.answers, WAIT_S)
        await slack.until(lambda: slack.bot_messages("C1", ts), WAIT_S)
        assert (await terminate(process))[0] == TERMINATED
    assert len(slack.bot_messages("C1", ts)) == 1 and len(place.answers()) == 1
    assert place.discord.connected() == [] and slack.open_sockets() == []


async def test_slack_goes_on_where_discord_does_not_accept_its_token(
    toolbridge: Toolbridge, place: Place, slack: FakeSlack
) -> None:
    toolbridge.settings |= {"DISCORD_BOT_TOKEN": "bot-wrong"}
    async with toolbridge.serving("--model", "rehearsal") as process:
        await told(process, "discord is not served any more. Discord does not accept DISCORD_BOT_TOKEN.")
        await slack.until(slack.open_sockets, WAIT_S)
        ts = await slack.say("C1", "U1", "hello", mention=True)
        await slack.until(lambda: slack.bot_messages("C1", ts), WAIT_S)
        assert slack.bot_messages("C1", ts)
        assert (await terminate(process))[0] == TERMINATED


async def test_discord_goes_on_where_slack_does_not_accept_its_token(
    toolbridge: Toolbridge, place: Place, slack: FakeSlack
) -> None:
    toolbridge.settings |= {"SLACK_BOT_TOKEN": "xoxb-wrong"}
    async with toolbridge.serving("--model", "rehearsal") as process:
        await told(process, "slack is not served any more.")
        await place.asked()
        await place.discord.until(place.answers, WAIT_S)
        assert (await terminate(process))[0] == TERMINATED


async def test_the_bot_ends_where_neither_platform_accepts_its_token(
    toolbridge: Toolbridge, place: Place, slack: FakeSlack
) -> None:
    toolbridge.settings |= {"DISCORD_BOT_TOKEN": "bot-wrong", "SLACK_BOT_TOKEN": "xoxb-wrong"}
    ran = await toolbridge.run("run", "--model", "rehearsal")
    assert ran.code == 1
    assert "DISCORD_BOT_TOKEN" in ran.err and "The bot's token is no longer valid" in ran.err
    assert "Traceback" not in ran.err and "-wrong" not in ran.err


async def told(process: asyncio.subprocess.Process, words: str) -> None:
    """Wait until the process has said so on stderr."""
    assert process.stderr is not None
    async with asyncio.timeout(WAIT_S):
        while words.encode() not in (line := await process.stderr.readline()):
            assert line, "the process has ended"
