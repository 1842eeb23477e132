"""A question that points at something, from its acceptance to its answer: what the model gets, and when it is read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.domain.answers import Ignored, Refused
from bot.domain.errors import AdapterError
from bot.domain.events import (
    ConversationKey,
    Earlier,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    Quoted,
    SharedFile,
)
from bot.domain.messages import ToolCall, ToolResult, UserMessage
from bot.ports.store import Store
from bot.ports.tools import Wait
from bot.turns.limits import Limits
from tests.fakes.bots import Bot, notice_of, open_bot, turn_of
from tests.fakes.ports import CONVERSATION, RecordingAdapter, ScriptedModel, ScriptedTools, calls, message, says

NOW = datetime.now(UTC) + timedelta(hours=1)  # after the bot's process began, as on any platform
LOG = SharedFile(name="pay.log", mime_type="text/plain", size=3, reference="F1")


class Threads(RecordingAdapter):
    """A platform with one thread, in which messages stand at seconds after NOW."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[Quoted] = []
        self.reads: list[datetime | None] = []
        self.refusal: AdapterError | None = None

    def say(self, second: float, text: str, *, by: str = "Ben", **facts: object) -> None:
        one = Quoted(relation="earlier", text=text, author=by, sent_at=NOW + timedelta(seconds=second))
        self.said.append(replace(one, **facts))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    async def read_earlier(self, message: MessageReceived, *, since: datetime | None, limit: int) -> Earlier:
        self.reads.append(since)
        if self.refusal is not None:
            raise self.refusal
        found = [one for one in self.said if one.sent_at and (since is None or one.sent_at > since)]
        before = [one for one in found if one.sent_at and one.sent_at < message.sent_at]
        return Earlier(messages=tuple(before[-limit:]), is_cut=len(before) > limit)

    async def fetch(self, file: SharedFile, conversation: ConversationKey, *, max_bytes: int) -> bytes:
        return b"ERR"


class Room:
    def __init__(self, bot: Bot, platform: Threads, model: ScriptedModel) -> None:
        self.bot = bot
        self.platform = platform
        self.model = model
        self._posts = 0

    async def ask(self, second: float, text: str, **facts: object) -> UserMessage:
        """Ask in the thread; return the question as the model got it."""
        event = replace(message(text, key=f"at {second}"), sent_at=NOW + timedelta(seconds=second), has_earlier=True)
        event = replace(event, **facts)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        outcome = await self.bot.receive(event)
        assert turn_of(outcome) is not None, notice_of(outcome)
        await self._answered()
        question = self.model.requests[-1].messages[-1]
        assert isinstance(question, UserMessage)
        return question

    async def talk(self, second: float, text: str) -> None:
        self.platform.say(second, text)
        event = replace(message(text, key=f"at {second}"), sent_at=NOW + timedelta(seconds=second), has_earlier=True)
        assert await self.bot.receive(replace(event, is_addressed=False, is_talk=True)) == Ignored()

    async def _answered(self) -> None:
        self._posts += 1
        await self.platform.wait_for_posts(self._posts)
        async with asyncio.timeout(20):
            while await self.bot.store.open_conversations(prefix=""):  # noqa: ASYNC110  (a store sets no event)
                await asyncio.sleep(0.01)


@asynccontextmanager
async def room(store: Store, *, max_thread_messages: int = 50) -> AsyncGenerator[Room]:
    platform, model = Threads(), ScriptedModel([says("noted")])
    limits = Limits(drain_s=0.2, retry_s=0.01, max_thread_messages=max_thread_messages)
    async with open_bot(store, model, platform, worker="worker", limits=limits) as bot:
        yield Room(bot, platform, model)


def words(question: UserMessage) -> Sequence[str]:
    """What is quoted in front of a question."""
    return [line.partition("⟧: ")[2] for line in question.context.splitlines() if line.startswith("> ")]


# --- the thread --------------------------------------------------------------------------------------------------


async def test_the_first_question_in_a_thread_brings_what_was_said_before_it(store: Store) -> None:
    async with room(store) as at:
        at.platform.say(1, "Payments 5xx, error E4711")
        at.platform.say(2, "looking", by="Cleo")
        question = await at.ask(3, "which error was it?")
        assert words(question) == ["Payments 5xx, error E4711", "looking"]
        assert question.text == "which error was it?"
        assert at.platform.reads == [None]


async def test_a_follow_up_costs_nothing_as_long_as_nobody_else_spoke(store: Store) -> None:
    async with room(store) as at:
        at.platform.say(1, "E4711")
        await at.ask(3, "which error was it?")
        assert (await at.ask(4, "and now?")).context == ""
        assert len(at.platform.reads) == 1
        first, _, second = at.model.requests[-1].messages
        assert isinstance(first, UserMessage) and "E4711" in first.context
        assert isinstance(second, UserMessage)


async def test_talk_among_people_is_left_alone_and_known_at_the_next_question(store: Store) -> None:
    async with room(store) as at:
        await at.ask(1, "plan the move", has_earlier=False)
        await at.talk(2, "@Cleo when can you?")
        await at.talk(3, "on Friday")
        question = await at.ask(4, "so, when?")
        assert words(question) == ["@Cleo when can you?", "on Friday"]
        assert len(at.platform.reads) == 1 and len(at.model.requests) == 2


async def test_the_bots_own_words_are_not_told_twice(store: Store) -> None:
    async with room(store) as at:
        at.platform.say(1, "an old answer", by="bot", author_kind="self")
        assert "an old answer" in words(await at.ask(2, "what was that?"))
        at.platform.say(3, "noted", by="bot", author_kind="self")
        await at.talk(4, "good")
        assert words(await at.ask(5, "go on")) == ["good"]


async def test_after_a_restart_the_thread_is_looked_at_once(store: Store) -> None:
    async with room(store) as at:
        await at.ask(-7_200, "before the restart", has_earlier=False)
    async with room(store) as at:
        at.platform.say(1, "said while the bot was away")
        assert words(await at.ask(2, "and now?")) == ["said while the bot was away"]
        assert (await at.ask(3, "go on")).context == ""
        assert len(at.platform.reads) == 1


async def test_what_was_cleared_does_not_come_back(store: Store) -> None:
    async with room(store) as at:
        at.platform.say(-7_200, "an old secret")
        await at.ask(-7_100, "what is it?")
        await at.bot.command("clear")
        await at.talk(1, "hello")
        assert words(await at.ask(2, "and?")) == ["hello"]


async def test_a_thread_that_cannot_be_read_is_said_and_the_question_answered(store: Store) -> None:
    async with room(store) as at:
        at.platform.refusal = AdapterError("The app lacks the permission channels:history.")
        question = await at.ask(1, "which error?")
        sentence = (
            "The earlier messages of this thread could not be read: The app lacks the permission channels:history."
        )
        assert sentence in question.context
        assert at.platform.posts[-1].text == f"noted\n\n_{sentence}_"
        assert sentence in (await at.ask(1.5, "are you sure?")).context
        assert at.platform.posts[-1].text == "noted"  # said once
        at.platform.refusal = None
        at.platform.say(0, "E4711")
        assert "E4711" in words(await at.ask(2, "again"))


async def test_of_a_long_thread_the_last_messages_are_read_and_the_cut_is_said(store: Store) -> None:
    async with room(store, max_thread_messages=3) as at:
        for second in range(1, 8):
            at.platform.say(second, f"line {second}")
        assert words(await at.ask(9, "sum it up")) == ["line 5", "line 6", "line 7"]
        assert "only the last 3 were read" in at.platform.posts[-1].text


async def test_an_operator_can_switch_it_off(store: Store) -> None:
    async with room(store, max_thread_messages=0) as at:
        at.platform.say(1, "E4711")
        assert (await at.ask(2, "which error?")).context == ""
        assert at.platform.reads == []


async def test_the_mention_alone_asks_about_what_it_points_at(store: Store) -> None:
    async with room(store) as at:
        at.platform.say(1, "Payments 5xx, error E4711")
        question = await at.ask(2, "")
        assert words(question) == ["Payments 5xx, error E4711"]
        assert question.text == "[The message has no words of its own: what it points at is the question.]"


async def test_files_of_the_thread_are_read_with_the_first_question(store: Store) -> None:
    async with room(store) as at:
        at.platform.say(1, "here", files=(LOG,))
        question = await at.ask(2, "what is in it?")
        assert "⟦The file `pay.log` was sent with a message quoted above:⟧\n```log\nERR" in question.attached


async def test_a_question_that_waited_for_a_decision_still_has_its_thread_though_later_ones_were_answered(
    store: Store,
) -> None:
    async def deploy(call: ToolCall) -> ToolResult | Wait:
        is_decided = tools.decisions[-1] is not None
        return ToolResult(call_id=call.id, text="done") if is_decided else Wait(reason="Ben decides.", expires_in_s=60)

    tools = ScriptedTools({"deploy": deploy})
    platform, model = Threads(), ScriptedModel([calls("deploy"), says("later"), says("deployed")])
    async with open_bot(store, model, platform, tools, worker="worker", limits=Limits(retry_s=0.01)) as bot:
        platform.say(1, "deploy build 17, please")
        first = replace(message("do it", key="first"), sent_at=NOW + timedelta(seconds=2), has_earlier=True)
        turn_id = turn_of(await bot.receive(first))
        async with asyncio.timeout(20):
            while "waiting" not in [view.state for view in platform.views]:  # noqa: ASYNC110  (views set no event)
                await asyncio.sleep(0.01)
        await bot.receive(replace(first, text="hello", event_key="second", sent_at=NOW + timedelta(seconds=9)))
        await platform.wait_for_posts(1)
        await bot.decide(turn_id or 0)
        await platform.wait_for_posts(2)
    question = next(one for one in model.requests[-1].messages if isinstance(one, UserMessage) and one.text == "do it")
    assert words(question) == ["deploy build 17, please"]


# --- quoted messages ---------------------------------------------------------------------------------------------


async def test_a_message_longer_than_a_question_is_cut_at_the_limit_of_a_question_and_that_is_said(
    store: Store,
) -> None:
    async with room(store) as at:
        forward = Quoted(relation="forward", text="x" * 1_200, author="Ben")
        question = await at.ask(1, "what is it?", quoted=(forward,), has_earlier=False)
        assert "(cut: the first 1,000 of 1,200 characters)" in question.context
        assert "only the first 1,000 of 1,200 characters were read" in at.platform.posts[-1].text


async def test_a_reply_to_the_newest_answer_tells_nothing_that_is_not_in_front_of_the_model(store: Store) -> None:
    async with room(store) as at:
        await at.ask(1, "one", has_earlier=False)
        first = Quoted(relation="reply", text="noted", author_kind="self", reference=f"ref-{at.platform.posts[-1].key}")
        assert (await at.ask(2, "why?", quoted=(first,), has_earlier=False)).context == ""
        older = await at.ask(3, "and that?", quoted=(first,), has_earlier=False)
        assert "from you, the assistant⟧: noted" in older.context


async def test_what_could_not_be_read_of_the_question_is_said(store: Store) -> None:
    async with room(store) as at:
        question = await at.ask(1, "look", unread=("a video",), has_earlier=False)
        assert (question.text, question.attached) == (
            "look",
            "⟦These parts of this message could not be read: a video.⟧",
        )
        assert "_These parts of this message could not be read: a video._" in at.platform.posts[-1].text


async def test_a_forward_without_a_word_is_a_question(store: Store) -> None:
    async with room(store) as at:
        forward = Quoted(relation="forward", text="How much is 2 + 2?", author="Ben")
        assert words(await at.ask(1, "", quoted=(forward,), has_earlier=False)) == ["How much is 2 + 2?"]


# --- changes -----------------------------------------------------------------------------------------------------


def edit(text: str, *, after_s: float = 30, **facts: object) -> MessageEdited:
    event = replace(message(text, key="m"), sent_at=NOW, edited_at=NOW + timedelta(seconds=after_s))
    return MessageEdited(message=replace(event, **facts))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_a_message_that_gets_its_mention_within_two_minutes_is_answered_once(store: Store) -> None:
    async with room(store) as at:
        assert turn_of(await at.bot.receive(edit("how much?"))) is not None
        await at.platform.wait_for_posts(1)
        original = replace(message("how much?", key="m"), sent_at=NOW, is_addressed=True)
        assert turn_of(await at.bot.receive(original)) is not None  # known
        assert len(at.model.requests) == 1


@pytest.mark.parametrize("facts", [{"after_s": 121}, {"is_addressed": False}, {"is_talk": True}])
async def test_a_message_that_gets_it_later_or_not_at_all_is_left_alone(store: Store, facts: dict[str, object]) -> None:
    async with room(store) as at:
        assert await at.bot.receive(edit("how much?", **facts)) == Ignored()  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_a_question_that_has_lost_its_mention_is_still_one(store: Store) -> None:
    async with room(store) as at:
        await at.bot.receive(replace(message("how much?", key="m"), sent_at=NOW))
        outcome = await at.bot.receive(edit("how many?", is_addressed=False))
        assert not isinstance(outcome, Ignored)


async def test_a_deleted_question_does_not_come_back_by_an_edit(store: Store) -> None:
    async with room(store) as at:
        waiting = replace(message("first", key="w"), sent_at=NOW)
        await at.bot.receive(waiting)
        await at.bot.receive(replace(message("how much?", key="m"), sent_at=NOW))
        await at.bot.receive(MessageDeleted(conversation=CONVERSATION, event_key="m"))
        outcome = await at.bot.receive(edit("how many?"))
        assert isinstance(outcome, Ignored | Refused)
