"""What is seen of one running turn on a chat platform: its status, its trace and its growing answer.

Each has one writer. When to show what is the same everywhere; how to show it is the platform's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from adapters.shared.tasks import Background
from bot.domain.errors import AdapterError
from bot.domain.turns import CallState, Post, TraceLine, TurnState, TurnView

log = structlog.stdlib.get_logger(__name__)

BEGIN_S = 1.0  # what comes before the status, such as to take a sign away, may be limited to a few a minute
MAX_GAP_S = 60.0  # what is refused again and again is tried ever less often
LAST_TRIES = 4  # to bring a trace to its last state
ENDED: frozenset[TurnState] = frozenset({"answered", "stopped", "failed", "undelivered", "taken_over"})
UNENDED_CALLS: frozenset[CallState] = frozenset({"asked", "running"})

_SIGNS: dict[CallState, tuple[str, str]] = {
    "asked": ("◌", "asked"),
    "running": ("…", "running"),
    "ok": ("✓", ""),
    "error": ("✗", "error"),
    "timeout": ("⏱", "timeout"),
    "unavailable": ("⊘", "not available"),
    "interrupted": ("?", "interrupted"),
    "stopped": ("■", "stopped"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How eagerly a turn is shown; seconds, characters."""

    # Before the first sight of a trace: most tools have ended by then, and one call of the platform shows it.
    trace_delay_s: float = 1.0
    trace_gap_s: float = 1.5
    # An answer is shown while it grows once it is this long, or has been growing for so long: most answers are short,
    # and are posted once.
    grow_from_chars: int = 600
    grow_from_s: float = 2.5
    status_gap_s: float = 3.0
    status_refresh_s: float = 90.0


class AnswerWriter(Protocol):
    """The messages of one answer."""

    @property
    def is_final(self) -> bool:
        """Whether the answer is being ended: nothing of it grows any more."""
        ...

    @property
    def gap_s(self) -> float:
        """How long to wait before more of it is shown, in seconds."""
        ...

    def has(self, part: int) -> bool:
        """Tell whether the message of this part is known, so that ending it again does no harm."""
        ...

    async def grow(self, text: str) -> None:
        """Show the beginning of an answer. Raises AdapterError; the next call makes up for it."""
        ...

    async def finish(self, post: Post) -> str:
        """Let the post stand as it is to stay; return its reference. Done again it changes nothing.

        Raises:
            AdapterError: The platform refused; or it cannot be known what it did.
        """
        ...


class TraceWriter(Protocol):
    """Shows the tool calls of one turn."""

    @property
    def is_begun(self) -> bool:
        """Whether a part of it can be seen."""
        ...

    def is_up_to_date(self, lines: Sequence[TraceLine]) -> bool:
        """Tell whether just this is shown."""
        ...

    async def write(self, lines: Sequence[TraceLine]) -> None:
        """Show the calls as they are now. Raises AdapterError."""
        ...


class Status(Protocol):
    """Shows that the bot works; never fails."""

    def is_up_to_date(self, view: TurnView) -> bool:
        """Tell whether the view would be shown as it is shown already."""
        ...

    async def work(self, view: TurnView) -> None:
        """Show that the turn is being worked on, and what it waits for."""
        ...

    async def rest(self) -> None:
        """Show that the work is over."""
        ...


@dataclass(slots=True, kw_only=True)
class LiveTurn:
    """One turn. `show` is told what there is to see, `run` shows it, `post` ends the answer.

    `on_running` is awaited first of all, but holds up the status for `BEGIN_S` at most. `adopt` lets the writers take
    over what a process before this one has posted of the turn; it raises AdapterError where the platform does not show
    it.
    """

    view: TurnView
    status: Status
    trace: TraceWriter
    answer: AnswerWriter
    pace: Pace
    on_running: Callable[[TurnView], Awaitable[None]]
    adopt: Callable[[], Awaitable[None]]
    _changed: list[asyncio.Event] = field(default_factory=list[asyncio.Event], init=False)
    _begun: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _ended: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _adopting: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _has_adopted: bool = field(default=False, init=False)
    _began_text_at: float = field(default=0.0, init=False)
    _trace_failures: int = field(default=0, init=False)  # in a row

    def show(self, view: TurnView) -> None:
        """Take the newest view in place of the one before."""
        self.view = view
        if view.state in ENDED:
            self._ended.set()
        for changed in self._changed:
            changed.set()

    async def run(self) -> None:
        """Show the turn until it has ended; whatever the platform refuses of it, the answer is posted all the same."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._guard("begin", self._begin))
            group.create_task(self._guard("status", self._show_status))
            group.create_task(self._guard("trace", self._show_trace))
            group.create_task(self._guard("answer", self._show_answer))

    async def post(self, post: Post) -> str:
        """Let the post stand, finished, and return its reference. Raises AdapterError."""
        await self._take_over()
        await self._trace_first()
        return await self.answer.finish(post)

    @property
    def _calls(self) -> tuple[TraceLine, ...]:
        """The tool calls as they are to be shown: with a turn that ends early end those that it was waiting for."""
        if self.view.state not in ENDED or self.view.state == "taken_over":
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
        with suppress(TimeoutError):
            async with asyncio.timeout(BEGIN_S):
                await self._begun.wait()
        while not self._ended.is_set():
            await self.status.work(self.view)
            await self._pause(self.pace.status_gap_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(self.pace.status_refresh_s):
                    while self.status.is_up_to_date(self.view) and not self._ended.is_set():
                        await _next(changed)
        if self.view.state != "taken_over":
            await self.status.rest()

    async def _show_trace(self) -> None:
        changed = self._watch()
        while not self.view.trace and not self._ended.is_set():
            await _next(changed)
        await self._pause(self.pace.trace_delay_s)
        while not self._ended.is_set():
            await self._write_trace()
            await self._pause(_longer(self.pace.trace_gap_s, self._trace_failures))
            while self.trace.is_up_to_date(self._calls) and not self._ended.is_set():
                await _next(changed)
        # Nothing will bring it to its last state later.
        for attempt in range(LAST_TRIES):
            if self.view.state == "taken_over" or self.trace.is_up_to_date(self._calls):
                return
            if attempt:
                await asyncio.sleep(2.0**attempt)
            if not await self._write_trace():
                return

    async def _trace_first(self) -> None:
        """Let the trace stand above the answer, which comes without it where the platform refuses the trace."""
        if self.view.trace and not self.trace.is_begun:
            await self._write_trace()

    async def _write_trace(self) -> bool:
        """Bring the trace up to date; tell whether it is, or may be when it is tried again."""
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
        while not self._ended.is_set() and not self.answer.is_final:
            if self._is_worth_showing():
                failures = 0 if await self._grow() else failures + 1
                await self._pause(_longer(self.answer.gap_s, failures))
                await _next(changed)
            else:
                with suppress(TimeoutError):  # by then it may have been growing for long enough
                    async with asyncio.timeout(self.pace.grow_from_s):
                        await _next(changed)

    async def _grow(self) -> bool:
        """Show the answer as far as it is written; tell whether the platform took it."""
        try:
            await self._take_over()
            if not self._trace_failures:
                await self._trace_first()
            await self.answer.grow(self.view.text)
        except AdapterError as error:
            log.info("answer_not_shown_live", error=str(error))
            return False
        return True

    def _is_worth_showing(self) -> bool:
        length = len(self.view.text.strip())
        if not length or self.view.state != "running":
            return False
        now = time.monotonic()
        self._began_text_at = self._began_text_at or now
        return length >= self.pace.grow_from_chars or now - self._began_text_at >= self.pace.grow_from_s

    # --- after a crash ---

    async def _take_over(self) -> None:
        if self.view.attempt == 1:
            return
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

    # --- waiting ---

    def _watch(self) -> asyncio.Event:
        changed = asyncio.Event()
        self._changed.append(changed)
        return changed

    async def _pause(self, seconds: float) -> None:
        """Let time pass, but none once the turn has ended."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()

    async def _guard(self, writer: str, write: Callable[[], Awaitable[None]]) -> None:
        try:
            await write()
        except Exception:  # the answer does not depend on it
            log.exception("live_writer_failed", writer=writer)


class LiveTurns:
    """The turns that one adapter shows, each by a task of its own in `background`; `open_turn` makes them."""

    def __init__(self, open_turn: Callable[[TurnView], LiveTurn], background: Background) -> None:
        self._open_turn = open_turn
        self._background = background
        self._turns: dict[int, LiveTurn] = {}
        self.is_closed = False

    def get(self, turn_id: int) -> LiveTurn | None:
        """Return the turn while it is shown."""
        return self._turns.get(turn_id)

    def show(self, view: TurnView) -> None:
        """Show progress; returns at once. A turn that is new here is shown until it has ended."""
        turn = self._turns.get(view.turn_id)
        if turn is not None:
            turn.show(view)
        elif view.state not in ENDED and not self.is_closed:
            turn = self._turns[view.turn_id] = self._open_turn(view)
            self._background.spawn(self._follow(turn), name="turn")

    def close(self) -> None:
        """Show nothing new; the turns that have not ended are left for the next process to show."""
        self.is_closed = True
        for turn in list(self._turns.values()):
            if turn.view.state not in ENDED:
                turn.show(replace(turn.view, state="taken_over"))

    async def _follow(self, turn: LiveTurn) -> None:
        try:
            await turn.run()
        finally:
            del self._turns[turn.view.turn_id]


def call_line(line: TraceLine, *, is_running: bool, visible: Callable[[str], str]) -> str:
    """Return a call on one line: sign, tool, server, state and time; `visible` shows a name in the platform's format.

    Where the turn does not run any more (`is_running`), a call without a result is unfinished.
    """
    sign, word = _SIGNS[line.state]
    seconds = f"{line.seconds:,.1f} s"
    if line.state in UNENDED_CALLS:
        sign, word = (sign, word) if is_running else ("?", "unfinished")
        seconds = ""
    return (
        f"{sign} {' · '.join(filter(None, [visible(line.tool) or '(no name)', visible(line.server), word, seconds]))}"
    )


def _longer(gap_s: float, failures: int) -> float:
    return min(gap_s * 2 ** min(failures, 10), max(gap_s, MAX_GAP_S))


async def _next(changed: asyncio.Event) -> None:
    await changed.wait()
    changed.clear()
