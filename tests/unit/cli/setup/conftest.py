"""What tests of `toolbridge setup` share."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from bot.cli.setup.plan import Plan
from bot.text.known_values import known


@pytest.fixture(autouse=True)
def values_as_before() -> Generator[None]:
    """Hide no longer what was typed: it is hidden as long as the process lives, and other tests live in this one."""
    yield
    known.forget(Plan)
