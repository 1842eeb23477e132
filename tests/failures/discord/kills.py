"""Steps of a turn that only Discord has, at which the process is killed."""

from __future__ import annotations

from tests.failures.kills import (
    PICTURE,
    Step,
    held_call,
    held_tools,
    nothing,
    until_held,
    until_partly_shown,
    until_traced,
)
from tests.failures.table import DRAW, LAST_WORDS, LONG, LOOK
from tests.failures.world import World
from tests.scenarios.drivers import Conversation


async def _until_last_edit_is_held(world: World, conversation: Conversation) -> None:
    """Make all the rest of the answer come at once, so that the next edit is its last."""
    await until_partly_shown(world, conversation)
    world.driver.hold_next("edit_message")
    await world.model.pace()
    await until_held(world, conversation)


async def _until_file_is_held(world: World, conversation: Conversation) -> None:
    await until_traced(world, conversation)
    world.driver.hold_next("create_message")
    world.release_tools()
    await until_held(world, conversation)


THREAD_BEGUN = "between the beginning of the trace's thread and Discord's answer"
POSTED_WITH_FILE = "between the post of an answer with a file and Discord's answer"
OWN_STEPS = (
    Step(
        name=THREAD_BEGUN,
        question=LOOK,
        arrange=held_call("start_thread_from_message"),
        reach=until_held,
        calls=("look",),
        answer="did look",
        traces=1,
    ),
    Step(
        name="between a growing answer's edit and Discord's answer",
        arrange=held_call("edit_message"),
        reach=until_held,
        scripts=(LONG, LONG),
        chunk_s=0.02,
        answer=LAST_WORDS,
    ),
    Step(
        name="between a growing answer's last edit and Discord's answer",
        arrange=nothing,
        reach=_until_last_edit_is_held,
        scripts=(LONG, LONG),
        chunk_s=0.02,
        answer=LAST_WORDS,
    ),
    Step(
        name=POSTED_WITH_FILE,
        question=DRAW,
        arrange=held_tools,
        reach=_until_file_is_held,
        calls=("draw",),
        answer="did draw",
        traces=1,
        files=PICTURE,
    ),
)
