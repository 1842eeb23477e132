"""Files on a chat platform: those of people reach the model, or it is told why not; those of tools are shown."""

from __future__ import annotations

import base64
from typing import Any, Literal

import pytest

from tests.fakes.mcp_servers.workshop import PIXEL, SOUND
from tests.scenarios.drivers import ALL_DRIVERS, Driver, File
from tests.scenarios.model import calls, spoken
from tests.scenarios.tools import with_workshop


async def question(driver: Driver) -> Any:
    """Return the content of the last message that the model was sent."""
    return spoken((await driver.model.requests())[-1]["messages"][-1]["content"])


@pytest.mark.parametrize("driver", ALL_DRIVERS, indirect=True)
async def test_text_files_and_images_that_come_with_a_question_reach_the_model(driver: Driver) -> None:
    notes = File(name="notes.txt", content=b"Milk & tea\r\n")
    picture = File(name="dot.png", content=PIXEL, content_type="image/png")
    async with driver.serving() as conversation:
        await driver.model.script({"text": "Nice."})
        await conversation.ask("what is this?", files=[notes, picture])
        assert await conversation.answered() == ["Nice."]
        text, image = await question(driver)
        assert "what is this?" in text["text"] and "notes.txt" in text["text"] and "Milk & tea" in text["text"]
        assert image["image_url"]["url"] == f"data:image/png;base64,{base64.b64encode(PIXEL).decode()}"


async def test_files_that_cannot_be_taken_are_named_with_the_reason_below_the_answer(driver: Driver) -> None:
    sent = [
        File(name="plan.pdf", content=b"%PDF-1.7", content_type="application/pdf"),
        File(name="long.txt", content=b"x" * 1_001),
        File(name="short.txt", content=b"this one is taken"),
    ]
    async with driver.serving(max_file_mb=0.001) as conversation:
        await driver.model.script({"text": "As far as I can see."})
        await conversation.ask("read these", files=sent)
        [text] = await conversation.answered()
        assert text.startswith("As far as I can see.")
        assert "`plan.pdf` was not read: only text files and images" in text
        assert "`long.txt` was not read: it is larger than the 0.001 MB" in text
        assert "short.txt" not in text
        assert "this one is taken" in await question(driver)
        assert [text] == await conversation.stored_answers()
        assert driver.downloads == 1  # what is known to be refused is not fetched


@pytest.mark.parametrize("fault", ["503", "drop"])
async def test_a_file_that_cannot_be_fetched_is_named_and_the_question_is_answered(
    driver: Driver, fault: Literal["503", "drop"]
) -> None:
    async with driver.serving() as conversation:
        driver.fail_downloads(fault)
        await driver.model.script({"text": "Done."})
        await conversation.ask("read it", files=[File(name="notes.txt", content=b"Milk")])
        [text] = await conversation.answered()
        assert text.startswith("Done.") and "`notes.txt` was not read" in text


async def test_a_sound_that_a_tool_returns_comes_with_the_answer(driver: Driver) -> None:
    async with driver.serving(**with_workshop(driver.home)) as conversation:
        await driver.model.script(calls("shop__record"), {"text": "Listen."})
        await conversation.ask("record it")
        assert await conversation.answered() == ["Listen."]
        await driver.until(lambda: conversation.files)
    assert list(conversation.files.values()) == [SOUND]
    assert all(name.endswith(".wav") for name in conversation.files)
    assert len(conversation.answers) == 1
