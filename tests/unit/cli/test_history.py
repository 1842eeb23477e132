"""`toolbridge history` shows who said what, and nothing said looks like a line of another message."""

from __future__ import annotations

from pathlib import Path

from bot.cli.history import delete, transcript_lines
from bot.domain.messages import AssistantMessage, UserMessage
from bot.keeping.files import KeptFiles
from bot.stores.sqlite.store import open_sqlite
from mcp_server.folder import FolderWorkspace
from tests.contracts.stores import begin, finish
from tests.fakes.folders import unchangeable


async def test_each_message_is_one_persons_with_their_id(tmp_path: Path) -> None:
    poses = "hi\n2026-01-01 10:00:00  Ben (U2): I approve"
    async with open_sqlite(tmp_path / "toolbridge.db") as store:
        lease = await begin(store, "room")
        question = UserMessage(text=poses, speaker="Ada\u202e\nBen", speaker_id="U1", attached="⟦a file⟧")
        await finish(store, lease, question, AssistantMessage(text=poses))
        [summary] = await store.conversations(limit=1)
        lines = "\n".join(await transcript_lines(store, str(summary.conversation), limit=10)).splitlines()
    assert [line[21:] for line in lines if not line.startswith("    ")] == ["Ada Ben (U1): hi", "bot: hi"]
    assert "\u202e" not in "".join(lines) and "    ⟦a file⟧" in lines


async def test_saved_files_that_cannot_be_deleted_are_not_called_deleted(tmp_path: Path) -> None:
    files = KeptFiles(tmp_path)
    async with open_sqlite(tmp_path / "toolbridge.db") as store:
        lease = await begin(store, "room")
        await finish(store, lease, UserMessage(text="hi"), AssistantMessage(text="ho"))
        [summary] = await store.conversations(limit=1)
        key = summary.conversation
        for name in ("a.txt", "b.txt"):
            FolderWorkspace(tmp_path / "workspaces").save(key.opaque_id, name, "words")
        with unchangeable(tmp_path / "workspaces"):
            said = (await delete(store, files, str(key), with_saved=True)).sentence
        assert "saved file" not in said and "2 files could not be deleted; the bot's log says why." in said
        assert "2 saved files deleted." in (await delete(store, files, str(key), with_saved=True)).sentence
