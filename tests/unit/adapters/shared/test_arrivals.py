"""What arrives is stored before it is acknowledged, and its author hears once what became of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from adapters.shared.arrivals import (
    Arrivals,
    Notices,
    WaitingSign,
    Written,
    answer_command,
    keep_catching_up,
    log_in,
)
from adapters.shared.tasks import Background
from bot.domain.answers import (
    Accepted,
    Answered,
    CommandAnswer,
    Details,
    Done,
    Ignored,
    Known,
    Queued,
    Refused,
    Revised,
)
from bot.domain.backoff import Backoff
from bot.domain.errors import AdapterError, StoreError, StoreUnreachableError
from bot.domain.events import (
    CommandInvoked,
    ConversationKey,
    DecisionMade,
    DetailsAsked,
    FeedbackGiven,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
)
from bot.domain.people import Actor
from bot.domain.turns import TurnView
from bot.ports.store import NoteStore
from bot.ports.tools import ToolDirectory

WAIT_S = 30.0
AT_ONCE = Backoff(first_s=0.0)
CONVERSATION = ConversationKey(platform="fake", space="team", channel="general")
MESSAGE = MessageReceived(
    conversation=CONVERSATION,
    event_key="m1",
    author_id="U1",
    author_name="Ada",
    text="Hello",
    sent_at=datetime(2026, 1, 1, tzinfo=UTC),
)
EDITED = MessageEdited(message=replace(MESSAGE, text="Hi", edited_at=datetime(2026, 1, 2, tzinfo=UTC)))
DELETED = MessageDeleted(conversation=CONVERSATION, event_key="m1")
COMMAND = CommandInvoked(conversation=CONVERSATION, event_key="c1", author_id="U1", name="help")


@dataclass
class FakeHost:
    """Answers with what it was given, the last of it again and again."""

    accepts: list[Accepted | Exception] = field(default_factory=list[Accepted | Exception])
    revises: Revised = field(default_factory=Ignored)
    answers: Answered | Exception = field(default_factory=Ignored)
    handed: list[Written] = field(default_factory=list[Written])
    about: str = ""

    @property
    def notes(self) -> NoteStore:
        raise AssertionError("nothing arrives there")

    @property
    def directory(self) -> ToolDirectory:
        raise AssertionError("nothing arrives there")

    async def accept(self, event: MessageReceived) -> Accepted:
        self.handed.append(event)
        outcome = self.accepts.pop(0) if len(self.accepts) > 1 else self.accepts[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def revise(self, event: MessageEdited | MessageDeleted) -> Revised:
        self.handed.append(event)
        return self.revises

    async def command(self, event: CommandInvoked) -> Answered:
        if isinstance(self.answers, Exception):
            raise self.answers
        return self.answers

    async def may_ask(self, event: MessageReceived) -> Refused | None:
        raise AssertionError("nothing asks for it")

    def is_muted(self, actor: Actor, *, decides: bool = False) -> bool:
        raise AssertionError("nothing asks for it")

    def may_look_up(self, event: CommandInvoked) -> bool:
        raise AssertionError("nothing asks for it")

    async def expects_follow_ups(self, conversation: ConversationKey) -> bool:
        raise AssertionError("nothing asks for it")

    async def details(self, event: DetailsAsked) -> Details | Refused:
        raise AssertionError("nothing arrives there")

    async def rate(self, event: FeedbackGiven) -> Done | Refused:
        raise AssertionError("nothing arrives there")

    async def decide(self, event: DecisionMade) -> Done | Refused:
        raise AssertionError("nothing arrives there")


@dataclass
class Chat:
    """What the author of messages sees."""

    background: Background = field(default_factory=lambda: Background("test"))
    heard: list[str] = field(default_factory=list[str])
    signs: dict[str, bool] = field(default_factory=dict[str, bool])
    refuses_signs: bool = False

    async def tell(self, event: Written, text: str) -> None:
        self.heard.append(text)

    async def react(self, conversation: ConversationKey, event_key: str, *, is_waiting: bool) -> None:
        if self.refuses_signs:
            raise AdapterError("No.")
        self.signs[event_key] = is_waiting

    def sign(self) -> WaitingSign:
        return WaitingSign(self.react, self.background)

    def arrivals(self, host: FakeHost, *, tries: int = 1, hears: bool = True) -> Arrivals:
        notices = Notices(self.tell, self.background)
        return Arrivals(
            host, notices=notices, sign=self.sign(), tries=tries, backoff=AT_ONCE, hears=lambda event: hears
        )

    async def settle(self) -> None:
        async with asyncio.timeout(WAIT_S):
            await self.background.drain(timeout_s=WAIT_S)


# --- handing over ---


async def test_a_message_that_is_refused_is_answered_with_the_reason_once_however_often_it_is_delivered() -> None:
    chat, host = Chat(), FakeHost(accepts=[Refused(notice="Too long.")])
    arrivals = chat.arrivals(host)
    for _ in range(2):
        assert await arrivals.hand_over(MESSAGE) == Refused(notice="Too long.")
    await chat.settle()
    assert chat.heard == ["Too long."]


async def test_each_change_to_a_message_is_answered_for_itself() -> None:
    chat, host = Chat(), FakeHost(revises=Refused(notice="Too late."))
    arrivals = chat.arrivals(host)
    later = MessageEdited(message=replace(EDITED.message, edited_at=datetime(2026, 1, 3, tzinfo=UTC)))
    for event in (EDITED, EDITED, later, DELETED):
        await arrivals.hand_over(event)
    await chat.settle()
    assert host.handed == [EDITED, EDITED, later, DELETED]
    assert chat.heard == ["Too late."] * 3


@pytest.mark.parametrize("outcome", [Queued(turn_id=1), Known(turn_id=1), Ignored()])
async def test_what_needs_no_word_gets_none(outcome: Accepted) -> None:
    chat = Chat()
    assert await chat.arrivals(FakeHost(accepts=[outcome])).hand_over(MESSAGE) == outcome
    await chat.settle()
    assert chat.heard == [] and chat.signs == {}


async def test_a_message_that_cannot_be_stored_is_tried_again_and_its_author_hears_of_it_once() -> None:
    chat = Chat()
    host = FakeHost(accepts=[StoreError("The database is full."), StoreError("It is locked."), Queued(turn_id=1)])
    arrivals = chat.arrivals(host, tries=3)
    assert await arrivals.hand_over(MESSAGE) == Queued(turn_id=1)
    await chat.settle()
    assert chat.heard == ["The database is full."]
    assert not arrivals.is_behind


async def test_a_message_is_kept_for_as_long_as_the_database_cannot_be_reached() -> None:
    chat, away = Chat(), StoreUnreachableError("The database cannot be reached.")
    arrivals = chat.arrivals(FakeHost(accepts=[*[away] * 20, Queued(turn_id=1)]), tries=3)
    assert await arrivals.hand_over(MESSAGE) == Queued(turn_id=1)
    await chat.settle()
    assert chat.heard == ["The database cannot be reached."]
    once = chat.arrivals(FakeHost(accepts=[away]), tries=1)
    with pytest.raises(StoreUnreachableError):  # a platform that delivers again is not told that it arrived
        await once.hand_over(MESSAGE)
    await chat.settle()


async def test_a_message_that_still_cannot_be_stored_is_not_acknowledged() -> None:
    chat, host = Chat(), FakeHost(accepts=[StoreError("The database is full.")])
    arrivals = chat.arrivals(host, tries=2, hears=False)
    with pytest.raises(StoreError):
        await arrivals.hand_over(MESSAGE)
    await chat.settle()
    assert len(host.handed) == 2 and chat.heard == [] and not arrivals.is_behind


# --- the hourglass ---


async def test_a_message_that_waits_carries_an_hourglass_until_its_turn_runs() -> None:
    chat = Chat()
    sign = chat.sign()
    arrivals = Arrivals(
        FakeHost(accepts=[Queued(turn_id=2, waits_behind=1)]),
        notices=Notices(chat.tell, chat.background),
        sign=sign,
    )
    await arrivals.hand_over(MESSAGE)
    running = TurnView(turn_id=2, conversation=CONVERSATION, state="running", in_reply_to="m1", has_waited=True)
    await sign.remove(running)  # only after it was added
    assert chat.signs == {"m1": False}
    await sign.remove(replace(running, in_reply_to="m2", has_waited=False))
    assert chat.signs == {"m1": False}


async def test_an_hourglass_that_the_platform_refuses_holds_nothing_up() -> None:
    chat = Chat(refuses_signs=True)
    sign = chat.sign()
    sign.add(MESSAGE)
    await sign.remove(
        TurnView(turn_id=2, conversation=CONVERSATION, state="running", in_reply_to="m1", has_waited=True)
    )
    assert chat.signs == {}


# --- commands ---


@pytest.mark.parametrize(
    ("outcome", "answer"),
    [
        (CommandAnswer(text="Hi."), CommandAnswer(text="Hi.")),
        (StoreError("The database is full."), CommandAnswer(text="The database is full.")),
        (Ignored(), None),
    ],
)
async def test_a_command_is_answered_unless_it_is_not_for_the_bot(
    outcome: Answered | Exception, answer: CommandAnswer | None
) -> None:
    assert await answer_command(FakeHost(answers=outcome), COMMAND) == answer


# --- logging in, and catching up ---


async def test_logging_in_is_tried_until_the_platform_answers_and_given_up_only_when_it_refuses() -> None:
    failures = [AdapterError("Down."), AdapterError("Down.")]

    async def ask() -> str:
        if failures:
            raise failures.pop()
        return "me"

    async with asyncio.timeout(WAIT_S):
        assert await log_in(ask, platform="fake", backoff=AT_ONCE) == "me"
        failures.append(AdapterError("No.", is_permanent=True))
        with pytest.raises(AdapterError, match="No"):
            await log_in(ask, platform="fake", backoff=AT_ONCE)


async def test_catching_up_is_taken_up_again_after_any_failure() -> None:
    failures: list[Exception] = [StoreError("Full."), KeyError("bug")]
    caught_up = asyncio.Event()

    async def catch_up() -> None:
        if failures:
            raise failures.pop()
        caught_up.set()
        await asyncio.Event().wait()

    catching_up = asyncio.create_task(keep_catching_up(catch_up, pause_s=0.0))
    async with asyncio.timeout(WAIT_S):
        await caught_up.wait()
    catching_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await catching_up
