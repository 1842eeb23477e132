"""The ids of traces and spans: all attempts at a turn are in one trace, though processes tell each other nothing of it.

The trace's id follows from the turn, and the id of each attempt's span from its fence. So an attempt can name the one
before, even where that process was killed; and samplers, which go by the trace's id, decide the same in all processes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

_TRACE_BYTES, _SPAN_BYTES = 16, 8  # https://www.w3.org/TR/trace-context/#traceparent-header-field-values


class TurnIds(RandomIdGenerator):
    """Random ids, except within `of`."""

    def __init__(self) -> None:
        self._next: ContextVar[tuple[int, int] | None] = ContextVar("next", default=None)

    @staticmethod
    def made_of(named: str, fence: int) -> tuple[int, int]:
        """Return the ids of the trace and of the span for the attempt with that fence at what is named so."""
        trace = hashlib.sha256(named.encode()).digest()[:_TRACE_BYTES]
        span = hashlib.sha256(trace + str(fence).encode()).digest()[:_SPAN_BYTES]
        return int.from_bytes(trace), int.from_bytes(span)

    @contextmanager
    def of(self, named: str, fence: int) -> Generator[None]:
        """Give the span that is begun within, a root, these ids."""
        token = self._next.set(self.made_of(named, fence))
        try:
            yield
        finally:
            self._next.reset(token)

    def generate_trace_id(self) -> int:
        """Return the next id of a trace."""
        made = self._next.get()
        return made[0] if made else super().generate_trace_id()

    def generate_span_id(self) -> int:
        """Return the next id of a span."""
        made = self._next.get()
        return made[1] if made else super().generate_span_id()
