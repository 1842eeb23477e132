"""Messages, changes, stops, crashes and restarts in any order, against a plain model of what should be seen.

The longer form: `python -m tests.integration.test_deliveries_stateful [EXAMPLES]`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import structlog
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from bot.domain.answers import Accepted, Queued, Revised
from bot.domain.events import ConversationKey, MessageDeleted, MessageEdited, MessageReceived
from bot.domain.messages import AssistantMessage, Message, ModelAnswer, ToolCall, ToolMessage, ToolResult, UserMessage
from bot.ports.conversation_store import HistoryEntry
from bot.ports.model import ModelRequest
from bot.ports.store import Store
from bot.stores.leases import MAX_LEASE_S
from bot.stores.sqlite.store import open_sqlite
from bot.turns.limits import LEASE_S
from tests.fakes.bots import Bot, Clock, at, notice_of, open_bot, turn_of
from tests.fakes.ports import RecordingAdapter, ScriptedModel, ScriptedTools, calls, message, says

T = TypeVar("T")
Kind = Literal["plain", "look", "act"]  # no tool, one that may be repeated, one that may not
Stage = Literal["think", "tool", "answer"]
Fate = Literal["open", "ended", "withdrawn"]

ROOMS = ("red", "green", "blue")
MAX_WAITING = 8  # below what the inbox takes
MAX_ATTEMPTS = 3
WAIT_S = 10.0
DAY_S = 86_400.0

TOLD_INTERRUPTED = "\n\n_`act` was running when the bot was restarted. It may have run; it was not run again._"
TOLD_UNFINISHED = "\n\n_`{tool}` was running when this ended. It may have run; it was not run again._"
TOLD_SPENT = (
    "This question was started 3 times and the bot failed each time, so it is not tried again. "
    "Please ask in another way, and tell your operator."
)

kinds = st.sampled_from(["plain", "look", "act"])
rooms = st.sampled_from(ROOMS)
jumps = st.sampled_from([-DAY_S, -3600.0, -2.0, 2.0, 3600.0, DAY_S])


def key_of(room: str) -> ConversationKey:
    return ConversationKey(platform="fake", space="team", channel=room)


ROOM_OF = {key_of(room).opaque_id: room for room in ROOMS}


# --- the plain model -------------------------------------------------------------------------------------------


@dataclass
class Question:
    """One message, and what must become of it."""

    event: MessageReceived  # as it was sent
    room: str
    turn_id: int
    text: str  # as it reads now
    edited_at: int = -1
    fate: Fate = "open"
    is_forgotten: bool = False  # its text was cleared
    stage: Stage | None = None  # None: waits
    attempts: int = 0
    was_interrupted: bool = False

    @property
    def kind(self) -> str:
        return self.text.split()[0]

    @property
    def notes(self) -> str:
        return TOLD_INTERRUPTED if self.was_interrupted else ""


@dataclass
class Room:
    """What must be seen in one conversation."""

    open: list[Question] = field(default_factory=list[Question])
    posts: list[str] = field(default_factory=list[str])
    history: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])  # since it was cleared

    def begin(self) -> None:
        """Start the first question, if it waits."""
        if self.open and self.open[0].stage is None:
            self.open[0].stage, self.open[0].attempts = "think", 1

    def end(self, text: str) -> None:
        """The first question ends with this text."""
        question = self.open.pop(0)
        question.fate = "ended"
        self.posts.append(text)
        self.history.append((question.text, text))
        self.begin()

    def go_on(self) -> None:
        """The first question takes its next step."""
        first = self.open[0]
        if first.stage == "answer" or first.kind == "plain":
            self.end(f"answer to {first.text}{first.notes}")
        else:
            first.stage = "tool" if first.stage == "think" else "answer"

    def lose_process(self, *, spends_attempt: bool) -> None:
        """The process that worked here ended, and another goes on."""
        if not self.open:
            return
        first = self.open[0]
        first.attempts += spends_attempt
        if first.attempts > MAX_ATTEMPTS:
            unfinished = TOLD_UNFINISHED.format(tool=first.kind) if first.stage == "tool" else ""
            self.end(TOLD_SPENT + first.notes + unfinished)
        elif first.stage == "tool" and first.kind == "act":
            first.stage, first.was_interrupted = "answer", True


# --- the world -------------------------------------------------------------------------------------------------


@dataclass
class Gates:
    """Holds every step of the model and of tools until it is let through."""

    held: dict[str, tuple[Stage, str, asyncio.Future[None]]] = field(
        default_factory=dict[str, tuple[Stage, str, asyncio.Future[None]]]
    )

    async def hold(self, room: str, stage: Stage, text: str) -> None:
        assert room not in self.held, f"two turns work in {room} at once"
        passing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.held[room] = (stage, text, passing)
        try:
            await passing
        finally:
            del self.held[room]

    def open(self, room: str) -> None:
        self.held[room][2].set_result(None)


class World:
    """A bot on a database file, whose model and tools wait at gates."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "toolbridge.db"
        self._file = AsyncExitStack()
        self._process = AsyncExitStack()
        self._generation = 0
        self.clock = Clock()
        self.gates = Gates()
        self.adapter = RecordingAdapter()
        self.tools = ScriptedTools({"look": self._run, "act": self._run}, repeatable=frozenset({"look"}))
        self.acted: Counter[str] = Counter()
        self.store: Store
        self.bot: Bot

    async def open(self) -> None:
        self.store = await self._file.enter_async_context(
            open_sqlite(self._path, now=self.clock.now, steady=self.clock.steady)
        )
        await self.start()

    async def close(self) -> None:
        await self._process.aclose()
        await self._file.aclose()

    async def start(self) -> None:
        self._generation += 1
        model = ScriptedModel([self._think])
        self.bot = await self._process.enter_async_context(
            open_bot(self.store, model, self.adapter, self.tools, worker=f"worker-{self._generation}")
        )

    async def crash(self) -> str:
        """Let the process die, and return its name."""
        self.bot.crash()
        await self._process.aclose()
        return self.bot.runner.worker

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, in which the bot renews its lease."""
        self.clock.pass_time(seconds)
        await self.store.heartbeat(self.bot.runner.worker, lease_s=LEASE_S)

    async def _think(self, request: ModelRequest) -> ModelAnswer:
        room, last = ROOM_OF[request.cache_key], request.messages[-1]
        question = next(item for item in reversed(request.messages) if isinstance(item, UserMessage))
        is_asked = isinstance(last, UserMessage)
        await self.gates.hold(room, "think" if is_asked else "answer", question.text)
        kind = question.text.split()[0]
        if is_asked and kind != "plain":
            return calls(kind, arguments=json.dumps({"room": room, "question": question.text}))
        return says(f"answer to {question.text}")

    async def _run(self, call: ToolCall) -> ToolResult:
        arguments = json.loads(call.arguments)
        if call.name == "act":
            self.acted[arguments["question"]] += 1
        await self.gates.hold(arguments["room"], "tool", arguments["question"])
        return ToolResult(call_id=call.id, text="done")


# --- the machine -----------------------------------------------------------------------------------------------


class Deliveries(RuleBasedStateMachine):
    """Every rule ends when all that can go on without a gate has gone on, and compares what is seen."""

    done: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.Runner()
        self._folder = tempfile.TemporaryDirectory()
        self._world = World(Path(self._folder.name))
        self._rooms = {room: Room() for room in ROOMS}
        self._questions: list[Question] = []
        self._edits = 0
        self._has_failed = False

    def _do(self, name: str, work: Coroutine[Any, Any, T]) -> T:
        self.done[name] += 1

        async def bounded() -> T:
            async with asyncio.timeout(WAIT_S):
                return await work

        try:
            result = self._loop.run(bounded())
            self._loop.run(self._settle())
            self._loop.run(self._compare())
        except BaseException:
            self._has_failed = True  # nothing can be expected of this world any more
            raise
        return result

    @initialize()
    def open(self) -> None:
        self._do("start", self._world.open())

    # --- what people do ---

    @precondition(lambda self: self._open_questions < MAX_WAITING)
    @rule(room=rooms, kind=kinds)
    def send(self, room: str, kind: str) -> None:
        event = self._new_event(room, kind)
        turn_id = self._do("send", self._send([event]))[0]
        assert turn_id

    @precondition(lambda self: self._open_questions < MAX_WAITING - 3)
    @rule(sent=st.lists(st.tuples(rooms, kinds), min_size=2, max_size=4))
    def send_at_once(self, sent: Sequence[tuple[str, str]]) -> None:
        self._do("send at once", self._send([self._new_event(room, kind) for room, kind in sent]))

    @precondition(lambda self: self._questions)
    @rule(data=st.data(), later_s=st.sampled_from([0.0, 3600.0]))
    def redeliver(self, data: st.DataObject, later_s: float) -> None:
        question = data.draw(st.sampled_from(self._questions))
        outcome = self._do("redeliver", self._redeliver(question.event, later_s=later_s))
        assert (turn_of(outcome), isinstance(outcome, Queued), notice_of(outcome)) == (question.turn_id, False, "")

    async def _redeliver(self, event: MessageReceived, *, later_s: float) -> Accepted | Revised:
        await self._world.pass_time(later_s)
        return await self._world.bot.receive(event)

    @precondition(lambda self: self._questions)
    @rule(data=st.data(), kind=kinds, is_late=st.booleans())
    def edit(self, data: st.DataObject, kind: str, is_late: bool) -> None:
        question = data.draw(st.sampled_from(self._likely))
        self._edits += 1
        edited_at = 0 if is_late else self._edits  # a late one is older than any other
        text = f"{kind} {question.text.split()[1]} changed {self._edits}"
        edited = replace(question.event, text=text, edited_at=at(edited_at))
        notice = ""
        if not question.is_forgotten and question.edited_at < edited_at:
            notice = self._change(question, text, edited_at)
        outcome = self._do("edit", self._world.bot.receive(MessageEdited(message=edited)))
        assert notice in notice_of(outcome)
        assert bool(notice) == bool(notice_of(outcome))

    def _change(self, question: Question, text: str, edited_at: int) -> str:
        if question.fate == "open" and question.stage is None:
            question.text, question.edited_at = text, edited_at
            return ""
        return "already working on an answer" if question.fate == "open" else "answered before it was changed"

    @precondition(lambda self: self._questions)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        question = data.draw(st.sampled_from(self._likely))
        is_running = question.fate == "open" and question.stage is not None
        if question.fate == "open" and not is_running:
            question.fate, question.is_forgotten = "withdrawn", True
            self._rooms[question.room].open.remove(question)
        deleted = MessageDeleted(conversation=key_of(question.room), event_key=question.event.event_key)
        outcome = self._do("delete", self._world.bot.receive(deleted))
        assert bool(notice_of(outcome)) == is_running

    @rule(room=rooms)
    def stop(self, room: str) -> None:
        was_running = bool(self._rooms[room].open)
        if was_running:
            self._rooms[room].end(f"Stopped.{self._rooms[room].open[0].notes}")
        said = self._do("stop", self._world.bot.command("stop", key_of(room)))
        assert said == ("Stopping." if was_running else "Nothing is running in this conversation.")

    @rule(room=rooms)
    def clear(self, room: str) -> None:
        self._rooms[room].history.clear()
        for question in self._questions:
            question.is_forgotten |= question.room == room and question.fate == "ended"
        self._do("clear", self._world.bot.command("clear", key_of(room)))

    # --- what the world does ---

    @rule(room=rooms)
    def go_on(self, room: str) -> None:
        if self._rooms[room].open:
            self._rooms[room].go_on()
            self._do("go on", self._pass(room))

    @rule(is_expired=st.booleans())
    def crash(self, is_expired: bool) -> None:
        for room in self._rooms.values():
            room.lose_process(spends_attempt=True)
        self._do("crash, lease ended" if is_expired else "crash, lease run out", self._crash(is_expired=is_expired))

    async def _crash(self, *, is_expired: bool) -> None:
        dead = await self._world.crash()
        if is_expired:
            await self._world.store.expire(dead)
        await self._world.start()
        if not is_expired:
            await self._world.pass_time(MAX_LEASE_S + 1)
        self._world.bot.bell.ring_for_work()

    @rule()
    def restart(self) -> None:
        for room in self._rooms.values():
            room.lose_process(spends_attempt=False)
        self._do("restart", self._restart())

    async def _restart(self) -> None:
        await self._world.close()
        await self._world.open()

    @rule(by_s=jumps)
    def set_the_clock(self, by_s: float) -> None:
        self._world.clock.set_wall(by_s)
        self._do("set the clock", asyncio.sleep(0))

    def teardown(self) -> None:
        try:
            while self._open_questions and not self._has_failed:
                for room in ROOMS:
                    self.go_on(room)
            if not self._has_failed:
                self._check_that_each_was_answered_once()
        finally:
            self._loop.run(self._world.close())
            self._loop.close()
            self._folder.cleanup()

    # --- doing ---

    @property
    def _open_questions(self) -> int:
        return sum(len(room.open) for room in self._rooms.values())

    @property
    def _likely(self) -> list[Question]:
        """The questions that people change: more often than others those that wait."""
        waiting = [item for item in self._questions if item.fate == "open" and item.stage is None]
        return waiting[:2] + self._questions[-3:]

    def _new_event(self, room: str, kind: str) -> MessageReceived:
        number = len(self._questions)
        event = message(f"{kind} {number}", key=f"event-{number}", conversation=key_of(room))
        question = Question(event=event, room=room, turn_id=0, text=event.text)
        self._questions.append(question)
        self._rooms[room].open.append(question)
        self._rooms[room].begin()
        return event

    async def _send(self, events: Sequence[MessageReceived]) -> Sequence[int]:
        turn_ids = await asyncio.gather(*(self._world.bot.say(event) for event in events))
        for question, turn_id in zip(self._questions[-len(events) :], turn_ids, strict=True):
            question.turn_id = turn_id
        return turn_ids

    async def _pass(self, room: str) -> None:
        self._world.gates.open(room)

    # --- comparing ---

    async def _settle(self) -> None:
        """Wait until the gates hold what must be held, and what must be seen is there."""
        expected = {name: (room.open[0].stage, room.open[0].text) for name, room in self._rooms.items() if room.open}
        posts = sum(len(room.posts) for room in self._rooms.values())
        try:
            async with asyncio.timeout(WAIT_S):
                while self._held() != expected or len(self._world.adapter.posts) < posts:  # noqa: ASYNC110  (no event)
                    await asyncio.sleep(0.001)
        except TimeoutError:
            seen = [post.text for post in self._world.adapter.posts]
            raise AssertionError(f"held: {self._held()}, expected: {expected}, posted: {seen}") from None

    def _held(self) -> dict[str, tuple[Stage | None, str]]:
        held = self._world.gates.held.items()
        return {room: (stage, text) for room, (stage, text, passing) in held if not passing.done()}

    async def _compare(self) -> None:
        for name, room in self._rooms.items():
            posted = [post.text for post in self._world.adapter.posts if post.conversation == key_of(name)]
            assert posted == room.posts
            transcript = await self._world.store.transcript(key_of(name), limit=10_000)
            assert told(transcript) == room.history
        assert max(self._world.acted.values(), default=0) <= 1

    def _check_that_each_was_answered_once(self) -> None:
        answered = Counter(post.in_reply_to for post in self._world.adapter.posts)
        assert answered == Counter(item.event.event_key for item in self._questions if item.fate == "ended")
        assert all(item.fate in ("ended", "withdrawn") for item in self._questions)


def told(transcript: Sequence[HistoryEntry]) -> list[tuple[str, str]]:
    """Return question and answer of each turn, having checked that every call has one result."""
    turns: list[tuple[str, str]] = []
    for _, entries in groupby(transcript, key=lambda entry: entry.turn_id):
        question, *added = [entry.message for entry in entries]
        assert isinstance(question, UserMessage)
        _check_results(added)
        said = [item.text for item in added if isinstance(item, AssistantMessage) and item.text]
        turns.append((question.text, "\n\n".join(said)))
    return turns


def _check_results(added: Sequence[Message]) -> None:
    asked = [call.id for item in added if isinstance(item, AssistantMessage) for call in item.tool_calls]
    assert [item.call_id for item in added if isinstance(item, ToolMessage)] == asked


SHORT = settings(
    max_examples=20,
    stateful_step_count=25,
    deadline=None,
    # Whatever fails has waited in vain for WAIT_S: to look for a shorter way to it would take hours.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = SHORT


def main(examples: int) -> None:
    """Run the longer form and print what was done."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    started = time.monotonic()
    run_state_machine_as_test(Deliveries, settings=settings(SHORT, max_examples=examples, stateful_step_count=60))  # pyright: ignore[reportUnknownMemberType]  (hypothesis leaves it partly untyped)
    print(f"{examples} runs in {time.monotonic() - started:.0f} s, no difference to the plain model")
    for name, times in Deliveries.done.most_common():
        print(f"{times:8,}  {name}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
