"""The files of the home folder beside the database, and how they go."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from bot.domain.events import ConversationKey
from bot.domain.turns import answer_key
from bot.keeping.files import FilesGone, KeptFiles, workspace_name
from bot.text.typed_lines import entry_text
from mcp_server.folder import FolderWorkspace
from mcp_server.workspace import folder_name
from tests.fakes.folders import unchangeable

HERE = ConversationKey(platform="console", space="local", channel="main")
THERE = ConversationKey(platform="console", space="local", channel="other")
NOW = 1_800_000_000.0


def lay(path: Path, text: str = "words", *, at: float = NOW) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    os.utime(path, (at, at))
    return path


def test_a_workspace_is_looked_for_where_the_bundled_server_keeps_it() -> None:
    assert workspace_name("abc") == folder_name("abc")


async def test_the_attachments_of_these_answers_go_and_saved_files_only_where_asked(tmp_path: Path) -> None:
    mine = lay(tmp_path / "attachments" / f"{answer_key('e1')}.0-1-a.png")
    others = lay(tmp_path / "attachments" / f"{answer_key('e2')}.0-1-a.png")
    for conversation in (HERE, THERE):
        FolderWorkspace(tmp_path / "workspaces").save(conversation.opaque_id, "a.txt", "words")
    files = KeptFiles(tmp_path)
    assert await files.forget(HERE, ["e1"]) == FilesGone(attachments=1)
    assert not mine.exists() and others.exists()
    assert await files.count_saved(HERE) == 1
    assert await files.forget(HERE, ["e1"], with_saved=True) == FilesGone(saved=1)
    assert (await files.count_saved(HERE), await files.count_saved(THERE)) == (0, 1)


async def test_files_are_found_under_the_id_that_servers_know_and_under_the_former_one(tmp_path: Path) -> None:
    for name in ("keyed", HERE.opaque_id):
        FolderWorkspace(tmp_path / "workspaces").save(name, "a.txt", "words")
    files = KeptFiles(tmp_path, lambda _: "keyed")
    assert await files.count_saved(HERE) == 2
    assert (await files.forget(HERE, [], with_saved=True)).saved == 2


async def test_files_that_cannot_be_deleted_are_counted_and_stay(tmp_path: Path) -> None:
    lay(tmp_path / "attachments" / f"{answer_key('e1')}.0-1-a.png")
    for name in ("a.txt", "b.txt"):
        FolderWorkspace(tmp_path / "workspaces").save(HERE.opaque_id, name, "words")
    files = KeptFiles(tmp_path)
    with unchangeable(tmp_path / "workspaces"):
        gone = await files.forget(HERE, ["e1"], with_saved=True)
    assert gone == FilesGone(attachments=1, undeleted=2)
    assert await files.forget(HERE, ["e1"], with_saved=True) == FilesGone(saved=2)


async def test_what_was_typed_in_the_conversation_goes_and_the_file_stays_private(tmp_path: Path) -> None:
    at = datetime.now()  # noqa: DTZ005
    text = "".join(entry_text(str(one), at=at, conversation=str(one)) for one in (HERE, THERE, HERE))
    file = lay(tmp_path / "console-history", text)
    assert (await KeptFiles(tmp_path).forget(HERE, [])).typed_lines == 2
    assert str(HERE) not in file.read_text() and str(THERE) in file.read_text()
    assert os.name == "nt" or file.stat().st_mode & 0o777 == 0o600


async def test_what_is_older_goes_and_nothing_beside_the_home_is_touched(tmp_path: Path) -> None:
    home = tmp_path / "home"
    old, new = NOW - 100, NOW
    outside = lay(tmp_path / "outside" / "file", at=old)
    for folder in ("attachments", "workspaces/c-1"):
        lay(home / folder / "old", at=old)
        lay(home / folder / "new", at=new)
    lay(home / "workspaces" / "c-2" / "old", at=old)
    (home / "workspaces" / "link").symlink_to(tmp_path / "outside")
    lay(home / "toolbridge.db", at=old)
    gone = await KeptFiles(home).forget_older(NOW - 50)
    assert gone == FilesGone(attachments=1, saved=2)
    assert outside.exists() and (home / "toolbridge.db").exists()
    assert not (home / "workspaces" / "c-2").exists()
    assert [file.name for file in (home / "workspaces" / "c-1").iterdir()] == ["new"]


async def test_older_lines_of_logs_go_in_both_formats_and_an_open_log_goes_on(tmp_path: Path) -> None:
    log = lay(
        tmp_path / "logs" / "toolbridge.log",
        '2026-01-01T00:00:00.1Z [info] old\nTraceback\n{"event": "x", "timestamp": "2026-02-01T00:00:00Z"}\n',
    )
    rotated = lay(tmp_path / "logs" / "toolbridge.log.1", "2025-01-01T00:00:00Z [info] older\n")
    before = datetime.fromisoformat("2026-01-15T00:00:00+00:00").timestamp()
    with log.open("a", encoding="utf-8") as handler:
        assert (await KeptFiles(tmp_path).forget_older(before)).log_lines == 3
        handler.write("next\n")
    assert log.read_text() == '{"event": "x", "timestamp": "2026-02-01T00:00:00Z"}\nnext\n'
    assert not rotated.exists()


async def test_what_only_looks_like_a_time_in_a_log_is_none(tmp_path: Path) -> None:
    log = lay(
        tmp_path / "logs" / "toolbridge.log",
        '{"error": "no time: 2026-13-01T00:00:00Z"}\n{"timestamp": "2026-02-01T00:00:00Z"}\n',
    )
    before = datetime.fromisoformat("2026-01-15T00:00:00+00:00").timestamp()
    assert (await KeptFiles(tmp_path).forget_older(before)).log_lines == 1
    assert log.read_text() == '{"timestamp": "2026-02-01T00:00:00Z"}\n'


async def test_typed_lines_that_cannot_be_removed_are_counted_and_stay(tmp_path: Path) -> None:
    at = datetime.fromtimestamp(NOW - 100)  # noqa: DTZ006
    file = lay(tmp_path / "console-history", entry_text("hi", at=at, conversation=str(HERE)))
    with unchangeable(tmp_path):
        assert await KeptFiles(tmp_path).forget(HERE, []) == FilesGone(undeleted=1)
        assert await KeptFiles(tmp_path).forget_older(NOW) == FilesGone(undeleted=1)
    assert str(HERE) in file.read_text()


async def test_a_home_that_is_not_there_has_nothing_to_forget(tmp_path: Path) -> None:
    files = KeptFiles(tmp_path / "missing")
    assert not await files.forget(HERE, ["e1"], with_saved=True)
    assert not await files.forget_older(NOW)
