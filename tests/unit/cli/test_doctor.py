"""The doctor goes on whatever one of its checks runs into."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from bot.cli.checks import Check, check_home, check_http, check_redaction
from bot.cli.doctor import check_policy, surviving
from bot.domain.errors import AdapterError
from bot.domain.messages import ToolSpec
from bot.settings import load_settings

OK = Check(part="x", state="ok", detail="fine")


async def check(failure: Exception | None) -> Sequence[Check]:
    if failure is not None:
        raise failure
    return [OK]


async def test_a_check_that_passes_is_as_it_is() -> None:
    assert await surviving("x", check(None)) == [OK]


async def test_a_failure_is_a_line_with_its_sentence() -> None:
    [line] = await surviving("slack", check(AdapterError("Slack cannot be reached.")))
    assert (line.part, line.state, line.detail) == ("slack", "failed", "Slack cannot be reached.")


@pytest.mark.parametrize("fault", [KeyError("token-of-someone"), RecursionError(), UnicodeError("x")])
async def test_a_fault_of_the_check_itself_is_a_line_that_quotes_nothing(fault: Exception) -> None:
    [line] = await surviving("slack", check(fault))
    assert (line.part, line.state) == ("slack", "failed")
    assert type(fault).__name__ in line.detail and "token-of-someone" not in f"{line.detail} {line.cure}"


def spec(server: str, tool: str, *, is_bundled: bool = False, is_read_only: bool = False) -> ToolSpec:
    return ToolSpec(
        name=f"{server}__{tool}",
        server=server,
        tool=tool,
        description="",
        parameters={},
        is_bundled=is_bundled,
        is_read_only=is_read_only,
    )


OFFERED = [
    spec("toolbridge", "calculate", is_bundled=True),
    spec("wiki", "read", is_read_only=True),
    spec("deploys", "deploy"),
    spec("deploys", "undo"),
]


async def test_without_a_file_of_rules_the_tools_that_ask_are_named_with_the_cure(tmp_path: Path) -> None:
    settings = load_settings(env_file=None, toolbridge_home=tmp_path)
    [line] = await check_policy(settings, OFFERED)
    assert (line.part, line.state) == ("policy", "ok")
    assert "these 2 tools now ask: deploys/deploy, deploys/undo." in line.detail
    assert "trusted" in line.cure and "write a rule in toolbridge.toml" in line.cure
    [line] = await check_policy(settings, OFFERED[:2])
    assert "none of the tools asks" in line.detail and not line.cure


async def test_a_file_of_rules_is_named_with_its_warnings_or_its_errors(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    settings = load_settings(env_file=None, toolbridge_home=tmp_path, toolbridge_config=file)
    file.write_text('[[rule]]\ntools = ["deploys/*"]\nthen = "allow"\n')
    [line] = await check_policy(settings, OFFERED)
    assert (line.state, line.detail) == ("ok", f"{file}, 1 rule, 1 warning")
    assert "no server 'deploys' is configured" in line.output[0]
    file.write_text('[[rule]]\ntools = ["deploys"]\nthen = "allow"\nfor = 1\n')
    [line] = await check_policy(settings, OFFERED)
    assert (line.state, len(line.output)) == ("failed", 2)
    assert "does not start" in line.cure


async def test_budgets_are_named_and_a_place_of_warnings_that_no_one_sees(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text('[budgets]\nperson = { turns_per_day = 5 }\nwarn_in = "slack:T1:C1"\n')
    settings = load_settings(env_file=None, toolbridge_home=tmp_path, toolbridge_config=file)
    [line] = await check_policy(settings, OFFERED)
    assert (line.state, line.detail) == ("ok", f"{file}, 0 rules, budgets")
    assert line.output == (
        "[budgets]: warn_in is on slack, which is not set up: no one sees the warnings. Name another place.",
    )


async def test_it_says_where_run_listens_and_whether_that_is_free(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = load_settings(env_file=None, toolbridge_home=tmp_path, http_port=port)
        line = await check_http(settings)
        assert (line.state, line.detail) == ("ok", f"127.0.0.1:{port} is taken.")
        assert "By the bot, if it runs." in line.cure and "HTTP_PORT" in line.cure
    line = await check_http(settings)
    assert (line.state, line.detail) == ("ok", f"`toolbridge run` listens on 127.0.0.1:{port}")
    line = await check_http(load_settings(env_file=None, toolbridge_home=tmp_path, http_host="192.0.2.1"))
    assert line.state == "failed" and "cannot listen on 192.0.2.1:8080" in line.detail
    assert line.detail.count("192.0.2.1") == 1  # the system's reason, not Python's, which says the address too
    off = await check_http(load_settings(env_file=None, toolbridge_home=tmp_path, http_port="off"))
    assert (off.state, off.detail) == ("off", "HTTP_PORT=off")


def test_it_says_what_redaction_hides(tmp_path: Path) -> None:
    on, off = (
        check_redaction(load_settings(env_file=None, toolbridge_home=tmp_path, redact=to)) for to in ("on", "off")
    )
    assert on.state == "ok" and on.detail.startswith("REDACT=on: what looks like a secret is hidden in answers")
    assert off.state == "off" and off.detail == "REDACT=off: only the bot's own secrets are hidden"


def test_a_damaged_key_of_conversations_is_a_failure_as_nothing_starts_with_it(tmp_path: Path) -> None:
    (tmp_path / "conversation.key").write_text("x")
    line = check_home(load_settings(env_file=None, toolbridge_home=tmp_path))
    assert line.state == "failed" and "conversation.key is damaged. Put its copy back, or remove it" in line.detail


@pytest.mark.parametrize(
    ("detail", "cure", "text"),
    [
        ("in 1 server; the intent is off", "Switch it on.", "in 1 server; the intent is off. Switch it on."),
        ("The port is taken.", "Set another.", "The port is taken. Set another."),
        ("in 1 server", "", "in 1 server"),
    ],
)
def test_a_cure_is_a_sentence_of_its_own(detail: str, cure: str, text: str) -> None:
    assert Check(part="a", state="failed", detail=detail, cure=cure).text == text
