"""What the bot itself refuses, hides or cuts on every platform, and what the people concerned see of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from structlog.testing import capture_logs

from bot.intake.admission import ACTS_PER_MINUTE
from bot.intake.bounds import MAX_OWN_WAITING
from bot.text.redaction import HIDDEN_NOTE
from mcp_server.folder import FolderWorkspace
from tests.attacks.corpus import leaks
from tests.failures.cases import settled_with
from tests.failures.table import LOOK, QUESTION, Case
from tests.failures.tools import PILED, SECRET
from tests.failures.world import World
from tests.fakes.folders import unchangeable
from tests.fakes.rights import ALLOW_ALL
from tests.scenarios.drivers import Conversation, Question

LEAK, PILE = "call shop__leak with {}", "call shop__pile with {}"
TOO_MANY = f"more than {ACTS_PER_MINUTE} commands and buttons in a minute"
FLOOD = ACTS_PER_MINUTE * 2
Scene = Callable[[World, Conversation], Awaitable[None]]


def bounds(platform: str) -> Iterator[Case]:
    """Yield the rows that every platform has."""
    for happens, seen, scene, is_in_suite in _SCENES:
        yield Case(platform=platform, happens=happens, seen=seen, play=_served(scene), is_in_suite=is_in_suite)
    yield Case(
        platform=platform,
        happens="a person sends more messages than REQUESTS_PER_MINUTE",
        seen="the reason with the time, once; one answer to each of the others, and to other people",
        play=_served(_too_many_messages, requests_per_minute=2),
        is_in_suite=False,
    )
    yield Case(
        platform=platform,
        happens="a person's budget is used up",
        seen="the reason with the time at which it opens again; an answer to other people",
        play=_with_budgets("person = { turns_per_day = 1 }", _over_budget),
        is_in_suite=False,
    )
    yield Case(
        platform=platform,
        happens="the place for warnings about budgets cannot be reached",
        seen="each answer as ever; the log has the warning's failure once",
        play=_unreachable_place,
    )


def _served(scene: Scene, **settings: object) -> Callable[[World], Awaitable[None]]:
    async def play(world: World) -> None:
        async with world.driver.serving(mcp_config=world.write_mcp_json(), **settings) as conversation:
            await scene(world, conversation)

    return play


def _with_budgets(budgets: str, scene: Scene) -> Callable[[World], Awaitable[None]]:
    async def play(world: World) -> None:
        _write_budgets(world, budgets)
        await _served(scene)(world)

    return play


def _write_budgets(world: World, budgets: str) -> None:
    (world.home / "toolbridge.toml").write_text(f"{ALLOW_ALL}\n[budgets]\n{budgets}\n", encoding="utf-8")


async def _see_ben_answered(world: World) -> None:
    """See that another person is answered in a conversation of their own."""
    others = await world.driver.open()
    await others.ask("What is 20 + 1?", by="ben")
    await world.driver.until(lambda: any("20 + 1" in text for text in others.texts))


async def _told(world: World, conversation: Conversation, question: Question) -> str:
    """Return the notice about the question, which only Ada gets."""
    (told,) = await world.driver.until(lambda: conversation.notices(question))
    return told


# --- the rate --------------------------------------------------------------------------------------------------


async def _too_many_messages(world: World, conversation: Conversation) -> None:
    for _ in range(2):
        await conversation.ask(QUESTION)
    await conversation.answered(2)
    refused = await conversation.ask(QUESTION)
    told = await _told(world, conversation, refused)
    assert "more than 2 messages in a minute. Please try again in " in told
    silent = await conversation.ask(QUESTION)
    await _see_ben_answered(world)
    assert set(conversation.notices(refused)) | set(conversation.notices(silent)) == {told}
    assert sum("Hello!" in text for text in conversation.texts) == 2


async def _too_many_commands(world: World, _: Conversation) -> None:
    said = ""
    for number in range(FLOOD):
        said = await world.driver.command("help")
        if TOO_MANY in said:
            assert number >= ACTS_PER_MINUTE
            break
    assert "Please try again in " in said
    assert TOO_MANY not in await world.driver.command("help", by="ben")
    assert sum(TOO_MANY in text for text in world.driver.private("ada")) == 1


async def _too_many_presses(world: World, conversation: Conversation) -> None:
    await conversation.ask(QUESTION)
    await conversation.answered()
    told = ""
    for number in range(FLOOD):
        told = await conversation.rate(0, "bad" if number % 2 else "good")
        if TOO_MANY in told:
            assert number >= ACTS_PER_MINUTE
            break
    assert "Please try again in " in told
    assert TOO_MANY not in await conversation.rate(0, "good", by="ben")


# --- room ------------------------------------------------------------------------------------------------------


async def _full_for_one(world: World, conversation: Conversation) -> None:
    world.hold_tools()
    first = await conversation.ask(LOOK)
    await world.until_called("look")
    waiting = [await conversation.ask(f"What is {number} + 1?") for number in range(20, 20 + MAX_OWN_WAITING - 1)]
    await world.driver.until(lambda: all(each.is_waiting for each in waiting))
    told = await _told(world, conversation, await conversation.ask("What is 50 + 1?"))
    assert f"{MAX_OWN_WAITING} messages of yours are already waiting here" in told
    of_ben = await conversation.ask("What is 60 + 1?", by="ben")
    world.release_tools()
    await world.driver.until(lambda: any("60 + 1" in text for text in conversation.texts))
    shown = "".join(conversation.texts)
    assert "50 + 1" not in shown and first.is_unmarked
    assert all(f"{number} + 1" in shown for number in range(20, 20 + len(waiting)))
    await world.driver.until(lambda: of_ben.is_unmarked)


async def _over_budget(world: World, conversation: Conversation) -> None:
    await conversation.ask(QUESTION)
    await conversation.answered()
    told = await _told(world, conversation, await conversation.ask("What is 50 + 1?"))
    assert "Your budget for today is used up (1 turn of 1). It opens again on " in told
    await _see_ben_answered(world)


async def _unreachable_place(world: World) -> None:
    async with world.serve() as conversation:
        first = await conversation.ask(QUESTION)
        await settled_with(world, conversation, {"Hello!": first})
        place = conversation.key.place.rpartition(":")[0]
    _write_budgets(world, f'warn_in = "{place}:999"\nall = {{ turns_per_day = 4 }}')
    with capture_logs() as logged:
        async with world.serve() as conversation:
            for number in (20, 30):
                question = await conversation.ask(f"What is {number} + 1?")
                await conversation.answered(number // 10 - 1)
                assert not conversation.notices(question) or world.driver.name == "discord"
            await world.until_given_up()
    assert [line["event"] for line in logged].count("notice_not_posted") == 1
    assert not any("all conversations" in message.shown for message in world.driver.in_channel)


# --- what is hidden, cut or kept -------------------------------------------------------------------------------


async def _secret_said(world: World, conversation: Conversation) -> None:
    [token] = leaks("github", 1, seed=3)
    await world.model.script({"text": f"The token is {token.secret}, as you know."})
    await conversation.ask(QUESTION)
    (answer,) = await conversation.answered()
    assert "The token is [hidden], as you know." in answer and HIDDEN_NOTE in answer
    assert token.secret not in world.driver.sent


async def _secret_in_file(world: World, conversation: Conversation) -> None:
    await conversation.ask(LEAK)
    (answer,) = await conversation.answered()
    await world.driver.until(lambda: conversation.files)
    (content,) = conversation.files.values()
    assert b"user=ada" in content and b"[hidden]" in content and SECRET.encode() not in content
    assert "hidden" in answer and SECRET not in world.driver.sent


async def _too_large(world: World, conversation: Conversation) -> None:
    await conversation.ask(PILE)
    assert "part 0 of the pile" in "".join(await conversation.answered())
    *_, asked = await world.model.requests()
    assert f"[cut: the first 500 of {PILED} parts of this answer; {PILED - 500} are left out]" in str(asked)


async def _unchangeable(world: World, conversation: Conversation) -> None:
    question = await conversation.ask(QUESTION)
    await settled_with(world, conversation, {"Hello!": question})
    workspaces = world.home / "workspaces"
    FolderWorkspace(workspaces).save(conversation.key.opaque_id, "a.txt", "words")
    with unchangeable(workspaces):
        told = await _told(world, conversation, await conversation.mention("clear files"))
    assert "2 messages of this conversation deleted. 1 file could not be deleted" in told
    question = await conversation.mention("clear files")
    await world.driver.until(lambda: any("1 saved file deleted." in text for text in conversation.notices(question)))


_SCENES: tuple[tuple[str, str, Scene, bool], ...] = (
    (
        f"a person runs more than {ACTS_PER_MINUTE} commands in a minute",
        "the reason with the time, once, to that person alone; an answer to other people",
        _too_many_commands,
        False,
    ),
    (
        f"a person presses more than {ACTS_PER_MINUTE} buttons in a minute",
        "the reason with the time, to that person alone; an answer to other people",
        _too_many_presses,
        False,
    ),
    (
        f"a person has {MAX_OWN_WAITING} questions waiting in one conversation and asks another",
        "the reason, to that person; one answer to each of those, and to what other people ask there",
        _full_for_one,
        False,
    ),
    ("an answer has a secret in it", "the answer with [hidden] in its place, and a note", _secret_said, False),
    ("a tool's file has a secret in it", "the file with [hidden] in its place, and a note", _secret_in_file, False),
    (
        f"a tool's result has {PILED} parts, more than are read",
        "one answer; the model was told what is missing",
        _too_large,
        False,
    ),
    (
        "a saved file cannot be deleted by `clear files`",
        "what was deleted, and that a file could not be; the next try deletes it",
        _unchangeable,
        True,
    ),
)
