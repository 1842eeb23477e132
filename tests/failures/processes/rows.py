"""What happens to one of several processes, or between them, and what users see of it, on every platform."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from tests.failures.asks import RECORD, Open, Play
from tests.failures.kills import STEPS, Step, check, held_tools, silence, until_asked_again
from tests.failures.processes.engine import on_engine
from tests.failures.processes.fleet import PROCESSES, Fleet, open_fleet
from tests.failures.table import LOOK, QUESTION, Case
from tests.failures.world import World
from tests.fakes.slack import FakeSlack
from tests.scenarios.drivers import Conversation
from tests.scenarios.drivers.slack import SlackDriver

UNDER_WAY = 200  # conversations
UPGRADE_S = 600.0
MODEL_S = 3.0  # until the model's first word, so that there is something under way
AHEAD_S = 7_200.0
READ = "after a tool's result was stored, while the model thinks again"
OWN_STEPS = (
    Step(
        name=READ,
        question=LOOK,
        arrange=held_tools,
        reach=until_asked_again,
        calls=("look",),
        answer="did look",
        traces=1,
    ),
)
PAUSED = ("while the model thinks", "while a tool runs that only reads", "while a tool runs that acts")

Scene = Callable[[World, str], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What happens, what is seen of it, and how it is played in a world, on the database with this URL."""

    happens: str
    seen: str
    scene: Scene
    needs_server: bool = False  # PostgreSQL
    longest_s: float = 240.0


def rows(platform: str, *, steps: Collection[Step], open_stage: Open) -> Iterator[Row]:
    """Yield the rows that every platform has, with the platform's own steps of a turn."""
    for step in (*STEPS, *OWN_STEPS, *steps):
        yield Row(
            happens=f"`kill -9` of the process that answers, {step.name}",
            seen=f"{step.seen}, from another process",
            scene=partial(_killed, step),
        )
    for step in STEPS:
        if step.name in PAUSED:
            yield Row(
                happens=f"SIGSTOP of the process that answers, past its lease, {step.name}; then SIGCONT",
                seen=f"{step.seen}, from another process; nothing more from the one that wakes",
                scene=partial(_paused, step),
            )
    yield Row(
        happens="an approval is asked for by a process that then dies, and given at another",
        seen=f"{RECORD}",
        scene=partial(approve_elsewhere, open_stage),
    )
    yield Row(
        happens="the same mention is delivered to several processes",
        seen="one answer",
        scene=_delivered_to_several,
    )
    yield Row(
        happens="three quick messages of one conversation are delivered to three processes",
        seen="three answers in order; a sign on the two that wait",
        scene=_three_to_three,
    )
    yield Row(
        happens="the clock of one process is two hours ahead, that of another two hours behind",
        seen="one answer to each question, in order; after a `kill -9` of the first from another process",
        scene=_clocks,
        needs_server=True,  # which has a clock; processes on one file have that of their machine
    )
    yield Row(
        happens=f"a rolling upgrade with {UNDER_WAY} conversations under way, one process after the other",
        seen="one answer in each",
        scene=_upgraded,
        longest_s=UPGRADE_S,
    )


def cases(platform: str, found: Iterator[Row]) -> Iterator[Case]:
    """Yield the rows as cases, none of which is in the suite: a short form of them is a test of its own."""
    for row in found:
        yield Case(
            platform=platform,
            happens=row.happens,
            seen=row.seen,
            play=partial(on_engine, row.scene, needs_server=row.needs_server),
            is_in_suite=False,
            longest_s=row.longest_s,
        )


# --- one of them dies ------------------------------------------------------------------------------------------


async def _killed(step: Step, world: World, url: str) -> None:
    async with open_fleet(world, url) as fleet:
        await kill_at(step, fleet)


async def kill_at(step: Step, fleet: Fleet) -> None:
    """Ask, kill the process that answers at the step, and see that another one goes on, and that all is there once."""
    conversation = await _reached(step, fleet)
    await fleet.kill(await fleet.holder())
    await _goes_on(fleet)
    await _answered_once(step, fleet, conversation)


async def _reached(step: Step, fleet: Fleet) -> Conversation:
    world = fleet.world
    await world.model.script(*({"text": text} for text in step.scripts))
    await world.model.pace(chunk_s=step.chunk_s)
    if step.stalls_after is not None:
        await world.model.fail("stall", after_chunks=step.stalls_after)
    conversation = await world.driver.open()
    await step.arrange(world)
    await conversation.ask(step.question)
    await step.reach(world, conversation)
    return conversation


async def _goes_on(fleet: Fleet) -> None:
    fleet.world.release_tools()
    await fleet.world.model.pace()


async def _answered_once(step: Step, fleet: Fleet, conversation: Conversation) -> None:
    await fleet.until_quiet()
    await conversation.answered()
    await fleet.until_shown(conversation, traces=step.traces)
    check(step, fleet.world, conversation)


async def _paused(step: Step, world: World, url: str) -> None:
    async with open_fleet(world, url) as fleet:
        conversation = await _reached(step, fleet)
        holder = await fleet.holder()
        fleet.pause(holder)
        await fleet.until_taken_over(holder)
        await _goes_on(fleet)
        await _answered_once(step, fleet, conversation)
        fleet.wake(holder)
        await fleet.until_renewed(holder)
        other = await world.driver.open()
        if not isinstance(world.driver, SlackDriver):
            other = conversation  # a channel is one conversation
        before = len(other.written) if other is conversation else 0
        await other.ask("What is 20 + 1?")
        await other.answered(before + 1)
        await fleet.until_quiet()
        if other is not conversation:
            check(step, world, conversation)
        else:
            assert len(conversation.written) == before + 1, conversation.written
            assert world.calls == list(step.calls)


async def approve_elsewhere(open_stage: Open, world: World, url: str, *, processes: int = PROCESSES) -> None:
    """Have a call asked about by a process that then dies, and approved at another."""
    play = Play(world, open_stage(world))
    play.rule()
    async with open_fleet(world, url, processes=processes) as fleet:
        conversation = await play.ask()
        await play.asked()
        await fleet.kill(fleet.asker())
        await fleet.until_served()
        await play.approved(conversation)


# --- between them ----------------------------------------------------------------------------------------------


async def _delivered_to_several(world: World, url: str) -> None:
    async with open_fleet(world, url) as fleet:
        await deliver_to_several(fleet)


async def deliver_to_several(fleet: Fleet) -> None:
    """Deliver a mention several times, each time by another connection."""
    world = fleet.world
    conversation = await world.driver.open()
    already = len(conversation.written) if world.driver.name == "discord" else 0
    world.driver.deliver_next_again()
    await conversation.ask(QUESTION)
    await conversation.answered(already + 1)
    await world.driver.settled()
    await fleet.until_quiet()
    assert len(conversation.written) == already + 1, conversation.written


async def _three_to_three(world: World, url: str) -> None:
    async with open_fleet(world, url):
        await three_to_three(world)


async def three_to_three(world: World) -> None:
    """Ask three questions at once, of which the first takes its time; the answers come in order."""
    conversation = await world.driver.open()
    already = len(conversation.written) if world.driver.name == "discord" else 0
    world.hold_tools()
    await conversation.ask(LOOK)
    await world.until_called("look")
    second, third = [await conversation.ask(f"What is {number} + 1?") for number in (20, 30)]
    await world.driver.until(lambda: second.is_waiting and third.is_waiting)
    world.release_tools()
    await conversation.answered(already + 3)
    await world.driver.settled()
    shown = [message.shown for message in conversation.written][already:]
    assert len(shown) == 3, shown
    assert all(text in one for text, one in zip(("did look", "20 + 1", "30 + 1"), shown, strict=True)), shown
    await world.driver.until(lambda: second.is_unmarked and third.is_unmarked)


async def _clocks(world: World, url: str) -> None:
    async with open_fleet(world, url, processes=1) as fleet:
        await fleet.start(clock_s=AHEAD_S)
        await fleet.start(clock_s=-AHEAD_S)
        await three_to_three(world)
        await fleet.kill(fleet.members[1])
        (step,) = [step for step in STEPS if step.name == PAUSED[0]]
        await _asked_and_killed(replace(step, arrange=silence), fleet)


async def _asked_and_killed(step: Step, fleet: Fleet) -> None:
    """Have the process that answers die, whichever it is, so that one with another clock takes over."""
    world = fleet.world
    conversation = await world.driver.open()
    already = len(conversation.written) if world.driver.name == "discord" else 0
    await step.arrange(world)
    asked = len(await world.model.requests())
    await conversation.ask(step.question)
    await world.until_asked(asked + 1)
    await fleet.kill(await fleet.holder())
    await conversation.answered(already + 1)
    await fleet.until_quiet()
    assert len(conversation.written) == already + 1, conversation.written


async def _upgraded(world: World, url: str) -> None:
    async with open_fleet(world, url) as fleet:
        conversations = await world.driver.crowd(UNDER_WAY, channels=UNDER_WAY)
        if isinstance(world.driver, SlackDriver):
            slack: FakeSlack = world.driver.slack
            slack.rates.are_enforced = False  # what is measured is the handing over
        await world.model.pace(first_token_s=MODEL_S)
        old = list(fleet.members)
        asking = asyncio.create_task(_ask_all(conversations))
        await fleet.until_open(UNDER_WAY // 4)
        for member in old:
            await fleet.start()
            await fleet.leave(member)
        await asking
        await world.model.pace()
        await answered_all(fleet, conversations)


async def _ask_all(conversations: Sequence[Conversation]) -> None:
    for conversation in conversations:
        await conversation.ask(QUESTION)


async def answered_all(fleet: Fleet, conversations: Sequence[Conversation]) -> None:
    """Wait until all is quiet; see one answer in each conversation."""
    for conversation in conversations:
        await fleet.world.driver.until(lambda conversation=conversation: conversation.answers, UPGRADE_S)
    await fleet.world.driver.settled()
    await fleet.until_quiet()
    counts = [len(conversation.written) for conversation in conversations]
    assert counts == [1] * len(conversations), counts
    assert all("Hello!" in conversation.written[0].shown for conversation in conversations)
