"""What is seen of one running turn in a Slack thread: its status, its trace and its growing answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import structlog

from adapters.slack.answer import AnswerWriter
from adapters.slack.own import OwnMessage, Place, Slack
from adapters.slack.parse import message_ts
from adapters.slack.refusals import Refusals
from adapters.slack.status import Status
from adapters.slack.traces import TraceLevel, TraceWriter, open_trace
from bot.errors import AdapterError
from bot.ports import CallState, Post, TraceLine, TurnState, TurnView

LAST_TRIES = 4
log = structlog.stdlib.get_logger(__name__)

FindOwn = Callable[[Place, str], Awaitable[Sequence[OwnMessage]]]
ENDED: frozenset[TurnState] = frozenset({"answered", "stopped", "failed", "undelivered", "taken_over"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How eagerly a turn is shown; seconds, characters."""

    trace_delay_s: float = (
        1.0  # before the first sight of a trace: most tools have ended by then, and one call shows it
    )
    trace_gap_s: float = 1.5
    append_gap_s: float = 0.8
    edit_gap_s: float = 1.5
    # An answer is shown while it grows once it is this long, or has been growing for so long: startStream is scarce
    # (20 a minute and workspace), and most answers are short.
    grow_from_chars: int = 600
    grow_from_s: float = 2.5
    # A stream lives for about five minutes, even while it is written to: https://github.com/slackapi/bolt-js/issues/2717
    stream_life_s: float = 240.0
    status_gap_s: float = 3.0
    status_refresh_s: float = 90.0  # a status vanishes after two minutes


@dataclass(slots=True, kw_only=True)
class LiveTurn:
    """One turn in one thread. `show` is told what there is to see, `run` shows it, `post` ends the answer."""

    slack: Slack
    place: Place
    find_own: FindOwn
    refusals: Refusals
    pace: Pace
    trace_level: TraceLevel
    view: TurnView
    on_running: Callable[[TurnView], Awaitable[None]]
    _answer: AnswerWriter = field(init=False)
    _trace: TraceWriter = field(init=False)
    _status: Status = field(init=False)
    _changed: list[asyncio.Event] = field(default_factory=list[asyncio.Event], init=False)
    _ended: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _searching: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _is_searched: bool = field(default=False, init=False)
    _began_text_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._status = Status(slack=self.slack, place=self.place, refusals=self.refusals)
        self._trace = open_trace(
            self.trace_level, slack=self.slack, place=self.place, turn_id=self.view.turn_id, search=self._find_own
        )
        self._answer = AnswerWriter(
            slack=self.slack,
            place=self.place,
            turn_id=self.view.turn_id,
            author=self.view.author_id,
            refusals=self.refusals,
            search=self._find_own,
            stream_life_s=self.pace.stream_life_s,
        )

    def show(self, view: TurnView) -> None:
        """Take the newest view in place of the one before."""
        self.view = view
        if view.state in ENDED:
            self._ended.set()
        for changed in self._changed:
            changed.set()

    async def run(self) -> None:
        """Show the turn until it has ended; whatever Slack refuses of it, the answer is posted all the same."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._guard("status", self._show_status))
            group.create_task(self._guard("trace", self._show_trace))
            group.create_task(self._guard("answer", self._show_answer))

    async def post(self, post: Post) -> str:
        """Let the post stand in the thread, finished, and return its timestamp. Raises AdapterError."""
        await self._search()
        await self._trace_first()
        return await self._answer.finish(post)

    def has(self, post: Post) -> bool:
        """Tell whether the message of this post is known, so that finishing it again does no harm."""
        return self._answer.has(post.part)

    @property
    def _calls(self) -> tuple[TraceLine, ...]:
        """The tool calls as they are to be shown: with a turn that ends early end those that it was waiting for."""
        if self.view.state not in ENDED or self.view.state == "taken_over":
            return self.view.trace
        ending: CallState = "stopped" if self.view.state == "stopped" else "interrupted"
        return tuple(
            replace(line, state=ending) if line.state in ("asked", "running") else line for line in self.view.trace
        )

    # --- the three writers ---

    async def _show_status(self) -> None:
        await self.on_running(self.view)
        changed = self._watch()
        while not self._ended.is_set():
            await self._status.work(self.view)
            await self._pause(self.pace.status_gap_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(self.pace.status_refresh_s):
                    while self._status.is_up_to_date(self.view) and not self._ended.is_set():
                        await _next(changed)
        if self.view.state != "taken_over":
            await self._status.rest(is_told=self._answer.has_ended_session)

    async def _show_trace(self) -> None:
        changed = self._watch()
        while not self.view.trace and not self._ended.is_set():
            await _next(changed)
        await self._pause(self.pace.trace_delay_s)
        while not self._ended.is_set():
            await self._write_trace()
            await self._pause(self.pace.trace_gap_s)
            while self._trace.is_up_to_date(self._calls) and not self._ended.is_set():
                await _next(changed)
        # Nothing will bring it to its last state later.
        for attempt in range(LAST_TRIES):
            if self.view.state == "taken_over" or self._trace.is_up_to_date(self._calls):
                return
            if attempt:
                await asyncio.sleep(2.0**attempt)
            if not await self._write_trace():
                return

    async def _trace_first(self) -> None:
        """Let the trace stand above the answer, which comes without it where Slack refuses the trace."""
        if self.view.trace and not self._trace.is_begun:
            await self._write_trace()

    async def _write_trace(self) -> bool:
        """Bring the trace up to date; tell whether it is, or may be when it is tried again."""
        try:
            await self._search()
            await self._trace.write(self._calls)
        except AdapterError as error:
            log.info("trace_not_shown", error=str(error))
            return not error.is_permanent
        return True

    async def _show_answer(self) -> None:
        changed = self._watch()
        while not self._ended.is_set() and not self._answer.is_final:
            if self._is_worth_showing():
                try:
                    await self._search()
                    await self._trace_first()
                    await self._answer.grow(self.view.text)
                except AdapterError as error:
                    log.info("answer_not_shown_live", error=str(error))
                await self._pause(self.pace.append_gap_s if self._answer.streams else self.pace.edit_gap_s)
                await _next(changed)
            else:
                with suppress(TimeoutError):  # by then it may have been growing for long enough
                    async with asyncio.timeout(self.pace.grow_from_s):
                        await _next(changed)

    def _is_worth_showing(self) -> bool:
        length = len(self.view.text.strip())
        if not length or self.view.state != "running":
            return False
        now = time.monotonic()
        self._began_text_at = self._began_text_at or now
        return length >= self.pace.grow_from_chars or now - self._began_text_at >= self.pace.grow_from_s

    # --- after a crash ---

    async def _search(self) -> None:
        """Take over what a process before this one has posted of the turn."""
        if self.view.attempt == 1:
            return
        async with self._searching:
            if self._is_searched:
                return
            own: Sequence[OwnMessage] = ()
            try:
                own = await self._find_own()
            except AdapterError as error:
                if not error.is_permanent:
                    raise
                log.warning("own_messages_not_found", error=str(error))
            self._answer.adopt(own)
            self._trace.adopt(own)
            self._is_searched = True

    async def _find_own(self) -> Sequence[OwnMessage]:
        return await self.find_own(self.place, message_ts(self.view.in_reply_to))

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


async def _next(changed: asyncio.Event) -> None:
    await changed.wait()
    changed.clear()
