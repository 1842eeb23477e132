"""`toolbridge chat` in the words of its user."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from mcp_server.examples import EXAMPLES, Example
from tests.fakes.children import is_alive
from tests.scenarios.conftest import NOWHERE, WAIT_S, Endpoint, Toolbridge
from tests.scenarios.drivers.console import Terminal


async def test_the_readmes_question_is_answered_with_the_trace_beside_it(toolbridge: Toolbridge) -> None:
    ran = await toolbridge.ask("Calculate 15 * 8 and save the result to a file called calculation.txt")
    assert ran.code == 0
    assert "120" in ran.out
    assert "calculate" not in ran.out
    assert "toolbridge.calculate" in ran.err
    assert "toolbridge.save_text_file" in ran.err
    assert "120" in toolbridge.files()["calculation.txt"]


async def test_the_learning_session_remembers_from_one_start_to_the_next(toolbridge: Toolbridge) -> None:
    greeting = await toolbridge.ask("Greet Ada and tell me the time in London")
    assert "Ada" in greeting.out
    assert "London" in greeting.out
    assert "200" in (await toolbridge.ask("What is 25 * 8?")).out
    await toolbridge.ask("save that result to math.txt")
    assert "200" in (await toolbridge.ask("what's in math.txt?")).out
    last = await toolbridge.ask("Calculate 50 / 2, tell me the weather in NYC, and save both results to summary.txt")
    assert last.code == 0
    assert "25" in last.out
    assert "cannot be reached" in last.out
    assert "25" in toolbridge.files()["summary.txt"]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
async def test_every_example_conversation_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, example: Example
) -> None:
    for name in ("WEATHER_API_URL", "GEOCODING_API_URL"):  # which the bundled server takes from the environment
        monkeypatch.setenv(name, NOWHERE)
    answer, trace = await Terminal(tmp_path).converse(example.request)
    assert answer.strip()
    assert "toolbridge." in trace


async def test_a_question_can_come_from_standard_input(toolbridge: Toolbridge) -> None:
    ran = await toolbridge.run("chat", stdin="What is 6 * 7?\n")
    assert (ran.code, "42" in ran.out) == (0, True)


async def test_conversations_keep_their_history_and_their_files_apart(toolbridge: Toolbridge) -> None:
    await toolbridge.ask('save "red" to colour.txt', "--conversation", "one")
    await toolbridge.ask('save "blue" to colour.txt', "--conversation", "two")
    assert "red" in (await toolbridge.ask("what's in colour.txt?", "--conversation", "one")).out
    assert "blue" in (await toolbridge.ask("what's in colour.txt?", "--conversation", "two")).out
    history = await toolbridge.run("history", "one")
    assert "red" in history.out
    assert "blue" not in history.out


async def test_the_rehearsal_model_says_that_it_is_no_ai(toolbridge: Toolbridge) -> None:
    toolbridge.write_mcp_json({})
    ran = await toolbridge.ask("hello")
    assert "not an AI" in ran.err
    assert "not an AI" in (await toolbridge.ask("/help")).out


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"OPENAI_API_KEY": "sk-not-a-real-key-0000"}, "OPENAI_MODEL"),
        ({"AZURE_OPENAI_ENDPOINT": "https://x.openai.azure.com"}, "AZURE_OPENAI_DEPLOYMENT"),
        ({"MAX_TOOL_ROUND": "3"}, "MAX_TOOL_ROUNDS"),
        ({"TURN_TIMEOUT_S": "soon"}, "TURN_TIMEOUT_S"),
        ({"DATABASE_URL": "mysql://x"}, "sqlite:///"),
        ({"MCP_CONFIG": "absent.json"}, "absent.json"),
        ({"TOOLBRIDGE_CONFIG": "toolbridge.toml"}, "no rule in it would hold"),
        ({"OPENAI_API_KEY": "\u201csk-not-a-real-key\u201d"}, "OPENAI_API_KEY: it contains the character LEFT DOUBLE"),
        ({"DISCORD_BOT_TOKEN": "sk-not-a-real-key two"}, "the character SPACE"),
        ({"SLACK_BOT_TOKEN": "xapp-sk-not-a-real-key"}, "may be swapped"),
        ({"SLACK_APP_TOKEN": "xoxb-sk-not-a-real-key"}, "wanted is an app-level token"),
    ],
)
async def test_wrong_settings_end_with_2_and_the_cure(
    toolbridge: Toolbridge, settings: dict[str, str], said: str
) -> None:
    toolbridge.settings |= settings
    ran = await toolbridge.ask("hello")
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert "sk-not-a-real-key" not in ran.err
    assert "Traceback" not in ran.err


async def test_bad_usage_ends_with_2(toolbridge: Toolbridge) -> None:
    assert (await toolbridge.run("chat", "--colour")).code == 2
    assert (await toolbridge.run("colour")).code == 2


async def test_an_empty_question_is_refused_with_1(toolbridge: Toolbridge) -> None:
    toolbridge.write_mcp_json({})
    ran = await toolbridge.ask("  ")
    assert ran.code == 1
    assert "question" in ran.err


async def test_an_over_long_question_is_refused_with_the_limit(toolbridge: Toolbridge) -> None:
    toolbridge.write_mcp_json({})
    ran = await toolbridge.ask("x" * 10_001)
    assert ran.code == 1
    assert "10,000" in ran.err


async def test_run_does_not_serve_a_team_with_the_rehearsal_model_unasked(toolbridge: Toolbridge) -> None:
    unasked = await toolbridge.run("run")
    assert unasked.code == 2
    assert "--model rehearsal" in unasked.err
    asked = await toolbridge.run("run", "--model", "rehearsal")
    assert asked.code == 2
    assert "SLACK_BOT_TOKEN" in asked.err
    assert "DISCORD_BOT_TOKEN" in asked.err


async def test_operators_list_tools_and_conversations(toolbridge: Toolbridge) -> None:
    tools = await toolbridge.run("tools", "weather")
    assert tools.code == 0
    assert "get_weather" in tools.out
    assert "calculate" not in tools.out
    await toolbridge.ask("What is 6 * 7?")
    assert "console/local/main/" in (await toolbridge.run("history")).out
    unknown = await toolbridge.run("history", "nobody")
    assert unknown.code == 1
    assert "toolbridge history" in unknown.err


async def test_scripts_get_names_and_json(toolbridge: Toolbridge) -> None:
    asked = await toolbridge.ask("What is 6 * 7?", "--json")
    assert (asked.code, asked.err) == (0, "")
    said = json.loads(asked.out)
    assert said["outcome"] == "answered" and "42" in said["answer"]
    assert [(call["server"], call["tool"], call["state"]) for call in said["calls"]] == [
        ("toolbridge", "calculate", "ok")
    ]
    await toolbridge.ask("hello", "--conversation", "two")
    last = await toolbridge.ask("/history", "--quiet", "--last")
    assert (last.code, "hello" in last.out, last.err) == (0, True, "")
    listed = json.loads((await toolbridge.run("tools", "weather", "--json")).out)
    assert [tool["tool"] for tool in listed["tools"]] == ["get_weather"]
    assert [server["server"] for server in listed["servers"]] == ["toolbridge"]
    assert (await toolbridge.run("history", "-q")).out == "console/local/two/\nconsole/local/main/\n"
    [_, main] = json.loads((await toolbridge.run("history", "--json")).out)
    assert (main["conversation"], main["messages"]) == ("console/local/main/", 4)
    transcript = json.loads((await toolbridge.run("history", "main", "--json")).out)
    assert [message["kind"] for message in transcript["messages"]] == ["question", "answer", "result", "answer"]
    assert (await toolbridge.run("tools", "weather", "-q")).out == "toolbridge/get_weather\n"
    assert "all" in (await toolbridge.run("usage", "--quiet")).out.splitlines()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--resume", "absent"), "No messages are stored for 'absent'."),
        (("--resume", "slack/T1/C1/"), "slack/T1/C1/ is no conversation of a terminal."),
        (("--last",), "There are no conversations yet."),
        (("--attach", "absent.txt"), "There is no file absent.txt."),
    ],
)
async def test_what_cannot_be_gone_on_with_says_so(
    toolbridge: Toolbridge, arguments: tuple[str, ...], said: str
) -> None:
    toolbridge.write_mcp_json({})
    ran = await toolbridge.ask("hello", *arguments)
    assert ran.code in (1, 2) and said in ran.err


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_signal_ends_the_command_with_every_process_it_started(
    toolbridge: Toolbridge, endpoint: Endpoint, sent: signal.Signals, code: int
) -> None:
    await endpoint.fail("stall", after_chunks=0)
    process = await toolbridge.start("chat", "-m", "hello")
    async with asyncio.timeout(WAIT_S):
        await endpoint.next_request()
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(sent)
        await process.communicate()
    assert process.returncode == code
    assert children
    assert not [child for child in children if is_alive(child)]


@asynccontextmanager
async def listener() -> AsyncGenerator[tuple[str, list[str]]]:
    """A server that knows nothing; yields its address and the heads of the requests that it got."""
    heads: list[str] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heads


@pytest.mark.parametrize("is_proxy", [False, True])
async def test_what_env_says_beside_our_settings_reaches_the_libraries_that_read_it(
    toolbridge: Toolbridge, is_proxy: bool
) -> None:
    async with listener() as (url, heads):
        lines = [
            "OPENAI_CUSTOM_HEADERS='X-Team: payments'",
            f"OPENAI_BASE_URL={'http://model.invalid' if is_proxy else url}/v1",
            "OPENAI_MODEL=m",
            "OPENAI_API_KEY=k",
            *([f"HTTP_PROXY={url}"] if is_proxy else []),
        ]
        (toolbridge.folder / ".env").write_text("\n".join(lines), encoding="utf-8")
        toolbridge.write_mcp_json({})
        await toolbridge.run("doctor")
        assert any("x-team: payments" in head.lower() for head in heads)
        assert is_proxy == any("model.invalid" in head for head in heads)
