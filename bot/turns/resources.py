"""The parts that all attempts work with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bot.domain.events import MessageReceived
from bot.ports.model import Model
from bot.ports.observer import TurnObserver
from bot.ports.rights import Guard, Policy
from bot.ports.store import Store
from bot.ports.tools import Tools
from bot.ports.work_store import ClaimedTurn
from bot.turns.budgets import BudgetedModel, Budgets
from bot.turns.context import Window
from bot.turns.direct import DirectRun
from bot.turns.limits import Limits
from bot.turns.pulse import Pulse


def _by_itself(_turn: ClaimedTurn) -> AbstractContextManager[object]:
    """Enclose nothing."""
    return nullcontext()


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What every attempt works with."""

    store: Store
    model: Model
    tools: Tools
    guard: Guard
    policy: Callable[[], Policy]  # the current one
    budgets: Budgets
    window: Window
    system_prompt: str
    limits: Limits = field(default_factory=Limits)
    observers: Sequence[TurnObserver] = ()
    enclose: Callable[[ClaimedTurn], AbstractContextManager[object]] = _by_itself  # each attempt, while it goes on
    began_at: datetime = field(default_factory=lambda: datetime.now(UTC))  # when the process began to listen
    pulse: Pulse = field(default_factory=Pulse)

    def model_for(self, event: MessageReceived) -> Model:
        """Return what answers: the model within the asker's budgets, or none where a person asked for one call."""
        if event.run is not None:
            return DirectRun(event.run)
        return BudgetedModel(model=self.model, budgets=self.budgets, asker=event.asker, conversation=event.conversation)
