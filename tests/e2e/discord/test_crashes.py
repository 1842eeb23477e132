"""The real process is killed at each step of a turn, more than once, or with more than one question open."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.failures.discord.kills import STEPS, Step, live_through
from tests.failures.discord.seen import answers, stops, traces, until_answered
from tests.failures.discord.world import open_failing_world
from tests.failures.kills import ACT, LONG, LOOK
from tests.failures.world import WAIT_S


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
async def test_after_kill_9_the_channel_holds_one_answer_one_trace_and_no_stop_button(
    step: Step, tmp_path: Path
) -> None:
    await live_through(step, tmp_path)
