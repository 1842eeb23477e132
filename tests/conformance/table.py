"""The results as one Markdown file: a table for the server, one for the client."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.conformance.notes import Note, note_of
from tests.conformance.suite import ALPHA, HANDSHAKE, INSTALL, MODERN, STABLE, Check, Scenario, Side

NOT_LISTED = "-"
NEEDS_FIXTURE = "needs a fixture"
DOES_NOT_APPLY = "does not apply"
FAILS = "FAILS"
_PASSES = re.compile(r"passes (\d+)/(\d+)")
_COUNTED = ("SUCCESS", "FAILURE", "WARNING")
_TITLES: Mapping[Side, str] = {"server": "The bundled server", "client": "The bot's client"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One version of the suite at one version of the specification."""

    suite: str
    spec: str
    era: str

    @property
    def title(self) -> str:
        return f"{self.suite}, {self.spec} ({self.era})"


COLUMNS = (
    Column(suite=STABLE, spec=HANDSHAKE, era="handshake"),
    Column(suite=ALPHA, spec=HANDSHAKE, era="handshake"),
    Column(suite=ALPHA, spec=MODERN, era="modern"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One scenario: a result for each column, and the reason where one is not a pass."""

    scenario: str
    results: tuple[str, ...]
    reason: str = ""

    @property
    def is_explained(self) -> bool:
        """Whether nothing failed, and whatever did not pass has its reason."""
        failed = any(result.startswith(FAILS) for result in self.results)
        return not failed and (all(map(_is_settled, self.results)) or self.reason != "")


def should_run(scenario: Scenario, column: Column) -> bool:
    """Return whether the suite is to run the scenario for this column."""
    note = note_of(scenario)
    return column.spec in scenario.specs and (note is None or note.is_run)


def judge(scenario: Scenario, column: Column, checks: Sequence[Check]) -> str:
    """Return the cell of a scenario that this column's suite lists."""
    note = note_of(scenario)
    if note is not None and not note.is_run:
        spans_eras = column.spec in scenario.specs or not {HANDSHAKE, MODERN} & set(scenario.specs)
        return DOES_NOT_APPLY if spans_eras else NOT_LISTED
    if column.spec not in scenario.specs:
        return NOT_LISTED
    return _judge_checks([check for check in checks if check.status in _COUNTED], note, has_run=bool(checks))


def render(tables: Mapping[Side, Sequence[Row]]) -> str:
    """Return the whole file."""
    parts = [_INTRODUCTION]
    for side, rows in tables.items():
        parts += [f"## {_TITLES[side]}\n\n{_summary(rows)}", _render_table(rows)]
    return "\n\n".join(parts) + "\n"


def parse(text: str) -> dict[Side, list[Row]]:
    """Return the rows of a rendered file."""
    tables: dict[Side, list[Row]] = {}
    for side, title in _TITLES.items():
        section = text.partition(f"## {title}\n")[2].partition("\n## ")[0]
        lines = [line for line in section.splitlines() if line.startswith("| ")]
        tables[side] = [_parse_row(line) for line in lines[1:]]
    return tables


def _judge_checks(counted: Sequence[Check], note: Note | None, *, has_run: bool) -> str:
    excused = note.excused if note else frozenset[str]()
    bad = {check.id for check in counted if check.status != "SUCCESS"}
    if bad - excused or not has_run:
        return f"{FAILS}: {', '.join(sorted(bad - excused)) or 'it gave no result'}"
    if note is None or note.kind == "part" or (excused and not bad):
        return f"passes {sum(check.status == 'SUCCESS' for check in counted)}/{len(counted)}"
    return NEEDS_FIXTURE if note.kind == "fixture" else DOES_NOT_APPLY


def _is_settled(result: str) -> bool:
    match = _PASSES.fullmatch(result)
    return result == NOT_LISTED or (match is not None and match[1] == match[2] != "0")


def _summary(rows: Sequence[Row]) -> str:
    sentences: list[str] = []
    for number, column in enumerate(COLUMNS):
        results = [row.results[number] for row in rows]
        counts = {
            "passes": sum(map(_is_settled, results)) - results.count(NOT_LISTED),
            "passes in part": sum("passes" in result and not _is_settled(result) for result in results),
            NEEDS_FIXTURE: results.count(NEEDS_FIXTURE),
            DOES_NOT_APPLY: results.count(DOES_NOT_APPLY),
            FAILS: sum(result.startswith(FAILS) for result in results),
        }
        said = ", ".join(f"{what}: {count}" for what, count in counts.items() if count)
        sentences.append(f"- {column.title}: {said}")
    return "\n".join(sentences)


def _render_table(rows: Iterable[Row]) -> str:
    titles = ["scenario", *(column.title for column in COLUMNS), "reason"]
    lines = [titles, *([row.scenario, *row.results, row.reason] for row in rows)]
    rendered = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([rendered[0], "|---" * len(titles) + "|", *rendered[1:]])


def _parse_row(line: str) -> Row:
    scenario, *results, reason = (cell.strip() for cell in line.strip().strip("|").split("|"))
    return Row(scenario=scenario, results=tuple(results), reason=reason)


_INTRODUCTION = f"""# MCP conformance

The results of the public conformance suite, npm `@modelcontextprotocol/conformance` {STABLE} and {ALPHA}: its server
scenarios against the bundled server over streamable HTTP, its client scenarios against the tools port
(`bot/tools/toolset.py`, driven by `tests/conformance/client.py`). The suite's `authorization-server` scenarios have no
counterpart here. This file is written by:

```sh
{INSTALL}
python -m tests.conformance --suite FOLDER
```

`passes n/m`: n of the scenario's m checks succeeded (a warning counts as not succeeded, a check that the suite itself
skips is not counted). `{NEEDS_FIXTURE}`: the scenario calls a tool, prompt or resource of the suite's own example
server, which a product does not have. `{DOES_NOT_APPLY}`: an optional feature that is not declared. `{NOT_LISTED}`: not
in that suite at that version. `{FAILS}`: a check without an explanation did not succeed; the command then ends with
status 1. What is excused, check by check, is in `tests/conformance/notes.py`."""
