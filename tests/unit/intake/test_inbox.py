"""The inbox: what is for the bot, ratings and details, answered from a real store."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.domain.answers import CommandAnswer, Details, Done, Ignored, Known, Queued, Refused
from bot.domain.errors import StoreError
from bot.domain.events import (
    CommandInvoked,
    ConversationKey,
    DecisionMade,
    DetailsAsked,
    FeedbackGiven,
    FormAsked,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    Rating,
)
from bot.domain.messages import ToolResult, Usage
from bot.domain.people import Standing
from bot.domain.turns import CallAsked, CallFinished, CallStarted, ModelAnswered, Post
from bot.intake.admission import EDITS_PER_MINUTE, Admission
from bot.intake.apps import AppGate
from bot.intake.inbox import Inbox
from bot.ports.store import Store
from bot.ports.work_store import Lease
from bot.stores.sqlite.store import open_sqlite
from bot.turns.bell import Bell
from tests.fakes.database import locked
from tests.fakes.ports import CONVERSATION, ScriptedTools, calls, message, says
from tests.fakes.rights import Rights, open_access, open_asks, open_budgets

WORKER = "worker-1"
OTHER = replace(CONVERSATION, channel="random")


@dataclass
class Desk:
    """An inbox with what it is connected to."""

    inbox: Inbox
    store: Store
    path: Path
    commands: list[CommandInvoked]
    bell: Bell

    async def rate(self, turn_id: int, rating: Rating = "good", conversation: ConversationKey = CONVERSATION) -> str:
        event = FeedbackGiven(
            conversation=conversation,
            event_key="click",
            author_id="U1",
            turn_id=turn_id,
            rating=rating,
        )
        return (await self.inbox.rate(event)).notice

    def ratings(self) -> list[tuple[int, str, str]]:
        with sqlite3.connect(self.path) as connection:
            return connection.execute("SELECT turn_id, author_id, rating FROM feedback").fetchall()

    async def begin(self) -> Lease:
        await self.inbox.accept(message("What is up?"))
        await self.store.heartbeat(WORKER, lease_s=60)
        (turn,) = await self.store.claim(WORKER, serves=["fake/"], limit=1)
        return turn.lease

    async def finish(self, lease: Lease) -> None:
        post = Post(key="p", conversation=CONVERSATION, turn_id=lease.turn_id, part=0, text="It is saved.")
        await self.store.reply(lease, state="answered", messages=[], posts=[post], usage=Usage())
        await self.store.mark_posted(lease, 0, reference="ref", ends_turn=True)


@asynccontextmanager
async def desk(
    tmp_path: Path,
    *,
    requests_per_minute: int = 100,
    takes_follow_ups: bool = True,
    rights: Rights | None = None,
) -> AsyncGenerator[Desk]:
    commands: list[CommandInvoked] = []
    bell = Bell()

    async def command(event: CommandInvoked) -> CommandAnswer:
        commands.append(event)
        return CommandAnswer(text="answered")

    path = tmp_path / "bot.db"
    rights = rights or Rights()
    async with open_sqlite(path, busy_timeout_s=0.1) as store:
        decisions, forms = open_asks(store, ScriptedTools({}), bell, rights)
        inbox = Inbox(
            worker=WORKER,
            store=store,
            admission=Admission(max_input_chars=100, requests_per_minute=requests_per_minute),
            answer=command,
            bell=bell,
            directory=ScriptedTools({}),
            access=open_access(store, rights),
            budgets=open_budgets(store, rights),
            decisions=decisions,
            forms=forms,
            apps=AppGate({"fake:A1"}),
            takes_follow_ups=takes_follow_ups,
        )
        yield Desk(inbox=inbox, store=store, path=path, commands=commands, bell=bell)


def follow_up(text: str, conversation: ConversationKey = CONVERSATION, *, key: str = "") -> MessageReceived:
    return replace(message(text, key=key, conversation=conversation), is_addressed=False)


# --- what is for the bot ---------------------------------------------------------------------------------------


async def test_a_follow_up_is_taken_where_the_bot_takes_part(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        await at.inbox.accept(message("first"))
        at.bell.work.clear()
        outcome = await at.inbox.accept(follow_up("second"))
        assert isinstance(outcome, Queued) and outcome.waits_behind == 1
        assert at.bell.work.is_set()
        at.bell.work.clear()
        assert await at.inbox.accept(follow_up("second")) == Known(turn_id=outcome.turn_id)
        assert not at.bell.work.is_set()


async def test_a_message_among_others_is_ignored_without_a_word_and_is_not_counted(tmp_path: Path) -> None:
    async with desk(tmp_path, requests_per_minute=1) as at:
        for text in ("hello", "", "x" * 101, "all"):
            assert await at.inbox.accept(follow_up(text, OTHER)) == Ignored()
        assert not at.bell.work.is_set() and await at.store.find("hello") is None
        assert isinstance(await at.inbox.accept(message("a question")), Queued)
        refused = await at.inbox.accept(message("another"))
        assert isinstance(refused, Refused) and "more than one message" in refused.notice


async def test_a_follow_up_after_the_only_question_was_deleted_is_ignored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with desk(tmp_path) as at:
        await at.inbox.accept(message("first"))
        await at.inbox.revise(MessageDeleted(conversation=CONVERSATION, event_key="first"))
        assert "it was deleted" in capsys.readouterr().out  # why it gets no answer
        assert await at.inbox.accept(follow_up("second")) == Ignored()


async def test_a_follow_up_that_arrives_at_once_with_its_question_is_taken(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        outcomes = await asyncio.gather(at.inbox.accept(message("first")), at.inbox.accept(follow_up("second")))
        assert all(isinstance(outcome, Queued) for outcome in outcomes)


async def test_a_command_among_others_is_ignored_and_one_where_the_bot_takes_part_is_answered(tmp_path: Path) -> None:
    stop = CommandInvoked(conversation=CONVERSATION, event_key="c", author_id="U1", name="stop", is_addressed=False)
    async with desk(tmp_path) as at:
        assert await at.inbox.command(stop) == Ignored() and at.commands == []
        await at.inbox.accept(message("first"))
        assert await at.inbox.command(stop) == CommandAnswer(text="answered")
        assert at.commands == [stop]


async def test_changes_to_messages_that_are_not_known_are_passed_over_and_not_counted(tmp_path: Path) -> None:
    async with desk(tmp_path, requests_per_minute=2) as at:
        for number in range(3):
            assert await at.inbox.revise(MessageEdited(message=follow_up(f"{number}", OTHER))) == Ignored()
        assert await at.inbox.revise(MessageDeleted(conversation=OTHER, event_key="never seen")) == Ignored()
        assert isinstance(await at.inbox.accept(message("first")), Queued)
        assert await at.inbox.revise(MessageEdited(message=follow_up("changed", key="first"))) == Done()
        await at.store.heartbeat(WORKER, lease_s=60)
        (turn,) = await at.store.claim(WORKER, serves=["fake/"], limit=1)
        assert turn.event.text == "changed"


async def test_a_message_that_was_refused_and_is_changed_again_and_again_is_not_refused_each_time(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as at:
        too_long = message("x" * 200)
        assert isinstance(await at.inbox.accept(too_long), Refused)
        outcomes = [
            await at.inbox.revise(
                MessageEdited(message=replace(too_long, edited_at=too_long.sent_at + timedelta(microseconds=number)))
            )
            for number in range(200)
        ]
        notices = [outcome.notice for outcome in outcomes if isinstance(outcome, Refused) and outcome.notice]
        assert len(notices) == EDITS_PER_MINUTE + 1 and "changes to messages in a minute" in notices[-1]


async def test_a_message_of_which_it_cannot_be_told_whether_it_is_for_the_bot_is_not_acknowledged(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as at:
        with locked(at.path), pytest.raises(StoreError):
            await at.inbox.accept(follow_up("second"))


async def test_where_follow_ups_need_a_mention_only_those_with_one_are_taken_and_stop_is_still_heard(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path, takes_follow_ups=False) as at:
        await at.inbox.accept(message("first"))
        assert await at.inbox.accept(follow_up("second")) == Ignored()
        assert isinstance(await at.inbox.accept(message("third")), Queued)
        stop = CommandInvoked(conversation=CONVERSATION, event_key="s", author_id="U1", name="stop", is_addressed=False)
        assert await at.inbox.command(stop) == CommandAnswer(text="answered")


async def test_talk_is_never_answered_and_noted_only_in_a_thread_of_the_bot(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        talk = replace(follow_up("when can you?"), is_talk=True, has_earlier=True)
        assert await at.inbox.accept(talk) == Ignored()
        assert (await at.store.knowledge(CONVERSATION)).heard_at is None
        await at.inbox.accept(message("first"))
        assert await at.inbox.accept(talk) == Ignored()
        assert (await at.store.knowledge(CONVERSATION)).heard_at == talk.sent_at


def by_app(text: str, app: str, **facts: object) -> MessageReceived:
    event = replace(message(text), author_id=app, author_kind="app")
    return replace(event, **facts)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_an_app_is_answered_where_it_is_listed_and_otherwise_logged_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with desk(tmp_path) as at:
        assert isinstance(await at.inbox.accept(by_app("listed", "A1")), Queued)
        capsys.readouterr()
        assert await at.inbox.accept(by_app("stranger", "A2")) == Ignored()
        log = capsys.readouterr().out
        assert log.count("mention_not_answered") == 1 and "neither ALLOWED_APPS nor" in log


async def test_an_app_hears_no_refusal_because_it_might_answer_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with desk(tmp_path) as at:
        assert await at.inbox.accept(by_app("x" * 101, "A1")) == Ignored()
        assert "at most 100 are accepted" in capsys.readouterr().out


# --- ratings ---------------------------------------------------------------------------------------------------


async def test_a_rating_is_noted_and_a_later_one_takes_its_place(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        lease = await at.begin()
        assert await at.rate(lease.turn_id, "good") == "Thank you, that is noted."
        assert at.ratings() == [(lease.turn_id, "U1", "good")]
        assert await at.rate(lease.turn_id, "bad") == "Thank you, that is noted."
        assert at.ratings() == [(lease.turn_id, "U1", "bad")]


async def test_an_answer_of_another_conversation_or_of_none_is_not_rated(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        lease = await at.begin()
        assert "no longer known here" in await at.rate(lease.turn_id, conversation=OTHER)
        assert "no longer known here" in await at.rate(lease.turn_id + 1)
        assert at.ratings() == []


async def test_a_rating_that_cannot_be_stored_is_answered_with_the_reason(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        lease = await at.begin()
        with locked(at.path):
            assert "another process has locked it" in await at.rate(lease.turn_id)
        assert at.ratings() == []


# --- details ---------------------------------------------------------------------------------------------------


def details_of(turn_id: int, conversation: ConversationKey = CONVERSATION) -> DetailsAsked:
    return DetailsAsked(conversation=conversation, event_key="click", author_id="U2", turn_id=turn_id)


async def use_a_tool(at: Desk, lease: Lease) -> None:
    answer = calls("save", "missing__load", arguments='{"token": "s3cret99"}')
    asks = ModelAnswered(round=0, answer=answer)
    named = CallAsked(round=0, call=answer.message.tool_calls[0], server="fake", tool="save")
    result = ToolResult(call_id="call_0", text="saved", seconds=0.5)
    await at.store.record(
        lease,
        [asks, named, CallStarted(round=0, call_id="call_0"), CallStarted(round=0, call_id="call_1")],
    )
    await at.store.record(lease, [CallFinished(round=0, result=result)])


async def shown(at: Desk, turn_id: int) -> Sequence[tuple[str, str, str, str]]:
    details = await at.inbox.details(details_of(turn_id))
    assert isinstance(details, Details) and details.notice == ""
    return [(line.server, line.tool, line.state, line.result) for line in details.lines]


async def test_details_are_the_calls_of_the_turn_while_it_runs_and_after_it(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        lease = await at.begin()
        await use_a_tool(at, lease)
        assert await shown(at, lease.turn_id) == [("fake", "save", "ok", "saved"), ("missing", "load", "running", "")]
        await at.finish(lease)
        assert await shown(at, lease.turn_id) == [("fake", "save", "ok", "saved"), ("missing", "load", "stopped", "")]
        assert "s3cret99" not in str(await at.inbox.details(details_of(lease.turn_id)))


async def test_there_are_no_details_of_an_answer_of_another_conversation(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        lease = await at.begin()
        await use_a_tool(at, lease)
        for event in (details_of(lease.turn_id, OTHER), details_of(lease.turn_id + 1)):
            refused = await at.inbox.details(event)
            assert isinstance(refused, Refused) and "no longer known here" in refused.notice


async def test_details_that_were_cleared_or_never_were_are_answered_with_a_sentence(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        lease = await at.begin()
        await at.store.record(lease, [ModelAnswered(round=0, answer=says("Hello."))])
        details = await at.inbox.details(details_of(lease.turn_id))
        assert details == Details(lines=(), notice="No tool was used for this answer.")
        await at.finish(lease)
        await at.store.clear(CONVERSATION)
        details = await at.inbox.details(details_of(lease.turn_id))
        assert isinstance(details, Details) and details.lines == () and "`clear`" in details.notice


# --- who may -----------------------------------------------------------------------------------------------------

OUTSIDE = Standing(outsider="a guest of this workspace")


async def test_an_outsider_is_refused_with_the_reason_by_every_way_in_and_nothing_is_stored(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        asked = replace(message("What is up?"), standing=OUTSIDE)
        refused = await at.inbox.accept(asked)
        assert isinstance(refused, Refused) and refused.notice == "a guest of this workspace"
        assert await at.store.find(asked.event_key) is None
        command = CommandInvoked(
            conversation=CONVERSATION, event_key="c", author_id="U1", name="tools", standing=OUTSIDE
        )
        assert await at.inbox.command(command) == CommandAnswer(text="a guest of this workspace")
        assert at.commands == []
        await at.inbox.accept(message("first"))
        edited = await at.inbox.revise(MessageEdited(message=replace(message("first"), text="b", standing=OUTSIDE)))
        assert isinstance(edited, Refused) and "the message stays as it was" in edited.notice
        about = {"conversation": CONVERSATION, "event_key": "p", "author_id": "U1", "turn_id": 1, "standing": OUTSIDE}
        assert isinstance(await at.inbox.details(DetailsAsked(**about)), Refused)
        assert isinstance(await at.inbox.rate(FeedbackGiven(**about, rating="bad")), Refused)
        lines = [line.entry for line in await at.store.audit_lines()]
        assert [(line.kind, line.outcome) for line in lines] == [
            ("refused", "message"),
            ("refused", "tools"),
            ("refused", "message"),
            ("refused", "details"),
            ("refused", "rating"),
        ]
        assert {line.person for line in lines} == {"fake:U1"}


async def test_of_what_an_outsider_wrote_while_the_bot_was_away_one_message_gets_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with desk(tmp_path) as at:
        old = datetime.now(UTC) - timedelta(minutes=5)
        missed = [replace(message("Hello?", key=f"m{n}"), sent_at=old, standing=OUTSIDE) for n in (1, 2, 3, 3)]
        outcomes = [await at.inbox.accept(one) for one in missed]
        assert outcomes == [Refused(notice="a guest of this workspace"), *[Refused(notice="")] * 3]
        assert capsys.readouterr().out.count("mention_not_answered") == 2  # each of those without a word, once
        now = replace(message("Hello?", key="now"), sent_at=datetime.now(UTC), standing=OUTSIDE)
        assert await at.inbox.accept(now) == Refused(notice="a guest of this workspace")
        assert len(await at.store.audit_lines()) == 4


async def test_who_is_shut_out_hears_nothing_of_a_message_that_was_taken_before(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        asked = message("What is up?")
        queued = await at.inbox.accept(asked)
        assert isinstance(queued, Queued)
        again = await at.inbox.accept(replace(asked, standing=OUTSIDE))
        assert again == Known(turn_id=queued.turn_id) and await at.store.audit_lines() == []


async def test_an_app_that_edits_its_question_is_not_answered_with_a_refusal(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        asked = replace(message("What is up?"), author_id="A1", author_kind="app")
        assert isinstance(await at.inbox.accept(asked), Queued)
        await at.store.heartbeat(WORKER, lease_s=60)
        assert await at.store.claim(WORKER, serves=["fake/"], limit=1)
        edited = replace(asked, text="What is up now?")
        assert await at.inbox.revise(MessageEdited(message=edited)) == Ignored()


async def test_what_an_outsider_says_to_others_in_a_thread_is_passed_over_in_silence(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        await at.inbox.accept(message("first"))
        assert await at.inbox.accept(replace(follow_up("second"), standing=OUTSIDE)) == Ignored()


# --- how often -------------------------------------------------------------------------------------------------


def command(number: int, *, name: str = "help", author: str = "U1") -> CommandInvoked:
    return CommandInvoked(conversation=CONVERSATION, event_key=f"c{number}", author_id=author, name=name)


async def test_of_300_commands_a_minutes_worth_is_answered_one_refused_and_the_rest_ignored(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        outcomes = [await at.inbox.command(command(number)) for number in range(300)]
        texts = [outcome.text for outcome in outcomes if isinstance(outcome, CommandAnswer)]
        assert texts[:60] == ["answered"] * 60 and len(texts) == 61
        assert "60 commands and buttons in a minute" in texts[60] and len(at.commands) == 60
        assert at.inbox.is_muted(command(0).actor) and not at.inbox.is_muted(command(0, author="U2").actor)
        assert await at.inbox.command(command(1, author="U2")) == CommandAnswer(text="answered")


async def test_every_press_is_counted_and_decisions_and_stop_are_counted_apart(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        actor = command(0).actor
        for number in range(20):
            details = DetailsAsked(conversation=CONVERSATION, event_key=f"d{number}", author_id="U1", turn_id=9)
            await at.inbox.details(details)
            await at.inbox.form(
                FormAsked(conversation=CONVERSATION, event_key=f"f{number}", author_id="U1", target="run:s__t")
            )
            rated = FeedbackGiven(
                conversation=CONVERSATION, event_key=f"r{number}", author_id="U1", turn_id=9, rating="good"
            )
            await at.inbox.rate(rated)
        refused = await at.inbox.details(
            DetailsAsked(conversation=CONVERSATION, event_key="more", author_id="U1", turn_id=9)
        )
        assert isinstance(refused, Refused) and "in a minute" in refused.notice
        assert at.inbox.is_muted(actor) and not at.inbox.is_muted(actor, decides=True)
        assert await at.inbox.command(command(1, name="stop")) == CommandAnswer(text="answered")
        decision = DecisionMade(conversation=CONVERSATION, event_key="x", author_id="U1", ask_id=9, choice="run")
        assert "in a minute" not in (await at.inbox.decide(decision)).notice


async def test_a_question_that_is_posted_for_someone_is_counted_before_and_once(tmp_path: Path) -> None:
    async with desk(tmp_path, requests_per_minute=1) as at:
        pressed = message("An example", key="press")
        assert await at.inbox.may_ask(pressed) is None
        posted = replace(pressed, event_key="post", admitted_as="press")
        assert isinstance(await at.inbox.accept(posted), Queued)
        refused = [await at.inbox.may_ask(message("Another", key=f"press{number}")) for number in range(3)]
        assert ["in a minute" in (each.notice if each else "") for each in refused] == [True, False, False]


async def test_who_may_not_use_the_bot_has_nothing_posted_for_them(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        guest = replace(message("An example", key="press"), standing=Standing(outsider="a guest"))
        assert await at.inbox.may_ask(guest) == Refused(notice="a guest")


async def test_completions_are_counted_by_themselves(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        assert [at.inbox.may_look_up(command(number)) for number in range(301)].count(True) == 300
        assert await at.inbox.command(command(1)) == CommandAnswer(text="answered")
