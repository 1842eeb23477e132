"""Discord refuses an answer for good: its words, its place, its files."""

from __future__ import annotations

from collections.abc import Sequence

from tests.failures.discord.answered import answered_with, ask_for_all
from tests.failures.discord.world import ask, discord_of, driver_of
from tests.failures.table import DRAW, LONG, Case, served
from tests.failures.world import World
from tests.fakes.discord import Message
from tests.fakes.discord.server import Asked
from tests.scenarios.discord.seen import stops

POST, EDIT = "create_message", "edit_message"
SIGN = "⚠️"


def rows() -> Sequence[Case]:
    """Return the rows of the table."""
    return [
        Case(platform="discord", happens=happens, seen=seen, play=served(scene), is_in_suite=is_in_suite)
        for happens, seen, scene, is_in_suite in _SCENES
    ]


async def _blocked_words(world: World) -> None:
    _add_rule(world, "hello")
    question = await ask(world)
    [told] = await discord_of(world).until(lambda: _direct(world))
    assert "AutoMod" in told.content and str(question.id) in told.content and "Hello!" in told.content
    await _goes_on(world)


async def _blocked_end(world: World) -> None:
    _add_rule(world, "Paragraph 2")
    question = await ask_for_all(world)
    discord = discord_of(world)
    await discord.until(lambda: "Paragraph 8" in "".join(told.content for told in _direct(world)))
    await discord.until(lambda: not stops(discord, question))
    assert " ".join(told.content for told in _direct(world)).split()[-len(LONG.split()) :] == LONG.split()
    [half] = discord.own(question.channel)
    assert "got it in a direct message" in half.content and "Paragraph 2" not in half.content


async def _harmful_link(world: World) -> None:
    discord_of(world).harmful_links.add("evil.example")
    await world.model.script({"text": "See https://evil.example/x."})
    question = await ask(world)
    [told] = await discord_of(world).until(lambda: discord_of(world).own(question.channel))
    assert told.reference == question.id and "harmful links" in told.content
    await _goes_on(world)


async def _closed_channel(world: World) -> None:
    lift = discord_of(world).refuse(POST, code=50013, where=lambda asked: _is_in_channel(world, asked))
    await ask(world)
    [told] = await discord_of(world).until(lambda: _direct(world))
    assert "I lack a permission" in told.content and "Hello!" in told.content
    lift()
    await _goes_on(world)


async def _closed_everywhere(world: World) -> None:
    driver_of(world).world.ada.has_closed_dms = True
    lift = discord_of(world).refuse(POST, code=50013, where=lambda asked: _is_in_channel(world, asked))
    question = await ask(world)
    await discord_of(world).until(lambda: SIGN in question.reactions)
    lift()
    await _goes_on(world)


async def _refused_files(world: World) -> None:
    discord_of(world).refuse(POST, EDIT, code=400001, where=lambda asked: asked.has_files)
    await answered_with(world, await ask(world, DRAW), "1 file could not be posted. Discord accepts no files")


async def _goes_on(world: World) -> None:
    await answered_with(world, await ask(world, "What is 20 + 1?"), "20 + 1")


def _add_rule(world: World, keyword: str) -> None:
    discord_of(world).add_automod_rule(driver_of(world).world.guild, keyword)


def _direct(world: World) -> Sequence[Message]:
    discord = discord_of(world)
    return discord.own(discord.dm_channel(driver_of(world).world.ada))


def _is_in_channel(world: World, asked: Asked) -> bool:
    return asked.channel == driver_of(world).world.channel.id


_SCENES = (
    (
        "AutoMod blocks an answer",
        "the answer in a direct message with the reason and a link; the next answer in its place",
        _blocked_words,
        True,
    ),
    (
        "AutoMod blocks a growing answer from its third paragraph on",
        "the part before with a note and without a Stop button; all of it in a direct message",
        _blocked_end,
        True,
    ),
    ("an answer has a link that Discord's filter blocks", "one sentence with the reason", _harmful_link, False),
    (
        "the bot may not write in the channel",
        "the answer in a direct message with the reason; the next answer, when it may",
        _closed_channel,
        False,
    ),
    (
        "the bot may write neither in the channel nor to the asker",
        "a sign on the question, an error in the log; the next answer, when it may",
        _closed_everywhere,
        False,
    ),
    ("Discord takes no files in this server", "the answer with a note in place of its file", _refused_files, True),
)
