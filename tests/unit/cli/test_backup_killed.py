"""`toolbridge backup` and `restore`: what a kill on the way leaves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bot.keeping.archive import open_archive
from bot.keeping.replacing import DECIDED, GATHERED, finish_replacing
from tests.unit.cli.test_backup import fill, run, words

pytestmark = pytest.mark.usefixtures("process_as_before")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOOLBRIDGE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


# Forks a process for each change that the command makes to the file system, and kills it right before that one.
KILLING = """
import os, shutil, signal, sys
from pathlib import Path
from bot.cli.main import main
import bot.cli.backup, bot.cli.restore
CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.utime", "shutil.move", "sqlite3.connect")
template, base, *arguments = sys.argv[1:]
def live(point):
    left = point
    def count(event, details):
        nonlocal left
        writes = event == "open" and isinstance(details[2], int) and details[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event in CHANGES:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)
    os._exit(main(arguments))
for point in range(1, 1000):
    folder = Path(base) / str(point)
    shutil.copytree(template, folder)
    os.environ["TOOLBRIDGE_HOME"] = str(folder / "home")
    os.chdir(folder)
    pid = os.fork()
    if pid == 0:
        live(point)
    status = os.waitpid(pid, 0)[1]
    if not os.WIFSIGNALED(status):
        sys.exit(os.WEXITSTATUS(status))
sys.exit(99)
"""


def killed_everywhere(template: Path, base: Path, *arguments: str) -> list[Path]:
    """Return the folders that kills at each point left of the template; the last is one without a kill."""
    base.mkdir()
    command = [sys.executable, "-c", KILLING, str(template), str(base), *arguments]
    ended = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, timeout=100)
    assert ended.returncode == 0, ended.stderr[-2_000:]
    return sorted(base.iterdir(), key=lambda folder: int(folder.name))


def test_a_restore_that_is_killed_at_any_point_leaves_all_of_the_old_or_all_of_the_new(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(home, "new")
    assert run("backup", "a.zip") == 0
    template = tmp_path / "template"
    fill(template / "home", "old")
    Path("a.zip").rename(template / "a.zip")
    folders = killed_everywhere(template, tmp_path / "killed", "restore", "a.zip", "--force", "--trust")
    ends = list[set[str]]()
    for folder in folders:
        was_decided = (folder / "home" / DECIDED).exists()
        if not was_decided:
            ends.append(words(folder / "home"))
        finish_replacing(folder / "home")  # which every command does first
        ends.append(words(folder / "home"))
        assert not {DECIDED, GATHERED} & {path.name for path in (folder / "home").iterdir()}
        if ends[-1] == {"new"}:
            (beside,) = (folder / "home").glob("before-restore-*")
            assert words(beside) == {"old"}
        else:
            assert not was_decided
    assert len(folders) > 20
    assert ends == sorted(ends, key=lambda end: end != {"old"})  # first the old, from one point on the new
    assert {frozenset(end) for end in ends} == {frozenset({"old"}), frozenset({"new"})}


def test_a_backup_that_is_killed_at_any_point_leaves_the_old_file_or_the_new_one(home: Path, tmp_path: Path) -> None:
    template = tmp_path / "template"
    fill(template / "home", "new")
    fill(home, "old")
    assert run("backup", "template/a.zip") == 0
    folders = killed_everywhere(template, tmp_path / "killed", "backup", "a.zip", "--force", "--trust")
    names = list[str]()
    for folder in folders:
        with open_archive(folder / "a.zip") as archive:
            (name,) = [Path(name).name for name in archive.manifest.files if name.startswith("workspaces/")]
            names.append(name)
    assert names == sorted(names, reverse=True) and {*names} == {"old.txt", "new.txt"}
