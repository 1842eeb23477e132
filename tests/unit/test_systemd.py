"""The unit for systemd starts a command that there is, and leaves it the time to hand its work over."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from bot.cli.main import BAD_USAGE, command_parser
from bot.settings import Settings

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "toolbridge.service"
LINES = re.findall(r"^(\w+)=(.*)$", UNIT.read_text(encoding="utf-8"), flags=re.MULTILINE)
SETTINGS = dict(LINES)


def test_it_starts_a_command_that_there_is() -> None:
    program, *arguments = shlex.split(SETTINGS["ExecStart"])
    assert Path(program).name == "toolbridge"
    assert command_parser().parse_args(arguments).drain is None


def test_it_waits_longer_than_the_bot_takes_to_hand_over() -> None:
    assert int(SETTINGS["TimeoutStopSec"]) >= Settings.model_fields["drain_s"].default + 20
    assert SETTINGS["KillMode"] == "mixed" and SETTINGS["SuccessExitStatus"] == str(128 + 15)
    assert SETTINGS["RestartPreventExitStatus"] == str(BAD_USAGE)


def test_its_folders_are_those_of_the_document() -> None:
    document = (UNIT.parents[2] / "docs" / "operate.md").read_text(encoding="utf-8")
    environment = dict(line.split("=", 1) for name, line in LINES if name == "Environment")
    assert environment["TOOLBRIDGE_HOME"] == f"/var/lib/{SETTINGS['StateDirectory']}"
    for path in (*environment.values(), SETTINGS["WorkingDirectory"], SETTINGS["ExecStart"].split()[0]):
        assert path in document


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd's own check is not on this machine")
def test_systemd_has_nothing_against_it(tmp_path: Path) -> None:
    text = UNIT.read_text(encoding="utf-8").replace(SETTINGS["ExecStart"].split()[0], shutil.which("true") or "")
    unit = tmp_path / "toolbridge.service"
    unit.write_text(re.sub("^Documentation=.*$", "", text, flags=re.MULTILINE), encoding="utf-8")
    checked = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert (checked.returncode, checked.stderr) == (0, "")
