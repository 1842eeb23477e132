"""What is seen of one running turn on a chat platform: its status, its trace and its growing answer.

Each has one writer. When something is shown is the same everywhere; how it is shown is up to the platform.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from adapters.shared.fence import only_while
from adapters.shared.tasks import Background
from bot.domain.backoff import Backoff
from bot.domain.errors import AdapterError
from bot.domain.events import ConversationKey
from bot.domain.turns import AT_REST, ENDED, UNENDED_CALLS, CallState, Post, TraceLine, TurnView

log = structlog.stdlib.get_logger(__name__)

BEGIN_S = 1.0  # what precedes the status, such as removing a reaction, may be limited to a few calls a minute
MAX_GAP_S = 60.0  # between tries of what the platform keeps refusing
NOT_POSTED = "The rest of this answer could not be posted here."
LAST_S = 20.0  # for bringing a trace to its last state; a platform's own repetitions count in it
LAST_BACKOFF = Backoff(first_s=2.0)  # between tries

_SIGNS: dict[CallState, tuple[str, str]] = {
    "asked": ("◌", "asked"),
    "waiting": ("⏸", "waiting"),
    "running": ("…", "running"),
    "ok": ("✓", ""),
    "error": ("✗", "error"),
    "timeout": ("⏱", "timeout"),
    "unavailable": ("⊘", "not available"),
    "interrupted": ("?", "interrupted"),
    "stopped": ("■", "stopped"),
    "denied": ("⊝", "denied"),
    "withheld": ("◇", "not sent (dry run)"),
}
_NEVER_SENT: frozenset[CallState] = frozenset({"denied", "withheld"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How eagerly a turn is shown; seconds, characters."""

    # Before a trace is first shown: most tools have ended by then, and one call of the platform's API is enough.
    trace_delay_s: float = 1.0
    trace_gap_s: float = 1.5
    # An answer is shown while it grows once it is this long, or has been growing for this long: most answers are short
    # and are posted once.
    grow_from_chars: int = 600
    grow_from_s: float = 2.5
    status_delay_s: float = 0.0  # before the first status; an answer that comes sooner needs none
    status_gap_s: float = 3.0
    status_refresh_s: float = 90.0


class AnswerWriter(Protocol):
    """The messages of one answer."""

    @property
    def is_final(self) -> bool:
        """Whether the answer is being finished: no part of it grows any more."""
        ...

    @property
    def gap_s(self) -> float:
        """How long to wait before more of it is shown, in seconds."""
        ...

    def has(self, part: int) -> bool:
        """Return whether the message of this part is known, so that finishing it again does no harm."""
        ...

    async def grow(self, text: str) -> None:
        """Show the beginning of an answer. Raises AdapterError; the next call makes up for it."""
        ...

    async def finish(self, post: Post) -> str:
        """Show the post in its final form and return its reference. Repeating it changes nothing.

        Raises:
            AdapterError: The platform refused, or the outcome is unknown.
        """
        ...

    async def abandon(self, note: str) -> None:
        """Bring what is shown of parts that were not finished to an end: nothing grows any more, nothing has a button.

        The last of them ends with the note; where the platform refuses that too, it goes. Never raises AdapterError,
        and does nothing where nothing is shown.
        """
        ...


class TraceWriter(Protocol):
    """Shows the tool calls of one turn."""

    @property
    def is_begun(self) -> bool:
        """Whether part of it is visible."""
        ...

    def is_up_to_date(self, lines: Sequence[TraceLine]) -> bool:
        """Return whether exactly this is shown."""
        ...

    async def write(self, lines: Sequence[TraceLine]) -> None:
        """Show the calls as they are now. Raises AdapterError."""
        ...

    async def forget(self) -> None:
        """Drop what was kept for the next process: the trace has come to its end. Never fails."""
        ...


class Status(Protocol):
    """Shows that the bot is working; never fails."""

    def is_up_to_date(self, view: TurnView) -> bool:
        """Return whether showing the view would change nothing."""
        ...

    async def work(self, view: TurnView) -> None:
        """Show that the turn is being worked on, and what it waits for."""
        ...

    async def rest(self, view: TurnView) -> None:
        """Show that the work is over; `view` is the last one: the turn has ended, or waits for a decision."""
        ...


@dataclass(slots=True, kw_only=True)
class TurnProgress:
    """One turn on the screen: `show` takes what there is to see, `run` shows it, `post` finishes the answer.

    `on_running` is awaited first, but the status begins after `BEGIN_S` at the latest. `adopt` makes the writers take
    over what was posted of the turn before this attempt; it raises AdapterError where the platform does not show it.
    `after` shows an earlier attempt of the same turn: nothing is written before it has ended.
    """

    view: TurnView
    status: Status
    trace: TraceWriter
    answer: AnswerWriter
    pace: Pace
    on_running: Callable[[TurnView], Awaitable[None]]
    adopt: Callable[[], Awaitable[None]]
    after: asyncio.Task[None] | None = None
    _changed: list[asyncio.Event] = field(default_factory=list[asyncio.Event], init=False)
    _begun: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _rests: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _adopting: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _has_adopted: bool = field(default=False, init=False)
    _began_text_at: float = field(default=0.0, init=False)
    _is_answered: bool = field(default=False, init=False)  # the answer is on its way to people, or there
    _trace_failures: int = field(default=0, init=False)  # in a row

    @property
    def is_at_rest(self) -> bool:
        """Whether this attempt has ended."""
        return self._rests.is_set()

    def show(self, view: TurnView) -> None:
        """Take the newest view in place of the one before; one that comes after the attempt's end is dropped."""
        if view.state in AT_REST:
            self._rests.set()
        elif self.is_at_rest:
            return
        self.view = view
        for changed in self._changed:
            changed.set()

    async def run(self) -> None:
        """Show the turn until it is at rest; a refusal or a fault here never keeps the answer from being posted."""
        await self._earlier_attempt()
        with only_while(self._is_ours):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._guard("begin", self._begin))
                group.create_task(self._guard("status", self._show_status))
                group.create_task(self._guard("trace", self._show_trace))
                group.create_task(self._guard("answer", self._show_answer))

    async def post(self, post: Post) -> str:
        """Show the post in its final form, below the trace, and return its reference. Raises AdapterError."""
        with only_while(self._is_ours):
            await self._take_over()
            await self._trace_first()
            return await self._finish(post)

    async def _finish(self, post: Post) -> str:
        self._is_answered = True
        try:
            return await self.answer.finish(post)
        except BaseException:
            self._is_answered = False  # it is tried again, and the status says when
            raise

    def _is_at_work(self) -> bool:
        """Return whether the bot still works on what people wait for: a status that comes later stays for good."""
        return not self.is_at_rest and not self._is_answered

    def _is_ours(self) -> bool:
        """Return whether the turn is shown here: what waits to be sent when another process gets it is not sent."""
        return self.view.state != "taken_over"

    @property
    def _calls(self) -> tuple[TraceLine, ...]:
        """The tool calls as they are to be shown: a call that has not ended when the turn does ends with it."""
        if self.view.state not in ENDED:
            return self.view.trace
        ending: CallState = "stopped" if self.view.state == "stopped" else "interrupted"
        return tuple(replace(line, state=ending) if line.state in UNENDED_CALLS else line for line in self.view.trace)

    # --- the three writers ---

    async def _begin(self) -> None:
        try:
            await self.on_running(self.view)
        finally:
            self._begun.set()

    async def _show_status(self) -> None:
        changed = self._watch()
        await self._pause(self.pace.status_delay_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, BEGIN_S - self.pace.status_delay_s)):
                await self._begun.wait()
        while not self.is_at_rest:
            if self._is_at_work():
                with only_while(self._is_at_work):  # it may wait for its rate until the answer is there
                    await self.status.work(self.view)
            await self._pause(self.pace.status_gap_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(self.pace.status_refresh_s):
                    while self.status.is_up_to_date(self.view) and not self.is_at_rest:
                        await _next(changed)
        if self.view.state != "taken_over":
            await self.status.rest(self.view)

    async def _show_trace(self) -> None:
        changed = self._watch()
        while not self.view.trace and not self.is_at_rest:
            await _next(changed)
        await self._pause(self.pace.trace_delay_s)
        while not self.is_at_rest:
            await self._write_trace()
            await self._pause(_stretched(self.pace.trace_gap_s, self._trace_failures))
            while self.trace.is_up_to_date(self._calls) and not self.is_at_rest:
                await _next(changed)
        if self.view.state != "taken_over":
            await self._write_last_trace()
        if self.view.state in ENDED:
            await self.trace.forget()

    async def _write_last_trace(self) -> None:
        """Bring the trace up to date: nothing will update it later."""
        loop = asyncio.get_running_loop()
        failures, deadline = 0, loop.time() + LAST_S
        while not self.trace.is_up_to_date(self._calls):
            if not await self._write_trace() or loop.time() >= deadline:
                return
            if not self.trace.is_up_to_date(self._calls):
                failures += 1
                await asyncio.sleep(LAST_BACKOFF.wait_s(failures))

    async def _trace_first(self) -> None:
        """Put the trace above the answer; where the platform refuses the trace, the answer comes without it."""
        if self.view.trace and not self.trace.is_begun:
            await self._write_trace()

    async def _write_trace(self) -> bool:
        """Bring the trace up to date; return False where trying again cannot help."""
        try:
            await self._take_over()
            await self.trace.write(self._calls)
        except AdapterError as error:
            log.info("trace_not_shown", error=str(error))
            self._trace_failures += 1
            return not error.is_permanent
        self._trace_failures = 0
        return True

    async def _show_answer(self) -> None:
        changed, failures = self._watch(), 0
        while not self.is_at_rest and not self.answer.is_final:
            if self._is_worth_showing():
                failures = 0 if await self._grow() else failures + 1
                await self._pause(_stretched(self.answer.gap_s, failures))
                await _next(changed)
            else:
                with suppress(TimeoutError):  # by then it may have been growing for long enough
                    async with asyncio.timeout(self.pace.grow_from_s):
                        await _next(changed)
        while not self.is_at_rest:
            await _next(changed)
        if self.view.state == "undelivered":
            await self.answer.abandon(NOT_POSTED)

    async def _grow(self) -> bool:
        """Show the answer as far as it is written; return whether the platform took it."""
        try:
            await self._take_over()
            if not self._trace_failures:
                await self._trace_first()
            await self.answer.grow(self.view.text)
        except AdapterError as error:
            log.info("growing_answer_not_shown", error=str(error))
            return False
        return True

    def _is_worth_showing(self) -> bool:
        length = len(self.view.text.strip())
        if not length or self.view.state != "running":
            return False
        now = time.monotonic()
        self._began_text_at = self._began_text_at or now
        return length >= self.pace.grow_from_chars or now - self._began_text_at >= self.pace.grow_from_s

    # --- after a crash, or after a wait ---

    async def _take_over(self) -> None:
        """Adopt, once, what was posted before this attempt. Raises AdapterError where that cannot be known yet."""
        if self.view.attempt == 1:
            return
        await self._earlier_attempt()
        async with self._adopting:
            if self._has_adopted:
                return
            try:
                await self.adopt()
            except AdapterError as error:
                if not error.is_permanent:
                    raise
                log.warning("own_messages_not_found", error=str(error))
            self._has_adopted = True

    async def _earlier_attempt(self) -> None:
        if self.after is not None:
            await asyncio.wait([self.after])

    # --- pauses ---

    def _watch(self) -> asyncio.Event:
        changed = asyncio.Event()
        self._changed.append(changed)
        return changed

    async def _pause(self, seconds: float) -> None:
        """Pause, but not beyond the moment when the turn comes to rest."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._rests.wait()

    async def _guard(self, writer: str, write: Callable[[], Awaitable[None]]) -> None:
        try:
            await write()
        except Exception:  # the answer does not depend on it
            log.exception("progress_writer_failed", writer=writer)


class ProgressBoard:
    """The turns that one adapter shows, each in a task of its own in `background`; `open_progress` makes them."""

    def __init__(self, open_progress: Callable[[TurnView], TurnProgress], background: Background) -> None:
        self._open_progress = open_progress
        self._background = background
        self._turns: dict[int, TurnProgress] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self.is_closed = False

    def get(self, turn_id: int) -> TurnProgress | None:
        """Return the turn while it is shown."""
        return self._turns.get(turn_id)

    def at_work_in(self, conversation: ConversationKey) -> int:
        """Return the id of the turn that is being worked on there, 0 where none is by this process."""
        views = (turn.view for turn in self._turns.values())
        at_work = (view for view in views if view.conversation == conversation and view.state not in AT_REST)
        return next((view.turn_id for view in at_work), 0)

    def show(self, view: TurnView) -> None:
        """Show progress; returns at once.

        A turn that is new here, or goes on after a wait, is shown until it is at rest.
        """
        turn = self._turns.get(view.turn_id)
        if turn is not None and not (turn.is_at_rest and view.attempt > turn.view.attempt):
            turn.show(view)
        elif view.state not in AT_REST and not self.is_closed:
            self._open(view)

    async def settle(self, turn_id: int) -> None:
        """Return once nothing of the turn is being written: its last view was shown, or it is not shown at all."""
        if (task := self._tasks.get(turn_id)) is not None:
            await asyncio.wait([task])

    def close(self) -> None:
        """Show no new turns; those that are not at rest are left for the next process to show."""
        self.is_closed = True
        for turn in list(self._turns.values()):
            if not turn.is_at_rest:
                turn.show(replace(turn.view, state="taken_over"))

    def _open(self, view: TurnView) -> None:
        turn = self._turns[view.turn_id] = self._open_progress(view)
        turn.after = self._tasks.get(view.turn_id)
        self._tasks[view.turn_id] = self._background.spawn(self._follow(turn), name="turn")

    async def _follow(self, turn: TurnProgress) -> None:
        turn_id = turn.view.turn_id
        try:
            await turn.run()
        finally:
            if self._turns.get(turn_id) is turn:
                del self._turns[turn_id], self._tasks[turn_id]


def call_line(line: TraceLine, *, is_running: bool, visible: Callable[[str], str]) -> str:
    """Return a call on one line: sign, tool, server, state, time and what was decided about it.

    `visible` shows a name in the platform's format. Once the turn no longer runs (`is_running` is false), a call
    without a result is shown as unfinished.
    """
    sign, word = _SIGNS[line.state]
    seconds = "" if line.state in _NEVER_SENT else f"{line.seconds:,.1f} s"
    if line.state in UNENDED_CALLS:
        sign, word = (sign, word) if is_running else ("?", "unfinished")
        seconds = visible(line.progress) if is_running and line.state == "running" else ""
    parts = [visible(line.tool) or "(no name)", visible(line.server), word, seconds, visible(line.note)]
    return f"{sign} {' · '.join(filter(None, parts))}"


def _stretched(gap_s: float, failures: int) -> float:
    """Return the gap, doubled for each failure in a row."""
    return Backoff(first_s=gap_s, max_s=max(gap_s, MAX_GAP_S)).wait_s(failures + 1)


async def _next(changed: asyncio.Event) -> None:
    await changed.wait()
    changed.clear()
