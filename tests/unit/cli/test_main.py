"""The command line itself: its version, its help, and how shells complete it."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from bot.cli.main import main

ROOT = Path(__file__).parents[3]


def test_the_version_is_that_of_the_project(capsys: pytest.CaptureFixture[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"toolbridge {project['version']}\n"


def test_without_a_command_it_prints_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: toolbridge ") and "serve every chat platform whose tokens are set" in out


def test_a_command_that_there_is_not_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["backups"])
    assert ended.value.code == 2
    assert "invalid choice: 'backups'" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_each_shell_gets_code_that_completes_toolbridge(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert "toolbridge" in out and "_ARGCOMPLETE" in out


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("toolbridge back", ["backup "]),
        ("toolbridge run --mod", ["--model "]),
        ("toolbridge run --model re", ["rehearsal "]),
        ("toolbridge policy ex", ["explain "]),
    ],
)
def test_a_shell_that_asks_is_told_how_the_line_goes_on(line: str, completed: list[str]) -> None:
    assert answered(line) == completed


def answered(line: str) -> list[str]:
    """Return what a shell gets where Tab is pressed behind the line; argcomplete writes it to descriptor 8."""
    read, write = os.pipe()
    asking = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "COMP_LINE": line, "COMP_POINT": str(len(line))}
    code = f"import os, sys; os.dup2({write}, 8); from bot.cli.main import main; main([])"
    try:
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **asking}, pass_fds=[write], timeout=60
        )
    finally:
        os.close(write)
    with os.fdopen(read, encoding="utf-8") as answer:
        return answer.read().splitlines()
