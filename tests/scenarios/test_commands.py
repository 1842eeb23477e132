"""The bot's commands on a chat platform, typed with a slash."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from tests.scenarios.drivers import ALL_DRIVERS, Driver
from tests.scenarios.model import calls

BUNDLED: dict[str, Any] = {"mcp_config": None}  # the server that comes with the bot


@pytest.mark.parametrize("driver", ALL_DRIVERS, indirect=True)
async def test_tools_shows_only_the_asker_all_tools_or_those_that_match_a_word(driver: Driver) -> None:
    async with driver.serving(**BUNDLED):
        everything = await driver.command("tools")
        assert "**toolbridge**: ready" in everything
        assert "`calculate`" in everything and "`save_text_file`" in everything
        some = await driver.command("tools", "calc")
        assert "`calculate`" in some and "`save_text_file`" not in some
        assert "No tool matches `zzz`" in await driver.command("tools", "zzz")
        assert "No tool matches `payload`" in await driver.command("tools", "payload")
        assert "`zzz payload=`" in await driver.command("tools", "zzz payload=")
        assert driver.private("ben") == []
        assert driver.in_channel == []
        driver.check_manners()


async def test_usage_tells_what_the_asker_used_and_to_operators_what_all_did(driver: Driver) -> None:
    async with driver.serving() as conversation:
        await conversation.ask("hello", by="ben")
        await conversation.answered()
        shown = await driver.command("usage")
        told = ["**You**: today 0 turns", *driver.usage_there]
        assert [words for words in told if words not in shown] == []


async def test_clear_keeps_saved_files_and_clear_files_deletes_them_too(driver: Driver) -> None:
    async with driver.serving(**BUNDLED) as conversation:
        save = calls("toolbridge__save_text_file", filename="a.txt", content="words")
        await driver.model.script(save, {"text": "Saved."}, save, {"text": "Saved."})
        for number in (1, 2):
            await conversation.ask("save it")
            await conversation.answered(number)
            if number == 1:
                cleared = await conversation.command("clear")
                assert cleared.startswith("4 messages of this conversation deleted. Saved files are kept.")
                assert "`clear files` deletes them as well." in cleared
                assert len(list((driver.home / "workspaces").rglob("a.txt"))) == 1
        cleared = await conversation.command("clear", "files")
        assert cleared.startswith("4 messages of this conversation deleted. 1 saved file deleted.")
        assert list((driver.home / "workspaces").rglob("a.txt")) == []
        assert "No files were saved here." in await conversation.command("clear", "files")


async def test_a_long_answer_has_pages_that_can_be_turned_also_after_the_bot_was_restarted(driver: Driver) -> None:
    await driver.remember([f"First {number}? {'many _words_ ' * 20}" for number in range(12)])
    async with driver.serving():
        pages = await driver.history()
        assert "First 2?" in pages.text and "First 1?" not in pages.text and "First 11?" not in pages.text
        assert f"Page 1 of {driver.history_pages}" in pages.text and pages.buttons == ["Next"]
        for page in range(2, driver.history_pages + 1):
            shown = await pages.turn("Next")
            assert f"Page {page} of {driver.history_pages}" in shown
        assert "First 11?" in shown and pages.buttons == ["Previous"]
    async with driver.serving():
        for _ in range(driver.history_pages - 1):
            shown = await pages.turn("Previous")
        assert "First 2?" in shown and pages.buttons == ["Next"]
        for _ in range(driver.history_pages - 1):
            shown = await pages.turn("Next")
        assert "First 11?" in shown
        assert len(driver.private("ada")) == 1


async def test_a_command_is_answered_with_the_reason_while_the_database_fails(driver: Driver) -> None:
    async with driver.serving():
        with closing(sqlite3.connect(driver.home / "toolbridge.db")) as database, database:
            database.execute("ALTER TABLE message RENAME TO hidden")
        for command in ("history", "clear"):
            assert "database" in (await driver.command(command)).lower()
        assert "I answer questions" in await driver.command("help")
        with closing(sqlite3.connect(driver.home / "toolbridge.db")) as database, database:
            database.execute("ALTER TABLE hidden RENAME TO message")
        assert driver.no_history in await driver.command("history")
