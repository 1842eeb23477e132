"""`toolbridge backup` and `restore` beside other processes on the same home: one goes on, the other says what to do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bot.keeping.archive import open_archive
from bot.keeping.drafts import PREFIX
from tests.unit.cli.test_backup import fill, run, words

pytestmark = pytest.mark.usefixtures("process_as_before")

# Runs a command, and has it wait right before the first time that it does this to a path with that in it.
HOLDING = """
import os, sys
from bot.cli.main import main
wanted, part, *arguments = sys.argv[1:]
is_there = False
def hold(event, details):
    global is_there
    if event == wanted and not is_there and isinstance(details[0], (str, os.PathLike)) and part in str(details[0]):
        is_there = True
        print("HELD", flush=True)
        sys.stdin.readline()
sys.addaudithook(hold)
sys.exit(main(arguments))
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOOLBRIDGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MODEL_PROVIDER", "rehearsal")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mcp.json").write_text('{"mcpServers": {}}', encoding="ascii")  # servers would only take time
    return tmp_path / "home"


class Held:
    """A command in a process of its own, which waits."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def goes_on(self) -> tuple[int, str]:
        """Let it go on; return its exit code and what it said, once it has ended."""
        out, err = self._process.communicate("\n", timeout=60)
        return self._process.returncode, out + err

    def dies(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=60)


@contextmanager
def held(event: str, part: str, *arguments: str) -> Generator[Held]:
    command = [sys.executable, "-c", HOLDING, event, part, *arguments, "--trust"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            assert said == "HELD\n", (said, process.communicate(timeout=60))
            yield Held(process)
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("event", "part", "command"),
    [("os.mkdir", "/.restoring", ("backup", "b.zip")), ("open", ".restore.json.", ("chat", "-m", "hello"))],
    ids=["gathers", "has-looked-again"],
)
def test_what_starts_while_a_restore_is_under_way_is_refused_and_the_restore_goes_on(
    event: str, part: str, command: tuple[str, ...], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(home, "old")
    assert run("backup", "a.zip") == 0
    with held(event, part, "restore", "a.zip", "--force") as restoring:
        assert run(*command) == 2
        assert "Another process is replacing files of" in (err := capsys.readouterr().err)
        assert "Wait until it has ended, then start this again." in err
        assert restoring.goes_on()[0] == 0
    assert words(home) == {"old"} and not Path("b.zip").exists()
    assert run("history") == 0


@pytest.mark.parametrize("command", [("chat", "-m", "hello"), ("backup", "b.zip")], ids=["chat", "backup"])
def test_a_restore_is_refused_while_something_is_just_starting_which_goes_on(
    command: tuple[str, ...], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(home, "old")
    assert run("backup", "a.zip") == 0
    with held("sqlite3.connect", "/home/toolbridge.db", *command) as starting:
        assert run("restore", "a.zip", "--force") == 2
        err = capsys.readouterr().err
        assert f"{home} is in use" in err and "Stop `toolbridge run` and `toolbridge chat`" in err
        assert starting.goes_on()[0] == 0
    assert words(home) == {"old"} and not list(home.glob("before-restore-*"))
    assert run("restore", "a.zip", "--force") == 0


def test_a_restore_that_is_killed_while_others_start_is_completed_by_the_next_one(home: Path) -> None:
    fill(home, "new")
    assert run("backup", "a.zip") == 0
    Path(home).rename("first")
    fill(home, "old")
    with held("os.rename", "/toolbridge.db", "restore", "a.zip", "--force") as restoring:
        restoring.dies()
    assert run("history") == 0
    assert words(home) == {"new"}


def test_what_killed_backups_left_is_removed_by_the_next_one_but_not_what_one_that_runs_has(home: Path) -> None:
    fill(home, "plan")
    with held("open", "/draft/archive", "backup", "a.zip") as first:
        first.dies()
    (left,) = Path().glob(f"{PREFIX}*")
    with held("open", "/draft/archive", "backup", "b.zip") as second:
        assert not left.exists()
        assert run("backup", "c.zip") == 0
        assert len(list(Path().glob(f"{PREFIX}*"))) == 1
        assert second.goes_on()[0] == 0
    assert sorted(path.name for path in Path().iterdir()) == ["b.zip", "c.zip", "home", "mcp.json"]
    with open_archive(Path("b.zip")) as archive:
        assert archive.manifest.files
