"""Data of one person or tool server that is made to keep everybody else waiting: it is bounded, or read apart."""

from __future__ import annotations

import asyncio
import functools
import gzip
import hashlib
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.tools.toolset import Toolset
from tests.attacks.bombs import ANSWERS, Field, bombed, explode, shown
from tests.attacks.lag import MAX_HOLD_MS, LoopLag, as_served
from tests.fakes.mcp_servers.http_player import HttpPlayer, answer
from tests.fakes.mcp_servers.processes import QUICK, call, process, web
from tests.scenarios.drivers import DRIVERS

# What is seen of each bomb in the end: of results the beginning, and a sentence on the rest.
RESULTS = {
    "blocks": "more than 60,000 parts",
    "some_blocks": "the first 500 of 8,000 parts",
    "images": "the first 500 of 5,000 parts",
    "nested": "more than 60,000 parts",
    "text": "the first 1,000,000 of 8,000,000 characters",
    "scripts": "the first 1,000,000 of 4,000,000 characters",
    "half_characters": "x\ufffdx",
    "picture": "shown to the user",
    "too_large": "larger than 12 MB",
    "storm": "done",
    "noise": "done",
}
ATTEMPTS = 10  # of one figure: on a busy machine, the thread that renders may run while the loop's has to wait
MAX_HELD_SHARE = 0.25  # of what rendering on the loop holds it up, 400 to 2,100 ms; the report has milliseconds
MAX_WAIT_S = 10.0  # another person's, on a busy machine; a bomb took 6.5 s of everybody


@pytest.fixture(autouse=True)
def serving() -> Iterator[None]:
    with as_served():
        yield


async def check(crew: Field, bomb: Callable[[], Coroutine[Any, Any, str]]) -> None:
    """Check that the bomb holds up nobody; once more, where something else may have done so."""
    held = await explode(crew, bomb)
    if held.hold_ms > MAX_HOLD_MS:
        held = await explode(crew, bomb)
    assert held.hold_ms <= MAX_HOLD_MS and held.wait_s < MAX_WAIT_S, held


async def test_no_result_of_a_tool_and_no_file_keeps_other_people_waiting() -> None:
    async with bombed() as crew:
        for name in ("blocks", "images", "some_rows", "text", "picture", "storm"):
            await check(crew, functools.partial(crew.call, name))
        for name in ("latin-1", "damaged utf-8", "controls", "picture"):
            await check(crew, functools.partial(crew.send, name))
        for name in ("archive", "compressed"):
            assert "was not read: only text files and images" in await crew.send(name)


async def test_what_is_left_out_of_a_result_is_said_and_the_next_one_is_whole() -> None:
    async with Toolset([process("shop", "bomber")], timing=QUICK, offer_wait_s=30) as tools:
        await tools.offer(None)
        for bomb, said in RESULTS.items():
            assert said in (await call(tools, f"shop__{bomb}")).text, bomb
        assert (await call(tools, "shop__quick")).text == "done"


@pytest.mark.parametrize(
    ("kind", "said"),
    [("many", "it comes after the 500 that are read of one page"), ("broad", "are described in more than 5,000 parts")],
)
async def test_lists_that_are_too_long_are_read_in_part_and_that_is_said(kind: str, said: str) -> None:
    async with Toolset([process("shop", "bomber", kind)], timing=QUICK, offer_wait_s=30) as tools:
        async with LoopLag() as lag:
            offer = await tools.offer(None)
        assert len(offer.tools) <= 500
        assert said in offer.notes[0]
        assert lag.worst_ms <= MAX_HOLD_MS
        assert (await call(tools, "shop__quick")).text == "done"


@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream"])
async def test_an_answer_that_is_a_thousand_times_larger_unpacked_is_read_to_the_bound(content_type: str) -> None:
    line = b'{"jsonrpc":"2.0","id":@ID@,"result":{"content":[{"type":"text","text":"' + b" " * 200_000_000 + b'"}]}}'
    packed = gzip.compress(b"data: " + line + b"\n\n" if "event" in content_type else line, compresslevel=1)
    raw = answer(200, packed, content_type=content_type).replace(b"\r\n", b"\r\nContent-Encoding: gzip\r\n", 1)
    async with (
        HttpPlayer(answers={"tools/call": raw}, once=True).open() as server,
        Toolset([web("shop", server.url)], timing=QUICK, offer_wait_s=20) as tools,
    ):
        await tools.offer(None)
        async with LoopLag() as lag:
            result = await call(tools, "shop__act")
        assert "its answer is larger than 12 MB" in result.text
        assert lag.worst_ms <= MAX_HOLD_MS
        assert (await call(tools, "shop__act")).outcome == "ok"


@pytest.mark.parametrize("name", ["images", "fences", "headings", "table"])
async def test_a_long_answer_of_hostile_markup_is_rendered_apart(name: str) -> None:
    held_ms, on_the_loop_ms = await shown(ANSWERS[name]), await shown(ANSWERS[name], is_apart=False)
    for _ in range(ATTEMPTS - 1):
        if held_ms > on_the_loop_ms * MAX_HELD_SHARE:
            held_ms = min(held_ms, await shown(ANSWERS[name]))
    assert held_ms <= on_the_loop_ms * MAX_HELD_SHARE


@pytest.mark.parametrize("platform", DRIVERS)
async def test_a_platform_shows_an_answer_of_hostile_markup_and_another_person_gets_theirs(
    platform: str, tmp_path: Path
) -> None:
    hostile = ANSWERS["images"][:12_000]
    async with DRIVERS[platform](tmp_path) as driver, driver.serving() as conversation:
        await driver.model.script({"text": hostile}, {"text": "Here you are."})
        async with LoopLag() as lag:
            await conversation.ask("draw", by="ada")
            other = await driver.open("thread")
            await other.ask("and mine?", by="ben")
            await conversation.answered()
            assert "".join(await other.answered()) in (hostile, "Here you are.")
        assert lag.worst_ms <= 2 * MAX_HOLD_MS  # the loopback platform and the model work on the same loop


# --- the probe -------------------------------------------------------------------------------------------------


def burn(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


async def test_the_probe_sees_work_on_the_loop() -> None:
    async with LoopLag() as lag:
        burn(0.15)
        await asyncio.sleep(0)
    assert lag.worst_ms > 2 * MAX_HOLD_MS


async def test_the_probe_sees_one_long_call_in_a_thread_that_keeps_the_interpreter_for_itself() -> None:
    async with LoopLag() as lag:
        await asyncio.to_thread(lambda: sum(range(30_000_000)))
    assert lag.worst_ms > MAX_HOLD_MS


async def test_the_probe_does_not_take_a_sleeping_loop_or_work_in_c_without_the_interpreter_for_a_hold() -> None:
    def wait() -> None:
        time.sleep(0.2)

    data = bytes(20_000_000)
    async with LoopLag() as lag:
        asyncio.get_running_loop().call_soon(wait)
        await asyncio.sleep(0.01)
        await asyncio.to_thread(lambda: hashlib.sha256(data).digest())  # releases the interpreter
    assert lag.worst_ms <= MAX_HOLD_MS
