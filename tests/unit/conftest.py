"""What unit tests share."""

from __future__ import annotations

import logging
from collections.abc import Generator

import pytest
import structlog

from bot.observe.logs import QUIET


@pytest.fixture
def logging_as_before() -> Generator[None]:
    """Put the process's logging back to what the other tests expect."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    levels = {name: logging.getLogger(name).level for name in QUIET}
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()
