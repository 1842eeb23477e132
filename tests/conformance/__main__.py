"""`python -m tests.conformance --suite FOLDER` runs the suite and writes the table."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.conformance.notes import note_of
from tests.conformance.suite import Check, Scenario, Side, Suite, SuiteError, open_suites
from tests.conformance.table import COLUMNS, NOT_LISTED, Column, Row, judge, render, should_run

TABLE = Path(__file__).resolve().parents[1] / "reports" / "CONFORMANCE.md"
_HOUSE = TABLE.parents[2]
_ANNOUNCED = "listening on "
_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 10.0

Listed = Mapping[str, Mapping[str, Scenario]]  # by the suite's version, then by name


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything; return 0 when nothing failed without an explanation, 1 when something did, 2 for bad usage."""
    parser = ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--suite", type=Path, required=True, metavar="FOLDER", help="where node_modules is")
    parser.add_argument("--node", metavar="PATH", help="Node.js 22 or newer; default: the one in FOLDER, or `node`")
    parser.add_argument("--output", type=Path, default=TABLE, metavar="FILE", help="default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        suites = {suite.version: suite for suite in open_suites(options.suite, node=options.node)}
    except SuiteError as error:
        print(error, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as scratch:
        tables = _run(suites, Path(scratch))
    options.output.write_text(render(tables), encoding="utf-8")
    print(render(tables))
    return 0 if all(row.is_explained for rows in tables.values() for row in rows) else 1


def _run(suites: Mapping[str, Suite], scratch: Path) -> dict[Side, list[Row]]:
    listed = {version: suite.scenarios() for version, suite in suites.items()}
    tables: dict[Side, list[Row]] = {}
    with _bundled_server(scratch) as url:
        checks = {column: _test_server(suites[column.suite], url, column, scratch) for column in COLUMNS}
    tables["server"] = _rows("server", listed, checks)
    checks = {column: _test_client(suites[column.suite], listed[column.suite], column, scratch) for column in COLUMNS}
    tables["client"] = _rows("client", listed, checks)
    return tables


def _test_server(suite: Suite, url: str, column: Column, scratch: Path) -> Mapping[str, Sequence[Check]]:
    _report(f"server: {column.title}")
    return suite.test_server(url, spec=column.spec, results=_folder(scratch, column, "server"))


def _test_client(
    suite: Suite, scenarios: Sequence[Scenario], column: Column, scratch: Path
) -> Mapping[str, Sequence[Check]]:
    command = shlex.join([sys.executable, "-m", "tests.conformance.client"])
    found: dict[str, Sequence[Check]] = {}
    for scenario in scenarios:
        if scenario.side == "client" and should_run(scenario, column):
            _report(f"client: {column.title}: {scenario.name}")
            results = _folder(scratch, column, "client") / scenario.name
            found[scenario.name] = suite.test_client(command, scenario=scenario.name, spec=column.spec, results=results)
    return found


def _rows(
    side: Side, listed: Mapping[str, Sequence[Scenario]], checks: Mapping[Column, Mapping[str, Sequence[Check]]]
) -> list[Row]:
    """Return a row for each scenario of any version, those of the newest first."""
    by_version = {
        version: {scenario.name: scenario for scenario in scenarios if scenario.side == side}
        for version, scenarios in listed.items()
    }
    names = dict.fromkeys(name for scenarios in reversed(by_version.values()) for name in scenarios)
    return [_row(name, by_version, checks) for name in names]


def _row(name: str, listed: Listed, checks: Mapping[Column, Mapping[str, Sequence[Check]]]) -> Row:
    results: list[str] = []
    for column in COLUMNS:
        scenario = listed[column.suite].get(name)
        found = checks[column].get(name, ())
        results.append(judge(scenario, column, found) if scenario else NOT_LISTED)
    note = next(note_of(scenarios[name]) for scenarios in listed.values() if name in scenarios)
    return Row(scenario=name, results=tuple(results), reason=note.reason if note else "")


def _folder(scratch: Path, column: Column, side: Side) -> Path:
    return scratch / f"{side}-{column.suite}-{column.spec}"


def _report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def _bundled_server(scratch: Path) -> Generator[str]:
    """The bundled server as a process on a free port; yields its URL."""
    log = scratch / "server.log"
    command = [sys.executable, "-m", "mcp_server", "--transport", "streamable-http", "--port", "0"]
    with log.open("wb") as errors:
        process = subprocess.Popen([*command, "--workspace", str(scratch / "files")], cwd=_HOUSE, stderr=errors)
    try:
        yield _announced_url(process, log)
    finally:
        process.terminate()
        process.wait(_STOP_TIMEOUT_S)


def _announced_url(process: subprocess.Popen[bytes], log: Path) -> str:
    give_up_at = time.monotonic() + _START_TIMEOUT_S
    while not (line := log.read_text(encoding="utf-8").partition("\n")[0]).startswith(_ANNOUNCED):
        if process.poll() is not None or time.monotonic() > give_up_at:
            raise RuntimeError(f"the bundled server does not start: {line}")
        time.sleep(0.02)
    return line.removeprefix(_ANNOUNCED)


if __name__ == "__main__":
    sys.exit(main())
