"""Tool servers that are child processes: they crash, hang, keep silent and come back."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from bot.tools.config import ServerConfig, StdioEndpoint
from bot.tools.servers.link import Link
from bot.tools.servers.process import open_process
from bot.tools.toolset import Toolset
from tests.fakes.children import is_alive
from tests.fakes.mcp_servers.processes import QUICK, call, lines, process, until, until_offered


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    return tmp_path / "calls.txt"


def oldtimer(calls: Path, *args: str, name: str = "old", **options: Any) -> ServerConfig:
    return process(name, "oldtimer", *args, env={"CALLS_FILE": str(calls)}, **options)


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "oldtimer.py" in " ".join(_words(child))]


def _words(child: psutil.Process) -> list[str]:
    try:
        return child.cmdline()
    except psutil.Error:
        return []


async def test_a_server_starts_when_it_is_first_needed_and_all_its_pages_are_read(calls: Path) -> None:
    async with Toolset([oldtimer(calls)], timing=QUICK, offer_wait_s=20) as tools:
        assert children() == []
        assert [status.state for status in tools.status()] == ["idle"]
        offer = await tools.offer(None)
        assert len(children()) == 1
        assert [spec.tool for spec in offer.tools] == [
            *("act", "count", "crash", "crash_repeatable", "env", "hang", "learn", "meta", "put", "slow")
        ]


async def test_the_patterns_of_the_operator_choose_the_tools(calls: Path) -> None:
    config = oldtimer(calls, allow=("c*", "env"), deny=("crash*",))
    async with Toolset([config], timing=QUICK, offer_wait_s=20) as tools:
        assert [spec.name for spec in (await tools.offer(None)).tools] == ["old__count", "old__env"]
        assert tools.status()[0].tool_count == 2
        assert (await call(tools, "old__act")).outcome == "error"
        assert lines(calls) == []


async def test_a_crash_during_a_call_that_may_act_is_told_and_the_next_call_works(calls: Path) -> None:
    async with Toolset([oldtimer(calls)], timing=QUICK, offer_wait_s=20) as tools:
        await tools.offer(None)
        crashed = await call(tools, "old__crash")
        assert crashed.outcome == "interrupted" and "may have run" in crashed.text
        assert (await call(tools, "old__act")).outcome == "ok"
        assert lines(calls) == ["crash", "act"]


@pytest.mark.parametrize(
    ("options", "outcome", "times"),
    [
        ({}, "interrupted", 1),  # the server's own hint says idempotent, but nobody trusts it
        ({"trusted": True}, "ok", 2),
        ({"repeatable": ("crash_r*",)}, "ok", 2),
    ],
)
async def test_a_call_that_broke_off_is_repeated_only_on_the_word_of_someone_trusted(
    calls: Path, options: dict[str, Any], outcome: str, times: int
) -> None:
    async with Toolset([oldtimer(calls, **options)], timing=QUICK, offer_wait_s=20) as tools:
        spec = (await tools.offer(None)).find("old__crash_repeatable")
        assert spec is not None and spec.is_repeatable == (times == 2)
        assert (await call(tools, "old__crash_repeatable")).outcome == outcome
        assert lines(calls) == ["crash_repeatable"] * times


async def test_a_call_that_may_not_be_repeated_is_sent_once_whatever_its_tool_is(calls: Path) -> None:
    async with Toolset([oldtimer(calls, trusted=True)], timing=QUICK, offer_wait_s=20) as tools:
        assert (await call(tools, "old__crash_repeatable", may_repeat=False)).outcome == "interrupted"
        assert lines(calls) == ["crash_repeatable"]


async def test_a_process_that_ends_between_calls_is_noticed_without_a_call_and_comes_back(calls: Path) -> None:
    async with Toolset([oldtimer(calls)], timing=QUICK, offer_wait_s=20) as tools:
        await tools.offer(None)
        (first,) = children()
        first.kill()
        await until(lambda: tools.status()[0].state == "down")
        await until(lambda: tools.status()[0].state == "ready")
        (second,) = children()
        assert second.pid != first.pid
        assert (await call(tools, "old__act")).outcome == "ok"


async def test_a_call_times_out_while_another_server_goes_on(calls: Path, tmp_path: Path) -> None:
    slow = oldtimer(calls, timeout_s=0.2)
    other = oldtimer(tmp_path / "others.txt", name="other")
    async with Toolset([slow, other], timing=QUICK, offer_wait_s=20) as tools:
        await tools.offer(None)
        late, on_time = await asyncio.gather(
            call(tools, "old__slow", '{"seconds": 0.5}'), call(tools, "other__slow", '{"seconds": 0.4}')
        )
        assert late.outcome == "timeout" and "0.2 s" in late.text and "may have run" in late.text
        assert (on_time.outcome, on_time.text) == ("ok", "at last")
        assert 0.2 <= late.seconds < on_time.seconds


async def test_a_server_that_hangs_is_restarted(calls: Path) -> None:
    timing = replace(QUICK, probe_s=0.3)
    async with Toolset([oldtimer(calls, timeout_s=0.3)], timing=timing, offer_wait_s=20) as tools:
        await tools.offer(None)
        (hanging,) = children()
        assert (await call(tools, "old__hang")).outcome == "timeout"
        await until(lambda: tools.status()[0].state == "down")
        assert "did not answer" in tools.status()[0].detail
        assert (await call(tools, "old__count")).outcome == "ok"
        assert not is_alive(hanging)


async def test_servers_that_cannot_start_are_noted_with_the_reason_and_hold_up_no_other(calls: Path) -> None:
    servers = [
        oldtimer(calls, "mute", name="mute"),
        oldtimer(calls, "dies", name="dying"),
        ServerConfig(name="absent", endpoints=(StdioEndpoint(program="no-such-program", label="no-such-program"),)),
        oldtimer(calls, "noisy", name="noisy"),
    ]
    timing = replace(QUICK, connect_process_s=1.5)
    async with Toolset(servers, timing=timing, offer_wait_s=0.0) as tools:
        await until_offered(tools, "noisy__act")
        await until(lambda: [status.state for status in tools.status()] == ["down", "down", "down", "ready"])
        notes = " ".join((await tools.offer(None)).notes)
        assert all(f"Server '{name}' is not ready" in notes for name in ("mute", "dying", "absent"))
        details = {status.server: status.detail for status in tools.status()}
        assert "did not answer in time" in details["mute"] and "tried again in" in details["mute"]
        assert "its process ended" in details["dying"]
        assert "cannot open the database" in details["dying"] and "hunter2" not in details["dying"]
        assert "database" not in notes  # what a server writes to its log is for operators
        assert "cannot be started" in details["absent"]
        refused = await call(tools, "absent__anything")
        assert refused.outcome == "unavailable" and "not ready" in refused.text
        assert (await call(tools, "noisy__act")).outcome == "ok"


async def test_an_offer_waits_a_bounded_time_for_servers_that_start(calls: Path) -> None:
    async with Toolset([oldtimer(calls, "mute")], timing=QUICK, offer_wait_s=0.2) as tools:
        started_at = time.monotonic()
        offer = await tools.offer(None)
        assert time.monotonic() - started_at < 2
        assert offer.tools == () and "still starting" in offer.notes[0]


async def test_a_call_that_needs_a_server_makes_it_retry_soon(calls: Path, tmp_path: Path) -> None:
    (endpoint,) = oldtimer(calls).endpoints
    assert isinstance(endpoint, StdioEndpoint)
    later = replace(endpoint, cwd=tmp_path / "later")
    timing = replace(QUICK, first_retry_s=600.0, last_retry_s=600.0)
    async with Toolset([ServerConfig(name="old", endpoints=(later,))], timing=timing, offer_wait_s=20) as tools:
        tools.warm_up()
        await until(lambda: tools.status()[0].state == "down")
        assert "cwd" in tools.status()[0].detail and "tried again in" in tools.status()[0].detail
        (tmp_path / "later").mkdir()
        await until_offered(tools, "old__act")


async def test_tools_of_a_server_that_is_being_reconnected_stay_offered_for_a_while(calls: Path) -> None:
    timing = replace(QUICK, keep_s=1.0, reconnect_wait_s=0.2, first_retry_s=0.05)
    async with Toolset([oldtimer(calls, "once")], timing=timing, offer_wait_s=20) as tools:
        before = await tools.offer(None)
        assert (await call(tools, "old__crash")).outcome == "interrupted"
        assert await tools.offer(None) == before
        unsent = await call(tools, "old__act")
        assert unsent.outcome == "unavailable" and "was not sent" in unsent.text
        async with asyncio.timeout(10):
            while (await tools.offer(None)).tools:  # noqa: ASYNC110  (time passes, nothing happens)
                await asyncio.sleep(0.02)
        assert "not ready" in (await tools.offer(None)).notes[0]
        assert lines(calls) == ["crash"]


async def test_a_server_gets_the_configured_environment_and_nothing_else_of_ours(
    calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-bot")
    async with Toolset([oldtimer(calls)], timing=QUICK, offer_wait_s=20) as tools:
        await tools.offer(None)
        assert (await call(tools, "old__env", '{"name": "CALLS_FILE"}')).text == str(calls)
        assert (await call(tools, "old__env", '{"name": "OPENAI_API_KEY"}')).text == "not set"


async def test_no_process_is_left_when_the_toolset_is_closed(calls: Path) -> None:
    servers = [oldtimer(calls, name="idle"), oldtimer(calls, name="busy"), oldtimer(calls, "mute", name="mute")]
    async with Toolset(servers, timing=QUICK, offer_wait_s=0.0) as tools:
        await until_offered(tools, "busy__hang")
        await until_offered(tools, "idle__act")
        hanging = asyncio.create_task(call(tools, "busy__hang"))  # deaf to everything but a signal
        await until(lambda: lines(calls) == ["hang"] and len(children()) == 3)
        hanging.cancel()
        started_at = time.monotonic()
    assert time.monotonic() - started_at < 6
    assert children() == []


async def test_a_process_whose_stop_is_cut_short_is_killed_all_the_same() -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    endpoint = StdioEndpoint(program=sys.executable, args=("-c", stubborn), label="stubborn")
    is_open = asyncio.Event()

    async def hold() -> None:
        async with open_process(endpoint, Link(endpoint, server="old", on_suspect=lambda: None)):
            is_open.set()
            await asyncio.Event().wait()

    before = set(psutil.Process().children())
    holding = asyncio.create_task(hold())
    await is_open.wait()
    (stuck,) = set(psutil.Process().children()) - before
    holding.cancel()
    await asyncio.sleep(0)  # the stop has begun, and waits for the process
    holding.cancel()
    with suppress(asyncio.CancelledError):
        await holding
    await until(lambda: not is_alive(stuck))
