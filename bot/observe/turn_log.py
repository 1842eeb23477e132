"""Turns in the log: one line for each tool call and for each end; never their text."""

from __future__ import annotations

import time

import structlog

from bot.domain.turns import (
    AT_REST,
    ENDED,
    CallAsked,
    CallDecided,
    CallFinished,
    CallJudged,
    CallWaiting,
    StateChanged,
    TurnEvent,
)
from bot.ports.work_store import ClaimedTurn

log = structlog.stdlib.get_logger(__name__)


class TurnLog:
    """A `TurnObserver` of all turns of the process; the runner binds the turn, its conversation and its actor."""

    def __init__(self) -> None:
        self._begun: dict[int, float] = {}  # by turn, in seconds of a clock that is never set
        self._tools: dict[tuple[int, str], str] = {}  # by turn and call

    def saw(self, turn: ClaimedTurn, event: TurnEvent) -> None:
        """Write a line where the event is worth one."""
        number = turn.lease.turn_id
        match event:
            case CallAsked(call=call):
                self._tools[number, call.id] = call.name
            case CallFinished(result=result):
                tool = self._tools.pop((number, result.call_id), "")
                seconds = round(result.seconds, 3)
                log.info("tool_call_ended", call=result.call_id, tool=tool, outcome=result.outcome, seconds=seconds)
            case CallJudged(call_id=call_id, verdict=verdict, rule=rule) if verdict != "allow":
                log.info("tool_call_judged", call=call_id, verdict=verdict, rule=rule)
            case CallWaiting(call_id=call_id):
                log.info("tool_call_waits", call=call_id)
            case CallDecided(call_id=call_id, outcome=outcome, by=by):
                log.info("tool_call_decided", call=call_id, outcome=outcome, by=by)
            case StateChanged(state=state):
                self._log_state(turn, state)
            case _:
                pass

    def _log_state(self, turn: ClaimedTurn, state: str) -> None:
        number = turn.lease.turn_id
        begun = self._begun.setdefault(number, time.monotonic())
        if state in ENDED:
            seconds = round(time.monotonic() - begun, 3)
            log.info("turn_ended", outcome=state, attempt=turn.lease.attempt, seconds=seconds)
        if state in AT_REST:
            self._forget(number)

    def _forget(self, number: int) -> None:
        self._begun.pop(number, None)
        for key in [key for key in self._tools if key[0] == number]:
            del self._tools[key]
