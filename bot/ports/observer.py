"""The ports to what watches the work: views, logs, metrics, health, audit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from bot.domain.asks import AskState
from bot.domain.messages import ModelAnswer, Usage
from bot.domain.turns import Step, TurnEvent
from bot.ports.model import ModelRequest
from bot.ports.tools import Tools
from bot.ports.work_store import ClaimedTurn


class TurnObserver(Protocol):
    """Sees what happens in turns, in order; what is a `Step` is durable by then."""

    def saw(self, turn: ClaimedTurn, event: TurnEvent) -> None:
        """Take note of the event; returns at once. An exception is logged and does not reach the turn."""
        ...


@runtime_checkable
class ResumingObserver(Protocol):
    """A `TurnObserver` that has to know what an earlier attempt did, in whichever process."""

    def took_up(self, turn: ClaimedTurn, steps: Sequence[Step]) -> None:
        """Take note of the turn's journal, from which it goes on; returns at once and must not raise."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """One question to the model that has ended, with all the requests that it took."""

    model: str
    purpose: Literal["answer", "summary"]
    seconds: float
    first_chunk_s: float | None = None  # until the first text; None: there was none
    usage: Usage = field(default_factory=Usage)  # also of requests that gave no answer
    error: str = ""  # the error's class; empty where there is an answer
    request: ModelRequest | None = None  # where the call came through the port
    answer: ModelAnswer | None = None


class ModelObserver(Protocol):
    """Sees each call to the model."""

    def called(self, call: ModelCall) -> None:
        """Take note of a call that has ended; returns at once. An exception is logged and does not reach the call."""
        ...


class Tracing(Protocol):
    """Encloses work while it goes on, so that all that happens in it belongs to it."""

    def enclose(self, turn: ClaimedTurn, *, conversation_id: str) -> AbstractContextManager[object]:
        """Enclose an attempt at the turn; `conversation_id` is the one that tool servers get. Nothing of it raises."""
        ...

    def enclosing(self, tools: Tools) -> Tools:
        """Return the same tools, each call of which is enclosed."""
        ...


def _ignore(_what: str) -> None:
    """Take no note."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watchers:
    """What watches the work of a process; without any, nothing is spent on it."""

    turns: Sequence[TurnObserver] = ()
    models: Sequence[ModelObserver] = ()
    # Called with the state of each approval that people end in this process.
    settled: Callable[[AskState], None] = _ignore
    # Called with the platform of each question that its asker withdraws, in this process, before its turn begins.
    withdrew: Callable[[str], None] = _ignore
    tracing: Tracing | None = None
