"""What setup writes: both files or none, for their owner alone, and nothing over what someone else wrote meanwhile."""

from __future__ import annotations

import re
from argparse import Namespace
from pathlib import Path

import pytest

from bot.cli.setup.plan import Plan, read_files, shown
from bot.domain.errors import SettingsError
from bot.settings import load_settings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def planned(folder: Path, *, mcp: str = "mcp.json") -> Plan:
    env, servers = folder / ".env", folder / mcp
    return Plan(
        arguments=Namespace(),
        settings=load_settings(env_file=None),
        given={},
        env_file=env,
        mcp_file=servers,
        before=read_files(env, servers),
        env={"TZ": "UTC"},
        servers={"a": {"command": "x"}},
    )


def test_both_files_are_for_their_owner_alone_and_the_bundled_server_stays(folder: Path) -> None:
    (folder / ".env").write_text("A=1\n")
    (folder / ".env").chmod(0o644)
    plan = planned(folder)
    plan.write(plan.after())
    assert (folder / ".env").read_text() == "A=1\nTZ=UTC\n"
    assert [(folder / name).stat().st_mode & 0o777 for name in (".env", "mcp.json")] == [0o600, 0o600]
    assert '"bundled": true' in (folder / "mcp.json").read_text()
    assert sorted(path.name for path in folder.iterdir()) == [".env", "mcp.json"]


def test_a_link_stays_a_link(folder: Path) -> None:
    (folder / "real").write_text("A=1\n")
    (folder / ".env").symlink_to("real")
    plan = planned(folder)
    plan.write(plan.after())
    assert (folder / ".env").is_symlink() and (folder / "real").read_text() == "A=1\nTZ=UTC\n"


@pytest.mark.parametrize("before", ["", "A=1\n"])
def test_where_the_second_file_cannot_be_written_the_first_is_as_it_was(folder: Path, before: str) -> None:
    if before:
        (folder / ".env").write_text(before)
    plan = planned(folder, mcp="missing/mcp.json")
    with pytest.raises(SettingsError, match="cannot be written"):
        plan.write(plan.after())
    assert read_files(folder / ".env", folder / "none").env == before
    assert (folder / ".env").exists() == bool(before)


def test_what_someone_wrote_meanwhile_is_not_written_over(folder: Path) -> None:
    plan = planned(folder)
    after = plan.after()
    (folder / ".env").write_text("A=2\n")
    with pytest.raises(SettingsError, match="changed meanwhile"):
        plan.write(after)
    assert (folder / ".env").read_text() == "A=2\n" and not (folder / "mcp.json").exists()


def test_files_with_which_the_bot_would_not_start_are_refused_before_anything_is_written(folder: Path) -> None:
    plan = planned(folder)
    plan.env["OPENAI_MODLE"] = "x"
    with pytest.raises(SettingsError, match="Did you mean OPENAI_MODEL"):
        plan.after()
    plan = planned(folder)
    plan.servers["b"] = {"command": "x", "env": {"A": "${NOT_SET_ANYWHERE}"}}
    with pytest.raises(SettingsError, match=re.escape(f"{folder / 'mcp.json'}, server 'b'")):
        plan.after()


@pytest.mark.parametrize(
    ("name", "value", "seen"),
    [
        ("OPENAI_API_KEY", "sk-1", "[hidden]"),
        ("SLACK_BOT_TOKEN", "xoxb-1", "[hidden]"),
        ("TOOL_X_REGION", "eu", "[hidden]"),
        ("OPENAI_MODEL", "qwen3:8b", "qwen3:8b"),
        ("OPENAI_BASE_URL", "https://me:hunter22@h/v1", "https://me:[hidden]@h/v1"),
        ("MODEL_CONTEXT_TOKENS", "16384", "16384"),
    ],
)
def test_the_difference_shows_no_secret(name: str, value: str, seen: str) -> None:
    assert shown(name, value) == seen
