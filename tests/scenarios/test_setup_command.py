"""`toolbridge setup`: from an empty folder to a bot that answers, at a terminal or by flags."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from dotenv import dotenv_values

from bot.cli.trust import look
from tests.fakes.discord import FakeDiscord
from tests.fakes.local_models import ollama_routes
from tests.fakes.openai import serve_openai
from tests.fakes.slack import FakeSlack
from tests.fakes.terminal import CTRL_C, CTRL_D, ENTER, FakeTerminal, run_in_terminal
from tests.scenarios.conftest import Ran, Toolbridge

WAIT_S = 60.0
BOT_TOKEN = base64.urlsafe_b64encode(b"1234567890123456789").decode().rstrip("=") + ".Gtest1.a1b2c3d4e5f6"
OLDTIMER = Path(__file__).parents[1] / "fakes" / "mcp_servers" / "oldtimer.py"
KEY = "ghp_0123456789abcdefghijABCDEFGHIJ012345"
CURSOR = {
    "mcpServers": {
        "github": {"command": sys.executable, "args": [str(OLDTIMER)], "env": {"GITHUB_TOKEN": KEY}},
        "docs": {"url": "https://docs.example/mcp"},
    }
}
SETUP = [sys.executable, "-m", "bot", "setup"]


@pytest.fixture
async def ollama(toolbridge: Toolbridge) -> AsyncIterator[str]:
    """An Ollama with a model that supports tools and one that does not; the person's home has nothing in it."""
    home = toolbridge.folder.parent / "person"
    home.mkdir()
    async with serve_openai(routes=ollama_routes({"old:7b": ["completion"], "qwen3:8b": ["tools"]})) as url:
        toolbridge.settings |= {"HOME": str(home), "OLLAMA_HOST": url.removesuffix("/v1")}
        yield url


def write_cursor(file: Path) -> None:
    file.parent.mkdir()
    file.write_text(json.dumps(CURSOR))


def settings_of(toolbridge: Toolbridge) -> dict[str, str | None]:
    return dotenv_values(toolbridge.folder / ".env", interpolate=False)


def servers_of(toolbridge: Toolbridge) -> dict[str, object]:
    return json.loads((toolbridge.folder / "mcp.json").read_text())["mcpServers"]


class Dialogue:
    """A terminal read in order: each text is looked for behind the one before."""

    def __init__(self, terminal: FakeTerminal) -> None:
        self._terminal = terminal
        self._read = 0

    async def shows(self, text: str) -> None:
        await self._terminal.until(lambda shown: text in shown[self._read :], what=repr(text))
        self._read = self._terminal.text.index(text, self._read) + len(text)

    async def answer(self, question: str, keys: str = "") -> None:
        await self.shows(question)
        self._terminal.type(keys + ENTER)


# --- at a terminal ---------------------------------------------------------------------------------------------


async def test_the_whole_way_at_a_terminal(toolbridge: Toolbridge, ollama: str) -> None:
    write_cursor(Path(toolbridge.settings["HOME"], ".cursor", "mcp.json"))
    (toolbridge.folder / ".env").write_text("# mine\nTZ=Europe/Berlin\n")
    async with FakeSlack() as slack, FakeDiscord() as discord:
        discord.token = BOT_TOKEN
        discord.add_guild("Team")
        toolbridge.settings |= {
            "SLACK_API_URL": slack.api_url,
            "DISCORD_API_URL": discord.api_url,
            "DISCORD_GATEWAY_URL": discord.gateway_url,
        }
        async with run_in_terminal(
            [*SETUP, "--trust"], environment=toolbridge.environment, folder=toolbridge.folder
        ) as (terminal, process):
            person = Dialogue(terminal)
            await person.shows("qwen3:8b (Ollama")
            assert "Ollama has 1 more model without tool calling." in terminal.text
            await person.answer("Number:", "1")
            await person.shows("qwen3:8b called a tool and answered")
            await person.answer("Set Slack up?", "y")
            await person.shows("https://api.slack.com/apps?new_app=1")
            await person.answer("SLACK_APP_TOKEN, the app-level token", "xapp-wrong")
            await person.answer("SLACK_BOT_TOKEN, the Bot User OAuth Token", "xoxb-test")
            await person.shows("SLACK_APP_TOKEN is not accepted")
            await person.answer("Number:", "2")
            await person.answer("SLACK_APP_TOKEN, the app-level token", "xapp-test")
            await person.answer("SLACK_BOT_TOKEN, the Bot User OAuth Token", "xoxb-test")
            await person.shows("Slack: @toolbridge in t1, Socket Mode.")
            await person.answer("Set Discord up?", "y")
            await person.answer("DISCORD_BOT_TOKEN, what Reset Token shows", BOT_TOKEN)
            await person.answer("Is Message Content Intent on?")
            await person.shows("https://discord.com/oauth2/authorize?client_id=1234567890123456789")
            await person.answer("Enter, once that is done:")
            await person.shows("in 1 server")
            await person.shows(f"Cursor has github, which starts {Path(sys.executable).name} oldtimer.py, and gets")
            await person.answer("Take github over?", "y")
            await person.shows("Cursor has docs, which connects to https://docs.example/mcp.")
            await person.answer("Take docs over?", "n")
            await person.answer("Write this?")
            await person.shows("Written.")
            await person.shows("`toolbridge run` serves the chat platforms.")
            async with asyncio.timeout(WAIT_S):
                code = await process.wait()
        shown = terminal.text
    assert code == 0 and "ok     tools github" in shown
    assert "model: qwen3:8b answered" in shown and "slack: @toolbridge in t1" in shown
    for secret in (KEY, BOT_TOKEN, "xoxb-test", "xapp-test"):
        assert secret not in shown
    assert "+ SLACK_BOT_TOKEN=[hidden]" in shown and "+ OPENAI_MODEL=qwen3:8b" in shown
    text = (toolbridge.folder / ".env").read_text()
    assert text.startswith("# mine\nTZ=Europe/Berlin\n")
    assert settings_of(toolbridge) == {
        "TZ": "Europe/Berlin",
        "OPENAI_BASE_URL": ollama,
        "OPENAI_MODEL": "qwen3:8b",
        "MODEL_CONTEXT_TOKENS": "4096",
        "SLACK_APP_TOKEN": "xapp-test",
        "SLACK_BOT_TOKEN": "xoxb-test",
        "DISCORD_BOT_TOKEN": BOT_TOKEN,
        "TOOL_GITHUB_GITHUB_TOKEN": KEY,
    }
    assert (toolbridge.folder / ".env").stat().st_mode & 0o777 == 0o600
    assert servers_of(toolbridge) == {
        "toolbridge": {"bundled": True},
        "github": {**CURSOR["mcpServers"]["github"], "env": {"GITHUB_TOKEN": "${TOOL_GITHUB_GITHUB_TOKEN}"}},
    }


@pytest.mark.parametrize(
    ("flags", "question", "key", "code"),
    [((), "Which model is to answer?", CTRL_D, 1), (("--model", "qwen3:8b"), "Write this?", CTRL_C, 130)],
)
async def test_who_leaves_at_a_question_leaves_the_files_as_they_were(
    toolbridge: Toolbridge, ollama: str, flags: Sequence[str], question: str, key: str, code: int
) -> None:
    async with run_in_terminal([*SETUP, *flags], environment=toolbridge.environment, folder=toolbridge.folder) as (
        terminal,
        process,
    ):
        person = Dialogue(terminal)
        await person.shows(question)
        if not flags:
            await person.shows("Number:")
        terminal.type(key)
        await person.shows("Nothing was changed.")
        async with asyncio.timeout(WAIT_S):
            assert await process.wait() == code
    assert list(toolbridge.folder.iterdir()) == []


# --- by flags --------------------------------------------------------------------------------------------------


async def test_a_local_model_by_its_name_is_found_and_written(toolbridge: Toolbridge, ollama: str) -> None:
    ran = await toolbridge.run("setup", "--model", "qwen3:8b", "--yes")
    assert ran.code == 0, ran
    assert settings_of(toolbridge)["OPENAI_BASE_URL"] == ollama
    assert "ok     model: qwen3:8b answered" in ran.out
    assert look(toolbridge.folder, environ=toolbridge.environment).is_used  # who agreed to the files trusts them
    missing = await toolbridge.run("setup", "--model", "none:1b", "--yes")
    assert missing.code == 2 and "(found: qwen3:8b)" in missing.err


async def test_the_files_of_a_strangers_folder_get_no_token_before_they_are_trusted(toolbridge: Toolbridge) -> None:
    (toolbridge.folder / ".env").write_text("SLACK_API_URL=https://evil.example/\n")
    toolbridge.trusts = False
    toolbridge.settings |= {"SLACK_APP_TOKEN": "xapp-test", "SLACK_BOT_TOKEN": "xoxb-test"}
    ran = await toolbridge.run("setup", "--slack", "--yes")
    assert ran.code == 2 and "Nothing was started" in ran.err


async def test_without_consent_nothing_is_written(toolbridge: Toolbridge, ollama: str) -> None:
    ran = await toolbridge.run("setup", "--model", "qwen3:8b")
    assert ran.code == 1 and "+ OPENAI_MODEL=qwen3:8b" in ran.out
    assert ran.out.endswith("Nothing was changed. Add --yes to write it.\n")
    assert list(toolbridge.folder.iterdir()) == []
    nothing = await toolbridge.run("setup")
    assert nothing.code == 2 and "see setup --help" in nothing.err


async def test_azure_with_its_key_from_standard_input_beside_an_openai_that_stays(
    toolbridge: Toolbridge, ollama: str
) -> None:
    (toolbridge.folder / ".env").write_text("OPENAI_API_KEY=sk-mine\nOPENAI_MODEL=gpt-4.1\n")
    flags = ("--azure-endpoint", ollama.removesuffix("/v1"), "--azure-deployment", "rehearsal", "--secrets", "-")
    ran = await toolbridge.run("setup", *flags, "--yes", stdin="AZURE_OPENAI_API_KEY=azure-secret-1\n")
    assert ran.code == 0, ran
    assert "azure-secret-1" not in ran.out + ran.err
    found = settings_of(toolbridge)
    assert (found["AZURE_OPENAI_API_KEY"], found["MODEL_PROVIDER"]) == ("azure-secret-1", "azure")
    assert found["OPENAI_API_KEY"] == "sk-mine"


async def test_a_key_of_another_server_goes_to_none_of_this_machine(toolbridge: Toolbridge, ollama: str) -> None:
    (toolbridge.folder / ".env").write_text("OPENAI_API_KEY=sk-mine\nOPENAI_MODEL=gpt-4.1\n")
    ran = await toolbridge.run("setup", "--model-url", ollama, "--model", "rehearsal", "--yes")
    assert ran.code == 0, ran
    assert "OPENAI_API_KEY" not in settings_of(toolbridge)
    assert "# OPENAI_API_KEY=sk-mine\n" in (toolbridge.folder / ".env").read_text()


async def test_a_model_that_calls_no_tool_is_not_written(toolbridge: Toolbridge, ollama: str) -> None:
    async with serve_openai(control=True) as url:
        await script(url, {"text": "7006652"})
        ran = await toolbridge.run("setup", "--model-url", url, "--model", "chatty", "--yes")
    assert ran.code == 1 and "chatty answered without calling the tool" in ran.err
    assert list(toolbridge.folder.iterdir()) == []


async def script(url: str, *answers: object) -> None:
    import httpx2

    async with httpx2.AsyncClient(trust_env=False) as client:
        sent = await client.post(url.removesuffix("/v1") + "/control/script", json={"answers": list(answers)})
        sent.raise_for_status()


async def test_tokens_that_a_platform_refuses_are_not_written(toolbridge: Toolbridge, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    async with FakeSlack() as slack:
        toolbridge.settings |= {"SLACK_API_URL": slack.api_url}
        secrets.write_text("SLACK_APP_TOKEN=xapp-wrong\nSLACK_BOT_TOKEN=xoxb-test\n")
        ran = await toolbridge.run("setup", "--slack", "--yes", "--secrets", str(secrets))
        assert ran.code == 2 and "SLACK_APP_TOKEN is not accepted" in ran.err
        assert list(toolbridge.folder.iterdir()) == []
        secrets.write_text("SLACK_APP_TOKEN=xapp-test\nSLACK_BOT_TOKEN=xoxb-test\n")
        ran = await toolbridge.run("setup", "--slack", "--yes", "--secrets", str(secrets))
    assert "Slack: @toolbridge in t1, Socket Mode." in ran.out
    assert settings_of(toolbridge) == {"SLACK_APP_TOKEN": "xapp-test", "SLACK_BOT_TOKEN": "xoxb-test"}


async def test_what_vs_code_would_ask_for_is_answered_by_the_environment_or_refused(
    toolbridge: Toolbridge, tmp_path: Path
) -> None:
    file = tmp_path / "code" / "mcp.json"
    file.parent.mkdir()
    inputs = [{"type": "promptString", "id": "wiki-key", "description": "Key", "password": True}]
    entry = {"command": "wiki", "env": {"WIKI_KEY": "${input:wiki-key}"}}
    file.write_text(json.dumps({"inputs": inputs, "servers": {"wiki": entry}}))
    refused = await toolbridge.run("setup", "--mcp-from", str(file), "--yes")
    assert refused.code == 2 and "the input 'wiki-key' has no value. Set WIKI_KEY" in refused.err
    assert list(toolbridge.folder.iterdir()) == []
    (toolbridge.folder / "mcp.json").write_text('{\n  "mcpServers": {} // none yet\n}\n')
    toolbridge.settings |= {"WIKI_KEY": "w1k1-k3y-0123"}
    ran: Ran = await toolbridge.run("setup", "--mcp-from", str(file), "--yes")
    assert "w1k1-k3y-0123" not in ran.out + ran.err
    assert '"WIKI_KEY": "${TOOL_WIKI_WIKI_KEY}"' in (toolbridge.folder / "mcp.json").read_text()
    assert "// none yet" in (toolbridge.folder / "mcp.json").read_text()
    assert settings_of(toolbridge) == {"TOOL_WIKI_WIKI_KEY": "w1k1-k3y-0123"}


async def test_a_chat_without_a_model_names_the_one_that_runs_here(toolbridge: Toolbridge, ollama: str) -> None:
    ran = await toolbridge.run("chat", "-m", "hello")
    assert "Ollama runs here with qwen3:8b: `toolbridge setup --model qwen3:8b` connects it." in ran.err
    chosen = await toolbridge.run("chat", "-m", "hello", "--model", "rehearsal")
    assert "Ollama" not in chosen.err
