"""What unit tests share."""

from __future__ import annotations

import logging
from collections.abc import Generator

import pytest
import structlog

from bot.cli.start import start
from bot.observe.logs import OURS
from bot.text.known_values import known


@pytest.fixture
def process_as_before() -> Generator[None]:
    """Put back what a command or a log's setting up changes in the process: its logging, and the secrets it hides."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    levels = {name: logging.getLogger(name).level for name in OURS}
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()
    known.forget(start)
