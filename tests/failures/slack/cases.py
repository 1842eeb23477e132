"""The failure table of Slack: what happens, what the user sees, and how it is played."""

from __future__ import annotations

from collections.abc import Iterator

from tests.failures.asks import IN_SUITE, LATE_FORM, LOST_POST, asks
from tests.failures.bounds import bounds
from tests.failures.cases import CROWD, cases
from tests.failures.kills import PARTLY_SHOWN, POSTED, kills
from tests.failures.refusals import refusals
from tests.failures.slack import operators
from tests.failures.slack.kills import OWN_STEPS
from tests.failures.slack.limits import SCENES, SEEN, limited
from tests.failures.slack.stage import SlackStage
from tests.failures.slack.world import slack_of
from tests.failures.table import DRAW, LAST_WORDS, LONG, Case, served
from tests.failures.world import World
from tests.fakes.slack import FakeSlack
from tests.fakes.slack.delivery import MAX_SOCKETS
from tests.scenarios.slack.seen import answers, files, until_answered

BURST = 20
_LIMITS_IN_SUITE = ("chat.postMessage", "chat.startStream", "chat.update", "files.completeUploadExternal")


def all_cases() -> Iterator[Case]:
    """Yield the rows of the table, in its order."""
    yield from cases("slack", only_in_table=(f"{CROWD} conversations at once",))  # which a scenario plays
    yield from refusals("slack")
    yield from bounds("slack")
    yield from _OWN
    yield from operators.rows()
    yield Case(
        platform="slack",
        happens=f"{BURST} mentions at once in one channel, where Slack takes one message a second",
        seen="one answer to each, one a second",
        play=served(_burst),
        is_in_suite=False,  # a scenario plays it with fewer
    )
    for method, scene in SCENES.items():
        yield Case(
            platform="slack",
            happens=f"429 on `{method}`",
            seen=SEEN[scene],
            play=limited(method),
            is_in_suite=method in _LIMITS_IN_SUITE,
        )
    yield from asks("slack", SlackStage, in_suite=(*IN_SUITE, LATE_FORM, LOST_POST))
    yield from kills("slack", OWN_STEPS, in_suite=(PARTLY_SHOWN, POSTED))


async def _ask(slack: FakeSlack, text: str = "good morning", channel: str = "C1") -> str:
    return await slack.say(channel, "U1", text, mention=True)


async def _settled_with(world: World, root: str, *texts: str) -> None:
    """Wait until the thread's answers and all deliveries are there; see that it has just these answers, in order."""
    slack = slack_of(world)
    await until_answered(slack, "C1", root, count=len(texts))
    await slack.settled()
    shown = [message.shown for message in answers(slack, "C1", root)]
    assert len(shown) == len(texts), shown
    assert all(text in one for text, one in zip(texts, shown, strict=True)), shown


# --- deliveries ------------------------------------------------------------------------------------------------


async def _reordered(world: World) -> None:
    slack = slack_of(world)
    slack.hold()
    root = await _ask(slack)
    await slack.say("C1", "U1", "What is 20 + 1?", root)
    for delivery in await slack.release(list(reversed(range(len(slack.held))))):
        await slack.ended(delivery)
    await _settled_with(world, root, "Hello!", "20 + 1")


# --- what Slack takes ------------------------------------------------------------------------------------------


async def _burst(world: World) -> None:
    slack = slack_of(world)
    slack.rates.posts_at_once = 1
    roots = [await _ask(slack) for _ in range(BURST)]
    for root in roots:
        await until_answered(slack, "C1", root)
    await slack.settled()
    assert [len(answers(slack, "C1", root)) for root in roots] == [1] * BURST


async def _no_room(world: World) -> None:
    slack = slack_of(world)
    slack.foreign_sockets = MAX_SOCKETS
    await slack.cut_sockets()
    before = slack.handshakes
    await slack.until(lambda: slack.handshakes >= before + 2)
    root = await _ask(slack)
    slack.foreign_sockets = 0
    await _settled_with(world, root, "Hello!")


async def _notice_refused(world: World) -> None:
    slack = slack_of(world)
    slack.refuse("chat.postEphemeral", error="user_not_in_channel")
    await _ask(slack, "too long " * 2_000)
    direct = slack.dm("U1")
    [told] = await slack.until(lambda: slack.bot_messages(direct))
    await slack.settled()  # the mention comes in a second delivery
    assert "characters" in told.shown and "<#C1>" in told.shown
    assert slack.bot_messages(direct) == [told]


# --- Slack's answers are lost ----------------------------------------------------------------------------------


async def _expired_stream(world: World) -> None:
    slack = slack_of(world)
    await world.model.script({"text": LONG})
    await world.model.pace(chunk_s=0.01)
    root = await _ask(slack)
    (answer,) = await slack.until(lambda: [one for one in answers(slack, "C1", root) if one.is_streaming])
    await slack.until(lambda: len(answer.streamed or "") > 500)
    slack.advance(301)
    await _settled_with(world, root, LAST_WORDS)
    assert answer.stream_ended_by == "expiry"


async def _lost_answer_to(world: World, method: str, question: str = "good morning", *texts: str) -> None:
    slack_of(world).fail_next(method, drop="after")
    root = await _ask(slack_of(world), question)
    await _settled_with(world, root, *texts)


async def _lost_after_stream(world: World) -> None:
    await world.model.script({"text": LONG})
    await world.model.pace(chunk_s=0.01)
    await _lost_answer_to(world, "chat.stopStream", "good morning", LAST_WORDS)


async def _lost_after_start(world: World) -> None:
    await world.model.script({"text": LONG})
    await world.model.pace(chunk_s=0.01)
    await _lost_answer_to(world, "chat.startStream", "good morning", LAST_WORDS)


async def _lost_after_upload(world: World) -> None:
    slack = slack_of(world)
    slack.fail_next("files.completeUploadExternal", drop="after")
    root = await _ask(slack, DRAW)
    await slack.until(lambda: files(slack, "C1", root))
    await slack.until(lambda: slack.calls_of("conversations.replies"))  # the bot looks whether the file is there
    await slack.until(lambda: slack.status("C1", root) == "active")
    await _settled_with(world, root, "did draw")
    assert len(files(slack, "C1", root)) == 1


# --- the store -------------------------------------------------------------------------------------------------


async def _full_disk(world: World) -> None:
    slack = slack_of(world)
    slack.retry_gaps_s = (0.0, 0.3, 1.0)
    with world.database_that_refuses("INSERT ON turn"):
        root = await _ask(slack)
        (told,) = await slack.until(lambda: slack.ephemerals("U1"))
        assert "database" in told.shown
        assert not any(delivery.acked_at for delivery in slack.acks)
    await _settled_with(world, root, "Hello!")
    assert len(slack.ephemerals("U1")) == 1


_OWN = tuple(
    Case(platform="slack", happens=happens, seen=seen, play=served(scene))
    for happens, seen, scene in (
        (
            "a follow-up is delivered before the mention that it follows",
            "both are answered, in their order",
            _reordered,
        ),
        (
            "a stream dies after five minutes, in the middle of the answer",
            "the whole answer, once",
            _expired_stream,
        ),
        ("the connection is lost after a stream was begun", "the whole answer, once", _lost_after_start),
        ("the connection is lost after a stream was ended", "the whole answer, once", _lost_after_stream),
        ("the connection is lost after a file was posted", "one answer and its file, once", _lost_after_upload),
        (
            "Slack opens no connection, because the app has ten elsewhere",
            "one answer, once there is room",
            _no_room,
        ),
        (
            "a channel refuses for good what only one person would see",
            "that person reads it in a direct message, with the reason",
            _notice_refused,
        ),
        (
            "the database takes no new question for a while",
            "a sentence to the one who asked, once; later one answer",
            _full_disk,
        ),
    )
)
