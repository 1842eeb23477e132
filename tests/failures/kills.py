"""`kill -9` of the real process at each step of a turn, and what people see after the next start."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from tests.failures.table import ACT, LAST_WORDS, LONG, LOOK, QUESTION, Case
from tests.failures.world import WAIT_S, World
from tests.fakes.mcp_servers.processes import until
from tests.scenarios.drivers import Conversation

MAY_HAVE_RUN = "may have run"
PICTURE = ("image-2.png",)
LONG_PARTS = {"slack": 1, "discord": 2}  # messages that the long answer takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A turn whose process dies at a moment of it, and what is there in the end.

    `arrange` is done before the question, `reach` waits for the moment.
    """

    name: str
    question: str = QUESTION
    calls: tuple[str, ...] = ()  # of tools, over both lives
    answer: str = "Hello!"  # what the one answer contains
    traces: int = 0
    files: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()  # texts of the model's answers, in place of its rules
    stalls_after: int | None = None  # pieces of the first of them
    chunk_s: float = 0.0
    arrange: Callable[[World], Awaitable[None]]
    reach: Callable[[World, Conversation], Awaitable[None]]

    @property
    def seen(self) -> str:
        """What the user sees in the end."""
        told = "one answer, which says that the tool may have run" if self.answer == MAY_HAVE_RUN else "one answer"
        parts = [told, *(["one trace"] if self.traces else []), *(["its file, once"] if self.files else [])]
        return ", ".join(parts)


def kills(platform: str, own: Iterable[Step], *, in_suite: Collection[str]) -> Iterator[Case]:
    """Yield a row for each step that every platform has, and for the platform's own; those named are in the suite."""
    for step in (*STEPS, *own):
        yield Case(
            platform=platform,
            happens=f"`kill -9` {step.name}",
            seen=step.seen,
            play=partial(live_through, step),
            is_in_suite=step.name in in_suite,
        )


async def live_through(step: Step, world: World) -> None:
    """Ask, kill the process at the step, start it again, and see that everything is there once."""
    await world.model.script(*({"text": text} for text in step.scripts))
    await world.model.pace(chunk_s=step.chunk_s)
    if step.stalls_after is not None:
        await world.model.fail("stall", after_chunks=step.stalls_after)
    conversation = await world.driver.open()
    async with world.run() as life:
        await step.arrange(world)
        question = await conversation.ask(step.question)
        await step.reach(world, conversation)
        await world.kill(life)
    world.release_tools()
    await world.model.pace()
    async with world.run():
        await conversation.answered()
    check(step, world, conversation)
    if len(conversation.written) == 1:
        conversation.check_answered(question)


def check(step: Step, world: World, conversation: Conversation) -> None:
    """See what is there; the process has ended, so nothing is added to it."""
    shown = [message.shown for message in conversation.written]
    assert step.answer in "\n".join(shown), shown
    assert len(shown) == (LONG_PARTS[world.driver.name] if step.scripts else 1), shown
    if step.scripts:
        assert "\n".join(shown).split() == LONG.split(), shown
    assert conversation.growing == []
    traces = [message.shown for message in conversation.traces]
    assert len(traces) == step.traces, traces
    assert not any("…" in trace.split("\n")[0] for trace in traces), traces
    assert conversation.side_threads == (step.traces if world.driver.begins_threads else 0)
    assert tuple(conversation.files) == step.files
    assert world.calls == list(step.calls)


# --- how each step is reached ----------------------------------------------------------------------------------


async def nothing(world: World) -> None:
    pass


async def silence(world: World) -> None:
    """Make the model begin to answer and then say nothing more."""
    await world.model.fail("stall", after_chunks=0)


async def held_tools(world: World) -> None:
    world.hold_tools()


def held_call(call: str, *, is_done: bool = True) -> Callable[[World], Awaitable[None]]:
    async def arrange(world: World) -> None:
        world.driver.hold_next(call, is_done=is_done)

    return arrange


def held_post(*, is_done: bool) -> Callable[[World], Awaitable[None]]:
    async def arrange(world: World) -> None:
        world.driver.hold_next(world.driver.post_call, is_done=is_done)

    return arrange


async def until_held(world: World, conversation: Conversation) -> None:
    await world.driver.until_held()


async def until_asked(world: World, conversation: Conversation) -> None:
    await world.until_asked(1)


async def until_asked_again(world: World, conversation: Conversation) -> None:
    """Let the tool end, whose call is held, and the model fall silent when it reads the result."""
    await until_tool_runs(world, conversation)
    await silence(world)
    world.release_tools()
    await world.until_asked(2)


async def until_tool_runs(world: World, conversation: Conversation) -> None:
    await conversation.at_work()
    await until(lambda: world.calls, timeout_s=WAIT_S)


async def until_traced(world: World, conversation: Conversation) -> None:
    await world.driver.until(lambda: conversation.traces, WAIT_S)


async def until_partly_shown(world: World, conversation: Conversation) -> None:
    await world.driver.until(lambda: any(len(one.shown) > 700 for one in conversation.growing), WAIT_S)


HALF = 85  # pieces of the long answer, after which the model falls silent
PARTLY_SHOWN = "while the answer is partly shown"
POSTED = "between the answer's post and the platform's answer"
STEPS = (
    Step(name="while the model thinks", arrange=silence, reach=until_asked),
    Step(
        name="while a tool runs that only reads",
        question=LOOK,
        arrange=held_tools,
        reach=until_tool_runs,
        calls=("look", "look"),
        answer="did look",
        traces=1,
    ),
    Step(
        name="while a tool runs that acts",
        question=ACT,
        arrange=held_tools,
        reach=until_tool_runs,
        calls=("act",),
        answer=MAY_HAVE_RUN,
        traces=1,
    ),
    Step(
        name="after the trace was posted, while its tool runs",
        question=LOOK,
        arrange=held_tools,
        reach=until_traced,
        calls=("look", "look"),
        answer="did look",
        traces=1,
    ),
    Step(
        name="between the trace's post and the platform's answer",
        question=LOOK,
        arrange=held_post(is_done=True),
        reach=until_held,
        calls=("look",),
        answer="did look",
        traces=1,
    ),
    Step(
        name=PARTLY_SHOWN,
        arrange=nothing,
        reach=until_partly_shown,
        scripts=(LONG, LONG),
        stalls_after=HALF,
        answer=LAST_WORDS,
    ),
    Step(name="between the stored answer and its post", arrange=held_post(is_done=False), reach=until_held),
    Step(name=POSTED, arrange=held_post(is_done=True), reach=until_held),
)
