"""The steps of setup, with a person who answers from a script."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bot.cli.setup.asking import StoppedError
from bot.cli.setup.plan import Plan, read_files
from bot.cli.setup.platforms import ask_for_platforms
from bot.cli.setup.tool_servers import ask_for_servers
from bot.cli.trust import look, trusted
from bot.settings import load_settings
from tests.fakes.slack import FakeSlack


@dataclass
class ScriptedPerson:
    """Answers questions that contain a text; all others with Enter, and leaves where the script says None."""

    script: Sequence[tuple[str, str | None]]
    asked: list[str] = field(default_factory=list[str])

    def _answer(self, question: str) -> str:
        self.asked.append(question)
        answer = next((answer for text, answer in self.script if text in question), "")
        if answer is None:
            raise StoppedError(130)
        return answer

    async def text(self, question: str, *, default: str = "") -> str:
        return self._answer(question) or default

    async def secret(self, question: str) -> str:
        return self._answer(question)

    async def agrees(self, question: str, *, default: bool = False) -> bool:
        return {"y": True, "n": False}.get(self._answer(question), default)

    async def choice(self, question: str, options: Sequence[str]) -> int:
        answer = self._answer(question)
        return options.index(answer) if answer else 0


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """An empty folder, and a person's home beside it in which nothing is."""
    folder, home = tmp_path / "folder", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TOOLBRIDGE_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    (folder / "mcp.json").write_text('{"mcpServers": {}}')
    return Plan(
        arguments=Namespace(folder=trusted(look(folder, environ=os.environ))),
        settings=load_settings(env_file=None),
        given={"WIKI_REGION": "eu"},
        env_file=folder / ".env",
        mcp_file=folder / "mcp.json",
        before=read_files(folder / ".env", folder / "mcp.json"),
    )


async def test_who_enters_no_token_may_leave_the_platform_out(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    person = ScriptedPerson([("Set Slack up?", "y"), ("What now?", "Leave it out"), ("Set Discord up?", "n")])
    await ask_for_platforms(plan, person)
    assert "Slack: no token was entered." in capsys.readouterr().out
    assert plan.env == {}


async def test_a_platform_with_scopes_missing_may_be_taken_as_it_is(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with FakeSlack() as slack:
        slack.add_token("xoxb-test", team="T1", scopes=("chat:write",))
        monkeypatch.setenv("SLACK_API_URL", slack.api_url)
        person = ScriptedPerson(
            [
                ("Set Slack up?", "y"),
                ("SLACK_APP_TOKEN", "xapp-test"),
                ("SLACK_BOT_TOKEN", "xoxb-test"),
                ("What now?", "Go on with it as it is"),
            ]
        )
        await ask_for_platforms(plan, person)
    assert "scopes missing: app_mentions:read" in capsys.readouterr().out
    assert plan.env == {"SLACK_APP_TOKEN": "xapp-test", "SLACK_BOT_TOKEN": "xoxb-test"}


def write(path: str, document: object) -> None:
    file = Path.home() / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(document if isinstance(document, str) else json.dumps(document))


async def test_servers_are_asked_for_one_by_one_and_what_cannot_be_taken_is_said(
    plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    write(
        ".cursor/mcp.json",
        {
            "mcpServers": {
                "a": {"command": "uvx", "args": ["a-server", "--token", "s3cr3t-token-0123456789"]},
                "off": {"command": "x", "disabled": True},
                "odd": {"command": "x", "colour": "red"},
                "unset": {"command": "x", "env": {"A": "${NOT_SET_ANYWHERE}"}},
            }
        },
    )
    inputs = [
        {"id": "wiki-region", "type": "promptString"},
        {"id": "wiki-key", "type": "promptString", "description": "Key of the wiki", "password": True},
    ]
    wiki = {"url": "https://wiki.example/mcp", "headers": {"X-Key": "${input:wiki-key}", "X-R": "${input:wiki-region}"}}
    write(".config/Code/User/mcp.json", {"inputs": inputs, "servers": {"wiki": wiki}})
    write(".gemini/settings.json", {"theme": "dark"})
    write(".lmstudio/mcp.json", '{"mcpServers": {"x": ')
    write(
        ".codex/config.toml", '[mcp_servers.box]\nurl = "https://box.example"\nhttp_headers = {X-Room = "hunter-two"}\n'
    )
    write(
        ".config/opencode/opencode.json", {"mcp": {"b": True, "odder": {"type": "carrier-pigeon", "url": "https://h"}}}
    )
    person = ScriptedPerson([("Take off", None), ("Take", "y"), ("Key of the wiki", "w1k1")])
    await ask_for_servers(plan, person)
    assert person.asked == [
        "Take wiki over?",
        "Key of the wiki:",
        "Take a over?",
        "Take unset over?",
        "Take box over?",
    ]
    assert plan.servers == {
        "wiki": {**wiki, "headers": {"X-Key": "${TOOL_WIKI_WIKI_KEY}", "X-R": "${TOOL_WIKI_WIKI_REGION}"}},
        "a": {"command": "uvx", "args": ["a-server", "--token", "${TOOL_A_KEY}"]},
        "box": {"url": "https://box.example", "headers": {"X-Room": "hunter-two"}},
    }
    assert plan.env == {
        "TOOL_WIKI_WIKI_KEY": "w1k1",
        "TOOL_WIKI_WIKI_REGION": "eu",
        "TOOL_A_KEY": "s3cr3t-token-0123456789",
    }
    said = capsys.readouterr().out
    assert "VS Code has wiki, which connects to https://wiki.example/mcp, and gets X-Key, X-R." in said
    assert "Cursor has a, which starts uvx a-server with 2 more arguments." in said
    assert "off is switched off in Cursor, so it is left out." in said
    assert "Cursor: odd is left out, key 'colour': this key is not known." in said
    assert "opencode: b is left out: it is no table of settings." in said
    assert "opencode: odder is left out, key 'type': the type 'carrier-pigeon' does not fit." in said
    assert "unset is left out: " in said and "the variable NOT_SET_ANYWHERE is not set" in said
    assert ".lmstudio/mcp.json: it is not valid JSON" in said and ".gemini" not in said
    difference = "\n".join(plan.difference())
    assert '"X-Key": "${TOOL_WIKI_WIKI_KEY}"' in difference
    assert '"X-Room": "[hidden]"' in difference
    for secret in ("s3cr3t", "hunter-two"):
        assert secret not in said + "".join(person.asked) + difference
