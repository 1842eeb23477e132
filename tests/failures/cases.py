"""The failure table: what happens, what the user sees of it, and how it is played."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.failures.kills import DRAW, LAST_WORDS, LONG, LOOK, STEPS, Step, live_through
from tests.failures.limits import SCENES, SEEN, limited
from tests.failures.seen import answers, files, until_answered
from tests.failures.world import World, open_failing_world
from tests.fakes.slack import FakeSlack

CHANNELS = ("C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8")
THREADS_EACH = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a case cost."""

    calls: int  # of Slack's Web API
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row. Playing it fails where the user does not see just what `seen` says."""

    happens: str
    seen: str
    play: Callable[[Path], Awaitable[int]]
    is_in_suite: bool = True  # the others are played by `python -m tests.failures` alone

    async def run(self, home: Path) -> Outcome:
        """Play it in an empty folder. Raises AssertionError or TimeoutError where it does not end as it should."""
        started = time.monotonic()
        calls = await self.play(home)
        return Outcome(calls=calls, seconds=time.monotonic() - started)


def all_cases() -> Iterator[Case]:
    """Yield the rows of the table, in its order."""
    yield from _DELIVERIES
    yield from (
        Case(
            happens=f"429 on `{method}`",
            seen=SEEN[scene],
            play=partial(limited, method),
            is_in_suite=method in _LIMITS_IN_SUITE,
        )
        for method, scene in SCENES.items()
    )
    yield from (_killed(step) for step in STEPS)


_LIMITS_IN_SUITE = ("chat.postMessage", "chat.startStream", "chat.update", "files.completeUploadExternal")


def _killed(step: Step) -> Case:
    async def play(home: Path) -> int:
        return await live_through(step, home)

    return Case(happens=f"`kill -9` {step.name}", seen=step.seen, play=play, is_in_suite=step.is_in_suite)


# --- deliveries and connections --------------------------------------------------------------------------------


def _served(scene: Callable[[World], Awaitable[None]]) -> Callable[[Path], Awaitable[int]]:
    """Return how to play a scene with the bot served in this process."""

    async def play(home: Path) -> int:
        async with open_failing_world(home) as world:
            async with world.serve():
                await scene(world)
            return len(world.slack.calls)

    return play


async def _ask(slack: FakeSlack, text: str = "good morning", channel: str = "C1") -> str:
    return await slack.say(channel, "U1", text, mention=True)


async def _settled_with(world: World, root: str, *texts: str) -> None:
    """Wait until the thread's answers and all deliveries are there; see that it has just these answers, in order."""
    slack = world.slack
    await until_answered(slack, "C1", root, count=len(texts))
    await slack.settled()
    shown = [message.shown for message in answers(slack, "C1", root)]
    assert len(shown) == len(texts), shown
    assert all(text in one for text, one in zip(texts, shown, strict=True)), shown


async def _delivered_again(world: World) -> None:
    world.slack.duplicate_next(3)
    root = await _ask(world.slack)
    await _settled_with(world, root, "Hello!")
    assert len(await world.model.requests()) == 1


async def _three_at_once(world: World) -> None:
    slack = world.slack
    world.hold_tools()
    root = await _ask(slack, LOOK)
    await world.until_called("look")
    later = [await slack.say("C1", "U1", f"What is {number} + 1?", root) for number in (20, 30)]
    for ts in later:
        await slack.until(lambda ts=ts: slack.reactions("C1", ts))
    world.release_tools()
    await _settled_with(world, root, "did look", "20 + 1", "30 + 1")
    await slack.until(lambda: not any(slack.reactions("C1", ts) for ts in later))


async def _forty_threads(world: World) -> None:
    slack = world.slack
    slack.enforce_tiers = True
    for channel in CHANNELS[1:]:
        slack.add_channel(channel, members=["U1"])
    roots = [(channel, await _ask(slack, channel=channel)) for channel in CHANNELS for _ in range(THREADS_EACH)]
    for channel, root in roots:
        await until_answered(slack, channel, root)
    await slack.settled()
    assert all(len(answers(slack, channel, root)) == 1 for channel, root in roots)


async def _cut_in_the_middle(world: World) -> None:
    slack = world.slack
    world.hold_tools()
    root = await _ask(slack, LOOK)
    await world.until_called("look")
    await slack.cut_sockets()
    world.release_tools()
    await _settled_with(world, root, "did look")
    await slack.until(lambda: len(slack.open_sockets()) == 2)
    await _settled_with(world, await _ask(slack), "Hello!")


async def _reordered(world: World) -> None:
    slack = world.slack
    slack.hold()
    root = await _ask(slack)
    await slack.say("C1", "U1", "What is 20 + 1?", root)
    for delivery in await slack.release(list(reversed(range(len(slack.held))))):
        await slack.ended(delivery)
    await _settled_with(world, root, "Hello!", "20 + 1")


# --- Slack's answers are lost ----------------------------------------------------------------------------------


async def _expired_stream(world: World) -> None:
    slack = world.slack
    await world.model.script({"text": LONG})
    await world.model.pace(chunk_s=0.01)
    root = await _ask(slack)
    (answer,) = await slack.until(lambda: [one for one in answers(slack, "C1", root) if one.is_streaming])
    await slack.until(lambda: len(answer.streamed or "") > 500)
    slack.advance(301)
    await _settled_with(world, root, LAST_WORDS)
    assert answer.stream_ended_by == "expiry"


async def _lost_answer_to(world: World, method: str, question: str = "good morning", *texts: str) -> None:
    world.slack.fail_next(method, drop="after")
    root = await _ask(world.slack, question)
    await _settled_with(world, root, *texts)


async def _lost_after_post(world: World) -> None:
    await _lost_answer_to(world, "chat.postMessage", "good morning", "Hello!")


async def _lost_after_stream(world: World) -> None:
    await world.model.script({"text": LONG})
    await world.model.pace(chunk_s=0.01)
    await _lost_answer_to(world, "chat.stopStream", "good morning", LAST_WORDS)


async def _lost_after_start(world: World) -> None:
    await world.model.script({"text": LONG})
    await world.model.pace(chunk_s=0.01)
    await _lost_answer_to(world, "chat.startStream", "good morning", LAST_WORDS)


async def _lost_after_upload(world: World) -> None:
    slack = world.slack
    slack.fail_next("files.completeUploadExternal", drop="after")
    root = await _ask(slack, DRAW)
    await slack.until(lambda: files(slack, "C1", root))
    await slack.until(lambda: slack.calls_of("conversations.replies"))  # the bot looks whether the file is there
    await slack.until(lambda: slack.status("C1", root) == "active")
    await _settled_with(world, root, "did draw")
    assert len(files(slack, "C1", root)) == 1


# --- the store -------------------------------------------------------------------------------------------------


async def _full_disk(world: World) -> None:
    slack = world.slack
    slack.retry_gaps_s = (0.0, 0.3, 1.0)
    with world.database_that_refuses("INSERT ON turn"):
        root = await _ask(slack)
        (told,) = await slack.until(lambda: slack.ephemerals("U1"))
        assert "database" in told.shown
        assert not any(delivery.acked_at for delivery in slack.acks)
    await _settled_with(world, root, "Hello!")
    assert len(slack.ephemerals("U1")) == 1


async def _no_record(world: World) -> None:
    """The answer is posted, and cannot be noted as posted at the first attempt."""
    slack = world.slack
    with world.database_that_refuses("UPDATE ON outbox WHEN NEW.state = 'posted'"):
        root = await _ask(slack)
        await until_answered(slack, "C1", root)
        await world.until_tried_again()
    await slack.until(lambda: slack.status("C1", root) == "active")
    await _settled_with(world, root, "Hello!")


_DELIVERIES = (
    Case(happens="a mention comes in five deliveries", seen="one answer", play=_served(_delivered_again)),
    Case(
        happens="three quick messages in one thread",
        seen="three answers in order; a sign on the two that wait",
        play=_served(_three_at_once),
    ),
    Case(happens="40 threads at once", seen="one answer in each", play=_served(_forty_threads)),
    Case(
        happens="both connections are cut while a tool runs",
        seen="one answer, and an answer to the next question",
        play=_served(_cut_in_the_middle),
    ),
    Case(
        happens="a follow-up is delivered before the mention that it follows",
        seen="both are answered, in their order",
        play=_served(_reordered),
    ),
    Case(
        happens="a stream dies after five minutes, in the middle of the answer",
        seen="the whole answer, once",
        play=_served(_expired_stream),
    ),
    Case(
        happens="the connection is lost after an answer was posted", seen="one answer", play=_served(_lost_after_post)
    ),
    Case(
        happens="the connection is lost after a stream was begun",
        seen="the whole answer, once",
        play=_served(_lost_after_start),
    ),
    Case(
        happens="the connection is lost after a stream was ended",
        seen="the whole answer, once",
        play=_served(_lost_after_stream),
    ),
    Case(
        happens="the connection is lost after a file was posted",
        seen="one answer and its file, once",
        play=_served(_lost_after_upload),
    ),
    Case(
        happens="the database takes no new question for a while",
        seen="a sentence to the one who asked, once; later one answer",
        play=_served(_full_disk),
    ),
    Case(
        happens="the database cannot record that the answer was posted",
        seen="one answer",
        play=_served(_no_record),
    ),
)
