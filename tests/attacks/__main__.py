"""The attacks of `SECURITY.md` in full length, and what they come to, as a table.

    python -m tests.attacks                         every area, some minutes; writes tests/reports/ATTACKS.md
    python -m tests.attacks door secrets            these areas only; writes nothing
    python -m tests.attacks fuzz --inputs 100000    so many inputs for each parser of the platforms and each HTTP route

Exit code 1 where a figure is beyond its limit. The short forms are tests in `tests/integration/test_attacks_*.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import cast

FILE = Path(__file__).parents[1] / "reports" / "ATTACKS.md"
Figures = Mapping[str, float | str]
CIRCUMSTANCES = ", with "  # the same figure measured again; its limit stays
# What `SECURITY.md` promises, by the figure's name.
AT_MOST: Mapping[str, float] = {
    "signed events lost": 0,
    "longest acknowledgement (s)": 3,
    "tracebacks in the log": 0,
    "first question behind 220 slow ones of one person (s)": 1,
    "false alarms, of ordinary answers (%)": 1,
    "a turn's answer redacted (ms)": 0.2,
    "found in any file": 0,
    "longest clear (s)": 1,
}
AT_LEAST: Mapping[str, float] = {"secrets found, of all (%)": 95}
AREAS: Mapping[str, str] = {
    "door": "The HTTP door",
    "fairness": "One person's flood",
    "budgets": "Budgets",
    "secrets": "Secrets",
    "kept": "What is kept",
    "bombs": "Size",
}
INTRO = """# What attacks come to

Written by `python -m tests.attacks`: real parts on one machine, loopback platforms, scripted models. Each figure with a
limit is one that `SECURITY.md` relies on; the command fails where one is beyond it.
"""
HEAD = """
| figure | value | limit | |
|---|---:|---:|---|
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, with its limit where it has one."""

    name: str
    value: float | str

    @property
    def promise(self) -> str:
        """The name under which its limit is listed."""
        return self.name.partition(CIRCUMSTANCES)[0]

    @property
    def limit(self) -> str:
        """The limit in words; "" where there is none."""
        if (most := AT_MOST.get(self.promise)) is not None:
            return f"at most {most:g}"
        return f"at least {least:g}" if (least := AT_LEAST.get(self.promise)) is not None else ""

    @property
    def holds(self) -> bool:
        """Whether the figure is within its limit."""
        most, least = AT_MOST.get(self.promise), AT_LEAST.get(self.promise)
        if most is None and least is None:
            return True
        value = float(self.value)
        return value <= most if most is not None else least is not None and value >= least

    def __str__(self) -> str:
        value = f"{self.value:,.4g}" if isinstance(self.value, float) else f"{self.value}"
        verdict = "" if not self.limit else "holds" if self.holds else "BEYOND"
        return f"| {self.name} | {value} | {self.limit} | {verdict} |"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, or fuzz; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description=__doc__)
    parser.add_argument("areas", nargs="*", metavar="AREA", help=", ".join(AREAS))
    parser.add_argument("--inputs", type=int, default=100_000, help="of fuzz, for each platform and the routes")
    options = parser.parse_args(argv)
    if options.areas == ["fuzz"]:
        return _fuzz(options.inputs)
    tables = {area: asyncio.run(_measure(area)) for area in options.areas or AREAS}
    text = INTRO + "".join(f"\n## {AREAS[area]}\n{HEAD}{_lines(rows)}" for area, rows in tables.items())
    print(text)
    rows = [row for rows in tables.values() for row in rows]
    if not options.areas:
        FILE.write_text(text, encoding="utf-8")
        unmeasured = {*AT_MOST, *AT_LEAST} - {row.promise for row in rows}
        assert not unmeasured, unmeasured  # a figure that was renamed would have lost its limit
    return 0 if all(row.holds for row in rows) else 1


def _lines(rows: Sequence[Row]) -> str:
    return "".join(f"{row}\n" for row in rows)


async def _measure(area: str) -> Sequence[Row]:
    measure = cast("Callable[[], Awaitable[Figures]]", import_module(f"tests.attacks.{area}").measure)
    return [Row(name, value) for name, value in (await measure()).items()]


def _fuzz(inputs: int) -> int:
    from tests.attacks import fuzz, fuzz_http, presses

    for platform in fuzz.PLATFORMS:
        fuzz.fuzz(platform, inputs=inputs)
        print(f"{inputs:,} payloads of {platform} for its parsers: nothing was raised", flush=True)
    print(f"{inputs:,} requests for the HTTP routes: {fuzz_http.fuzz(inputs)}", flush=True)
    faults: list[str] = []
    for name, send in (("Slack", presses.faults_in_slack), ("Discord", presses.faults_in_discord)):
        with tempfile.TemporaryDirectory() as home:
            found = asyncio.run(send(Path(home), count=inputs // 20, seed=1))
        print(f"{inputs // 20:,} deliveries of {name} for the whole product: {len(found)} unhandled", flush=True)
        faults += found
    for line in faults[:10]:
        print(f"  {line}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
