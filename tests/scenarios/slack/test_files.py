"""Files in Slack: those of people reach the model, or it is told why not; those of tools come into the thread."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.mcp_servers.workshop import PIXEL
from tests.fakes.slack import ALL_BOT_SCOPES
from tests.scenarios.model import calls, spoken
from tests.scenarios.slack.serving import Bot, open_bot
from tests.scenarios.slack.threads import Thread, start
from tests.scenarios.tools import with_workshop

CANVAS = "application/vnd.slack-docs"


def without_scope(bot: Bot, scope: str) -> None:
    """Take one permission from the app."""
    bot.slack.tokens["xoxb-test"].scopes = tuple(one for one in ALL_BOT_SCOPES if one != scope)


async def question(bot: Bot) -> Any:
    """Return the content of the last message that the model was sent."""
    return spoken((await bot.model.requests())[-1]["messages"][-1]["content"])


def files(thread: Thread) -> Mapping[str, bytes]:
    """Return what the bot has uploaded into the thread; a name that came twice is an error."""
    found = [file for message in thread.messages for file in message.files]
    assert len({file.name for file in found}) == len(found), [file.name for file in found]
    return {file.name: file.content for file in found}


# --- from people ---


async def test_a_file_without_words_in_a_direct_message_is_a_question(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        await bot.model.script({"text": "I have read it."})
        notes = bot.slack.add_file("notes.txt", b"Milk")
        thread = await start(bot, "U1", "", channel=bot.slack.dm("U1"), files=[notes])
        assert await thread.answered() == ["I have read it."]
        assert "Milk" in await question(bot)


async def test_the_words_of_a_canvas_reach_the_model(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        await bot.model.script({"text": "On Friday."})
        canvas = bot.slack.add_file("Plan", b"<h1>Release</h1><p>On Friday</p>", mimetype=CANVAS)
        await (await start(bot, "U1", "when is the release?", files=[canvas])).answered()
        assert "On Friday" in await question(bot)


async def test_a_spoken_question_whose_transcript_slack_is_still_making_is_answered(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        await bot.model.script({"text": "Sunday."})
        clip = bot.slack.add_file("audio_message.m4a", b"", mimetype="audio/mp4")
        clip.clip = {"subtype": "slack_audio", "transcription": {"status": "processing"}}
        thread = await start(bot, "U1", "", channel=bot.slack.dm("U1"), files=[clip])
        spoken = {"content": "What day is it?", "has_more": False}
        clip.clip = {"subtype": "slack_audio", "transcription": {"status": "complete", "preview": spoken}}
        assert await thread.answered() == ["Sunday."]
        assert "What day is it?" in await question(bot)


async def test_a_file_that_is_not_on_slacks_servers_is_not_asked_for(tmp_path: Path) -> None:
    asked: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    elsewhere = await asyncio.start_server(note, "127.0.0.1", 0)
    async with elsewhere, open_bot(tmp_path) as bot:
        await bot.model.script({"text": "Done."})
        linked = bot.slack.add_file("linked.txt", b"")
        linked.elsewhere = f"http://127.0.0.1:{elsewhere.sockets[0].getsockname()[1]}/linked.txt"
        thread = await start(bot, "U1", "read it", files=[linked])
        [text] = await thread.answered()
        assert "`linked.txt` was not read: The file is not on Slack's own servers" in text
    assert asked == []


async def test_a_sign_in_page_in_place_of_a_file_is_reported_as_a_missing_permission(tmp_path: Path) -> None:
    async with open_bot(tmp_path) as bot:
        without_scope(bot, "files:read")
        await bot.model.script({"text": "Done."})
        picture = bot.slack.add_file("dot.png", PIXEL, mimetype="image/png")
        thread = await start(bot, "U1", "what is this?", files=[picture])
        [text] = await thread.answered()
        assert "`dot.png` was not read" in text and "files:read" in text
        assert "Sign in" not in str(await question(bot))


# --- from tools ---


@pytest.mark.parametrize("fault", ["none", "upload", "before", "after", "429"])
async def test_what_a_tool_returns_as_files_is_in_the_thread_once_below_the_answer(tmp_path: Path, fault: str) -> None:
    async with open_bot(tmp_path, **with_workshop(tmp_path)) as bot:
        match fault:
            case "none":
                pass
            case "upload":
                bot.slack.fail_next("upload", status=500)
            case "429":
                bot.slack.limit_next("files.completeUploadExternal")
            case "before":
                bot.slack.fail_next("files.completeUploadExternal", drop="before")
            case _:
                bot.slack.fail_next("files.completeUploadExternal", drop="after")
        await bot.model.script(calls("shop__everything"), {"text": "Here it is."})
        thread = await start(bot, "U1", "give me everything")
        assert await thread.answered() == ["Here it is."]
        await bot.slack.until(lambda: len(files(thread)) == 2)
    assert list(files(thread).values()) == [PIXEL, PIXEL]
    assert any(name.endswith(".png") for name in files(thread))
    assert len(thread.answers) == 1
    assert all(message.ts > thread.answers[0].ts for message in thread.messages if message.files)


async def test_files_that_the_app_may_not_upload_are_named_in_the_thread(tmp_path: Path) -> None:
    async with open_bot(tmp_path, **with_workshop(tmp_path)) as bot:
        without_scope(bot, "files:write")
        await bot.model.script(calls("shop__everything"), {"text": "Here it is."}, {"text": "You are welcome."})
        thread = await start(bot, "U1", "give me everything")
        await thread.answered()
        told = [message.shown for message in thread.messages if "could not be posted" in message.shown]
        assert len(told) == 2
        assert all("files:write" in text for text in told)
        await thread.say("U1", "thank you")
        assert (await thread.answered(2))[1:] == ["You are welcome."]
