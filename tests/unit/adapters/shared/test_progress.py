"""What is shown of a running turn, and when, whatever a platform refuses of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from adapters.shared.fence import check_held
from adapters.shared.progress import Pace, ProgressBoard, TurnProgress, call_line
from adapters.shared.tasks import Background
from bot.domain.errors import AdapterError
from bot.domain.events import ConversationKey
from bot.domain.turns import CallState, Post, TraceLine, TurnState, TurnView

CONVERSATION = ConversationKey(platform="fake", space="team", channel="general")
WAIT_S = 30.0
PACE = Pace(trace_delay_s=0.0, trace_gap_s=0.0, grow_from_chars=1, status_gap_s=0.0)


@dataclass
class Screen:
    """What people see of a turn, and the writer of its answer; `did` is what came to be seen, in its order."""

    did: list[str] = field(default_factory=list[str])
    refuses_trace: AdapterError | None = None
    refuses_adoption: AdapterError | None = None
    refuses_post: AdapterError | None = None
    status_breaks: bool = False
    is_final: bool = False
    gap_s: float = 0.0
    is_begun: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    shown: tuple[TraceLine, ...] = ()
    takes_calls: asyncio.Event = field(default_factory=asyncio.Event)
    takes_statuses: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.takes_statuses.set()
        self.takes_calls.set()

    def see(self, what: str) -> None:
        self.did.append(what)
        self.changed.set()

    async def until(self, what: str) -> None:
        async with asyncio.timeout(WAIT_S):
            while what not in self.did:
                self.changed.clear()
                await self.changed.wait()

    def has(self, part: int) -> bool:
        return False

    async def grow(self, text: str) -> None:
        self.see(f"grew to {text}")

    async def finish(self, post: Post) -> str:
        self.is_final = True
        await self.takes_calls.wait()
        check_held()
        if self.refuses_post is not None:
            raise self.refuses_post
        self.see(f"posted {post.text}")
        return "ref"

    async def abandon(self, note: str) -> None:
        self.see(f"abandoned {note}")


@dataclass
class Trace:
    screen: Screen

    @property
    def is_begun(self) -> bool:
        return self.screen.is_begun

    def is_up_to_date(self, lines: Sequence[TraceLine]) -> bool:
        return tuple(lines) == self.screen.shown

    async def write(self, lines: Sequence[TraceLine]) -> None:
        if not self.screen.takes_calls.is_set():
            self.screen.see("waits for its rate")
            await self.screen.takes_calls.wait()
        check_held()
        self.screen.see(f"traced {' '.join(line.state for line in lines)}")
        if self.screen.refuses_trace is not None:
            raise self.screen.refuses_trace
        self.screen.is_begun, self.screen.shown = True, tuple(lines)

    async def forget(self) -> None:
        self.screen.see("forgotten")


@dataclass
class Status:
    screen: Screen
    view: TurnView | None = None

    def is_up_to_date(self, view: TurnView) -> bool:
        return view == self.view

    async def work(self, view: TurnView) -> None:
        if self.screen.status_breaks:
            raise ValueError("a bug")
        self.view = view
        if not self.screen.takes_statuses.is_set():
            self.screen.see("waits to show that it works")
            await self.screen.takes_statuses.wait()
            try:
                check_held()
            except AdapterError:
                self.screen.see("drops that it works")
                return
        self.screen.see("works")

    async def rest(self, view: TurnView) -> None:
        self.screen.see("rests")


def open_turn(screen: Screen, view: TurnView, *, pace: Pace = PACE) -> TurnProgress:
    async def on_running(_: TurnView) -> None:
        screen.see("begun")

    async def adopt() -> None:
        if screen.refuses_adoption is not None:
            raise screen.refuses_adoption
        screen.see("adopted")

    return TurnProgress(
        view=view,
        status=Status(screen),
        trace=Trace(screen),
        answer=screen,
        pace=pace,
        on_running=on_running,
        adopt=adopt,
    )


def call(state: CallState = "running", *, server: str = "shop", seconds: float = 0.0) -> TraceLine:
    return TraceLine(call_id="a", server=server, tool="look", state=state, arguments="{}", seconds=seconds)


def view(
    state: TurnState = "running", *, text: str = "", calls: Sequence[TraceLine] = (), attempt: int = 1
) -> TurnView:
    return TurnView(turn_id=1, conversation=CONVERSATION, state=state, text=text, trace=tuple(calls), attempt=attempt)


def post(text: str = "Done.") -> Post:
    return Post(key="p", conversation=CONVERSATION, turn_id=1, part=0, text=text)


@pytest.mark.parametrize("delay_s", [0.0, 60.0])
async def test_a_status_that_begins_late_is_not_shown_where_the_answer_comes_first(delay_s: float) -> None:
    screen = Screen()
    turn = open_turn(screen, view(text="So"), pace=replace(PACE, status_delay_s=delay_s))
    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
        group.create_task(turn.run())
        await screen.until("grew to So" if delay_s else "works")
        await turn.post(post())
        turn.show(view("answered", text="So"))
    assert ("works" in screen.did) == (delay_s == 0)


async def test_the_trace_is_above_the_answer_and_both_are_brought_to_their_end() -> None:
    screen = Screen()
    turn = open_turn(screen, view(calls=[call()], text="So"))
    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
        group.create_task(turn.run())
        await screen.until("grew to So")
        turn.show(view("delivering", calls=[call("ok")], text="So"))
        await turn.post(post())
        turn.show(view("answered", calls=[call("ok")], text="So"))
    seen = [what for what in screen.did if what.startswith(("traced", "grew", "posted"))]
    assert seen.index("traced running") < seen.index("grew to So") < seen.index("posted Done.")
    assert screen.shown == (call("ok"),)
    assert screen.did.count("begun") == screen.did.count("rests") == 1


@pytest.mark.parametrize(
    ("ends", "shown"), [("stopped", "stopped"), ("failed", "interrupted"), ("answered", "interrupted")]
)
async def test_a_call_that_the_turn_waited_for_ends_with_it(ends: TurnState, shown: CallState) -> None:
    screen = Screen()
    turn = open_turn(screen, view(calls=[call("asked"), call("ok")]))
    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
        group.create_task(turn.run())
        await screen.until("traced asked ok")
        turn.show(view(ends, calls=[call("asked"), call("ok")]))
    assert [line.state for line in screen.shown] == [shown, "ok"]


async def test_a_trace_that_is_refused_for_good_is_given_up_and_the_answer_comes_without_it() -> None:
    screen = Screen(refuses_trace=AdapterError("No.", is_permanent=True))
    turn = open_turn(screen, view(calls=[call()]))
    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
        group.create_task(turn.run())
        await screen.until("traced running")
        assert await turn.post(post()) == "ref"
        turn.show(view("answered", calls=[call("ok")]))
    assert screen.did.count("traced ok") == 1
    assert screen.shown == ()


async def test_a_bug_in_one_writer_ends_neither_the_others_nor_the_answer() -> None:
    screen = Screen(status_breaks=True)
    turn = open_turn(screen, view(calls=[call()], text="So"))
    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
        group.create_task(turn.run())
        await screen.until("grew to So")
        assert await turn.post(post()) == "ref"
        turn.show(view("answered", calls=[call("ok")]))
    assert screen.shown == (call("ok"),)


@pytest.mark.parametrize(("attempt", "times"), [(1, 0), (2, 1)])
async def test_what_an_earlier_attempt_has_posted_is_adopted_once_before_anything_is_written(
    attempt: int, times: int
) -> None:
    screen = Screen()
    turn = open_turn(screen, view(calls=[call()], text="So", attempt=attempt))
    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
        group.create_task(turn.run())
        await screen.until("grew to So")
        await turn.post(post())
        turn.show(view("answered", calls=[call("ok")], attempt=attempt))
    assert screen.did.count("adopted") == times
    written = [what for what in screen.did if what not in ("begun", "works", "rests")]
    assert written[0] == ("adopted" if times else "traced running")


async def test_a_turn_that_waits_for_a_decision_shows_the_call_that_waits_and_rests() -> None:
    screen, background = Screen(), Background("test")
    board = ProgressBoard(lambda seen: open_turn(screen, seen), background)
    board.show(view(calls=[call("asked")], text="So"))
    await screen.until("grew to So")
    board.show(view("waiting", calls=[call("waiting")], text="So"))
    async with asyncio.timeout(WAIT_S):  # it ends by itself
        await background.drain(timeout_s=2 * WAIT_S)
    assert board.get(1) is None
    assert screen.shown == (call("waiting"),)
    assert screen.did[-1] == "rests" or screen.did[-2:] == ["rests", "traced waiting"]
    assert not [what for what in screen.did if what.startswith("posted")]


async def test_a_turn_that_goes_on_after_a_wait_is_shown_once_the_attempt_before_it_has_ended() -> None:
    screen, background = Screen(), Background("test")
    board = ProgressBoard(lambda seen: open_turn(screen, seen), background)
    board.show(view(calls=[call("asked")]))
    await screen.until("traced asked")
    board.show(view("waiting", calls=[call("waiting")]))
    board.show(view(calls=[call("waiting")], attempt=1))  # too late: the attempt is at rest
    board.show(view(calls=[call("running")], attempt=2))
    await screen.until("traced running")
    board.show(view("answered", calls=[call("ok")], attempt=2))
    async with asyncio.timeout(WAIT_S):
        await background.drain(timeout_s=2 * WAIT_S)
    assert screen.shown == (call("ok"),) and board.get(1) is None
    assert screen.did.count("rests") == screen.did.count("begun") == 2
    assert screen.did.index("rests") < screen.did.index("adopted") < screen.did.index("traced running")


async def test_nothing_is_posted_while_it_is_unknown_what_is_visible_already() -> None:
    screen = Screen(refuses_adoption=AdapterError("Later."))
    turn = open_turn(screen, view(attempt=2))
    with pytest.raises(AdapterError, match="Later"):
        await turn.post(post())
    screen.refuses_adoption = AdapterError("Never.", is_permanent=True)  # better twice than not at all
    assert await turn.post(post()) == "ref"
    assert screen.did == ["posted Done."]


async def test_turns_that_have_not_ended_when_the_platform_is_closed_are_left_as_they_are_seen() -> None:
    screen, background = Screen(), Background("test")
    turns = ProgressBoard(lambda seen: open_turn(screen, seen), background)
    turns.show(view(calls=[call()]))
    await screen.until("traced running")
    turns.close()
    async with asyncio.timeout(WAIT_S):  # it ends by itself
        await background.drain(timeout_s=2 * WAIT_S)
    assert turns.get(1) is None
    assert [line.state for line in screen.shown] == ["running"] and "rests" not in screen.did
    turns.show(view())
    assert turns.get(1) is None


async def test_what_still_waits_for_its_rate_when_another_process_gets_the_turn_is_not_sent() -> None:
    screen = Screen()
    turn = open_turn(screen, view(calls=[call()]))
    running = asyncio.create_task(turn.run())
    screen.takes_calls.clear()
    await screen.until("waits for its rate")
    posting = asyncio.create_task(turn.post(post()))
    await asyncio.sleep(0)
    turn.show(view("taken_over", calls=[call()]))
    screen.takes_calls.set()
    async with asyncio.timeout(WAIT_S):
        await running
        with pytest.raises(AdapterError):
            await posting
    assert not [what for what in screen.did if what.startswith(("traced", "posted"))]


async def test_a_status_that_waits_for_its_rate_until_the_answer_is_posted_is_not_shown_below_it() -> None:
    screen = Screen()
    screen.takes_statuses.clear()
    turn = open_turn(screen, view())
    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
        group.create_task(turn.run())
        await screen.until("waits to show that it works")
        await turn.post(post())
        screen.takes_statuses.set()
        await screen.until("drops that it works")
        turn.show(view("answered"))
    assert "works" not in screen.did


async def test_a_status_shows_that_a_post_is_tried_again() -> None:
    screen = Screen(refuses_post=AdapterError("Slack failed."))
    turn = open_turn(screen, view())
    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
        group.create_task(turn.run())
        await screen.until("works")
        with pytest.raises(AdapterError):
            await turn.post(post())
        screen.did.clear()
        turn.show(replace(view(), notice="Slack failed. Trying again in 1 s."))
        await screen.until("works")
        turn.show(view("answered"))


async def test_a_turn_is_shown_from_its_first_view_on_until_it_has_ended_and_not_from_its_last() -> None:
    screen, background = Screen(), Background("test")
    turns = ProgressBoard(lambda seen: open_turn(screen, seen), background)
    turns.show(view("answered"))
    assert turns.get(1) is None and screen.did == []
    turns.show(view(calls=[call()]))
    assert turns.get(1) is not None
    turns.show(view("answered", calls=[call("ok")]))
    async with asyncio.timeout(WAIT_S):  # it ends by itself
        await background.drain(timeout_s=2 * WAIT_S)
    assert turns.get(1) is None and screen.shown == (call("ok"),)


@pytest.mark.parametrize(
    ("line", "is_running", "shown"),
    [
        (call("running"), True, "… *look* · *shop* · running"),
        (call("running"), False, "? *look* · *shop* · unfinished"),
        (call("waiting"), True, "⏸ *look* · *shop* · waiting"),
        (call("ok", seconds=1.25), True, "✓ *look* · *shop* · 1.2 s"),
        (call("timeout", seconds=1_000), False, "⏱ *look* · *shop* · timeout · 1,000.0 s"),
        (call("ok", server=""), True, "✓ *look* · 0.0 s"),
    ],
)
def test_a_call_is_shown_on_one_line(line: TraceLine, is_running: bool, shown: str) -> None:
    assert call_line(line, is_running=is_running, visible=lambda name: f"*{name}*" if name else "") == shown
