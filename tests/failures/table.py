"""What a row of the failure tables is: what happens, what the user sees of it, and how it is played."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from bot.turns.limits import Patience
from tests.failures.world import World, open_failing_world

QUESTION = "good morning"
LOOK, ACT, DRAW = "call shop__look with {}", "call shop__act with {}", "call shop__draw with {}"
LONG = "\n\n".join(f"Paragraph {number}: " + "the quick brown fox jumps over the lazy dog. " * 6 for number in range(9))
LAST_WORDS = LONG.split("\n\n")[-1].strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a case cost."""

    calls: int  # of the platform's web API
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row. Playing it fails where the user does not see just what `seen` says."""

    platform: str
    happens: str
    seen: str
    play: Callable[[World], Awaitable[None]]  # with the world in which the bot is not there yet
    is_in_suite: bool = True  # the others are played only by `python -m tests.failures`
    longest_s: float = 180.0

    async def run(self, home: Path) -> Outcome:
        """Play it in an empty folder. Raises AssertionError or TimeoutError where it does not end as it should."""
        started = time.monotonic()
        async with open_failing_world(home, self.platform) as world:
            await self.play(world)
            calls = world.driver.calls
        return Outcome(calls=calls, seconds=time.monotonic() - started)


def served(
    scene: Callable[[World], Awaitable[None]], *, patience: Patience | None = None, **options: object
) -> Callable[[World], Awaitable[None]]:
    """Return how to play a scene with the bot served in this process."""

    async def play(world: World) -> None:
        async with world.serve(patience=patience, **options):
            await scene(world)

    return play
