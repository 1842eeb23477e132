"""Any place that keeps the files of conversations does the same: a folder, and a database."""

from __future__ import annotations

import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mcp.server.mcpserver.exceptions import ToolError

from mcp_server.connection import LoginError
from mcp_server.database import DatabaseWorkspace
from mcp_server.folder import FolderWorkspace
from mcp_server.workspace import MAX_FILE_BYTES, MAX_FILES, Workspace, folder_name
from tests.fakes import postgres
from tests.fakes.files_database import FilesDatabase, cutting, files_database, pausing
from tests.fakes.pgbouncer import PROGRAM, pgbouncer

ONE = "slack:T1:C1:170.1"


@pytest.fixture
def database() -> Generator[FilesDatabase]:
    with files_database() as database:
        yield database


@pytest.fixture(params=["folder", "database"])
def workspace(request: pytest.FixtureRequest, tmp_path: Path) -> Workspace:
    if request.param == "folder":
        return FolderWorkspace(tmp_path)
    return workspace_on(request.getfixturevalue("database"))


def fill(workspace: Workspace, root: Path, *, files: int) -> None:
    """Put so many files into the conversation; in a folder by hand, where each save waits for the disk."""
    if isinstance(workspace, FolderWorkspace):
        (root / folder_name(ONE)).mkdir()
    for number in range(files):
        if isinstance(workspace, FolderWorkspace):
            (root / folder_name(ONE) / f"{number}.txt").write_text("x")
        else:
            workspace.save(ONE, f"{number}.txt", "x")


def workspace_on(database: FilesDatabase) -> DatabaseWorkspace:
    return DatabaseWorkspace(database.url, schema=database.schema)


def test_files_under_a_former_id_are_moved_once_and_never_over_others(workspace: Workspace) -> None:
    kept = workspace
    kept.adopt("new", "old")
    assert kept.list("new").files == []
    kept.save("old", "a.txt", "before")
    kept.adopt("new", "old")
    assert kept.read("new", "a.txt").content == "before" and kept.list("old").files == []
    kept.save("old", "a.txt", "by someone who knows the former id")
    kept.adopt("new", "old")
    assert kept.read("new", "a.txt").content == "before"


def test_a_saved_file_is_read_back_unchanged(workspace: Workspace) -> None:
    content = "Result: 120\r\nπ ≈ 3.14\n\x00 end"
    workspace.save(ONE, "calculation.txt", content)
    assert workspace.read(ONE, "calculation.txt").content == content


def test_saving_says_the_size_and_whether_a_file_was_overwritten(workspace: Workspace) -> None:
    first, second = (workspace.save(ONE, "a.txt", content) for content in ("x", "hello"))
    assert first.sentence() == "Saved a.txt (1 byte)."
    assert second.sentence() == "Saved a.txt (5 bytes), overwriting the earlier file of that name."
    assert workspace.read(ONE, "a.txt").content == "hello"


def test_reading_gives_a_heading_and_the_text(workspace: Workspace) -> None:
    workspace.save(ONE, "a.txt", "hello")
    workspace.save(ONE, "empty.txt", "")
    assert workspace.read(ONE, "a.txt").sentence() == "a.txt (5 bytes):\nhello"
    assert workspace.read(ONE, "empty.txt").sentence() == "empty.txt is empty."


def test_the_list_has_every_file_by_name(workspace: Workspace) -> None:
    assert workspace.list(ONE).sentence() == "There are no files in this conversation yet."
    for name in ("b.txt", "a.txt"):
        workspace.save(ONE, name, name)
    assert workspace.list(ONE).sentence() == "2 files:\na.txt (5 bytes)\nb.txt (5 bytes)"


def test_a_deleted_file_is_gone(workspace: Workspace) -> None:
    workspace.save(ONE, "a.txt", "x")
    assert workspace.delete(ONE, "a.txt").sentence() == "Deleted a.txt."
    for act in (workspace.read, workspace.delete):
        with pytest.raises(ToolError, match=r"there is no file 'a\.txt'; list_text_files shows what there is"):
            act(ONE, "a.txt")


def test_two_spellings_of_one_letter_name_one_file(workspace: Workspace) -> None:
    workspace.save(ONE, "re\u0301sume\u0301.txt", "x")
    assert workspace.read(ONE, "r\u00e9sum\u00e9.txt").content == "x"


def test_conversations_do_not_see_each_others_files(workspace: Workspace) -> None:
    workspace.save(ONE, "a.txt", "one")
    for other in ("slack:T1:C1:170.2", "../" + folder_name(ONE), folder_name(ONE), "shared", None):
        assert workspace.list(other).files == []
        workspace.save(other, "a.txt", f"{other}")
    assert workspace.read(ONE, "a.txt").content == "one"


def test_the_largest_file_fits_and_one_byte_more_is_refused(workspace: Workspace) -> None:
    largest = "é" * (MAX_FILE_BYTES // 2)
    workspace.save(ONE, "big.txt", largest)
    assert workspace.read(ONE, "big.txt").content == largest
    with pytest.raises(ToolError, match="the content has 1,048,577 bytes; a file may have 1,048,576"):
        workspace.save(ONE, "big.txt", largest + "x")
    assert workspace.read(ONE, "big.txt").content == largest


def test_writers_of_one_file_leave_one_of_their_texts_whole(workspace: Workspace) -> None:
    texts = [str(writer) * 100_000 for writer in range(8)]
    with ThreadPoolExecutor(8) as threads:
        saves = [threads.submit(workspace.save, ONE, "a.txt", text) for text in texts]
    assert sum(not save.result().overwritten for save in saves) == 1
    assert workspace.read(ONE, "a.txt").content in texts


def test_a_reader_sees_the_old_text_or_the_new_one_and_nothing_between(workspace: Workspace) -> None:
    old, new = "o" * 200_000, "n" * 300_000
    workspace.save(ONE, "a.txt", old)
    with ThreadPoolExecutor(1) as writer:
        writing = writer.submit(lambda: [workspace.save(ONE, "a.txt", text) for text in (new, old) * 10])
        seen = {workspace.read(ONE, "a.txt").content}
        while not writing.done():
            seen.add(workspace.read(ONE, "a.txt").content)
    assert seen <= {old, new}
    assert writing.exception() is None


def test_half_a_surrogate_pair_is_refused(workspace: Workspace) -> None:
    with pytest.raises(ToolError, match="half a surrogate pair"):
        workspace.save(ONE, "a.txt", "\ud800")


def test_a_full_conversation_takes_no_new_file_but_changes_of_the_old(workspace: Workspace, tmp_path: Path) -> None:
    fill(workspace, tmp_path, files=MAX_FILES)
    with pytest.raises(ToolError, match="already has 200 files, the most it may have; delete one first"):
        workspace.save(ONE, "one-more.txt", "x")
    assert workspace.save(ONE, "7.txt", "changed").overwritten
    workspace.delete(ONE, "8.txt")
    workspace.save(ONE, "one-more.txt", "x")
    assert len(workspace.list(ONE).files) == MAX_FILES


def test_saves_at_the_same_time_never_pass_the_limit_or_tear_a_file(workspace: Workspace, tmp_path: Path) -> None:
    fill(workspace, tmp_path, files=MAX_FILES - 3)
    start = threading.Barrier(8)

    def save(writer: int) -> bool:
        start.wait(10)
        try:
            workspace.save(ONE, f"new-{writer}.txt", str(writer) * 50_000)
        except ToolError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(save, range(8))) == 3
    assert len(workspace.list(ONE).files) == MAX_FILES


# --- in a database ---


def test_what_one_process_saved_another_reads_changes_and_deletes(database: FilesDatabase) -> None:
    here, there = workspace_on(database), workspace_on(database)
    here.save(ONE, "a.txt", "by one")
    assert there.read(ONE, "a.txt").content == "by one"
    assert there.save(ONE, "a.txt", "by the other").overwritten
    assert here.read(ONE, "a.txt").content == "by the other"
    there.delete(ONE, "a.txt")
    assert here.list(ONE).files == []


def test_processes_that_save_at_the_same_time_do_not_pass_the_limit_together(database: FilesDatabase) -> None:
    first = workspace_on(database)
    for number in range(MAX_FILES - 1):
        first.save(ONE, f"{number}.txt", "x")
    start = threading.Barrier(4)

    def save(writer: int) -> bool:
        process = workspace_on(database)
        start.wait(30)
        try:
            process.save(ONE, f"new-{writer}.txt", "x")
        except ToolError:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(save, range(4))) == 1
    assert len(first.list(ONE).files) == MAX_FILES


def test_a_connection_that_was_cut_between_two_calls_is_not_noticed(database: FilesDatabase) -> None:
    workspace = workspace_on(database)
    workspace.save(ONE, "a.txt", "x")
    acts = (
        lambda: workspace.read(ONE, "a.txt"),
        lambda: workspace.save(ONE, "b.txt", "y"),
        lambda: workspace.list(ONE),
        lambda: workspace.delete(ONE, "a.txt"),
    )
    for act in acts:
        assert database.cut() == 1
        act()
    assert [file.filename for file in workspace.list(ONE).files] == ["b.txt"]


def test_only_the_digest_of_a_conversation_and_the_bytes_of_its_files_are_in_the_table(database: FilesDatabase) -> None:
    workspace_on(database).save(ONE, "a.txt", "\u00e9")
    assert database.execute("SELECT workspace, name, body FROM file") == [(folder_name(ONE), "a.txt", b"\xc3\xa9")]


def test_a_file_survives_a_crash_also_where_the_database_asks_for_less_by_default(database: FilesDatabase) -> None:
    workspace = DatabaseWorkspace(database.with_option("options", "-csynchronous_commit=off"), schema=database.schema)
    database.execute(
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " NEW.name := current_setting('synchronous_commit'); RETURN NEW; END $$"
    )
    database.execute("CREATE TRIGGER note BEFORE INSERT ON file FOR EACH ROW EXECUTE FUNCTION note()")
    workspace.save(ONE, "a.txt", "x")
    assert [file.filename for file in workspace.list(ONE).files] == ["on"]


@pytest.mark.parametrize("is_lost_after", [True, False])
def test_a_commit_that_was_not_answered_is_not_made_twice_and_not_left_out(
    database: FilesDatabase, is_lost_after: bool
) -> None:
    with cutting(database.url, after=is_lost_after) as url:
        workspace = DatabaseWorkspace(url, schema=database.schema)
        assert not workspace.save(ONE, "a.txt", "x").overwritten
        assert workspace.read(ONE, "a.txt").content == "x"
    with cutting(database.url, after=is_lost_after) as url:
        workspace = DatabaseWorkspace(url, schema=database.schema)
        workspace.delete(ONE, "a.txt")
        assert workspace.list(ONE).files == []


def test_a_database_that_refuses_is_an_error_that_names_nothing_of_it(database: FilesDatabase) -> None:
    database.execute("ALTER TABLE file RENAME TO secret_name")
    with pytest.raises(ToolError) as refused:
        workspace_on(database).save(ONE, "a.txt", "words")
    assert str(refused.value) == "the file storage failed: UndefinedTable"
    assert refused.value.__cause__ is None


def test_a_call_waits_for_a_server_that_restarts_and_fails_where_it_does_not_come_back(
    database: FilesDatabase,
) -> None:
    with pausing(database.url) as (url, door):
        workspace = DatabaseWorkspace(url, schema=database.schema, reach_s=0.3)
        workspace.save(ONE, "a.txt", "x")
        door.shut()
        with pytest.raises(ToolError, match="its database cannot be reached; try again in a minute"):
            workspace.read(ONE, "a.txt")
        patient = DatabaseWorkspace(url, schema=database.schema, reach_s=60)
        with ThreadPoolExecutor(1) as thread:
            reading = thread.submit(patient.read, ONE, "a.txt")
            assert door.refused.wait(60)
            door.open()
            assert reading.result(60).content == "x"
        assert workspace.read(ONE, "a.txt").content == "x"


@pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed (Debian's package pgbouncer)")
def test_transactions_may_each_run_on_another_session_of_the_server(database: FilesDatabase) -> None:
    with pgbouncer(postgres.server()) as url:
        workspaces = [DatabaseWorkspace(url, schema=database.schema) for _ in range(8)]
        with ThreadPoolExecutor(8) as threads:
            saves = [threads.submit(each.save, ONE, f"{n}.txt", "x") for n, each in enumerate(workspaces * 3)]
        assert not any(save.result().overwritten for save in saves)
        assert len(workspaces[0].list(ONE).files) == 24


def test_a_password_is_asked_for_with_each_connection_and_may_be_late(database: FilesDatabase) -> None:
    asked: list[int] = []

    def password() -> str:
        asked.append(1)
        if len(asked) == 2:
            raise LoginError("Entra ID gave no token")
        return "token"

    workspace = DatabaseWorkspace(database.url, schema=database.schema, password=password)
    workspace.save(ONE, "a.txt", "x")
    database.cut()
    assert workspace.read(ONE, "a.txt").content == "x" and len(asked) == 3


def test_an_address_that_is_none_is_not_shown() -> None:
    with pytest.raises(LoginError) as refused:
        DatabaseWorkspace("postgresql://bot:hunter2@[::1/files")
    assert "hunter2" not in str(refused.value) and refused.value.__suppress_context__
    assert "hunter2" not in repr(vars(DatabaseWorkspace("postgresql://bot:hunter2@nowhere/files")))
