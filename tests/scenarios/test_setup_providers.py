"""`toolbridge setup` with OpenAI, Azure and Discord: what is written, and what is said where something is wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.fakes.discord import FakeDiscord
from tests.fakes.internet import serve_as
from tests.fakes.local_models import json_routes
from tests.fakes.openai import serve_openai
from tests.fakes.terminal import run_in_terminal
from tests.scenarios.conftest import Endpoint, Toolbridge
from tests.scenarios.test_setup_command import BOT_TOKEN, SETUP, Dialogue, settings_of

OPENAI_KEY = "sk-proj-0123456789abcdefghijABCDEFGHIJ"
AZURE_KEY = "0123456789abcdef0123456789abcdef"
ENTRA = {
    "access_token": "entra-token",
    "expires_on": 4_000_000_000,
    "token_type": "Bearer",
    "resource": "https://cognitiveservices.azure.com",
}


@pytest.fixture
async def openai(toolbridge: Toolbridge, tmp_path: Path) -> AsyncIterator[Endpoint]:
    """https://api.openai.com, as the bot's process reaches it."""
    async with (
        serve_openai(control=True) as url,
        serve_as("api.openai.com", urlsplit(url).port or 0, folder=tmp_path) as variables,
    ):
        toolbridge.settings |= variables
        yield Endpoint(url)


@pytest.fixture
async def azure(toolbridge: Toolbridge) -> AsyncIterator[Endpoint]:
    """An Azure resource, on a machine with an identity of Azure's."""
    async with serve_openai(control=True, routes=json_routes({"/identity": ENTRA})) as url:
        address = url.removesuffix("/v1")
        toolbridge.settings |= {
            "IDENTITY_ENDPOINT": f"{address}/identity",
            "IDENTITY_HEADER": "h",
            "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
        }
        yield Endpoint(address)


# --- OpenAI ----------------------------------------------------------------------------------------------------


async def test_openai_with_its_key_answers_and_is_written(toolbridge: Toolbridge, openai: Endpoint) -> None:
    toolbridge.settings |= {"OPENAI_API_KEY": OPENAI_KEY}
    ran = await toolbridge.run("setup", "--openai", "--yes")
    assert ran.code == 0, ran
    assert "gpt-4.1 called a tool and answered" in ran.out and "ok     model: gpt-4.1 answered" in ran.out
    assert settings_of(toolbridge) == {"OPENAI_MODEL": "gpt-4.1", "OPENAI_API_KEY": OPENAI_KEY}
    assert OPENAI_KEY not in ran.out + ran.err
    assert (await openai.requests())[0]["model"] == "gpt-4.1"


async def test_a_key_that_openai_refuses_or_none_writes_nothing(toolbridge: Toolbridge, openai: Endpoint) -> None:
    ran = await toolbridge.run("setup", "--openai", "--yes")
    assert (
        ran.code == 2 and "OPENAI_API_KEY is missing: set it in the environment or in the file of --secrets" in ran.err
    )
    toolbridge.settings |= {"OPENAI_API_KEY": OPENAI_KEY}
    await openai.fail("unauthorized")
    ran = await toolbridge.run("setup", "--openai", "--yes")
    assert ran.code == 1 and "OPENAI_API_KEY" in ran.err and "Incorrect API key provided" in ran.err
    assert "Nothing was changed." in ran.out and OPENAI_KEY not in ran.out + ran.err
    await openai.fail("not_found")
    ran = await toolbridge.run("setup", "--openai", "--model", "gpt-9", "--yes")
    assert ran.code == 1 and "gpt-9" in ran.err and "OPENAI_MODEL" in ran.err
    assert list(toolbridge.folder.iterdir()) == []


# --- Azure -----------------------------------------------------------------------------------------------------


def resource(azure: Endpoint, *more: str) -> tuple[str, ...]:
    return ("setup", "--azure-endpoint", azure.url, "--azure-deployment", "team-gpt", *more, "--yes")


async def test_azure_with_entra_id_writes_no_key(toolbridge: Toolbridge, azure: Endpoint) -> None:
    ran = await toolbridge.run(*resource(azure, "--entra"))
    assert ran.code == 0, ran
    assert "team-gpt called a tool and answered" in ran.out
    assert settings_of(toolbridge) == {"AZURE_OPENAI_ENDPOINT": azure.url, "AZURE_OPENAI_DEPLOYMENT": "team-gpt"}
    assert "entra-token" not in ran.out + ran.err


async def test_what_azure_refuses_is_said_with_what_to_check(toolbridge: Toolbridge, azure: Endpoint) -> None:
    await azure.fail("unauthorized")
    ran = await toolbridge.run(*resource(azure, "--entra"))
    assert ran.code == 1 and "Cognitive Services OpenAI User" in ran.err
    none = await toolbridge.run(*resource(azure))
    assert none.code == 2 and "AZURE_OPENAI_API_KEY is missing" in none.err and "--entra" in none.err
    half = await toolbridge.run("setup", "--azure-endpoint", azure.url, "--entra", "--yes")
    assert half.code == 2 and "--azure-deployment" in half.err
    toolbridge.settings |= {"IDENTITY_ENDPOINT": f"{azure.url}/nothing"}
    ran = await toolbridge.run(*resource(azure, "--entra"))
    assert ran.code == 1 and "az login" in ran.err
    assert list(toolbridge.folder.iterdir()) == []


async def test_a_wrong_key_of_openai_and_then_azure_at_a_terminal(
    toolbridge: Toolbridge, openai: Endpoint, azure: Endpoint
) -> None:
    toolbridge.settings |= {"HOME": str(toolbridge.folder.parent), "OLLAMA_HOST": "http://127.0.0.1:9"}
    await openai.fail("unauthorized")
    async with run_in_terminal([*SETUP, "--trust"], environment=toolbridge.environment, folder=toolbridge.folder) as (
        terminal,
        process,
    ):
        person = Dialogue(terminal)
        await person.shows("Which model is to answer?")
        await person.shows(". None: ")  # the last one
        options = terminal.text.partition("Which model is to answer?")[2]
        await person.answer("Number:", number_of(options, "OpenAI"))
        await person.answer("Key (sk-...):", OPENAI_KEY)
        await person.answer("Model: [gpt-4.1]")
        await person.shows("Incorrect API key provided")
        await person.answer("Number:", number_of(options, "Azure OpenAI"))
        await person.answer("Endpoint (https://NAME.openai.azure.com):", azure.url)
        await person.answer("Deployment:", "team-gpt")
        await person.answer("Number:", "1")
        await person.answer("Key:", AZURE_KEY)
        await person.shows("team-gpt called a tool and answered")
        await person.answer("Set Slack up?", "n")
        await person.answer("Set Discord up?", "n")
        await person.answer("Write this?")
        await person.shows("ok     model: team-gpt answered")
        await person.shows("`toolbridge run` serves the chat platforms.")
        assert await process.wait() == 0
    assert OPENAI_KEY not in terminal.text and AZURE_KEY not in terminal.text
    assert settings_of(toolbridge) == {
        "AZURE_OPENAI_ENDPOINT": azure.url,
        "AZURE_OPENAI_DEPLOYMENT": "team-gpt",
        "AZURE_OPENAI_API_KEY": AZURE_KEY,
    }


def number_of(options: str, wanted: str) -> str:
    return next(line.split(".")[0].strip() for line in options.splitlines() if line.endswith(f". {wanted}"))


# --- Discord ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def discord(toolbridge: Toolbridge) -> AsyncIterator[FakeDiscord]:
    async with FakeDiscord() as discord:
        discord.token = BOT_TOKEN
        toolbridge.settings |= {"DISCORD_API_URL": discord.api_url, "DISCORD_GATEWAY_URL": discord.gateway_url}
        yield discord


async def test_discord_with_its_token_is_written(toolbridge: Toolbridge, discord: FakeDiscord) -> None:
    discord.add_guild("Team")
    toolbridge.settings |= {"DISCORD_BOT_TOKEN": BOT_TOKEN}
    ran = await toolbridge.run("setup", "--discord", "--yes")
    assert ran.code == 0, ran
    assert "in 1 server." in ran.out and "+ DISCORD_BOT_TOKEN=[hidden]" in ran.out
    assert settings_of(toolbridge) == {"DISCORD_BOT_TOKEN": BOT_TOKEN}
    assert BOT_TOKEN not in ran.out + ran.err


async def test_a_token_that_discord_refuses_and_what_is_none_write_nothing(
    toolbridge: Toolbridge, discord: FakeDiscord
) -> None:
    toolbridge.settings |= {"DISCORD_BOT_TOKEN": f"{BOT_TOKEN}x"}
    ran = await toolbridge.run("setup", "--discord", "--yes")
    assert ran.code == 1 and "Discord does not accept DISCORD_BOT_TOKEN" in ran.err
    toolbridge.settings |= {"DISCORD_BOT_TOKEN": "1234567890123456789"}  # the application's ID
    ran = await toolbridge.run("setup", "--discord", "--yes")
    assert ran.code == 2 and "DISCORD_BOT_TOKEN is not a bot token. Copy it from the Bot page" in ran.err
    assert list(toolbridge.folder.iterdir()) == []


async def test_a_discord_bot_without_server_or_intent_is_written_with_what_is_to_do(
    toolbridge: Toolbridge, discord: FakeDiscord
) -> None:
    toolbridge.settings |= {"DISCORD_BOT_TOKEN": BOT_TOKEN}
    ran = await toolbridge.run("setup", "--discord", "--yes")
    assert ran.code == 1 and "in 0 servers. Invite it: https://discord.com/oauth2/authorize" in ran.out
    discord.add_guild("Team")
    discord.has_message_content = False
    ran = await toolbridge.run("setup", "--discord", "--yes")
    assert ran.code == 1
    assert "the Message Content intent is off. Switch it on in the Developer Portal under Bot" in ran.out
    assert settings_of(toolbridge) == {"DISCORD_BOT_TOKEN": BOT_TOKEN}


# --- all at once -----------------------------------------------------------------------------------------------


async def test_a_script_hears_of_all_secrets_and_servers_that_are_missing_at_once(
    toolbridge: Toolbridge, tmp_path: Path
) -> None:
    ran = await toolbridge.run("setup", "--openai", "--slack", "--discord", "--yes")
    assert ran.code == 2 and ran.err.startswith("toolbridge: 4 things are wrong")
    for name in ("OPENAI_API_KEY", "SLACK_APP_TOKEN", "SLACK_BOT_TOKEN", "DISCORD_BOT_TOKEN"):
        assert f"- {name} is missing: set it in the environment or in the file of --secrets (" in ran.err
    codex = tmp_path / "config.toml"
    codex.write_text('[mcp_servers.odd]\ncolour = 1\n[mcp_servers.bad]\nargs = []\n[mcp_servers.ok]\ncommand = "x"\n')
    ran = await toolbridge.run("setup", "--mcp-from", str(codex), "--mcp-from", "none.json", "--yes")
    assert ran.code == 2
    for said in ("odd is left out", "bad is left out", "--mcp-from none.json: there is no such file."):
        assert said in ran.err
    assert list(toolbridge.folder.iterdir()) == []
