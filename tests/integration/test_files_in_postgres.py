"""Two processes of the bot, each with its own bundled server: what one saves another reads, from the database."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import psutil
import pytest

from bot.keeping.files import workspace_name
from bot.settings import Settings
from bot.tools.configured import load_servers
from bot.tools.conversation_ids import shared_conversation_ids
from bot.tools.toolset import Toolset
from tests.fakes.files_database import FilesDatabase, files_database
from tests.integration.test_mcp_server_process import CONVERSATION, call

IDS = shared_conversation_ids("5a" * 32)


@pytest.fixture(scope="module")
def database() -> Generator[FilesDatabase]:
    with files_database() as database:
        yield database


async def test_what_one_process_saved_another_reads_and_nothing_shows_where_it_is(
    database: FilesDatabase, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        tools = [await open_tools(stack, database, tmp_path / name) for name in ("one", "other")]
        saved = await call(tools[0], "toolbridge__save_text_file", '{"filename": "a.txt", "content": "by one"}')
        assert saved.text == "Saved a.txt (6 bytes)."
        read = await call(tools[1], "toolbridge__read_text_file", '{"filename": "a.txt"}')
        assert read.text.endswith("by one")
        assert database.execute("SELECT workspace, name FROM file") == [(workspace_name(IDS.of(CONVERSATION)), "a.txt")]
        assert not [path for path in tmp_path.rglob("*") if path.name == "workspaces"]  # noqa: ASYNC240
        commands = command_lines()
        assert sum("mcp_server" in command for command in commands) == 2
        assert database.url not in str(commands)
        database.execute("ALTER TABLE file RENAME TO gone")
        refused = await call(tools[1], "toolbridge__list_text_files", "{}")
        assert refused.outcome == "error" and refused.text.endswith(": the file storage failed: UndefinedTable")


def command_lines() -> list[list[str]]:
    found: list[list[str]] = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            found.append(child.cmdline())
    return found


async def open_tools(stack: AsyncExitStack, database: FilesDatabase, home: Path) -> Toolset:
    settings = Settings(
        _env_file=None,  # pyright: ignore[reportCallIssue]  (pydantic-settings' own)
        toolbridge_home=home,
        database_url=database.url,
        database_schema=database.schema,
    )
    servers = load_servers(settings, environ={}, uses_folder=False)
    tools = await stack.enter_async_context(Toolset(servers, ids=IDS, offer_wait_s=60))
    await tools.offer(None)
    return tools
