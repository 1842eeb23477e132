"""Discord while the bot's database is away: what is said is delivered only once, and may not be lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.fakes.wire import Wire
from tests.scenarios.databases import behind
from tests.scenarios.discord.rooms import general, kinds
from tests.scenarios.discord.serving import WATCH, open_world, serving
from tests.scenarios.tools import without_tools

LEASE_S = 1.0


async def test_what_is_said_while_the_database_is_away_for_longer_than_the_lease_is_answered_once_and_in_order(
    tmp_path: Path, wire: Wire
) -> None:
    """What arrives before the lease has run out is kept in memory; what is said later is in the channel's history."""
    settings = {**without_tools(tmp_path), **behind(wire)}
    options = {"watch": replace(WATCH, look_alone_s=0.2)}
    async with (
        open_world() as world,
        serving(world, tmp_path, options=options, settings=settings, lease_s=LEASE_S) as bot,
    ):
        discord, room = world.discord, general(world, bot)
        await room.ask(world.ada, "What is 1 + 1?")
        await room.answered()
        wire.refuse()
        kept = await room.ask(world.ada, "What is 20 + 1?")
        await discord.until(lambda: not bot.app.host.cluster.is_held())
        unheard = await room.ask(world.ben, "What is 30 + 1?")  # another process may have the shard by now
        await discord.cut()
        discord.forget_sessions()
        missed = await room.ask(world.ben, "What is 40 + 1?")
        wire.flow()
        await room.answered(4)
        later = await room.ask(world.ada, "What is 50 + 1?")
        await room.answered(5)
        _, *answers = [message for message in room.messages if "good" in kinds(message)]
        assert [message.reference for message in answers] == [kept.id, unheard.id, missed.id, later.id]
        assert [f"{number} + 1" in one.content for number, one in zip((20, 30, 40, 50), answers, strict=True)] == [
            True
        ] * 4
