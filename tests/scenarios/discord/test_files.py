"""Files in Discord: those of people reach the model, or it is told why not; those of tools come with the answer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from adapters.discord.api import API_URL
from adapters.discord.files import download
from bot.domain.errors import AdapterError
from tests.fakes.discord.world import ALL_BOT_PERMISSIONS, Message, Upload
from tests.fakes.mcp_servers.processes import free_port
from tests.fakes.mcp_servers.workshop import PIXEL
from tests.scenarios.discord.rooms import Room, open_room
from tests.scenarios.model import calls, spoken
from tests.scenarios.tools import with_workshop


async def question(room: Room) -> Any:
    """Return the content of the last message that the model was sent."""
    return spoken((await room.world.model.requests())[-1]["messages"][-1]["content"])


def files(messages: list[Message]) -> dict[str, bytes]:
    """Return the files of the messages; a name that came twice is an error."""
    found = [file for message in messages for file in message.attachments]
    assert len({file.filename for file in found}) == len(found), [file.filename for file in found]
    return {file.filename: file.content for file in found}


# --- from people ---


async def test_the_file_of_the_message_that_a_question_replies_to_is_read_too(tmp_path: Path) -> None:
    async with open_room(tmp_path) as room:
        await room.world.model.script({"text": "Milk."})
        notes = await room.say(room.world.ben, "", files=[Upload(filename="notes.txt", content=b"Milk")])
        await room.ask(room.world.ada, "what does he want?", reply_to=notes)
        await room.answered()
        asked = await question(room)
        assert "[Ada] " in asked and ": Ben⟧: " in asked and ": (file: notes.txt)" in asked and "Milk" in asked


async def test_a_file_that_is_bigger_than_its_message_says_is_named_with_the_reason(tmp_path: Path) -> None:
    async with open_room(tmp_path, max_file_mb=0.001) as room:
        await room.world.model.script({"text": "As far as I can see."})
        await room.ask(room.world.ada, "read it", files=[Upload(filename="liar.txt", content=b"x" * 1_001, size=10)])
        [text] = await room.answered()
        assert "`liar.txt` was not read: The file is bigger than the 0.001 MB" in text
        assert len(room.world.discord.calls_of("attachment")) == 1


async def test_a_file_that_is_not_on_discords_servers_is_not_asked_for(tmp_path: Path) -> None:
    asked: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    elsewhere = await asyncio.start_server(note, "127.0.0.1", 0)
    async with elsewhere, open_room(tmp_path) as room:
        discord = room.world.discord
        await room.world.model.script({"text": "Done."})
        sent = [Upload(filename="linked.txt", content=b"secret")]
        message = await room.ask(room.world.ada, "read it", files=sent, deliver=False)
        payload: dict[str, Any] = {**discord.message_json(message), "guild_id": str(room.world.guild.id)}
        payload["attachments"][0]["url"] = f"http://127.0.0.1:{elsewhere.sockets[0].getsockname()[1]}/linked.txt?hm=1"
        discord.dispatch("MESSAGE_CREATE", payload, guild=room.world.guild)
        [text] = await room.answered()
        assert "`linked.txt` was not read: The file is not on Discord's own servers" in text
        assert discord.calls_of("attachment") == []
    assert asked == []


@pytest.mark.parametrize("address", ["", "linked.txt", "http://[", "file:///etc/passwd"])
async def test_what_is_no_address_is_not_asked_for_and_keeps_no_answer_back(address: str) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(AdapterError, match="not on Discord's own servers"):
            await download(session, address, max_bytes=1_000, api_url=API_URL)


async def test_a_file_that_cannot_be_fetched_is_a_line_with_address_and_reason_and_without_what_opens_it() -> None:
    host = f"http://127.0.0.1:{free_port()}"
    async with aiohttp.ClientSession() as session:
        with capture_logs() as logs, pytest.raises(AdapterError, match="could not be fetched"):
            await download(session, f"{host}/a.txt?hm=secret", max_bytes=1_000, api_url=host)
    assert [line["error"] for line in logs] == [f"{host.removeprefix('http://')}: Connection refused"]


# --- from tools ---


@pytest.mark.parametrize("fault", ["none", "429", "503", "before", "after"])
async def test_what_a_tool_returns_as_files_comes_with_the_answer_once(tmp_path: Path, fault: str) -> None:
    async with open_room(tmp_path, **with_workshop(tmp_path)) as room:
        world, discord = room.world, room.world.discord
        text = " ".join(f"word{number}" for number in range(100))
        await world.model.pace(chunk_s=0.005)  # it grows: the files come by its last edit
        await world.model.script(calls("shop__everything"), {"text": text})
        await room.ask(world.ada, "give me everything")
        await discord.until(lambda: room.growing)
        match fault:
            case "429":
                discord.limit_next("edit_message")
            case "503":
                discord.fail_next("edit_message", status=503, times=2)
            case "before" | "after":
                discord.fail_next("edit_message", drop=fault, times=2)
            case _:
                pass
        assert await room.answered() == [text]
        assert list(files(room.messages).values()) == [PIXEL, PIXEL]
        assert any(name.endswith(".png") for name in files(room.messages))
        assert len(room.answers) == 1


async def test_a_file_that_is_too_big_for_discord_is_said_below_the_answer(tmp_path: Path) -> None:
    async with open_room(tmp_path, **with_workshop(tmp_path)) as room:
        room.world.discord.max_file_bytes = 10  # a server takes less than it should
        await room.world.model.script(calls("shop__everything"), {"text": "Here it is."})
        await room.ask(room.world.ada, "give me everything")
        [text] = await room.answered()
        assert text.startswith("Here it is.") and "2 files could not be posted" in text
        assert files(room.messages) == {}


async def test_files_that_the_bot_may_not_attach_are_missing_from_the_answer_which_names_the_permission(
    tmp_path: Path,
) -> None:
    async with open_room(tmp_path, **with_workshop(tmp_path)) as room:
        world, discord = room.world, room.world.discord
        discord.allow_bot(room.channel, *(name for name in ALL_BOT_PERMISSIONS if name != "ATTACH_FILES"))
        await world.model.script(calls("shop__everything"), {"text": "Here it is."})
        await room.ask(world.ada, "give me everything")
        assert await room.answered() == [
            "Here it is.\n-# 2 files could not be posted. "
            "I lack Attach Files there; someone who manages the channel has to grant that to my role."
        ]
        assert files(room.messages) == {}
        assert discord.own(discord.dm_channel(world.ada)) == []
