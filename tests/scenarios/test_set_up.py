"""Setting the bot up for a chat platform and running it, as its operator does."""

from __future__ import annotations

import asyncio
import signal

import pytest
from cryptography.fernet import Fernet

from tests.fakes.postgres import free_port
from tests.scenarios.conftest import WAIT_S, Toolbridge
from tests.scenarios.drivers import AILMENTS, Driver

TERMINATED = 128 + signal.SIGTERM


@pytest.mark.parametrize(("driver", "ailment"), AILMENTS, indirect=["driver"])
async def test_the_doctor_says_what_is_wrong_and_what_to_do(driver: Driver, ailment: str) -> None:
    said = await driver.diagnose(ailment)
    assert [words for words in driver.ailments[ailment] if words not in said] == []


async def test_run_answers_a_question_and_ends_cleanly_on_sigterm(driver: Driver, toolbridge: Toolbridge) -> None:
    toolbridge.write_mcp_json({})
    toolbridge.settings |= driver.environment
    conversation = await driver.open()
    async with toolbridge.serving("--model", "rehearsal") as process:
        await driver.until(lambda: driver.is_connected, WAIT_S)
        question = await conversation.ask("hello")
        await conversation.answered()
        await driver.until(lambda: driver.is_settled, WAIT_S)  # the answer itself comes back as an event
        code, err = await terminate(process)
    assert code == TERMINATED
    assert "Traceback" not in err and "Unclosed" not in err
    assert [token for token in driver.environment.values() if "test" in token and token in err] == []
    assert len(conversation.messages) == len(conversation.answers) == 1
    conversation.check_answered(question)
    assert driver.is_gone
    driver.check_manners()


async def test_a_turn_that_runs_when_the_bot_is_terminated_is_answered_once_by_the_next_start(
    driver: Driver, toolbridge: Toolbridge
) -> None:
    toolbridge.write_mcp_json({})
    toolbridge.settings |= driver.environment
    toolbridge.settings |= {"OPENAI_BASE_URL": driver.model.url, "OPENAI_MODEL": "rehearsal"}
    conversation = await driver.open()
    await driver.model.fail("stall")
    async with toolbridge.serving() as process:
        await driver.until(lambda: driver.is_connected, WAIT_S)
        question = await conversation.ask("hello")
        async with asyncio.timeout(WAIT_S):
            while not await driver.model.requests():  # noqa: ASYNC110  (the model's server sets no event)
                await asyncio.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        await driver.until(lambda: driver.is_gone, WAIT_S)
        await asyncio.sleep(0.5)  # it drains now, which shows nowhere; were this too short, the test would be slower
        # A second signal cuts the drain short.
        assert (await terminate(process))[0] == TERMINATED
    assert conversation.answers == []
    async with toolbridge.serving() as process:
        await conversation.answered()
        assert (await terminate(process))[0] == TERMINATED
    assert len(conversation.answers) == 1 and conversation.answers[0].shown
    conversation.check_answered(question)
    assert conversation.messages == conversation.answers


async def terminate(process: asyncio.subprocess.Process) -> tuple[int, str]:
    """Send SIGTERM; return the exit code and what was written to stderr."""
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(WAIT_S):
        _, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, err.decode()


@pytest.mark.parametrize("command", [("chat", "-m", "hello"), ("doctor", "--trust")])
async def test_a_shared_database_that_is_down_ends_a_command_at_once_with_the_cure(
    toolbridge: Toolbridge, command: tuple[str, ...]
) -> None:
    key = Fernet.generate_key().decode()
    url = f"postgresql://bot:hunter2@127.0.0.1:{free_port()}/none"
    toolbridge.settings |= {"DATABASE_URL": url, "TOOLBRIDGE_SECRET_KEY": key}
    ran = await toolbridge.run(*command)
    said = ran.out + ran.err
    assert ran.code != 0 and "cannot be reached" in said and "DATABASE_URL" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("command", [("chat", "-m", "hello"), ("run", "--model", "rehearsal")])
async def test_a_shared_database_without_a_key_that_processes_can_share_starts_nothing(
    toolbridge: Toolbridge, command: tuple[str, ...]
) -> None:
    toolbridge.settings |= {"DATABASE_URL": "postgresql://nobody:hunter2@nowhere.invalid/none"}
    ran = await toolbridge.run(*command)
    assert ran.code == 2 and "TOOLBRIDGE_SECRET_KEY is not set" in ran.err and "Fernet.generate_key()" in ran.err
    assert "hunter2" not in ran.err and "nowhere" not in ran.err


WRONG = {
    "METRICS": "true",
    "HTTP_HOST": "0.0.0.0",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
    "SYSTEM_PROMPT_FILE": "missing.txt",
    "MODEL_PRICE_INPUT_USD": "1",
}
OF_PARTS = ("SYSTEM_PROMPT_FILE missing.txt", "MODEL_PRICE_OUTPUT_USD", "mcp.json: it is not valid JSON", "toml:1")


async def test_run_says_all_that_is_wrong_with_the_settings_at_once(toolbridge: Toolbridge) -> None:
    break_files(toolbridge)
    ran = await toolbridge.run("run")
    assert ran.code == 2
    assert_in_order(
        ran.err,
        "toolbridge: 8 things are wrong with the settings:\n",
        "- No model is configured",
        "- No chat platform is configured",
        "Set METRICS_TOKEN",
        "- OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
        *OF_PARTS,
    )
    toolbridge.settings |= {"SLACK_BOT_TOKEN": "xoxb-test", "OPENAI_API_KEY": "sk-test"}
    ran = await toolbridge.run("run")
    assert_in_order(ran.err, "8 things", "set OPENAI_MODEL", "- Slack needs SLACK_APP_TOKEN", "METRICS_TOKEN")
    assert "sk-test" not in ran.err


async def test_a_chat_says_all_that_is_wrong_with_what_it_uses_at_once(toolbridge: Toolbridge) -> None:
    break_files(toolbridge)
    ran = await toolbridge.run("chat", "-m", "hello")
    assert ran.code == 2
    assert_in_order(ran.err, "toolbridge: 4 things are wrong with the settings:\n", *OF_PARTS)
    assert "METRICS" not in ran.err  # which only `run` serves
    toolbridge.settings |= {"OPENAI_API_KEY": "sk-test"}
    ran = await toolbridge.run("chat", "-m", "hello")
    assert_in_order(ran.err, "5 things", "set OPENAI_MODEL", *OF_PARTS)


def break_files(toolbridge: Toolbridge) -> None:
    toolbridge.settings |= WRONG
    (toolbridge.folder / "mcp.json").write_text("{")
    (toolbridge.folder / "toolbridge.toml").write_text("[acess]\n")


def assert_in_order(text: str, *words: str) -> None:
    at = 0
    for each in words:
        assert each in text[at:], text
        at = text.index(each, at) + len(each)
