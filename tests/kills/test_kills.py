"""The short form of the kill matrix; the long one is `python -m tests.kills`."""

from __future__ import annotations

import subprocess
import sys

import pytest

LONGEST_S = 300.0  # on a machine that does other things beside it
SEED = "20260101"


@pytest.mark.timeout(LONGEST_S + 10)
@pytest.mark.parametrize("form", ["--enumerate", "--random=30"])
def test_nothing_is_lost_or_done_twice_when_the_bot_is_killed(form: str) -> None:
    """In a process of its own: its children are forked, which a process with threads must not do."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.kills", "--short", "--seed", SEED, form],
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
    )
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    (total,) = [line for line in ran.stdout.splitlines() if line.startswith("all ")]
    assert int(total.split()[3]) >= 30, ran.stdout  # kills that happened
