"""The most important rows about several processes; `python -m tests.failures --processes 3` plays all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.failures.discord.stage import DiscordStage
from tests.failures.kills import STEPS
from tests.failures.processes.fleet import open_fleet
from tests.failures.processes.rows import approve_elsewhere, deliver_to_several, kill_at, three_to_three
from tests.failures.world import open_failing_world
from tests.fakes import postgres
from tests.kills.database import new_database

LONGEST_S = 240.0  # on a machine that does other things beside it
ACTS = "while a tool runs that acts"


@pytest.mark.timeout(LONGEST_S)
async def test_another_process_answers_where_one_dies_and_each_message_is_answered_once_and_in_order(
    tmp_path: Path,
) -> None:
    (step,) = [step for step in STEPS if step.name == ACTS]
    async with open_failing_world(tmp_path, "slack") as world:
        with new_database(postgres.server().url) as url:
            async with open_fleet(world, url) as fleet:
                await deliver_to_several(fleet)
                await kill_at(step, fleet)
                await three_to_three(world)


@pytest.mark.timeout(LONGEST_S)
async def test_what_a_process_asks_that_dies_is_approved_at_another_one(tmp_path: Path) -> None:
    async with open_failing_world(tmp_path, "discord") as world:
        with new_database(postgres.server().url) as url:
            await approve_elsewhere(DiscordStage, world, url, processes=2)
