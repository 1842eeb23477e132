"""Attacks on fairness: one person floods, and what a quiet one gets of places, of the queue, and of the bot's words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import structlog

from bot.domain.answers import Refused
from bot.domain.events import CommandInvoked, ConversationKey, MessageReceived
from bot.domain.messages import ModelAnswer
from bot.intake.admission import Admission
from bot.intake.bounds import MAX_OWN_OPEN, MAX_OWN_WAITING
from bot.intake.inbox import Inbox
from bot.ports.model import ModelRequest
from bot.stores.sqlite.store import open_sqlite
from bot.turns.limits import Limits
from tests.fakes.bots import notice_of, turn_of
from tests.fakes.platforms import Platform, room
from tests.fakes.ports import ScriptedModel, message, says
from tests.integration.test_runner import Core, core

FLOOD, QUIET = "U1", "U2"
PLACES = Limits(max_running=20, drain_s=0.0)
FOR_ONE = 16  # of these places; the others are for people who have none
SOON_S = 1.0
WAIT_S = 60.0


class Slow:
    """A model that answers everyone at once, but a person who floods only after it is opened."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.running = 0
        self.model = ScriptedModel([self._answer])

    async def until_full(self) -> None:
        """Return once the flood has all the places that it can have."""
        async with asyncio.timeout(WAIT_S):
            while self.running < FOR_ONE:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def _answer(self, request: ModelRequest) -> ModelAnswer:
        if not request.asker.endswith(f":{QUIET}"):
            self.running += 1
            await self.opened.wait()
            self.running -= 1
        return says("Here you are.")


def asked(key: str, *, by: str = FLOOD, place: ConversationKey | None = None) -> MessageReceived:
    return replace(message("?", key=key, conversation=place or room(key)), author_id=by)


@asynccontextmanager
async def flooded(path: Path, *, questions: int) -> AsyncGenerator[tuple[Core, Slow, Platform]]:
    """A bot with twenty places, while one person asks so many slow questions, each in a conversation of its own."""
    slow, platform = Slow(), Platform()
    async with (
        open_sqlite(path / "a.db") as store,
        core(store, slow.model, adapter=platform, limits=PLACES) as bot,
    ):
        await asyncio.gather(*(bot.inbox.accept(asked(f"flood{number}")) for number in range(questions)))
        await slow.until_full()
        yield bot, slow, platform
        slow.opened.set()


async def answer_s(bot: Core, platform: Platform, event: MessageReceived) -> float:
    """Return how long the answer to this question takes."""
    began, before = time.monotonic(), len(platform.posts)
    assert turn_of(await bot.inbox.accept(event)) is not None
    await platform.wait_for_posts(before + 1)
    return time.monotonic() - began


async def test_one_persons_slow_questions_leave_places_for_the_first_question_of_another(tmp_path: Path) -> None:
    async with flooded(tmp_path, questions=60) as (bot, slow, platform):
        assert slow.running == FOR_ONE
        waits = [await answer_s(bot, platform, asked(f"quiet{number}", by=QUIET)) for number in range(3)]
        assert max(waits) < SOON_S
        assert slow.running == FOR_ONE


async def test_the_places_that_are_kept_for_others_are_not_had_by_starting_again(tmp_path: Path) -> None:
    """A new process takes up what the one before left: also then one person does not get all places."""
    slow, platform = Slow(), Platform()
    async with open_sqlite(tmp_path / "a.db") as store:
        for number in range(60):
            await store.accept(asked(f"flood{number}"), worker="dead", max_waiting=20)
        async with core(store, slow.model, adapter=platform, limits=PLACES) as bot:
            await slow.until_full()
            assert await answer_s(bot, platform, asked("quiet", by=QUIET)) < SOON_S
            slow.opened.set()


async def test_one_person_does_not_fill_the_queue_and_is_told_so(tmp_path: Path) -> None:
    async with flooded(tmp_path, questions=MAX_OWN_OPEN + 20) as (bot, _, platform):
        refused = notice_of(await bot.inbox.accept(asked("one more")))
        assert f"{MAX_OWN_OPEN} messages of yours are already waiting" in refused
        assert await answer_s(bot, platform, asked("quiet", by=QUIET)) < SOON_S


async def test_one_person_leaves_room_in_a_conversation_of_several(tmp_path: Path) -> None:
    place = room("shared")
    async with flooded(tmp_path, questions=30) as (bot, _, _platform):
        outcomes = [
            await bot.inbox.accept(replace(asked(f"here{number}", place=place), is_shared=True)) for number in range(30)
        ]
        assert sum(turn_of(outcome) is not None for outcome in outcomes) == MAX_OWN_WAITING
        assert "other people want to ask here too" in notice_of(outcomes[-1])
        other = replace(asked("other", by=QUIET, place=place), is_shared=True)
        assert turn_of(await bot.inbox.accept(other)) is not None


async def test_a_thousand_messages_too_many_get_one_sentence_and_few_lines(tmp_path: Path) -> None:
    async with flooded(tmp_path, questions=30) as (bot, _, platform):
        inbox = replace(bot.inbox, admission=Admission(max_input_chars=100, requests_per_minute=5))
        with structlog.testing.capture_logs() as logged:
            outcomes = [await inbox.accept(asked(f"more{number}")) for number in range(1_005)]
        notices = [outcome.notice for outcome in outcomes if isinstance(outcome, Refused) and outcome.notice]
        assert len(notices) == 1 and "again in 60 s" in notices[0]
        assert len([line for line in logged if line["event"] in ("asked_too_often", "left_unanswered")]) <= 4
        assert await answer_s(bot, platform, asked("quiet", by=QUIET)) < SOON_S


async def test_what_one_person_presses_neither_counts_for_others_nor_for_decisions(tmp_path: Path) -> None:
    async with flooded(tmp_path, questions=30) as (bot, _, _platform):
        answers = [await pressed(bot.inbox, number) for number in range(300)]
        assert answers.count("answered") == 60 and answers.count("refused") == 1
        assert await pressed(bot.inbox, 1, by=QUIET) == "answered"
        assert await pressed(bot.inbox, 1, name="stop") == "answered"


async def pressed(inbox: Inbox, number: int, *, by: str = FLOOD, name: str = "help") -> str:
    """Invoke a command and return what becomes of it."""
    event = CommandInvoked(conversation=room("here"), event_key=f"{name}{number}", author_id=by, name=name)
    outcome = await inbox.command(event)
    text = getattr(outcome, "text", "")
    return "ignored" if not text else "refused" if "in a minute" in text else "answered"
