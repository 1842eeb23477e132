"""The journal of one turn: each finished step is stored before the next begins, and replayed after a crash."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.messages import ModelAnswer, ToolResult, Usage
from bot.domain.turns import CallFinished, CallStarted, ModelAnswered, Step
from bot.ports.store import Lease, Store


class Journal:
    """What the turn has done so far. Steps are known here before they are stored, never the other way round."""

    def __init__(self, store: Store, lease: Lease, steps: Sequence[Step]) -> None:
        self._store = store
        self._lease = lease
        self._answers: dict[int, ModelAnswer] = {}
        self._started: set[tuple[int, str]] = set()
        self._results: dict[tuple[int, str], ToolResult] = {}
        for step in steps:
            self._know(step)

    @property
    def answers(self) -> Sequence[ModelAnswer]:
        """The model's answers, in order."""
        return [self._answers[number] for number in sorted(self._answers)]

    @property
    def usage(self) -> Usage:
        """The tokens of all answers so far."""
        return sum((answer.usage for answer in self.answers), Usage())

    def answer(self, round_number: int) -> ModelAnswer | None:
        """Return the model's answer of that round, if it was given before."""
        return self._answers.get(round_number)

    def is_started(self, round_number: int, call_id: str) -> bool:
        """Tell whether that call may have reached its server."""
        return (round_number, call_id) in self._started

    def result(self, round_number: int, call_id: str) -> ToolResult | None:
        """Return the call's result, if it has one."""
        return self._results.get((round_number, call_id))

    async def record(self, *steps: Step) -> None:
        """Make the steps durable. Raises LeaseLostError."""
        for step in steps:
            self._know(step)
        if steps:
            await self._store.record(self._lease, steps)

    def _know(self, step: Step) -> None:
        match step:
            case ModelAnswered():
                self._answers[step.round] = step.answer
            case CallStarted():
                self._started.add((step.round, step.call_id))
            case CallFinished():
                self._results[step.round, step.result.call_id] = step.result
