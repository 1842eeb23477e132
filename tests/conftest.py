"""What holds for all tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.fakes.wire import Wire

# The machine's speed is no property of the code: a slow example is no failure. `--hypothesis-profile=thorough` looks
# at ten times as many examples.
settings.register_profile("toolbridge", deadline=None, max_examples=40)
settings.register_profile("thorough", deadline=None, max_examples=400)
settings.load_profile("toolbridge")

# Where the environment forbids compiled files, each worker would rewrite the asserts of all test modules again, and
# each child process compile the bot again: together that takes longer than a tenth of all tests.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture
def wire() -> Iterator[Wire]:
    """A wire to the tests' PostgreSQL."""
    from tests.fakes import postgres  # late: most tests need no driver of it

    wire = Wire(postgres.server().port)
    yield wire
    wire.close()
