"""What the bundled server saved is counted, deleted and forgotten alike in folders and in a database."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bot.domain.events import ConversationKey
from bot.keeping.files import FilesGone, KeptFiles
from bot.keeping.folders import SavedFolders
from bot.ports.saved_files import Deleted, SavedFiles
from bot.stores.files import BATCH_FILES
from bot.stores.postgres.options import PostgresOptions
from bot.stores.postgres.store import open_postgres
from mcp_server.database import DatabaseWorkspace
from mcp_server.folder import FolderWorkspace
from mcp_server.workspace import Workspace, folder_name
from tests.fakes import postgres
from tests.fakes.files_database import FilesDatabase

HERE = ConversationKey(platform="slack", space="T1", channel="C1", thread="1.1")
DAY_S = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Place:
    """One place, as the bundled server and as the bot see it."""

    workspace: Workspace
    saved: SavedFiles
    folder: Path
    database: FilesDatabase | None = None

    def age(self, conversation: str, days: float) -> None:
        """Make the files of the conversation that much older."""
        at = time.time() - days * DAY_S
        if self.database is not None:
            change = "UPDATE file SET modified_at = %s WHERE workspace = %s"
            self.database.execute(change, at, folder_name(conversation))
            return
        for file in (self.folder / folder_name(conversation)).iterdir():
            os.utime(file, (at, at))


@pytest.fixture(params=["folder", "database"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Place]:
    if request.param == "folder":
        yield Place(workspace=FolderWorkspace(tmp_path), saved=SavedFolders(tmp_path), folder=tmp_path)
        return
    database = FilesDatabase(url=postgres.server().url, schema=postgres.new_schema())
    async with open_postgres(database.url, PostgresOptions(schema=database.schema)) as store:
        assert store.saved_files is not None
        yield Place(
            workspace=DatabaseWorkspace(database.url, schema=database.schema),
            saved=store.saved_files,
            folder=tmp_path,
            database=database,
        )


async def save(place: Place, conversation: str, *names: str) -> None:
    for name in names:
        await asyncio.to_thread(place.workspace.save, conversation, name, "words")


async def test_the_files_of_these_workspaces_go_and_no_others(place: Place) -> None:
    await save(place, "one", "a.txt", "b.txt")
    await save(place, "two", "a.txt")
    asked = [folder_name(each) for each in ("one", "missing")]
    assert await place.saved.count(asked) == 2
    assert await place.saved.delete(asked) == Deleted(gone=2)
    assert await place.saved.delete(asked) == Deleted()
    assert [len(place.workspace.list(each).files) for each in ("one", "two")] == [0, 1]


async def test_what_was_saved_last_before_that_time_goes(place: Place) -> None:
    await save(place, "old", *(f"{number}.txt" for number in range(5)))
    await save(place, "older", *(f"{number}.txt" for number in range(BATCH_FILES)))
    await save(place, "new", "a.txt")
    place.age("old", 2)
    place.age("older", 3)
    await save(place, "old", "0.txt")  # again, so it is new
    before = time.time() - DAY_S
    gone = await asyncio.gather(place.saved.delete_older(before), place.saved.delete_older(before))
    assert sum(each.gone for each in gone) == BATCH_FILES + 4
    assert [len(place.workspace.list(each).files) for each in ("old", "older", "new")] == [1, 0, 1]


async def test_a_conversation_is_cleared_in_all_places_under_its_ids_of_now_and_before(
    place: Place, tmp_path: Path
) -> None:
    elsewhere = FolderWorkspace(tmp_path / "home" / "workspaces")
    elsewhere.save("keyed", "a.txt", "from before the database had it")
    await save(place, "keyed", "a.txt")
    await save(place, HERE.opaque_id, "b.txt")
    files = KeptFiles(
        tmp_path / "home",
        id_of=lambda _: "keyed",
        saved=(place.saved, SavedFolders(tmp_path / "home" / "workspaces")),
    )
    assert await files.count_saved(HERE) == 3
    assert await files.forget(HERE, []) == FilesGone()
    assert await files.forget(HERE, [], with_saved=True) == FilesGone(saved=3)
    assert await files.count_saved(HERE) == 0
