"""Records the statements of a released version, for `test_rolling_upgrade.py`; run in that version's own tree.

    python -m tests.integration.released.record

runs the contract tests of the store on an engine that writes down each statement with its parameters and what it gave,
and keeps as few of the tests as have every statement. `statements.jsonl` has all statements in its first line, then one
transaction a line. The schema as that version makes it goes to `schema.sql`. Tests that fail here need more of an
engine than its statements, and are left out.
"""

from __future__ import annotations

import json
import re
import sqlite3
import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.domain.errors import StoreError
from bot.stores.leases import LeaseClock
from bot.stores.sqlite.migrate import migrate
from bot.stores.store import EngineStore

HERE = Path(__file__).parent
SUITES = ("test_store.py", "test_store_budgets.py", "test_store_retention.py", "test_store_rights.py")

Recorded = tuple[str, Sequence[Any], list[list[Any]]]  # a statement, its parameters, the rows that it gave


class _Db:
    """See `bot.stores.db.Db`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.run: list[Recorded] = []

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Sequence[sqlite3.Row]:
        rows = self._connection.execute(statement, parameters).fetchall()
        self.run.append((statement, list(parameters), [list(row) for row in rows]))
        return rows

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> None:
        for row in rows:
            self.execute(statement, row)

    def for_update(self, of: str, *, skips: bool = False) -> str:
        return ""

    def notify(self, topic: str) -> None:
        pass


class _Engine:
    """See `bot.stores.db.Engine`. Several stores on one of these are as processes that take turns."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA foreign_keys = ON")
        migrate(self._connection)
        self.transactions: list[list[Recorded]] = []

    async def read(self, unit: Callable[[_Db], Any]) -> Any:
        return self._run(unit)

    async def write(self, unit: Callable[[_Db], Any], *, is_urgent: bool = False) -> Any:
        return self._run(unit)

    def _run(self, unit: Callable[[_Db], Any]) -> Any:
        db = _Db(self._connection)
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            result = unit(db)
        except BaseException as error:
            self._connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise StoreError("The database refused.") from error
            raise
        self._connection.execute("COMMIT")
        self.transactions.append(db.run)
        return result

    def listen(self, hear: object) -> None:
        pass

    async def scrub(self) -> bool:
        return False

    async def scrub_at_start(self) -> bool:
        return False

    async def check(self) -> None:
        pass


class _Recording:
    """A plugin of pytest that gives the contract tests stores on recording engines."""

    def __init__(self) -> None:
        self.tests: dict[str, list[list[Recorded]]] = {}
        self._engines: dict[str, _Engine] = {}

    def pytest_fixture_setup(self, fixturedef: Any, request: pytest.FixtureRequest) -> object | None:
        if fixturedef.argname != "opened":
            return None
        engine = self._engines[request.node.nodeid] = _Engine()
        opened = _opening(engine, request.getfixturevalue("clock"))
        fixturedef.cached_result = (opened, fixturedef.cache_key(request), None)
        return opened

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed and report.nodeid in self._engines:
            self.tests[report.nodeid] = self._engines[report.nodeid].transactions


def _opening(engine: _Engine, clock: Any) -> Callable[[], AbstractAsyncContextManager[EngineStore]]:
    @asynccontextmanager
    async def open_one() -> AsyncGenerator[EngineStore]:
        yield EngineStore(engine, clock, leases=LeaseClock(clock, clock.steady))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  (older ports lack some methods)

    return open_one


def _enough(tests: dict[str, list[list[Recorded]]]) -> list[str]:
    """Return the names of few and short tests that have all statements."""
    wanted = {name: {statement for run in runs for statement, _, _ in run} for name, runs in tests.items()}
    size = {name: 1_000 + len(json.dumps(runs)) for name, runs in tests.items()}
    missing, chosen = set[str]().union(*wanted.values()), list[str]()
    while missing:
        best = max(wanted, key=lambda name: len(wanted[name] & missing) / size[name])
        chosen.append(best)
        missing -= wanted[best]
    return sorted(chosen)


def _schema() -> str:
    with sqlite3.connect(":memory:", isolation_level=None) as connection:
        migrate(connection)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        return "\n".join([*connection.iterdump(), f"PRAGMA user_version = {version};\n"])


def main() -> int:
    """Write both files; return 1 where nothing was recorded."""
    recording = _Recording()
    contracts = HERE.parents[1] / "contracts"
    pytest.main(
        ["-q", "-p", "no:cacheprovider", "-k", "sqlite", *(str(contracts / suite) for suite in SUITES)], [recording]
    )
    chosen = {re.sub(r"^.*::|\[.*", "", name): recording.tests[name] for name in _enough(recording.tests)}
    numbers: dict[str, int] = {}
    lines = [
        json.dumps([name, [(numbers.setdefault(text, len(numbers)), *more) for text, *more in run]])
        for name, runs in chosen.items()
        for run in runs
        if run
    ]
    (HERE / "statements.jsonl").write_text("\n".join([json.dumps([*numbers]), *lines, ""]), encoding="utf-8")
    (HERE / "schema.sql").write_text(_schema(), encoding="utf-8")
    return 0 if lines else 1


if __name__ == "__main__":
    sys.exit(main())
