"""What a benchmark gives, and how costs are compared: in turns, within one run, by medians of ratios."""

from __future__ import annotations

import gc
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table. `goal` is the largest value that is wanted, or the smallest where `is_floor`."""

    figure: str
    value: float
    unit: str = "x"
    goal: float | None = None
    is_floor: bool = False
    beside: str = ""  # seconds and counts of this machine, at this hour

    @property
    def verdict(self) -> str:
        """Return whether the goal is reached, in a word."""
        if self.goal is None:
            return ""
        return "yes" if (self.value >= self.goal if self.is_floor else self.value <= self.goal) else "no"

    @property
    def cells(self) -> Sequence[str]:
        """Return the row's cells."""
        sign = "≥" if self.is_floor else "≤"
        goal = "" if self.goal is None else f"{sign} {self.goal:g} {self.unit}"
        return self.figure, f"{_plain(self.value)} {self.unit}", goal, self.verdict, self.beside


def _plain(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(rows: Mapping[str, Sequence[Row]]) -> str:
    """Return the rows of each benchmark, by its name, as a Markdown table."""
    head = [("name", "figure", "value", "goal", "reached", "beside it"), ("---", "---", "---:", "---:", "---", "---")]
    cells = [(name, *row.cells) for name, group in rows.items() for row in group]
    return "\n".join(f"| {' | '.join(row)} |" for row in [*head, *cells])


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one unit of a work took."""

    wall_s: float
    cpu_s: float  # of this process, all its threads

    def __truediv__(self, units: int) -> Cost:
        return Cost(wall_s=self.wall_s / units, cpu_s=self.cpu_s / units)


Work = Callable[[], Awaitable[object]]


async def cost(work: Work) -> Cost:
    """Return what the work costs."""
    gc.collect()  # nobody pays for what another left
    cpu, wall = time.process_time(), time.perf_counter()
    await work()
    return Cost(wall_s=time.perf_counter() - wall, cpu_s=time.process_time() - cpu)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The costs of several works, measured in turns: the n-th of each stand beside each other."""

    costs: Mapping[str, Sequence[Cost]]

    def cpu_s(self, name: str) -> float:
        """Return the median CPU time of a unit."""
        return median(cost.cpu_s for cost in self.costs[name])

    def wall_s(self, name: str) -> float:
        """Return the median wall clock time of a unit."""
        return median(cost.wall_s for cost in self.costs[name])

    def cpu_ratio(self, name: str, *, over: str) -> float:
        """Return the median of the rounds' ratios of CPU time."""
        pairs = zip(self.costs[name], self.costs[over], strict=True)
        return median(one.cpu_s / other.cpu_s for one, other in pairs)

    def wall_ratio(self, name: str, *, over: str) -> float:
        """Return the median of the rounds' ratios of wall clock time."""
        pairs = zip(self.costs[name], self.costs[over], strict=True)
        return median(one.wall_s / other.wall_s for one, other in pairs)


async def compare(works: Mapping[str, Work], *, rounds: int, units: int) -> Comparison:
    """Run the works in turns, `units` units each time. Where they are compared, each warms up first.

    Each round begins with another one (A B C, B C A, ...): what comes right after which costs some percent.
    """
    names, costs = list(works), {name: list[Cost]() for name in works}
    if rounds > 1:  # one round shows that they run
        for work in works.values():
            await work()
    for number in range(rounds):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            costs[name].append(await cost(works[name]) / units)
    return Comparison(costs=costs)


def p99(seconds: Sequence[float]) -> float:
    """Return what ninety-nine of a hundred take at most."""
    return quantiles(seconds, n=100, method="inclusive")[98]
