"""Exceptions that nothing handled and that were only logged: by the bot, by libraries, by asyncio of its tasks."""

from __future__ import annotations

import logging
from collections.abc import Generator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from structlog.processors import format_exc_info
from structlog.testing import capture_logs

MAX_CHARS = 2_000  # of one


@dataclass(frozen=True)
class Faults:
    """What was logged so far."""

    _of_libraries: list[str]
    _logged: list[MutableMapping[str, Any]]  # by the bot, at any level

    @property
    def lines(self) -> list[str]:
        """A line for each."""
        own = [str(entry) for entry in self._logged if "exception" in entry]
        return [line[-MAX_CHARS:] for line in (*self._of_libraries, *own)]  # a traceback ends with what was raised

    def clear(self) -> None:
        """Forget them."""
        self._of_libraries.clear()
        self._logged.clear()


@contextmanager
def watching() -> Generator[Faults]:
    """Collect errors while the context is open."""
    handler = _Handler()
    logging.getLogger().addHandler(handler)
    try:
        with capture_logs(processors=[format_exc_info]) as logged:
            yield Faults(handler.lines, logged)
    finally:
        logging.getLogger().removeHandler(handler)


class _Handler(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name}: {self.format(record)}")
