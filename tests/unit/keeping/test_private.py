"""Only the owner reads the home folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.keeping.private import is_open, make_file, make_folder, replace_file, tighten
from bot.observe.logs import configure_logs
from bot.stores.sqlite.store import open_sqlite
from mcp_server.folder import FolderWorkspace
from tests.fakes.folders import unchangeable

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")


def modes(folder: Path) -> set[tuple[str, int]]:
    return {(path.name, path.stat().st_mode & 0o777) for path in (folder, *folder.rglob("*"))}


@pytest.fixture(autouse=True)
def loose_umask() -> object:
    before = os.umask(0o002)
    yield
    os.umask(before)


@pytest.mark.usefixtures("process_as_before")
async def test_every_part_that_makes_the_home_makes_it_and_its_files_private(tmp_path: Path) -> None:
    for name in ("store", "logs", "workspace"):
        home = tmp_path / name / "home"
        if name == "store":
            async with open_sqlite(home / "toolbridge.db"):
                pass
        elif name == "logs":
            configure_logs(log_format="json", level="INFO", file=home / "logs" / "toolbridge.log")
        else:
            FolderWorkspace(home / "workspaces").save("c", "a.txt", "words")
        assert all(mode in (0o700, 0o600) for _, mode in modes(home)), modes(home)


def test_a_home_of_before_is_tightened_with_what_is_known_in_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "logs").mkdir(parents=True)
    for name in ("toolbridge.db", "toolbridge.db-wal", "console-history", "toolbridge.toml", "logs/toolbridge.log"):
        (home / name).touch()
    assert is_open(home)
    assert tighten(home) == ""
    assert {(name, mode) for name, mode in modes(home) if mode & 0o077} == {("toolbridge.toml", 0o664)}


def test_a_folder_that_holds_other_things_is_left_as_it_is_and_that_is_said(tmp_path: Path) -> None:
    home = tmp_path / "shared"
    home.mkdir()
    (home / "someone-elses").touch()
    problem = tighten(home)
    assert "someone-elses" in problem and "chmod 700" in problem and "TOOLBRIDGE_HOME" in problem
    assert is_open(home)
    home.chmod(0o700)
    assert tighten(home) == ""


def test_a_missing_home_is_no_fault(tmp_path: Path) -> None:
    assert tighten(tmp_path / "missing") == ""
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert modes(tmp_path / "a") == {("a", 0o700), ("b", 0o700)}


def test_a_file_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    file = tmp_path / "home" / "secret-key"
    make_file(file, "first")
    make_file(file, "second")
    assert file.read_text(encoding="utf-8") == "first"
    assert modes(tmp_path / "home") == {("home", 0o700), ("secret-key", 0o600)}


def test_a_file_is_replaced_as_a_whole_and_a_failure_leaves_it_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "console-history"
    file.write_text("before", encoding="utf-8")
    with pytest.raises(UnicodeEncodeError):
        replace_file(file, "\ud800")
    assert [(path.name, path.read_text(encoding="utf-8")) for path in tmp_path.iterdir()] == [(file.name, "before")]
    replace_file(file, "after")
    assert [(path.name, path.read_text(encoding="utf-8")) for path in tmp_path.iterdir()] == [(file.name, "after")]


@pytest.mark.parametrize("write", [replace_file, make_file])
def test_an_error_names_the_file_and_not_its_draft(write: Callable[[Path, str], None], tmp_path: Path) -> None:
    with unchangeable(tmp_path), pytest.raises(PermissionError) as raised:
        write(tmp_path / ".env", "text")
    assert raised.value.filename == str(tmp_path / ".env")


def test_a_draft_that_a_crash_left_does_not_keep_the_home_open(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    for name in (
        "toolbridge.db-wal",
        ".console-history.a1b2",
        ".trusted-folders.json.x",
        ".conversation.key.y",
        ".env",
    ):
        (home / name).touch()
    assert tighten(home) == ""
    assert not is_open(home)
