"""Tool servers that are slow, large, endless or of an older kind: they get time, and cost others none."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import structlog

from bot.domain.messages import ToolCall
from bot.stores.factory import open_store
from bot.tools.config import ServerConfig
from bot.tools.servers.weighing import MAX_MESSAGE_BYTES
from bot.tools.toolset import Toolset
from tests.fakes.mcp_servers.http_player import GREETING, HttpPlayer, answer
from tests.fakes.mcp_servers.processes import (
    ACTOR,
    CONVERSATION,
    QUICK,
    call,
    process,
    until,
    until_offered,
    web,
)


def message(**members: Any) -> str:
    """Return a line in which "@ID@" means the request's id."""
    return json.dumps({"jsonrpc": "2.0", **members}).replace('"@ID@"', "@ID@").replace('"@TOKEN@"', "@TOKEN@")


def text_result(text: str) -> str:
    return message(id="@ID@", result={"content": [{"type": "text", "text": text}]})


def progress(done: float, **members: Any) -> str:
    return message(method="notifications/progress", params={"progressToken": "@TOKEN@", "progress": done, **members})


def player(folder: Path, script: Mapping[str, Any], *args: str, **options: Any) -> ServerConfig:
    (folder / "script.json").write_text(json.dumps(script), encoding="utf-8")
    return process("shop", "player", str(folder / "script.json"), *args, **options)


# --- the start -------------------------------------------------------------------------------------------------


async def test_a_server_that_exits_at_the_question_after_its_era_is_started_in_the_older_way(tmp_path: Path) -> None:
    config = player(tmp_path, {"replies": {"act": text_result("acted")}}, "rust")
    timing = replace(QUICK, first_retry_s=600.0, last_retry_s=600.0)  # it is tried at once, not after a pause
    async with Toolset([config], timing=timing, offer_wait_s=20) as tools:
        assert [spec.tool for spec in (await tools.offer(None)).tools] == ["act"]
        assert (await call(tools, "shop__act")).text == "acted"


async def test_the_older_way_is_remembered(tmp_path: Path) -> None:
    config = player(tmp_path, {"replies": {"act": text_result("acted")}}, "rust")
    async with Toolset([config], timing=QUICK, offer_wait_s=20) as tools:
        await tools.offer(None)
        for _ in range(2):
            (running,) = [each for each in psutil.Process().children() if "player.py" in " ".join(each.cmdline())]
            running.kill()
            await until(lambda: tools.status()[0].state == "down")
            await until(lambda: tools.status()[0].state == "ready")
        assert (await call(tools, "shop__act")).text == "acted"


async def test_the_older_way_is_remembered_over_a_restart_of_the_bot(tmp_path: Path) -> None:
    config = player(tmp_path, {"replies": {"act": text_result("acted")}}, "rust")
    exits: list[int] = []
    async with open_store(f"sqlite:///{tmp_path}/toolbridge.db") as store:
        for _ in range(2):
            with structlog.testing.capture_logs() as logs:
                async with Toolset([config], timing=QUICK, offer_wait_s=20, notes=store) as tools:
                    await until_offered(tools, "shop__act")
            exits.append(sum("expect initialized" in str(event) for event in logs))
    assert exits == [1, 0]


async def test_a_server_that_takes_long_to_start_is_said_to_be_starting_and_is_not_killed(tmp_path: Path) -> None:
    script = {"initialize": [1.5, message(id="@ID@", result=GREETING)], "replies": {"act": text_result("acted")}}
    config = player(tmp_path, script, connect_timeout_s=30)
    timing = replace(QUICK, connect_process_s=0.5)  # the entry's own value counts
    async with Toolset([config], timing=timing, offer_wait_s=0.1) as tools:
        notes = (await tools.offer(None)).notes
        assert notes == ("Server 'shop' is not ready: it is still starting.",)
        await asyncio.sleep(1.0)
        (status,) = tools.status()
        assert status.state == "starting"
        assert status.detail.startswith("for 1 s now")
        await until_offered(tools, "shop__act")


async def test_a_connection_that_took_too_long_gets_more_time_at_the_next_try(tmp_path: Path) -> None:
    script = {"initialize": [1.2, message(id="@ID@", result=GREETING)], "replies": {"act": text_result("acted")}}
    async with Toolset([player(tmp_path, script, connect_timeout_s=0.7)], timing=QUICK, offer_wait_s=0.1) as tools:
        await tools.offer(None)
        await until(lambda: tools.status()[0].state == "down")
        (status,) = tools.status()
        assert "did not answer in time" in status.detail
        assert "connect_timeout_s" in status.cure
        await until_offered(tools, "shop__act")


# --- lists -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cursors", ["the same", "always another"])
async def test_a_list_without_an_end_is_read_in_part_and_that_is_said(tmp_path: Path, cursors: str) -> None:
    page = {"tools": [{"name": "act", "inputSchema": {"type": "object"}}], "nextCursor": "again"}
    line = message(id="@ID@", result=page)
    line = line.replace('"again"', '"@ID@"') if cursors == "always another" else line
    script = {"tools/list": line, "tools/list more": line, "replies": {"act": text_result("acted")}}
    async with Toolset([player(tmp_path, script)], timing=QUICK, offer_wait_s=20) as tools:
        offer = await tools.offer(None)
        assert [spec.tool for spec in offer.tools] == ["act"]
        assert offer.notes == ("Of server 'shop', its list of tools does not end, so only the beginning was read.",)
        assert (await call(tools, "shop__act")).text == "acted"


@pytest.mark.parametrize(
    "second",
    [
        None,
        '{"jsonrpc":"2.0","id":@ID@,"result":{"tools":[',
        message(id="@ID@", error={"code": -32603, "message": "x"}),
    ],
    ids=["never comes", "cannot be read", "fails"],
)
async def test_a_page_that_cannot_be_had_costs_only_that_page(tmp_path: Path, second: str | None) -> None:
    first = {"tools": [{"name": "act", "inputSchema": {"type": "object"}}], "nextCursor": "2"}
    script = {"tools/list": message(id="@ID@", result=first), "tools/list more": second}
    config = player(tmp_path, {**script, "replies": {"act": text_result("acted")}})
    async with Toolset([config], timing=replace(QUICK, page_s=0.3), offer_wait_s=20) as tools:
        offer = await tools.offer(None)
        assert [spec.tool for spec in offer.tools] == ["act"]
        gap = "a part of its list of tools could not be read, so some may be missing"
        assert offer.notes == (f"Of server 'shop', {gap}.",)
        assert gap in tools.status()[0].detail
        assert (await call(tools, "shop__act")).text == "acted"


async def test_a_storm_of_changed_lists_is_read_with_pauses(tmp_path: Path) -> None:
    changed = message(method="notifications/tools/list_changed")
    storm = [part for _ in range(100) for part in (changed, 0.01)]
    asked = tmp_path / "asked.txt"
    script = {"replies": {"act": [*storm, text_result("acted")]}, "log": str(asked)}
    async with Toolset([player(tmp_path, script)], timing=QUICK, offer_wait_s=20) as tools:
        await tools.offer(None)
        assert (await call(tools, "shop__act")).text == "acted"
        await until(lambda: asked.read_text(encoding="utf-8").count("tools/list") >= 2)
    assert asked.read_text(encoding="utf-8").count("tools/list") <= 4  # not once for each of the hundred


# --- instructions ----------------------------------------------------------------------------------------------


async def test_what_servers_say_on_how_to_use_them_goes_with_the_offer_bounded(tmp_path: Path) -> None:
    configs: list[ServerConfig] = []
    for number, said in enumerate(["Call find first.\x07", "", "x" * 5_000, 7, *(["y" * 1_900] * 4)]):
        (folder := tmp_path / str(number)).mkdir()
        greeting = message(id="@ID@", result={**GREETING, "instructions": said})
        config = player(folder, {"initialize": greeting, "replies": {"act": text_result("acted")}})
        configs.append(replace(config, name=f"s{number}"))
    async with Toolset(configs, timing=QUICK, offer_wait_s=20) as tools:
        offer = await tools.offer(None)
    assert [one.server for one in offer.instructions] == ["s0", "s2", "s4", "s5", "s6", "s7"]
    assert offer.instructions[0].text == "Call find first."
    assert offer.instructions[1].text == "x" * 1_994 + " [cut]"
    assert sum(len(one.text) for one in offer.instructions) <= 8_000


# --- resources -------------------------------------------------------------------------------------------------


async def test_what_a_server_links_to_can_be_read_by_one_tool(tmp_path: Path) -> None:
    capabilities = {"tools": {}, "resources": {}}
    script = {
        "initialize": message(id="@ID@", result={**GREETING, "capabilities": capabilities}),
        "resources/list": message(id="@ID@", result={"resources": [{"uri": "rooms://plans/1", "name": "plan"}]}),
        "resources/read": message(
            id="@ID@", result={"contents": [{"uri": "rooms://plans/1", "mimeType": "text/csv", "text": "room;hour"}]}
        ),
        "replies": {"act": text_result("acted")},
    }
    config = player(tmp_path, script)
    async with Toolset([config], timing=QUICK, offer_wait_s=20) as tools:
        offer = await tools.offer(None)
        assert [spec.name for spec in offer.tools] == ["shop__act", "read_resource"]
        assert offer.tools[-1].parameters["properties"]["server"]["enum"] == ["shop"]
        read = await call(tools, "read_resource", '{"server": "shop", "uri": "rooms://plans/1"}')
        assert (read.outcome, read.text) == ("ok", "[resource rooms://plans/1]\nroom;hour")
        elsewhere = await call(tools, "read_resource", '{"server": "shed", "uri": "rooms://plans/1"}')
        assert elsewhere.outcome == "error" and "Name one of shop" in elsewhere.text
        assert (await call(tools, "read_resource", '{"server": "shop"}')).outcome == "error"
    async with Toolset([replace(config, deny=("read_resource",))], timing=QUICK, offer_wait_s=20) as tools:
        assert [spec.name for spec in (await tools.offer(None)).tools] == ["shop__act"]
        denied = await call(tools, "read_resource", '{"server": "shop", "uri": "rooms://plans/1"}')
        assert denied.outcome == "error"


# --- calls -----------------------------------------------------------------------------------------------------


async def test_progress_is_reported_and_grants_the_call_more_time(tmp_path: Path) -> None:
    steps = [part for n in range(1, 7) for part in (progress(n, total=6, message=f"room {n}"), 0.5)]
    config = player(tmp_path, {"replies": {"act": [*steps, text_result("done")]}}, timeout_s=2.0)
    heard: list[str] = []
    async with Toolset([config], timing=QUICK, offer_wait_s=20) as tools:
        await tools.offer(None)
        asked = ToolCall(id="1", name="shop__act", arguments="{}")
        result = await tools.call(asked, actor=ACTOR, conversation=CONVERSATION, progress=heard.append)
    assert getattr(result, "text", "") == "done"
    assert heard[0] == "1 of 6: room 1"
    assert set(heard) <= {f"{n} of 6: room {n}" for n in range(1, 7)}


async def test_progress_without_an_end_is_waited_for_only_so_long(tmp_path: Path) -> None:
    steps = [part for n in range(100) for part in (progress(n), 0.1)]
    config = player(tmp_path, {"replies": {"act": steps}}, timeout_s=0.5, max_timeout_s=1.0)
    async with Toolset([config], timing=QUICK, offer_wait_s=20) as tools:
        await tools.offer(None)
        result = await call(tools, "shop__act")
    assert result.outcome == "timeout"
    assert "after 1 s (max_timeout_s)" in result.text
    assert 1.0 <= result.seconds < 3.0


async def test_a_call_whose_progress_stops_times_out(tmp_path: Path) -> None:
    config = player(tmp_path, {"replies": {"act": [progress(1), 60.0]}}, timeout_s=0.5)
    async with Toolset([config], timing=QUICK, offer_wait_s=20) as tools:
        await tools.offer(None)
        result = await call(tools, "shop__act")
    assert result.outcome == "timeout"
    assert "reported progress, but then nothing for 0.5 s" in result.text


async def test_a_large_answer_of_a_process_costs_time_in_proportion_to_its_size(tmp_path: Path) -> None:
    sizes = {"small": 120_000, "large": 8 * 120_000}
    config = player(tmp_path, {"replies": {name: text_result("x" * size) for name, size in sizes.items()}})
    took: dict[str, float] = {}
    async with Toolset([config], timing=QUICK, offer_wait_s=20) as tools:
        await tools.offer(None)
        for name, size in sizes.items():
            began = time.process_time()
            assert len((await call(tools, f"shop__{name}")).text) == size
            took[name] = time.process_time() - began
    assert took["large"] < 8 * took["small"] * 3 + 0.2  # eight times the size; quadratic would be 64 times


@pytest.mark.parametrize("way", ["process", "http", "http stream"])
async def test_an_answer_beyond_the_bound_is_refused_at_once_and_the_next_one_works(tmp_path: Path, way: str) -> None:
    line = text_result("x" * (MAX_MESSAGE_BYTES + 1000))
    raw = answer(200, line.encode())
    if way == "http stream":
        raw = answer(200, f"data: {line}\n\n".encode(), content_type="text/event-stream")
    async with HttpPlayer(answers={"tools/call": raw}, once=True).open() as server:
        config = web("shop", server.url) if way != "process" else player(
            tmp_path, {"replies": {"act": line, "other": text_result("acted")}}
        )  # fmt: skip
        async with Toolset([config], timing=QUICK, offer_wait_s=20) as tools:
            await tools.offer(None)
            result = await call(tools, "shop__act")
            assert result.outcome == "interrupted"
            assert "its answer is larger than 12 MB" in result.text
            assert "may have run" in result.text
            assert (await call(tools, "shop__other" if way == "process" else "shop__act")).text == "acted"
