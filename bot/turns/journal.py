"""The journal of one turn: each step is stored before anyone sees it, then handed to the observers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Literal

import structlog

from bot.domain.asks import ApprovalAsk, FormAsk, LinkAsk
from bot.domain.budgets import Charge
from bot.domain.messages import Message, ModelAnswer, ToolCall, ToolResult, Usage
from bot.domain.turns import (
    CallAsked,
    CallDecided,
    CallFinished,
    CallJudged,
    CallStarted,
    CallWaiting,
    ModelAnswered,
    Post,
    Replied,
    StateChanged,
    Step,
    TokensSpent,
    TurnEvent,
    TurnState,
)
from bot.ports.observer import ResumingObserver, TurnObserver
from bot.ports.tools import Resumed
from bot.ports.work_store import ClaimedTurn, ToolUse, WorkStore
from bot.turns.auditing import CallAudit
from bot.turns.outage import outlasting

log = structlog.stdlib.get_logger(__name__)


class Journal:
    """What the turn has done so far, and the only way to write more of it.

    A step is known here before it is stored, never the other way round; observers see it once it is durable. What
    model calls cost is charged in the commit of their step, by what `charge` returns for it. A database that cannot be
    reached is waited for.
    """

    def __init__(
        self,
        store: WorkStore,
        turn: ClaimedTurn,
        steps: Sequence[Step],
        *,
        observers: Sequence[TurnObserver] = (),
        charge: Callable[[Usage], Charge | None] = lambda _: None,
    ) -> None:
        self._store = store
        self._turn = turn
        self._observers = observers
        self._answers: dict[int, ModelAnswer] = {}
        self._started: set[tuple[int, str]] = set()
        self._waits: dict[tuple[int, str], CallWaiting] = {}
        self._decided: dict[tuple[int, str], Resumed] = {}
        self._approvals: dict[tuple[int, str], Resumed] = {}
        self._results: dict[tuple[int, str], ToolResult] = {}
        self._audit = CallAudit(turn, now=lambda: self.now)
        self._held: list[Step] = []
        self._charge = charge
        self._lost = Usage()  # of calls that gave no answer, all in all
        self._uncharged = Usage()  # of those, what no commit has charged yet
        self._failed: list[TurnObserver] = []  # each is logged once: a turn may have thousands of events
        for step in steps:
            self._know(step)
        self._audit.entries(steps)  # they are in the audit already
        if steps:
            for observer in observers:
                if isinstance(observer, ResumingObserver):
                    observer.took_up(turn, steps)

    # --- what is known ---

    @property
    def now(self) -> float:
        """The database's clock, in seconds since the epoch: decisions are in time, or too late, by it."""
        return self._store.now()

    @property
    def worker(self) -> str:
        """The process that works on the turn."""
        return self._turn.lease.worker

    @property
    def answers(self) -> Sequence[ModelAnswer]:
        """The model's answers, in order."""
        return [self._answers[number] for number in sorted(self._answers)]

    @property
    def usage(self) -> Usage:
        """The tokens of all answers so far, and of calls that gave none."""
        return sum((answer.usage for answer in self.answers), self._lost)

    @property
    def held_usage(self) -> Usage:
        """What the next commit will charge."""
        return _usage_of(self._held) + self._uncharged

    def answer(self, round_number: int) -> ModelAnswer | None:
        """Return the model's answer of that round, if it was given before."""
        return self._answers.get(round_number)

    def is_started(self, round_number: int, call_id: str) -> bool:
        """Return whether that call may have reached its server and does not wait for a decision."""
        return (round_number, call_id) in self._started

    def wait(self, round_number: int, call_id: str) -> CallWaiting | None:
        """Return what that call waits for, if it is not decided yet."""
        return self._waits.get((round_number, call_id))

    def resumed(self, round_number: int, call_id: str) -> Resumed | None:
        """Return what the call's server waited for last, with what was decided; an approval is none of its business."""
        return self._decided.get((round_number, call_id))

    def approval(self, round_number: int, call_id: str) -> Resumed | None:
        """Return what was decided on the call's approval, if it was asked for one; what its server asked is none."""
        return self._approvals.get((round_number, call_id))

    @property
    def has_asked(self) -> bool:
        """Whether anything of the turn waits or waited for a person."""
        return bool(self._waits or self._decided or self._approvals)

    def unfinished(self) -> Iterator[tuple[ToolCall, CallWaiting]]:
        """Yield the calls without a result whose servers asked something, with what they wait or waited for."""
        asked = {**self._waits, **{key: resumed.wait for key, resumed in self._decided.items()}}
        for number, answer in self._answers.items():
            for call in answer.message.tool_calls:
                wait = asked.get((number, call.id))
                if (
                    wait is not None
                    and isinstance(wait.ask, FormAsk | LinkAsk)
                    and (number, call.id) not in self._results
                ):
                    yield call, wait

    def result(self, round_number: int, call_id: str) -> ToolResult | None:
        """Return the call's result, if it has one."""
        return self._results.get((round_number, call_id))

    async def learn_decisions(self) -> None:
        """Take up decisions that were stored after the steps were read."""
        for step in await self._store.steps(self._turn.lease.turn_id):
            if isinstance(step, CallDecided) and self.wait(step.round, step.call_id) is not None:
                self._know(step)
                self._audit.entries([step])

    # --- what happens ---

    def tell(self, *events: TurnEvent) -> None:
        """Hand events to the observers; an observer that fails is logged once and does not reach the turn."""
        for event in events:
            if isinstance(event, TokensSpent):
                self._lost += event.usage
                self._uncharged += event.usage
            for observer in self._observers:
                try:
                    observer.saw(self._turn, event)
                except Exception:
                    if observer not in self._failed:
                        log.exception("observer_failed", observer=type(observer).__name__)
                        self._failed.append(observer)

    async def record(self, *steps: Step) -> None:
        """Make the steps durable, in one commit with those that are held. Raises LeaseLostError."""
        stored = self._take(steps)
        if stored:
            audit, charge = self._audit.entries(stored), self._costs(stored)
            await outlasting(
                lambda again: self._store.record(self._turn.lease, stored, audit=audit, charge=charge, again=again)
            )
        self.tell(*stored)

    def hold(self, step: Step) -> None:
        """Keep the step for the next commit of the turn, where nothing happens between it and that commit."""
        self._know(step)
        self._held.append(step)

    def give_up(self) -> None:
        """Hold the end of all that waits: nobody will decide it, and the audit says so."""
        for number, call_id in tuple(self._waits):
            self.hold(CallDecided(round=number, call_id=call_id, outcome="stopped"))

    async def park(self, *steps: Step, wakes_at: float) -> TurnState:
        """Let the turn wait for decisions; return the state it is in now. Raises LeaseLostError."""
        stored = self._take(steps)
        audit, charge = self._audit.entries(stored), self._costs(stored)
        state = await outlasting(
            lambda again: self._store.park(
                self._turn.lease, stored, wakes_at=wakes_at, audit=audit, charge=charge, again=again
            )
        )
        self.tell(*stored, StateChanged(state="waiting"))
        return state

    async def reply(
        self,
        state: Literal["answered", "stopped", "failed"],
        *,
        messages: Sequence[Message],
        posts: Sequence[Post],
        tool_use: ToolUse | None = None,
        read_until: datetime | None = None,
    ) -> None:
        """Store how the turn ended, with what is held, and what is to be posted. Raises LeaseLostError.

        With `read_until`, what was said in the thread before that time is known from now on; `tool_use` is remembered.
        """
        stored = self._take(())
        audit, charge = self._audit.entries(stored), self._costs(stored)
        await outlasting(
            lambda again: self._store.reply(
                self._turn.lease,
                state=state,
                messages=messages,
                posts=posts,
                usage=self.usage,
                steps=stored,
                audit=audit,
                charge=charge,
                tool_use=tool_use,
                read_until=read_until,
                again=again,
            )
        )
        self.tell(*stored, Replied(outcome=state, messages=tuple(messages)), StateChanged(state="delivering"))

    def _costs(self, stored: Sequence[Step]) -> Charge | None:
        usage, self._uncharged = _usage_of(stored) + self._uncharged, Usage()
        return self._charge(usage)

    def _take(self, steps: Sequence[Step]) -> Sequence[Step]:
        for step in steps:
            self._know(step)
        stored = (*self._held, *steps)
        self._held.clear()
        return stored

    def _know(self, step: Step) -> None:
        match step:
            case ModelAnswered():
                self._answers[step.round] = step.answer
            case CallAsked() | CallJudged():
                pass  # its answer is known; a verdict is asked for again before each run
            case CallStarted():
                self._started.add((step.round, step.call_id))
            case CallWaiting():
                self._started.discard((step.round, step.call_id))
                self._waits[step.round, step.call_id] = step
            case CallDecided():
                wait = self._waits.pop((step.round, step.call_id), None)
                if wait is not None:
                    self._decide(step, Resumed(wait=wait, decision=step))
            case CallFinished():
                self._results[step.round, step.result.call_id] = step.result

    def _decide(self, step: CallDecided, resumed: Resumed) -> None:
        is_approval = isinstance(resumed.wait.ask, ApprovalAsk)
        (self._approvals if is_approval else self._decided)[step.round, step.call_id] = resumed


def _usage_of(steps: Sequence[Step]) -> Usage:
    return sum((step.answer.usage for step in steps if isinstance(step, ModelAnswered)), Usage())
