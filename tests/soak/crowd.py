"""Many people who talk with one bot, each in a conversation of their own, and check what they are answered."""

from __future__ import annotations

import asyncio
import itertools
import random
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bot.app import App
from bot.domain.answers import Queued
from bot.domain.events import CommandInvoked, MessageReceived
from tests.fakes.platforms import Crowd, room

ANSWER_WAIT_S = 60.0


@dataclass
class Tally:
    """What the crowd has seen so far."""

    waits_s: list[float] = field(default_factory=list[float])  # from a question to its answer
    mistakes: list[str] = field(default_factory=list[str])


async def talk(
    name: str, app: App, crowd: Crowd, tally: Tally, *, think_s: float, has_ended: asyncio.Event, random: random.Random
) -> None:
    """Ask one question after the other until the run `has_ended`, with a pause to think before each."""
    loop, conversation = asyncio.get_running_loop(), room(name, platform=crowd.name)
    for turn in itertools.count():
        with suppress(TimeoutError):
            async with asyncio.timeout(random.uniform(0, 2 * think_s)):
                await has_ended.wait()
        if has_ended.is_set():
            return
        question, expected = _question(turn, random)
        event = MessageReceived(
            conversation=conversation,
            event_key=f"{name}-{turn}",
            author_id=f"U{name}",
            author_name=f"Person {name}",
            text=question,
            sent_at=datetime.now(UTC),
        )
        asked_at, answer = loop.time(), crowd.expect(event.event_key)
        outcome = await app.host.accept(event)
        if not isinstance(outcome, Queued):
            tally.mistakes.append(f"not queued: {outcome}")
            return
        try:
            text = await asyncio.wait_for(answer, ANSWER_WAIT_S)
        except TimeoutError:
            tally.mistakes.append(f"{event.event_key}: no answer within {ANSWER_WAIT_S:.0f} s (turn {outcome.turn_id})")
            return
        tally.waits_s.append(loop.time() - asked_at)
        if expected not in text:
            tally.mistakes.append(f"{question} -> {text}")
        if turn % 10 == 9:
            command = random.choice(("history", "usage", "tools"))
            key = f"command-{event.event_key}"
            await app.host.command(
                CommandInvoked(conversation=conversation, event_key=key, author_id=event.author_id, name=command)
            )


def _question(turn: int, random: random.Random) -> tuple[str, str]:
    """Return a question and what its answer has to contain."""
    a, b = random.randint(2, 99), random.randint(2, 99)
    match turn % 4:
        case 0:
            return f"What is {a} * {b}?", str(a * b)
        case 1:
            return "save that result to result.txt", "result.txt"
        case 2:
            return f"Calculate {a} + {b} and greet Ada", "Ada"
        case _:
            return "what's in result.txt?", "result"
