"""The soak in its short form, and that its judgement can say no."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import threading
from pathlib import Path

import pytest

from tests.soak.readings import MIB, judge_memory, left_over, take_census

ROOT = Path(__file__).parents[2]
WAIT_S = 90.0


async def test_a_short_soak_leaves_memory_flat_and_nothing_open() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.soak", "--minutes", "0.15", "--conversations", "20", "--turns-per-second", "25"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(WAIT_S):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    table = out.decode()
    assert process.returncode == 0, table
    for row in ("| tasks | 0 |", "| threads | 0 |", "| file descriptors | 0 |", "| processes | 0 |"):
        assert row in table


@pytest.mark.parametrize(("leak_mib", "is_flat"), [(0.0, True), (1.0, True), (30.0, False)])
def test_memory_that_grows_through_the_noise_is_told(leak_mib: float, is_flat: bool) -> None:
    noise = random.Random(1)
    rss = [int((100 + leak_mib * n / 100 + noise.uniform(-3, 3)) * MIB) for n in range(100)]
    assert judge_memory("bot", rss, allowance=0.05, allowance_mib=2.0).is_flat is is_flat


def test_memory_that_grows_only_while_it_warms_up_is_flat() -> None:
    rss = [(50 + min(n, 20) * 5) * MIB for n in range(100)]
    assert judge_memory("bot", rss, allowance=0.05, allowance_mib=2.0).is_flat


def test_a_thread_a_file_and_a_process_that_stay_are_counted() -> None:
    before, stop = take_census(), threading.Event()
    thread = threading.Thread(target=stop.wait)
    read_end, write_end = os.pipe()
    thread.start()
    try:
        assert left_over(before, take_census()) == {"threads": 1, "file descriptors": 2, "processes": 0}
    finally:
        stop.set()
        thread.join()
        os.close(read_end)
        os.close(write_end)
    assert left_over(before, take_census()) == {"threads": 0, "file descriptors": 0, "processes": 0}
