import os
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mcp.server.mcpserver.exceptions import ToolError

from mcp_server.folder import FolderWorkspace
from mcp_server.workspace import MAX_FILE_BYTES, Workspace, folder_name, plain_name

ONE = "slack:T1:C1:170.1"
SECRET = "outside the workspace"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "workspaces"


@pytest.fixture
def workspace(root: Path) -> Workspace:
    return FolderWorkspace(root)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file that no name may reach."""
    path = tmp_path / "outside.txt"
    path.write_text(SECRET)
    return path


@given(st.lists(st.text(min_size=1) | st.none(), unique=True))
def test_any_conversation_id_gets_one_plain_folder_of_its_own(conversations: list[str | None]) -> None:
    names = [folder_name(conversation) for conversation in conversations]
    assert len(set(names)) == len(names)
    assert all(plain_name(name) == name for name in names)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../a.txt",
        "a/b.txt",
        "a\\b.txt",
        "/etc/passwd",
        "C:\\a.txt",
        "a.txt:stream",
        "~/a.txt*",
        ".hidden",
        "a.txt.",
        "a.txt ",
        " a.txt",
        "a\x00.txt",
        "a\n.txt",
        "a\u202etxt.exe",
        "a\udcff.txt",
        "CON",
        "nul.txt",
        "Com1.tar.gz",
        "lpt9 .txt",
        "COM¹",
        "x" * 201,
        "é" * 101,
        "x" * 1_000_000,
    ],
)
def test_a_name_that_is_not_plain_is_refused_with_the_reason(workspace: Workspace, root: Path, name: str) -> None:
    acts: list[Callable[[], object]] = [
        lambda: workspace.save(ONE, name, "x"),
        lambda: workspace.read(ONE, name),
        lambda: workspace.delete(ONE, name),
    ]
    for act in acts:
        with pytest.raises(
            ToolError, match=r"cannot be a file name: .+; use a plain name such as notes\.txt"
        ) as caught:
            act()
        assert len(str(caught.value)) < 250
    assert not root.exists()


NAMES = st.text(max_size=8) | st.text(st.sampled_from('./\\:*?"<>|~ \0\nACNOUX1é\u0301\udcff'), max_size=12)


@given(NAMES)
@example("..")
@example("../outside.txt")
@example("c" * 200)
def test_no_name_at_all_leaves_the_conversations_folder(name: str) -> None:
    with tempfile.TemporaryDirectory() as parent:
        root = Path(parent) / "workspaces"
        workspace = FolderWorkspace(root)
        try:
            saved = workspace.save(ONE, name, "inside")
        except ToolError:
            assert list(Path(parent).rglob("*")) == []
            return
        assert [path for path in Path(parent).rglob("*") if path.is_file()] == [
            root / folder_name(ONE) / saved.filename
        ]
        assert workspace.read(ONE, name).content == "inside"
        workspace.delete(ONE, name)
        assert workspace.list(ONE).files == []


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def plant(root: Path) -> Path:
    """The conversation's folder, as someone else would make it."""
    folder = root / folder_name(ONE)
    folder.mkdir(parents=True)
    return folder


def plant_link(path: Path, outside: Path) -> None:
    path.symlink_to(outside)


def plant_dangling_link(path: Path, outside: Path) -> None:
    path.symlink_to(outside.with_name("not-there"))


def plant_fifo(path: Path, _outside: Path) -> None:
    os.mkfifo(path)


def plant_device_link(path: Path, _outside: Path) -> None:
    path.symlink_to("/dev/zero")


def plant_folder(path: Path, _outside: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("planted", [plant_link, plant_dangling_link, plant_fifo, plant_device_link, plant_folder])
def test_only_a_regular_file_is_read_replaced_or_deleted(
    workspace: Workspace, root: Path, outside: Path, planted: Callable[[Path, Path], None]
) -> None:
    path = plant(root) / "a.txt"
    planted(path, outside)
    before = path.lstat()
    acts: list[Callable[[], object]] = [
        lambda: workspace.save(ONE, "a.txt", "x"),
        lambda: workspace.read(ONE, "a.txt"),
        lambda: workspace.delete(ONE, "a.txt"),
    ]
    for act in acts:
        with pytest.raises(ToolError, match=r"a\.txt is not a regular file and is left alone"):
            act()
    assert workspace.list(ONE).files == []
    assert path.lstat().st_ino == before.st_ino
    assert names_in(path.parent) == ["a.txt"]
    assert outside.read_text() == SECRET


def test_a_link_planted_as_the_folder_is_not_followed(workspace: Workspace, root: Path, outside: Path) -> None:
    root.mkdir()
    (root / folder_name(ONE)).symlink_to(outside.parent)
    acts: list[Callable[[], object]] = [
        lambda: workspace.save(ONE, "outside.txt", "x"),
        lambda: workspace.read(ONE, "outside.txt"),
        lambda: workspace.delete(ONE, "outside.txt"),
        lambda: workspace.list(ONE),
    ]
    for act in acts:
        with pytest.raises(ToolError, match="something else lies where this conversation's folder belongs"):
            act()
    assert outside.read_text() == SECRET


def test_what_a_caller_could_not_have_named_is_not_listed(workspace: Workspace, root: Path) -> None:
    folder = plant(root)
    for name in (".hidden", "nul.txt", "a.txt"):
        (folder / name).write_text("x")
    assert [file.filename for file in workspace.list(ONE).files] == ["a.txt"]


def test_files_and_folders_are_for_their_owner_alone(workspace: Workspace, root: Path) -> None:
    workspace.save(ONE, "a.txt", "x")
    folder = root / folder_name(ONE)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (root, folder, folder / "a.txt")]
    assert modes == [0o700, 0o700, 0o600]


def test_a_file_that_someone_else_made_too_large_is_not_read(workspace: Workspace, root: Path) -> None:
    with (plant(root) / "huge.txt").open("wb") as file:
        file.truncate(10 * MAX_FILE_BYTES)
    with pytest.raises(ToolError, match=r"huge\.txt is larger than 1,048,576 bytes"):
        workspace.read(ONE, "huge.txt")


def test_text_that_is_not_utf_8_is_an_error_that_says_where(workspace: Workspace, root: Path) -> None:
    (plant(root) / "latin.txt").write_bytes("caf\u00e9".encode("latin-1"))
    with pytest.raises(ToolError, match=r"latin.txt is not UTF-8 text \(byte 4 is wrong\)"):
        workspace.read(ONE, "latin.txt")


def test_a_draft_of_a_dead_process_goes_and_one_of_a_living_one_stays(workspace: Workspace, root: Path) -> None:
    folder = plant(root)
    dead, living = folder / ".0123456789abcdef.tmp", folder / ".fedcba9876543210.tmp"
    for draft in (dead, living):
        draft.write_text("x")
    two_hours_ago_s = time.time() - 7200
    os.utime(dead, (two_hours_ago_s, two_hours_ago_s))
    workspace.save(ONE, "a.txt", "x")
    assert names_in(folder) == [living.name, "a.txt"]


def test_storage_that_fails_is_an_error_that_names_no_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ToolError, match="the file storage failed: Not a directory") as caught:
        FolderWorkspace(tmp_path / "file" / "workspaces").save(ONE, "a.txt", "x")
    assert str(tmp_path) not in str(caught.value)
