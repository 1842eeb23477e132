"""`toolbridge usage`, and other commands on what is kept where there is little of it: for operators."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bot.cli.main import main

pytestmark = pytest.mark.usefixtures("process_as_before")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLBRIDGE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def test_where_nothing_was_used_it_says_so_and_logs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["usage", "--period", "2026-11"]) == 0
    assert capsys.readouterr() == ("Nothing was used.\n", "")
    assert main(["usage", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize("period", ["2026-13", "2026-02-31", "2026", "yesterday", "20261129"])
def test_a_period_that_the_calendar_does_not_have_is_bad_usage(period: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["usage", "--period", period]) == 2
    assert "Write a month or a day: 2026-11, 2026-11-29." in capsys.readouterr().err


@pytest.mark.parametrize("command", ["usage", "history"])
@pytest.mark.parametrize("limit", ["0", "-3", "many"])
def test_a_limit_below_one_is_bad_usage(command: str, limit: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, f"--limit={limit}"])
    assert ended.value.code == 2 and "is no number from 1 on" in capsys.readouterr().err


def test_a_purge_of_someone_of_whom_nothing_is_kept_asks_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["purge", "--person", "slack:T1:U1"]) == 0
    out = capsys.readouterr().out
    assert "nothing is kept of their words" in out and "Nothing was removed" not in out


def test_a_quiet_doctor_says_only_what_failed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "mcp.json").write_text('{"mcpServers": {}}')
    assert main(["doctor", "--trust", "--quiet", "--model", "rehearsal"]) == 0
    assert capsys.readouterr().out == ""
    (tmp_path / "toolbridge.toml").write_text("[acces]")
    assert main(["doctor", "--trust", "--quiet", "--model", "rehearsal"]) == 1
    assert all(line.startswith(("failed ", " ")) for line in capsys.readouterr().out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["history", "main", "--quiet"], "--quiet prints the keys of conversations."),
        (["audit", "--quiet"], "--head and --quiet are for `toolbridge audit verify`."),
    ],
)
def test_flags_that_do_not_fit_together_are_bad_usage(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert said in capsys.readouterr().err
