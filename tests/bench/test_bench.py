"""Each benchmark runs and prints its rows. What they measure needs a quiet machine, so nothing is said of it here."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.bench.__main__ import BENCHMARKS
from tests.bench.measure import Comparison, Cost, Row, table
from tests.bench.servers import HOUSE

WAIT_S = 280
PARTS = 5  # of the benchmarks, which run side by side


@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", range(PARTS))
def test_each_benchmark_runs_and_prints_a_row_of_its_own(part: int) -> None:
    """They run in processes of their own, because they measure one and set up its logs."""
    names = list(BENCHMARKS)[part::PARTS]
    command = (sys.executable, "-m", "tests.bench", *names, "--quick")
    ran = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert ran.returncode == 0, ran.stderr
    rows = [line.split(" | ") for line in ran.stdout.splitlines() if line.startswith("| ")]
    for name in names:
        own = [row for row in rows if row[0] == f"| {name}"]
        assert own, name
        assert all(float(row[2].split()[0].replace(",", "")) > 0 for row in own)


def test_a_ratio_is_the_median_of_the_rounds_so_one_bad_round_does_not_count() -> None:
    fast, slow, disturbed = (Cost(wall_s=s, cpu_s=s / 2) for s in (1.0, 2.0, 30.0))
    comparison = Comparison(costs={"ours": [slow, disturbed, slow], "theirs": [fast, fast, fast]})
    assert comparison.wall_ratio("ours", over="theirs") == 2.0
    assert comparison.cpu_s("ours") == 1.0


@pytest.mark.parametrize(
    ("value", "is_floor", "verdict"), [(1.5, False, "yes"), (1.51, False, "no"), (99, True, "yes"), (1, True, "no")]
)
def test_a_row_says_whether_its_goal_is_reached(value: float, is_floor: bool, verdict: str) -> None:
    row = Row(figure="a ratio", value=value, goal=99 if is_floor else 1.5, is_floor=is_floor)
    assert row.verdict == verdict
    assert f"| {verdict} |" in table({"name": [row]})
