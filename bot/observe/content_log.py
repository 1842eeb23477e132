"""Questions, answers and calls in the log, with their texts but without secrets: only where LOG_CONTENT=true."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from bot.domain.messages import AssistantMessage, Message
from bot.domain.turns import AT_REST, CallFinished, CallTaken, ModelAsked, Replied, StateChanged, TurnEvent
from bot.ports.work_store import ClaimedTurn
from bot.text.redaction import redact

log = structlog.stdlib.get_logger(__name__)


class ContentLog:
    """A `TurnObserver` of all turns of the process; the runner binds the turn, its conversation and its actor.

    A line for each question that has its answer, and one for each call that has its result.
    """

    def __init__(self) -> None:
        self._history: dict[int, int] = {}  # by turn
        self._calls: dict[tuple[int, int, str], CallTaken] = {}  # by turn, round and call

    def saw(self, turn: ClaimedTurn, event: TurnEvent) -> None:
        """Write a line where the event ends something."""
        number = turn.lease.turn_id
        match event:
            case ModelAsked(history=history):
                self._history[number] = history
            case CallTaken(round=round_number, call=call):
                self._calls[number, round_number, call.id] = event
            case CallFinished():
                self._log_call(self._calls.pop((number, event.round, event.result.call_id), None), event)
            case Replied():
                self._log_turn(turn, event, history=self._history.get(number, 0))
            case StateChanged(state=state) if state in AT_REST:
                self._forget(number)
            case _:
                pass

    def _log_call(self, taken: CallTaken | None, finished: CallFinished) -> None:
        result = finished.result
        log.info(
            "tool_call",
            call=result.call_id,
            tool=f"{taken.server}/{taken.tool}" if taken else "",
            arguments=redact(taken.call.arguments) if taken else "",
            result_chars=len(result.text),
            milliseconds=round(result.seconds * 1000),
            success=result.outcome == "ok",
            outcome=result.outcome,
        )

    def _log_turn(self, turn: ClaimedTurn, replied: Replied, *, history: int) -> None:
        answers = [message for message in replied.messages if isinstance(message, AssistantMessage)]
        log.info(
            "conversation_turn",
            question=redact(turn.event.text),
            answer=redact("\n\n".join(answer.text for answer in answers if answer.text)),
            tools=_tools(replied.messages),
            history_messages=history,
            outcome=replied.outcome,
        )

    def _forget(self, number: int) -> None:
        self._history.pop(number, None)
        for key in [key for key in self._calls if key[0] == number]:
            del self._calls[key]


def _tools(messages: Sequence[Message]) -> Sequence[str]:
    """Return the tools that were asked for, each once, in the order of their first calls."""
    calls = (call for message in messages if isinstance(message, AssistantMessage) for call in message.tool_calls)
    return list(dict.fromkeys(call.name for call in calls))
