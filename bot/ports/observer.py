"""The port to what watches turns: views, logs, metrics, audit."""

from __future__ import annotations

from typing import Protocol

from bot.domain.turns import TurnEvent
from bot.ports.work_store import ClaimedTurn


class TurnObserver(Protocol):
    """Sees what happens in turns, in order; what is a `Step` is durable by then."""

    def saw(self, turn: ClaimedTurn, event: TurnEvent) -> None:
        """Take note of the event; returns at once. An exception is logged and does not reach the turn."""
        ...
