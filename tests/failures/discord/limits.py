"""Discord answers 429 to each of the routes that the bot uses, in a scene that needs it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from tests.failures.asks import approved_by_group
from tests.failures.discord.answered import answered_with, answered_with_all, ask_for_all
from tests.failures.discord.stage import DiscordStage
from tests.failures.discord.world import ask, discord_of
from tests.failures.table import LONG, LOOK
from tests.failures.world import World
from tests.scenarios.discord.seen import answers, traces, until_answered

Scene = Callable[[World], Awaitable[None]]
PAUSE_S = 0.5
WHOLE = "the whole answer, once"


def limited(route: str) -> Scene:
    """Return how to play the scene of the route while Discord refuses a call of it."""

    async def play(world: World) -> None:
        discord_of(world).limit_next(route, retry_after=PAUSE_S)
        await LIMITS[route][1](world)
        calls = discord_of(world).calls_of(route)
        refused = next(call for call in calls if call.status == 429)
        granted = [call.at for call in calls if call.ok and call.at > refused.at]
        assert granted, f"{route} was not called again"
        assert all(at - refused.at >= PAUSE_S - 0.05 for at in granted), "the pause was not kept"

    return play


async def _answered(world: World) -> None:
    async with world.serve():
        await answered_with(world, await ask(world))


async def _typed(world: World) -> None:
    async with world.serve():
        world.hold_tools()
        question = await ask(world, LOOK)
        await discord_of(world).until(lambda: discord_of(world).typing(question.channel))
        world.release_tools()
        await answered_with(world, question, "did look")


async def _traced(world: World) -> None:
    async with world.serve():
        question = await ask(world, LOOK)
        await answered_with(world, question, "did look")
        (trace,) = await discord_of(world).until(lambda: traces(discord_of(world), question))
        await discord_of(world).until(lambda: "✓" in trace.content)
        assert len(discord_of(world).threads(question.channel)) == 1


async def _grown(world: World) -> None:
    async with world.serve():
        await answered_with_all(world, await ask_for_all(world))


async def _waited(world: World) -> None:
    async with world.serve():
        world.hold_tools()
        first = await ask(world, LOOK)
        await world.until_called("look")
        later = [await ask(world, f"What is {number} + 1?") for number in (20, 30)]
        await discord_of(world).until(lambda: all(discord_of(world).reactions(question) for question in later))
        world.release_tools()
        for question, text in zip((first, *later), ("did look", "20 + 1", "30 + 1"), strict=True):
            await answered_with(world, question, text)
        assert [one.reference for one in discord_of(world).own(first.channel)] == [one.id for one in (first, *later)]
        await discord_of(world).until(lambda: not any(discord_of(world).reactions(question) for question in later))


async def _shortened(world: World) -> None:
    """An answer of several messages that is forbidden in its middle: what was shown of it goes."""
    async with world.serve():
        await world.model.script({"text": "\n\n".join([LONG] * 3)})
        await world.model.pace(chunk_s=0.002)
        await world.model.fail("content_filter", after_chunks=100_000)
        question = await ask(world)
        await until_answered(discord_of(world), question)
        await discord_of(world).until(lambda: len(answers(discord_of(world), question)) == 1)
        await answered_with(world, question, "filter")


async def _commanded(world: World) -> None:
    async with world.serve():
        await discord_of(world).until(lambda: discord_of(world).commands())
        await answered_with(world, await ask(world))


async def _missed(world: World) -> None:
    async with world.serve():
        await answered_with(world, await ask(world))
        await world.driver.noted()
    missed = await ask(world, "What is 20 + 1?", deliver=False)
    async with world.serve():
        await answered_with(world, missed, "20 + 1")


_ONE = "one answer"
LIMITS: dict[str, tuple[str, Scene]] = {
    "get_me": (_ONE, _answered),
    "get_gateway_bot": (_ONE, _answered),
    "put_commands": ("one answer; the commands a little later", _commanded),
    "trigger_typing": (_ONE, _typed),
    "create_message": (_ONE, _answered),
    "edit_message": (WHOLE, _grown),
    "delete_message": ("the sentence of the model's filter, and nothing of what it forbade", _shortened),
    "start_thread_from_message": ("one answer, one trace in one thread", _traced),
    "create_reaction": ("three answers in order; the signs a little later", _waited),
    "delete_own_reaction": ("three answers in order; the signs go a little later", _waited),
    "get_member": (
        "a call runs that someone with the role has approved, once",
        partial(approved_by_group, DiscordStage),
    ),
    "list_messages": ("what was missed is answered a little later", _missed),
}
