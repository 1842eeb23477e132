"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# The machine's speed is no property of the code: a slow example is no failure.
settings.register_profile("toolbridge", deadline=None)
settings.load_profile("toolbridge")
