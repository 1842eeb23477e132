"""What platforms and clocks do to messages: twice, late, out of order, changed, deleted, in the middle of something."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.discord.parse import sent_at as discord_time
from adapters.slack.payloads import time_of
from bot.domain.answers import Known, Queued
from bot.domain.events import ConversationKey, MessageDeleted, MessageEdited
from bot.domain.messages import AssistantMessage, ModelAnswer, ToolCall, ToolResult, UserMessage
from bot.domain.turns import Post
from bot.ports.model import ModelRequest
from bot.stores.sqlite.store import open_sqlite
from bot.turns.limits import MAX_RETRY_S, Limits
from tests.fakes import mcp_servers
from tests.fakes.bots import Bot, Clock, at, ended, notice_of, open_bot, open_bot_on, turn_of
from tests.fakes.mcp_servers.processes import lines, until
from tests.fakes.ports import (
    CONVERSATION,
    RecordingAdapter,
    ScriptedModel,
    ScriptedTools,
    calls,
    message,
    returns,
    says,
)
from tests.fakes.serving import Serving, posts, serving_folder, shown
from tests.scenarios.conftest import Toolbridge, serving

HOUR_S, DAY_S = 3_600.0, 86_400.0
OLDTIMER = Path(mcp_servers.__file__).parent / "oldtimer.py"


async def echo(request: ModelRequest) -> ModelAnswer:
    return says(f"answer to {request.messages[-1].text}")


@dataclass
class Held:
    """A model that answers each question only when it is let go."""

    asked: list[str] = field(default_factory=list[str])
    is_let_go: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, request: ModelRequest) -> ModelAnswer:
        text = request.messages[-1].text
        self.asked.append(text)
        await self.is_let_go.wait()
        return says(f"answer to {text}")

    async def is_asked(self, text: str) -> None:
        await until(lambda: text in self.asked)


def elsewhere(name: str) -> ConversationKey:
    return ConversationKey(platform="fake", space="team", channel=name)


def changed(text: str, *, key: str, edited_at: float = 1) -> MessageEdited:
    return MessageEdited(message=replace(message(text, key=key), edited_at=at(edited_at)))


def deleted(key: str) -> MessageDeleted:
    return MessageDeleted(conversation=CONVERSATION, event_key=key)


def texts(adapter: RecordingAdapter) -> list[str]:
    return [post.text for post in adapter.posts]


# --- twice, late, out of order ---------------------------------------------------------------------------------


async def test_a_message_that_is_delivered_fifty_times_at_once_is_answered_once(tmp_path: Path) -> None:
    adapter, model = RecordingAdapter(), ScriptedModel([echo])
    async with open_bot_on(tmp_path / "a.db", model, adapter, worker="a") as bot:
        turn_ids = await asyncio.gather(*(bot.say(message("hello")) for _ in range(50)))
        await ended(bot, adapter, [await bot.say(message("after it"))])
    assert len(set(turn_ids)) == 1
    assert texts(adapter) == ["answer to hello", "answer to after it"]


async def test_a_message_that_comes_again_after_an_hour_is_neither_answered_nor_refused(tmp_path: Path) -> None:
    adapter, model, clock = RecordingAdapter(), ScriptedModel([echo]), Clock()
    path = tmp_path / "a.db"
    async with open_bot_on(path, model, adapter, worker="a", clock=clock, requests_per_minute=1) as bot:
        first = await bot.say(message("hello"))
        await ended(bot, adapter, [first])
        clock.pass_time(HOUR_S)
        # Admission knows this minute alone, in which the author has sent as much as is allowed. It was another message.
        assert "minute" in notice_of(await bot.receive(message("one too many")))
        outcome = await bot.receive(message("hello"))
        assert (turn_of(outcome), isinstance(outcome, Queued), notice_of(outcome)) == (first, False, "")
    async with open_bot_on(path, model, adapter, worker="b", clock=clock, requests_per_minute=1) as bot:
        await ended(bot, adapter, [await bot.say(message("this minute's"))])
        outcome = await bot.receive(message("hello"))
        assert (turn_of(outcome), isinstance(outcome, Queued), notice_of(outcome)) == (first, False, "")
    assert texts(adapter) == ["answer to hello", "answer to this minute's"]


async def test_a_message_that_comes_again_after_a_crash_in_its_turn_is_answered_once(tmp_path: Path) -> None:
    adapter, held = RecordingAdapter(), Held()
    async with open_sqlite(tmp_path / "a.db") as store:
        async with open_bot(store, ScriptedModel([held]), adapter, worker="a") as bot:
            first = await bot.say(message("hello"))
            await held.is_asked("hello")
            bot.crash()
        await store.expire("a")
        async with open_bot(store, ScriptedModel([echo]), adapter, worker="b") as bot:
            assert await bot.say(message("hello")) == first
            await ended(bot, adapter, [first, await bot.say(message("next"))])
    assert texts(adapter) == ["answer to hello", "answer to next"]


async def test_messages_in_another_order_than_they_were_sent_are_answered_as_they_came(tmp_path: Path) -> None:
    adapter = RecordingAdapter()
    order = ["third", "first", "third", "second", "first"]
    async with open_bot_on(tmp_path / "a.db", ScriptedModel([echo]), adapter, worker="a") as bot:
        turn_ids = await asyncio.gather(*(bot.say(message(text)) for text in order))
        await ended(bot, adapter, turn_ids)
    assert texts(adapter) == ["answer to third", "answer to first", "answer to second"]


async def test_three_quick_messages_wait_for_each_other_and_each_reads_what_was_answered_before(tmp_path: Path) -> None:
    adapter, held = RecordingAdapter(), Held()
    model = ScriptedModel([held])
    async with open_bot_on(tmp_path / "a.db", model, adapter, worker="a") as bot:
        outcomes = [await bot.receive(message(text)) for text in ("one", "two", "three")]
        assert [outcome.waits_behind for outcome in outcomes if isinstance(outcome, Queued)] == [0, 1, 2]
        await held.is_asked("one")
        assert held.asked == ["one"]
        held.is_let_go.set()
        await ended(bot, adapter, [turn_of(outcome) or 0 for outcome in outcomes])
    assert texts(adapter) == [f"answer to {text}" for text in ("one", "two", "three")]
    assert [item.text for item in model.requests[2].messages] == [
        *("one", "answer to one"),
        *("two", "answer to two"),
        "three",
    ]


# Three messages of one second, in the order in which they were said: Slack's timestamps, Discord's snowflakes.
SAID = {
    "slack": [time_of(f"1790000001.{number:06}") for number in (100, 200, 300)],
    "discord": [discord_time(str((1_370_000_001_000 + number << 22) + number)) for number in (100, 200, 300)],
}


@pytest.mark.parametrize("platform", list(SAID))
async def test_three_quick_messages_to_three_processes_are_answered_in_the_order_in_which_they_were_said(
    tmp_path: Path, platform: str
) -> None:
    adapter, held = RecordingAdapter(), Held()
    adapter.serves = f"{platform}/"
    place = ConversationKey(platform=platform, space="team", channel="general", thread="7")
    first, *quick = [
        replace(message(text, key=text, conversation=place), sent_at=said)
        for text, said in zip(
            ("the first", "one", "two", "three"), (at(-1_000_000_000), *filter(None, SAID[platform])), strict=True
        )
    ]
    async with AsyncExitStack() as stack:
        bots = [
            await stack.enter_async_context(
                open_bot_on(tmp_path / "a.db", ScriptedModel([held]), adapter, worker=worker, clock=Clock())
            )
            for worker in ("a", "b", "c")
        ]
        turn_ids = [await bots[0].say(first)]
        await held.is_asked("the first")
        for bot, event in zip(bots, reversed(quick), strict=True):
            turn_ids.append(await bot.say(event))
        held.is_let_go.set()
        await ended(bots[0], adapter, turn_ids)
    assert texts(adapter) == [f"answer to {text}" for text in ("the first", "one", "two", "three")]


async def test_two_hundred_conversations_are_worked_on_at_once_and_none_mixes_with_another(tmp_path: Path) -> None:
    adapter, all_think = RecordingAdapter(), asyncio.Barrier(200)

    async def meet(request: ModelRequest) -> ModelAnswer:
        if len(request.messages) == 1:
            await all_think.wait()  # would never end if one of them had to wait for another
        return says("; ".join(item.text for item in request.messages if isinstance(item, UserMessage)))

    sent = [
        replace(message(f"{room}.{n}", conversation=elsewhere(str(room)), key=f"{room}.{n}"), author_id=f"U{room}")
        for n in range(2)
        for room in range(200)
    ]
    async with open_bot_on(tmp_path / "a.db", ScriptedModel([meet]), adapter, worker="a") as bot:
        turn_ids = await asyncio.gather(*(bot.say(event) for event in sent))
        assert set(await ended(bot, adapter, turn_ids)) == {"answered"}
    for room in range(200):
        posted = [post.text for post in adapter.posts if post.conversation == elsewhere(str(room))]
        assert posted == [f"{room}.0", f"{room}.0; {room}.1"]


# --- stopped ---------------------------------------------------------------------------------------------------


async def test_messages_to_a_turn_that_is_being_stopped_are_answered_and_the_stopped_one_is_not(tmp_path: Path) -> None:
    adapter, held = RecordingAdapter(), Held()
    async with open_bot_on(tmp_path / "a.db", ScriptedModel([held, echo]), adapter, worker="a") as bot:
        stopped = await bot.say(message("stop me"))
        await held.is_asked("stop me")
        said, following, again = await asyncio.gather(
            bot.command("stop"), bot.say(message("and now?")), bot.say(message("stop me"))
        )
        assert said == "Stopping."
        assert again == stopped
        assert await ended(bot, adapter, [stopped, following]) == ["stopped", "answered"]
        assert await bot.say(message("stop me")) == stopped
        await ended(bot, adapter, [await bot.say(message("the last"))])
    assert texts(adapter) == ["Stopped.", "answer to and now?", "answer to the last"]


async def test_a_turn_that_was_stopped_as_its_process_died_is_not_answered_by_the_next(tmp_path: Path) -> None:
    adapter, held = RecordingAdapter(), Held()
    async with open_sqlite(tmp_path / "a.db") as store:
        async with open_bot(store, ScriptedModel([held]), adapter, worker="a") as bot:
            turn_id = await bot.say(message("stop me"))
            await held.is_asked("stop me")
            assert await store.request_stop(CONVERSATION, by="fake:U1") == turn_id
            bot.crash()
        await store.expire("a")
        async with open_bot(store, ScriptedModel([echo]), adapter, worker="b") as bot:
            assert await ended(bot, adapter, [turn_id]) == ["stopped"]
    assert texts(adapter) == ["Stopped."]


# --- changed and deleted ---------------------------------------------------------------------------------------


@dataclass
class Waiting:
    """A bot that thinks about the question `first`; whatever comes to the same conversation waits behind it."""

    bot: Bot
    adapter: RecordingAdapter
    held: Held

    async def go_on(self, *turn_ids: int) -> list[str]:
        self.held.is_let_go.set()
        await ended(self.bot, self.adapter, turn_ids)
        await ended(self.bot, self.adapter, [await self.bot.say(message("the last"))])
        return texts(self.adapter)


@pytest.fixture
async def waiting(tmp_path: Path) -> AsyncIterator[Waiting]:
    adapter, held = RecordingAdapter(), Held()
    async with open_bot_on(tmp_path / "a.db", ScriptedModel([held]), adapter, worker="a") as bot:
        await bot.say(message("first"))
        await held.is_asked("first")
        yield Waiting(bot, adapter, held)


async def test_a_waiting_question_is_answered_as_it_was_changed(waiting: Waiting) -> None:
    second = await waiting.bot.say(message("what is 1+1", key="k"))
    outcome = await waiting.bot.receive(changed("what is 2+2", key="k"))
    assert (turn_of(outcome), notice_of(outcome)) == (None, "")
    assert await waiting.bot.say(message("what is 1+1", key="k")) == second  # a redelivery of it as it was
    answers = await waiting.go_on(second)
    assert answers == ["answer to first", "answer to what is 2+2", "answer to the last"]
    said = [entry.message.text for entry in await waiting.bot.store.transcript(CONVERSATION, limit=100)]
    assert "what is 2+2" in said
    assert "what is 1+1" not in said


async def test_of_two_changes_the_later_counts_in_whichever_order_they_come(waiting: Waiting) -> None:
    second = await waiting.bot.say(message("draft", key="k"))
    for text, edited_at in (("better", 2), ("final", 3), ("final", 3), ("better", 2)):
        assert notice_of(await waiting.bot.receive(changed(text, key="k", edited_at=edited_at))) == ""
    assert "answer to final" in await waiting.go_on(second)


async def test_a_change_that_is_handed_over_together_with_its_message_counts(waiting: Waiting) -> None:
    outcomes = await asyncio.gather(
        waiting.bot.receive(message("draft", key="k")), waiting.bot.receive(changed("final", key="k"))
    )
    assert "answer to final" in await waiting.go_on(turn_of(outcomes[0]) or 0)


async def test_a_deleted_question_that_waits_is_dropped_with_its_text(waiting: Waiting, tmp_path: Path) -> None:
    await waiting.bot.say(message("my password is hunter2", key="k"))
    third = await waiting.bot.say(message("third"))
    assert notice_of(await waiting.bot.receive(deleted("k"))) == ""
    assert isinstance(await waiting.bot.receive(message("my password is hunter2", key="k")), Known)
    assert notice_of(await waiting.bot.receive(changed("changed after all", key="k"))) == ""
    assert await waiting.go_on(third) == ["answer to first", "answer to third", "answer to the last"]
    with closing(sqlite3.connect(tmp_path / "a.db")) as database:
        assert database.execute("SELECT event, state FROM turn WHERE event_key = 'k'").fetchall() == [("", "withdrawn")]


async def test_a_question_that_is_being_answered_is_left_alone_and_its_author_is_told(waiting: Waiting) -> None:
    assert "new message" in notice_of(await waiting.bot.receive(changed("too late", key="first")))
    assert "`stop`" in notice_of(await waiting.bot.receive(deleted("first")))
    assert await waiting.go_on() == ["answer to first", "answer to the last"]


async def test_a_question_that_was_answered_is_left_alone_and_only_another_text_is_worth_a_word(
    waiting: Waiting,
) -> None:
    await waiting.go_on()
    assert "answered before" in notice_of(await waiting.bot.receive(changed("too late", key="first")))
    assert notice_of(await waiting.bot.receive(changed("first", key="first", edited_at=9))) == ""  # a link was unfurled
    assert notice_of(await waiting.bot.receive(deleted("first"))) == ""
    assert len(await waiting.bot.store.transcript(CONVERSATION, limit=10)) == 4


@pytest.mark.parametrize(("text", "reason"), [(" \x00 ", "empty"), ("x" * 1001, "at most 1,000")])
async def test_a_change_passes_the_same_admission_as_a_message(waiting: Waiting, text: str, reason: str) -> None:
    second = await waiting.bot.say(message("as it was", key="k"))
    notice = notice_of(await waiting.bot.receive(changed(text, key="k")))
    assert reason in notice
    assert "stays as it was" in notice
    await waiting.bot.receive(changed("clean \x1b[31mred", key="other"))
    assert notice_of(await waiting.bot.receive(changed("a\x00s it is \x1b", key="k", edited_at=2))) == ""
    assert "answer to as it is" in await waiting.go_on(second)


async def test_a_change_to_a_message_that_never_came_is_nothing_to_talk_about(waiting: Waiting) -> None:
    for event in (changed("x", key="unknown"), changed("", key="unknown"), deleted("unknown")):
        outcome = await waiting.bot.receive(event)
        assert (turn_of(outcome), notice_of(outcome)) == (None, "")
    assert await waiting.go_on() == ["answer to first", "answer to the last"]


# --- poison ----------------------------------------------------------------------------------------------------


async def test_a_question_that_breaks_the_bot_is_given_up_with_a_sentence_and_holds_up_nobody(tmp_path: Path) -> None:
    adapter, begun = RecordingAdapter(), Counter[str]()

    async def break_down(request: ModelRequest) -> ModelAnswer:
        text = request.messages[-1].text
        begun[text] += 1
        if text == "poison":
            raise KeyError("a bug")
        return says(f"answer to {text}")

    async with open_bot_on(tmp_path / "a.db", ScriptedModel([break_down]), adapter, worker="a") as bot:
        events = [message("poison"), message("behind it"), message("elsewhere", conversation=elsewhere("other"))]
        turn_ids = [await bot.say(event) for event in events]
        assert await ended(bot, adapter, turn_ids) == ["failed", "answered", "answered"]
    assert begun["poison"] == 3
    assert "not tried again" in next(post.text for post in adapter.posts if post.in_reply_to == "poison")


class BrittleAdapter(RecordingAdapter):
    """Has a bug that certain texts bring out."""

    def split(self, text: str) -> Sequence[str]:
        if "unsplittable" in text:
            raise IndexError("a bug")
        return super().split(text)

    async def post(self, post: Post) -> str:
        if "unpostable" in post.text:
            raise TypeError("a bug")
        return await super().post(post)


async def test_an_answer_that_breaks_the_adapter_ends_undelivered_and_the_conversation_goes_on(tmp_path: Path) -> None:
    adapter, model = BrittleAdapter(), ScriptedModel([says("unpostable"), echo])
    async with open_bot_on(tmp_path / "a.db", model, adapter, worker="a") as bot:
        await bot.say(message("poison"))
        await ended(bot, adapter, [await bot.say(message("next"))])
    assert texts(adapter) == ["answer to next"]
    assert len(model.requests) == 2  # the answer was there; only its way out was tried again


async def test_a_turn_whose_every_reply_breaks_the_bot_ends_without_what_it_did(tmp_path: Path) -> None:
    adapter, tools = BrittleAdapter(), ScriptedTools({"act": returns("acted")})
    model = ScriptedModel([calls("act", text="unsplittable"), says("done"), echo])
    async with open_bot_on(tmp_path / "a.db", model, adapter, worker="a", tools=tools) as bot:
        turn_ids = [await bot.say(message("poison")), await bot.say(message("next"))]
        assert await ended(bot, adapter, turn_ids) == ["failed", "answered"]
    assert "not tried again" in adapter.posts[0].text
    assert tools.ran == ["act"]


@given(attempt=st.integers(1, 10**9))
def test_a_failed_attempt_is_repeated_after_a_bounded_time_however_many_there_were(attempt: int) -> None:
    waits_s = [Limits().wait_after(number) for number in (attempt, attempt + 1)]
    assert 1 <= waits_s[0] <= waits_s[1] <= MAX_RETRY_S


# --- in the middle of something --------------------------------------------------------------------------------


async def test_clear_in_the_middle_of_a_turn_forgets_what_was_before_and_keeps_the_turn(tmp_path: Path) -> None:
    adapter, held = RecordingAdapter(), Held()
    model = ScriptedModel([echo, held])
    async with open_bot_on(tmp_path / "a.db", model, adapter, worker="a") as bot:
        await ended(bot, adapter, [await bot.say(message("before"))])
        running = await bot.say(message("running"))
        await held.is_asked("running")
        queued = await bot.say(message("queued"))
        assert await bot.command("clear") == (
            "2 messages of this conversation deleted. Saved files are kept. "
            "Questions that are not answered yet stay: stop them, then clear again."
        )
        held.is_let_go.set()
        await ended(bot, adapter, [running, queued])
        stored = [entry.message for entry in await bot.store.transcript(CONVERSATION, limit=100)]
    assert texts(adapter) == ["answer to before", "answer to running", "answer to queued"]
    assert stored == [
        UserMessage(text="running"),
        AssistantMessage(text="answer to running"),
        UserMessage(text="queued"),
        AssistantMessage(text="answer to queued"),
    ]
    assert [item.text for item in model.requests[2].messages] == ["running", "answer to running", "queued"]


async def test_clear_while_a_tool_runs_leaves_a_crash_as_harmless_as_before(tmp_path: Path) -> None:
    adapter, started = RecordingAdapter(), asyncio.Event()

    async def hang(call: ToolCall) -> ToolResult:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    tools = ScriptedTools({"act": hang})
    async with open_sqlite(tmp_path / "a.db") as store:
        async with open_bot(store, ScriptedModel([calls("act")]), adapter, tools, worker="a") as bot:
            turn_id = await bot.say(message("do it"))
            async with asyncio.timeout(10):
                await started.wait()
            await bot.command("clear")
            bot.crash()
        await store.expire("a")
        async with open_bot(store, ScriptedModel([says("Hm.")]), adapter, tools, worker="b") as bot:
            assert await ended(bot, adapter, [turn_id]) == ["answered"]
    assert tools.ran == ["act"]
    assert "It may have run" in adapter.posts[0].text


# --- clocks that jump ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_s", [DAY_S, HOUR_S, -HOUR_S, -DAY_S])
async def test_when_the_clock_is_set_nobody_who_lives_is_taken_over_and_the_dead_are_within_minutes(
    tmp_path: Path, by_s: float
) -> None:
    clock, adapter, held = Clock(), RecordingAdapter(), Held()
    path, thinking = tmp_path / "a.db", ScriptedModel([held])
    limits = Limits(drain_s=0.0, lease_s=0.4)  # renewed ten times a second, in real time

    async def answer_here(request: ModelRequest) -> ModelAnswer:
        return says(f"answered by the other: {request.messages[-1].text}")

    model = ScriptedModel([answer_here])
    async with open_bot_on(path, model, adapter, worker="b", clock=clock, limits=limits) as other:
        async with open_bot_on(path, thinking, adapter, worker="a", clock=clock, limits=limits) as bot:
            held_up = await bot.say(message("think"))
            await held.is_asked("think")
            clock.set_wall(by_s)
            for n in range(3):  # each is claimed, and a claim takes whatever it can
                event = message(f"other {n}", conversation=elsewhere("other"))
                await ended(other, adapter, [await other.say(event)])
            held.is_let_go.set()
            await ended(bot, adapter, [held_up])
            assert len(thinking.requests) == 1
            held.is_let_go.clear()
            left = await bot.say(message("left behind"))
            await held.is_asked("left behind")
            bot.crash()
        await ended(other, adapter, [await other.say(message("sees that", conversation=elsewhere("other")))])
        # The first minute ends a grace for the living, or cuts a lease from before the clock went back.
        for _ in range(2):
            clock.pass_time(61)
            await other.store.heartbeat("b", lease_s=0.4)
        other.bell.ring_for_work()
        await ended(other, adapter, [left])
    answers = {post.in_reply_to: post.text for post in adapter.posts}
    assert len(answers) == len(adapter.posts) == 6
    assert answers["think"] == "answer to think"
    assert answers["left behind"] == "answered by the other: left behind"


# --- paused ----------------------------------------------------------------------------------------------------


async def test_a_process_that_was_paused_past_its_lease_writes_and_posts_nothing_when_it_wakes(tmp_path: Path) -> None:
    folder, calls_file = tmp_path / "platform", tmp_path / "calls.txt"
    folder.mkdir()
    toolbridge = Toolbridge(home=tmp_path / "home", folder=folder)
    old = {"command": sys.executable, "args": [str(OLDTIMER)], "env": {"CALLS_FILE": str(calls_file)}}
    toolbridge.write_mcp_json({"old": old})
    async with serving() as endpoint:
        toolbridge.settings |= {"OPENAI_BASE_URL": endpoint.url, "OPENAI_MODEL": "rehearsal"}
        environment = toolbridge.environment
        async with (
            serving_folder(folder, environment=environment, lease_s=2.0) as paused,
            serving_folder(folder, environment=environment, lease_s=2.0) as other,
        ):
            # One turn waits for the platform, one for a tool, one for the model, when everything stands still.
            (folder / "busy").touch()
            await paused.ask("What is 6 * 7?", key="posting", room="posting")
            await until(lambda: any(view["state"] == "delivering" for view in shown(folder)))
            await paused.ask('call old__slow with {"seconds": 2}', key="calling", room="calling")
            await until(lambda: lines(calls_file) == ["slow"])
            await endpoint.fail("stall", after_chunks=1)
            asked = len(await endpoint.requests())
            await paused.ask("Tell me about the moon", key="thinking", room="thinking")
            await endpoint.next_request(count=asked + 1)
            paused.signal(signal.SIGSTOP)
            while _is_locked(toolbridge.home):  # it was within a commit, which holds up all others
                paused.signal(signal.SIGCONT)
                await asyncio.sleep(0.05)
                paused.signal(signal.SIGSTOP)
            (folder / "busy").unlink()
            await until(lambda: len(posts(folder)) == 3, timeout_s=30)
            await until(lambda: _open_turns(toolbridge.home) == 0)
            # The other process may show that a turn has ended only after that is stored: its views do not count here.
            stored, shown_before = _dump(toolbridge.home), len(_shown_by(paused))

            paused.signal(signal.SIGCONT)
            await until(lambda: len(paused.logged("turn_taken_over")) == 3)
            await until(lambda: len(_shown_by(paused)) >= shown_before + 3)
            assert [view["state"] for view in _shown_by(paused)[shown_before:]] == ["taken_over"] * 3
            assert _dump(toolbridge.home) == stored
            await paused.ask("What is 2 * 4?", key="awake", room="posting")  # it is as good as before
            await until(lambda: len(posts(folder)) == 4)
    assert Counter(post["to"] for post in posts(folder)) == Counter(["posting", "calling", "thinking", "awake"])
    assert {post["to"]: post["pid"] for post in posts(folder)} == {
        **dict.fromkeys(("posting", "calling", "thinking"), other.process.pid),
        "awake": paused.process.pid,
    }
    assert lines(calls_file) == ["slow"]


def _shown_by(serving: Serving) -> list[dict[str, Any]]:
    return [view for view in shown(serving.folder) if view["pid"] == serving.process.pid]


def _dump(home: Path) -> str:
    with closing(sqlite3.connect(home / "toolbridge.db")) as database:
        tables = ("turn", "journal", "outbox", "message")
        return json.dumps([database.execute(f"SELECT * FROM {table}").fetchall() for table in tables])


def _is_locked(home: Path) -> bool:
    with closing(sqlite3.connect(home / "toolbridge.db", timeout=2.0, isolation_level=None)) as db:
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        db.execute("ROLLBACK")
    return False


def _open_turns(home: Path) -> int:
    with closing(sqlite3.connect(home / "toolbridge.db")) as database:
        return database.execute("SELECT count(*) FROM turn WHERE ended_at IS NULL").fetchone()[0]
