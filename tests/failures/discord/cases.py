"""The failure table of Discord: what happens, what the user sees, and how it is played."""

from __future__ import annotations

from collections.abc import Iterator

from tests.failures.asks import IN_SUITE, asks
from tests.failures.bounds import bounds
from tests.failures.cases import CROWD, cases
from tests.failures.discord.answered import answered_with, answered_with_all, ask_for_all
from tests.failures.discord.kills import OWN_STEPS, POSTED_WITH_FILE, THREAD_BEGUN
from tests.failures.discord.limits import LIMITS, PAUSE_S, WHOLE, limited
from tests.failures.discord.refusals import rows
from tests.failures.discord.stage import DiscordStage
from tests.failures.discord.world import ask, discord_of
from tests.failures.kills import PARTLY_SHOWN, POSTED, kills
from tests.failures.refusals import refusals
from tests.failures.table import DRAW, LOOK, Case, served
from tests.failures.world import World
from tests.scenarios.discord.seen import answers, files, traces, until_answered

_LIMITS_IN_SUITE = ("create_message", "edit_message", "start_thread_from_message")
_ONLY_IN_TABLE = (  # scenarios play them
    "a mention is delivered more than once",
    "the connection is cut while a tool runs",
    f"{CROWD} conversations at once",
)


def all_cases() -> Iterator[Case]:
    """Yield the rows of the table, in its order."""
    yield from cases("discord", only_in_table=_ONLY_IN_TABLE)
    yield from refusals("discord")
    yield from bounds("discord")
    yield from _OWN
    yield from rows()
    for route, (seen, _) in LIMITS.items():
        yield Case(
            platform="discord",
            happens=f"429 on `{route}`",
            seen=seen,
            play=limited(route),
            is_in_suite=route in _LIMITS_IN_SUITE,
        )
    yield from asks("discord", DiscordStage, in_suite=IN_SUITE)
    yield from kills("discord", OWN_STEPS, in_suite=(PARTLY_SHOWN, POSTED, THREAD_BEGUN, POSTED_WITH_FILE))


# --- connections ----------------------------------------------------------------------------------------------


async def _session_lost(world: World) -> None:
    await answered_with(world, await ask(world))
    await discord_of(world).invalidate()
    await answered_with(world, await ask(world, "What is 20 + 1?"), "20 + 1")


async def _banned(world: World) -> None:
    discord_of(world).cloudflare_next(route="create_message")
    await answered_with(world, await ask(world))
    refused, *_ = discord_of(world).calls_of("create_message")
    later = [call for call in discord_of(world).calls if call.at > refused.at]
    assert all(call.at - refused.at >= PAUSE_S - 0.05 for call in later), "something was sent meanwhile"


# --- Discord's answers are lost --------------------------------------------------------------------------------


async def _lost_after_first_piece(world: World) -> None:
    discord_of(world).fail_next("create_message", drop="after")
    await answered_with_all(world, await ask_for_all(world))


async def _lost_after_edits(world: World) -> None:
    discord_of(world).fail_next("edit_message", drop="after", times=2)
    await answered_with_all(world, await ask_for_all(world))


async def _lost_after_thread(world: World) -> None:
    discord_of(world).fail_next("start_thread_from_message", drop="after")
    question = await ask(world, LOOK)
    await answered_with(world, question, "did look")
    (trace,) = await discord_of(world).until(lambda: traces(discord_of(world), question))
    await discord_of(world).until(lambda: "✓" in trace.content)
    assert len(discord_of(world).threads(question.channel)) == 1


async def _lost_after_file(world: World) -> None:
    world.hold_tools()
    question = await ask(world, DRAW)
    await discord_of(world).until(lambda: traces(discord_of(world), question))
    discord_of(world).fail_next("create_message", drop="after")
    world.release_tools()
    await answered_with(world, question, "did draw")
    assert len(files(discord_of(world), question)) == 1


# --- the store -------------------------------------------------------------------------------------------------


async def _full_disk(world: World) -> None:
    with world.database_that_refuses("INSERT ON turn"):
        question = await ask(world)
        (told,) = await discord_of(world).until(lambda: answers(discord_of(world), question))
        assert "database" in told.content
    await until_answered(discord_of(world), question)
    assert len(answers(discord_of(world), question)) == 2


_OWN = tuple(
    Case(platform="discord", happens=happens, seen=seen, play=served(scene, breaker_s=PAUSE_S), is_in_suite=is_in_suite)
    for happens, seen, scene, is_in_suite in (
        ("Discord has forgotten the session", "an answer to what was asked meanwhile", _session_lost, False),
        (
            "Cloudflare lets nothing through for a while",
            "one answer, after that; nothing is sent meanwhile",
            _banned,
            True,
        ),
        (
            "the connection is lost after a growing answer's first piece was posted",
            WHOLE,
            _lost_after_first_piece,
            True,
        ),
        ("the connection is lost after a growing answer was changed", WHOLE, _lost_after_edits, True),
        (
            "the connection is lost after the trace's thread was begun",
            "one answer, one trace in one thread",
            _lost_after_thread,
            True,
        ),
        ("the connection is lost after a file was posted", "one answer and its file, once", _lost_after_file, True),
        (
            "the database takes no new question for a while",
            "a sentence to the one who asked, once; later one answer",
            _full_disk,
            False,
        ),
    )
)
