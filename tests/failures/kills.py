"""`kill -9` of the real process at each step of a turn, and what stands in the thread after the next start."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from tests.failures.seen import answers, files, traces, until_answered
from tests.failures.world import WAIT_S, World, open_failing_world
from tests.fakes.slack.server import Hang

LONG = "\n\n".join(f"Paragraph {number}: " + "the quick brown fox jumps over the lazy dog. " * 6 for number in range(9))
LAST_WORDS = LONG.split("\n\n")[-1].strip()
QUESTION = "good morning"
MAY_HAVE_RUN = "may have run"
PICTURE = ("image-2.png",)
LOOK, ACT, DRAW = "call shop__look with {}", "call shop__act with {}", "call shop__draw with {}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """A turn whose process dies at a moment of it, on any platform, and what stands there in the end."""

    name: str
    question: str = QUESTION
    calls: tuple[str, ...] = ()  # of tools, over both lives
    answer: str = "Hello!"  # what the one answer contains
    traces: int = 0
    files: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()  # texts of the model's answers, in place of its rules
    chunk_s: float = 0.0
    is_in_suite: bool = False  # the others are played by `python -m tests.failures` alone

    @property
    def seen(self) -> str:
        """What the user sees in the end."""
        told = "one answer, which says that the tool may have run" if self.answer == MAY_HAVE_RUN else "one answer"
        parts = [told, *(["one trace"] if self.traces else []), *(["its file, once"] if self.files else [])]
        return ", ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Killed):
    """Such a turn in Slack; `arrange` is done before the question, `reach` waits for the moment."""

    arrange: Callable[[World], Awaitable[Hang | None]]
    reach: Callable[[World, str, Hang | None], Awaitable[None]]


async def live_through(step: Step, home: Path) -> int:
    """Ask, kill the process at the step, start it again, and see that the thread holds all once.

    Returns how many calls of Slack's Web API both lives made.
    """
    async with open_failing_world(home) as world:
        slack = world.slack
        await world.model.script(*({"text": text} for text in step.scripts))
        await world.model.pace(chunk_s=step.chunk_s)
        async with world.run() as life:
            hang = await step.arrange(world)
            root = await slack.say("C1", "U1", step.question, mention=True)
            async with asyncio.timeout(WAIT_S):
                await step.reach(world, root, hang)
            await life.kill()
        if hang is not None:
            hang.released.set()
        world.release_tools()
        await world.model.pace()
        await slack.cut_sockets()
        async with world.run():
            await until_answered(slack, "C1", root, timeout_s=WAIT_S)
            await slack.until(lambda: slack.status("C1", root) == "active", WAIT_S)
        _check(step, world, root)
        return len(slack.calls)


def _check(step: Step, world: World, root: str) -> None:
    slack = world.slack
    shown = [message.shown for message in answers(slack, "C1", root)]
    assert len(shown) == 1, shown
    assert step.answer in shown[0], shown
    assert not any(message.is_streaming for message in slack.bot_messages("C1", root))
    assert len(traces(slack, "C1", root)) == step.traces, [message.shown for message in slack.bot_messages("C1", root)]
    assert files(slack, "C1", root) == list(step.files), files(slack, "C1", root)
    assert world.calls == list(step.calls)


# --- how each step is reached ----------------------------------------------------------------------------------


async def _nothing(world: World) -> None:
    pass


async def _silence(world: World) -> None:
    """Let the model begin to answer and then say nothing more."""
    await world.model.fail("stall", after_chunks=0)


async def _unheard(world: World) -> None:
    """Let no acknowledgement reach Slack."""
    await _silence(world)
    world.slack.freeze_sockets()


async def _held_tools(world: World) -> None:
    world.hold_tools()


def _held_call(method: str, *, is_done: bool) -> Callable[[World], Awaitable[Hang]]:
    async def arrange(world: World) -> Hang:
        return world.slack.hang_next(method, is_done=is_done)

    return arrange


async def _until_held(world: World, root: str, hang: Hang | None) -> None:
    assert hang is not None
    await hang.reached.wait()


async def _until_asked(world: World, root: str, hang: Hang | None) -> None:
    await world.until_asked(1)


async def _until_tool_runs(world: World, root: str, hang: Hang | None) -> None:
    await world.slack.until(lambda: world.slack.status("C1", root) == "processing", WAIT_S)
    while not world.calls:  # noqa: ASYNC110  (another process sets no event)
        await asyncio.sleep(0.01)


async def _until_traced(world: World, root: str, hang: Hang | None) -> None:
    await world.slack.until(lambda: traces(world.slack, "C1", root), WAIT_S)


async def _until_partly_shown(world: World, root: str, hang: Hang | None) -> None:
    def has_begun() -> bool:
        return any(len(message.streamed or "") > 700 for message in answers(world.slack, "C1", root))

    await world.slack.until(has_begun, WAIT_S)


STEPS = (
    Step(
        name="before the question is stored",
        arrange=_held_call("users.info", is_done=False),
        reach=_until_held,
    ),
    Step(
        name="after it is stored, before Slack is told",
        arrange=_unheard,
        reach=_until_asked,
    ),
    Step(name="while the model thinks", arrange=_silence, reach=_until_asked),
    Step(
        name="while a tool runs that only reads",
        question=LOOK,
        arrange=_held_tools,
        reach=_until_tool_runs,
        calls=("look", "look"),
        answer="did look",
        traces=1,
    ),
    Step(
        name="while a tool runs that acts",
        question=ACT,
        arrange=_held_tools,
        reach=_until_tool_runs,
        calls=("act",),
        answer=MAY_HAVE_RUN,
        traces=1,
    ),
    Step(
        name="after the trace was posted, while its tool runs",
        question=LOOK,
        arrange=_held_tools,
        reach=_until_traced,
        calls=("look", "look"),
        answer="did look",
        traces=1,
    ),
    Step(
        name="between the trace's post and Slack's answer",
        question=LOOK,
        arrange=_held_call("chat.postMessage", is_done=True),
        reach=_until_held,
        calls=("look",),
        answer="did look",
        traces=1,
    ),
    Step(
        name="while the answer streams",
        is_in_suite=True,
        arrange=_nothing,
        reach=_until_partly_shown,
        scripts=(LONG, LONG),
        chunk_s=0.02,
        answer=LAST_WORDS,
    ),
    Step(
        name="between the stored answer and its post",
        arrange=_held_call("chat.postMessage", is_done=False),
        reach=_until_held,
    ),
    Step(
        name="between the answer's post and Slack's answer",
        is_in_suite=True,
        arrange=_held_call("chat.postMessage", is_done=True),
        reach=_until_held,
    ),
    Step(
        name="between the end of the stream and Slack's answer",
        arrange=_held_call("chat.stopStream", is_done=True),
        reach=_until_held,
        scripts=(LONG,),
        chunk_s=0.02,
        answer=LAST_WORDS,
    ),
    Step(
        name="before a file's upload",
        question=DRAW,
        arrange=_held_call("files.getUploadURLExternal", is_done=True),
        reach=_until_held,
        calls=("draw",),
        answer="did draw",
        traces=1,
        files=PICTURE,
    ),
    Step(
        name="between a file's upload and its post",
        question=DRAW,
        arrange=_held_call("files.completeUploadExternal", is_done=False),
        reach=_until_held,
        calls=("draw",),
        answer="did draw",
        traces=1,
        files=PICTURE,
    ),
    Step(
        name="between a file's post and Slack's answer",
        question=DRAW,
        arrange=_held_call("files.completeUploadExternal", is_done=True),
        reach=_until_held,
        calls=("draw",),
        answer="did draw",
        traces=1,
        files=PICTURE,
    ),
)
