"""What happens in turns and in calls to the model, counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bot.domain.asks import ApprovalAsk
from bot.domain.messages import ToolResult
from bot.domain.turns import (
    AT_REST,
    ENDED,
    CallAsked,
    CallDecided,
    CallFinished,
    CallWaiting,
    StateChanged,
    Step,
    TurnEvent,
    TurnState,
)
from bot.observe.families import Families
from bot.ports.observer import ModelCall
from bot.ports.work_store import ClaimedTurn

MAX_TURNS = 10_000  # remembered at once; one that was given back in an outage stays among them
UNSENT = frozenset({"denied", "withheld"})
# How an approval ends that no press has ended: those are counted where they are stored.
UNDECIDED = frozenset({"expired", "stopped"})
UNKNOWN = "unknown"  # the server of a tool that there is not

_Call = tuple[int, str]  # round and id


@dataclass(slots=True)
class _Turn:
    servers: dict[_Call, str] = field(default_factory=dict[_Call, str])
    approvals: set[_Call] = field(default_factory=set[_Call])  # which people were asked for


class TurnMetrics:
    """A `TurnObserver` of all turns of the process; `now` gives seconds since the epoch."""

    def __init__(self, families: Families, *, now: Callable[[], float] = time.time) -> None:
        self._families = families
        self._now = now
        self._turns: dict[int, _Turn] = {}

    def took_up(self, turn: ClaimedTurn, steps: Sequence[Step]) -> None:
        """See `ResumingObserver`."""
        for step in steps:
            self._note(turn, step)

    def saw(self, turn: ClaimedTurn, event: TurnEvent) -> None:
        """Count the event."""
        match event:
            case StateChanged(state=state):
                self._count_state(turn, state)
            case CallFinished(round=number, result=result):
                server = self._known(turn).servers.get((number, result.call_id), UNKNOWN)
                self._count_call(server, result)
            case CallDecided(round=number, call_id=call_id, outcome=outcome) if outcome in UNDECIDED:
                if (number, call_id) in self._known(turn).approvals:
                    self._families.approvals.labels(outcome).inc()
            case CallAsked() | CallWaiting():
                self._note(turn, event)
                if isinstance(event, CallWaiting) and isinstance(event.ask, ApprovalAsk):
                    self._families.approvals_requested.inc()
            case _:
                pass

    def withdrew(self, platform: str) -> None:
        """Count a question that its asker withdrew before its turn began: no observer sees that turn."""
        self._families.turns.labels(platform, "withdrawn").inc()

    def _note(self, turn: ClaimedTurn, step: Step) -> None:
        match step:
            case CallAsked(round=number, call=call, server=server):
                self._known(turn).servers[number, call.id] = server or UNKNOWN
            case CallWaiting(round=number, call_id=call_id, ask=ApprovalAsk()):
                self._known(turn).approvals.add((number, call_id))
            case _:
                pass

    def _known(self, turn: ClaimedTurn) -> _Turn:
        known = self._turns.setdefault(turn.lease.turn_id, _Turn())
        while len(self._turns) > MAX_TURNS:
            del self._turns[next(iter(self._turns))]
        return known

    def _count_state(self, turn: ClaimedTurn, state: TurnState) -> None:
        platform, lease = turn.event.conversation.platform, turn.lease
        if state == "running" and lease.fence == 1:  # later ones go on with what has been shown
            self._families.first_sign.labels(platform).observe(self._age_s(turn))
        if state in ENDED and not turn.wakes:
            self._families.answer.labels(platform, state).observe(self._age_s(turn))
        if state in AT_REST:
            self._families.turns.labels(platform, state).inc()
            self._turns.pop(lease.turn_id, None)

    def _count_call(self, server: str, result: ToolResult) -> None:
        self._families.tool_calls.labels(server, result.outcome).inc()
        if result.outcome not in UNSENT:
            self._families.tool_seconds.labels(server).observe(result.seconds)

    def _age_s(self, turn: ClaimedTurn) -> float:
        return max(0.0, self._now() - turn.event.sent_at.timestamp())  # clocks of platforms may be ahead


class ModelMetrics:
    """A `ModelObserver`; `provider` is what the conventions call the endpoint."""

    def __init__(self, families: Families, *, provider: str) -> None:
        self._families = families
        self._provider = provider

    def called(self, call: ModelCall) -> None:
        """Count the call, and what it cost."""
        families, usage, labels = self._families, call.usage, ("chat", self._provider, call.model)
        families.model_seconds.labels(*labels, call.error).observe(call.seconds)
        if call.first_chunk_s is not None:
            families.first_chunk.labels(*labels).observe(call.first_chunk_s)
        if usage.input_tokens or usage.output_tokens:
            families.tokens.labels(*labels, "input").observe(usage.input_tokens)
            families.tokens.labels(*labels, "output").observe(usage.output_tokens)
        families.cached_tokens.labels(call.model).inc(usage.cached_tokens)
        families.cost.labels(call.model).inc(usage.micro_usd / 1_000_000)
        families.unpriced_tokens.labels(call.model).inc(usage.unpriced_tokens)
