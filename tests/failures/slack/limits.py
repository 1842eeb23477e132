"""Slack answers 429 to each of the methods that the bot uses, in a scene that needs it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from adapters.slack.manifest import SHORTCUT
from tests.failures.asks import approved_by_group
from tests.failures.slack.stage import SlackStage
from tests.failures.slack.world import slack_of
from tests.failures.table import DRAW, LAST_WORDS, LONG, LOOK
from tests.failures.world import WAIT_S, World
from tests.fakes.slack import FakeSlack
from tests.scenarios.slack.seen import answers, files, traces, until_answered

Scene = Callable[[World], Awaitable[None]]
UNDER_WAY_S = 0.1
PAUSE_S = 1  # Slack says whole seconds: https://docs.slack.dev/apis/web-api/rate-limits


def limited(method: str) -> Scene:
    """Return how to play the scene of the method while Slack refuses a call of it."""

    async def play(world: World) -> None:
        slack = slack_of(world)
        slack.limit_next(method, retry_after_s=PAUSE_S)
        await SCENES[method](world)
        refused = [call for call in slack.calls if call.method == method and call.status == 429]
        assert refused, f"{method} was not called"
        after_s = [call.at - refused[0].at for call in slack.calls if call.method == method and call.ok]
        # What was under way already is no breach of it.
        assert not any(UNDER_WAY_S < after < PAUSE_S - 0.05 for after in after_s), "the pause was not kept"

    return play


async def _ask(slack: FakeSlack, text: str = "good morning") -> str:
    return await slack.say("C1", "U1", text, mention=True)


def _check_answer(world: World, root: str, text: str = "Hello!") -> None:
    (answer,) = answers(slack_of(world), "C1", root)
    assert text in answer.shown


async def _answered(world: World) -> None:
    async with world.serve():
        root = await _ask(slack_of(world))
        await until_answered(slack_of(world), "C1", root)
        await slack_of(world).until(lambda: slack_of(world).status("C1", root) == "active")
        _check_answer(world, root)


async def _said_in_words(world: World) -> None:
    slack_of(world).api.is_agent = False
    async with world.serve():
        world.hold_tools()
        root = await _ask(slack_of(world), LOOK)
        await slack_of(world).until(lambda: slack_of(world).status("C1", root))
        world.release_tools()
        await until_answered(slack_of(world), "C1", root)
        _check_answer(world, root, "did look")


async def _traced(world: World) -> None:
    async with world.serve():
        world.hold_tools()
        root = await _ask(slack_of(world), LOOK)
        (trace,) = await slack_of(world).until(lambda: traces(slack_of(world), "C1", root))
        world.release_tools()
        await until_answered(slack_of(world), "C1", root)
        await slack_of(world).until(lambda: "✓" in trace.shown)
        assert len(traces(slack_of(world), "C1", root)) == 1
        _check_answer(world, root, "did look")


async def _streamed(world: World) -> None:
    async with world.serve():
        await world.model.script({"text": LONG})
        await world.model.pace(chunk_s=0.01)
        root = await _ask(slack_of(world))
        await until_answered(slack_of(world), "C1", root)
        _check_answer(world, root, LAST_WORDS)


async def _shortened(world: World) -> None:
    """An answer of two messages that is forbidden in its middle: what was shown of it goes."""
    async with world.serve():
        await world.model.script({"text": "\n\n".join([LONG] * 5)})
        await world.model.pace(chunk_s=0.002)
        await world.model.fail("content_filter", after_chunks=100_000)
        root = await _ask(slack_of(world))
        await until_answered(slack_of(world), "C1", root)
        await slack_of(world).until(lambda: len(answers(slack_of(world), "C1", root)) == 1)
        _check_answer(world, root, "filter")


async def _in_turn(world: World) -> None:
    async with world.serve():
        world.hold_tools()
        root = await _ask(slack_of(world), LOOK)
        await world.until_called("look")
        second = await slack_of(world).say("C1", "U1", "good morning", root)
        await slack_of(world).until(lambda: slack_of(world).reactions("C1", second))
        world.release_tools()
        await until_answered(slack_of(world), "C1", root, count=2)
        await slack_of(world).until(lambda: not slack_of(world).reactions("C1", second))


async def _missed(world: World) -> None:
    async with world.serve():
        root = await _ask(slack_of(world))
        await until_answered(slack_of(world), "C1", root)
    mention = await slack_of(world).say("C1", "U1", "good morning", mention=True, deliver=False)
    await slack_of(world).say("C1", "U1", "good morning", root, deliver=False)
    async with world.serve():
        await until_answered(slack_of(world), "C1", mention)
        await until_answered(slack_of(world), "C1", root, count=2)


async def _with_file(world: World) -> None:
    async with world.serve():
        root = await _ask(slack_of(world), DRAW)
        await slack_of(world).until(lambda: files(slack_of(world), "C1", root), WAIT_S)
        await until_answered(slack_of(world), "C1", root)
        assert len(files(slack_of(world), "C1", root)) == 1
        _check_answer(world, root, "did draw")


async def _refused(world: World) -> None:
    async with world.serve():
        await _ask(slack_of(world), "too long " * 2_000)
        (told,) = await slack_of(world).until(lambda: slack_of(world).ephemerals("U1"))
        assert "characters" in told.shown
        await slack_of(world).settled()  # the mention comes in a second delivery
        assert len(slack_of(world).ephemerals("U1")) == 1


async def _at_home(world: World) -> None:
    async with world.serve():
        await slack_of(world).open_home("U1")
        await slack_of(world).until(lambda: slack_of(world).home("U1"))


async def _in_detail(world: World) -> None:
    async with world.serve():
        root = await _ask(slack_of(world), LOOK)
        await until_answered(slack_of(world), "C1", root)
        (trace,) = traces(slack_of(world), "C1", root)
        await slack_of(world).press("C1", trace.ts, "U1", "tb:details")
        (view,) = await slack_of(world).until(lambda: slack_of(world).views("U1"))
        await slack_of(world).until(lambda: "did look" in slack_of(world).text_of(view))


async def _in_window(world: World) -> None:
    """A window that opens at once is filled by views.update."""
    async with world.serve():
        root = await _ask(slack_of(world))
        await until_answered(slack_of(world), "C1", root)
        (answer,) = answers(slack_of(world), "C1", root)
        await slack_of(world).shortcut("C1", answer.ts, "U1", SHORTCUT)
        (view,) = await slack_of(world).until(lambda: slack_of(world).views("U1"))
        await slack_of(world).until(lambda: "good morning" in slack_of(world).text_of(view))


async def _from_another_workspace(world: World) -> None:
    """Of a file that another workspace shares, messages tell no address."""
    file = slack_of(world).add_file("notes.txt", b"The code word is heliotrope.", user="U1")
    file.is_hidden = True
    async with world.serve():
        root = await slack_of(world).say("C1", "U1", "what is the code word?", mention=True, files=[file])
        await until_answered(slack_of(world), "C1", root)
        (asked, *_) = await world.model.requests()
        assert "heliotrope" in str(asked)


async def _elsewhere(world: World) -> None:
    """The bot is removed from the channel while it works: the answer goes to the one who asked."""
    slack = slack_of(world)
    async with world.serve():
        world.hold_tools()
        await _ask(slack, LOOK)
        await world.until_called("look")
        slack.channels["C1"].members.remove("UBOT")
        world.release_tools()
        direct = slack.dm("U1")
        (answer,) = await slack.until(lambda: slack.bot_messages(direct))
        assert "did look" in answer.shown


async def _approved(world: World) -> None:
    slack_of(world).ack_timeout_s = 3.0  # https://docs.slack.dev/interactivity/handling-user-interaction
    await approved_by_group(SlackStage, world)


SCENES: Mapping[str, Scene] = {
    "auth.test": _answered,
    "apps.connections.open": _answered,
    "users.info": _answered,
    "agents.sessions.setStatus": _answered,
    "assistant.threads.setStatus": _said_in_words,
    "chat.postMessage": _answered,
    "chat.startStream": _streamed,
    "chat.appendStream": _streamed,
    "chat.stopStream": _streamed,
    "chat.update": _traced,
    "chat.delete": _shortened,
    "chat.postEphemeral": _refused,
    "reactions.add": _in_turn,
    "reactions.remove": _in_turn,
    "conversations.history": _missed,
    "conversations.replies": _missed,
    "conversations.open": _elsewhere,
    "files.getUploadURLExternal": _with_file,
    "files.completeUploadExternal": _with_file,
    "files.info": _from_another_workspace,
    "usergroups.users.list": _approved,
    "views.publish": _at_home,
    "views.open": _in_detail,
    "views.update": _in_window,
}
SEEN: Mapping[Scene, str] = {
    _answered: "one answer, a little later",
    _said_in_words: "one answer; its status a little later",
    _traced: "one trace, which ends with its calls done, and one answer",
    _streamed: "the whole answer, once",
    _shortened: "one sentence that the filter stopped it; nothing of what was shown before",
    _refused: "the reason, to the one who wrote",
    _in_turn: "two answers in order; the sign of waiting comes and goes",
    _missed: "what was missed is answered, once",
    _elsewhere: "the answer as a direct message, with the reason",
    _with_file: "one answer and its file, once",
    _approved: "a call runs that someone of the group has approved, once",
    _at_home: "the Home tab",
    _in_detail: "the window with arguments and results",
    _in_window: "the window with history and tools",
    _from_another_workspace: "one answer, for which the file was read",
}
