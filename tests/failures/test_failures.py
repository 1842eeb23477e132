"""The quick rows of the failure tables; `python -m tests.failures` plays all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.failures.__main__ import TABLES, printed
from tests.failures.table import Case

QUICK = [
    pytest.param(case, id=f"{platform}: {case.happens}")
    for platform, cases in TABLES.items()
    for case in cases()
    if case.is_in_suite
]


@pytest.mark.parametrize("case", QUICK)
async def test_the_user_sees_what_the_failure_table_says(case: Case, tmp_path: Path) -> None:
    await case.run(tmp_path)


@pytest.mark.parametrize("platform", TABLES)
def test_the_printed_table_has_just_the_rows_that_are_played(platform: str) -> None:
    rows = [row.split(" | ")[:2] for row in printed()[platform]]
    assert rows == [[f"| {case.happens}", case.seen] for case in TABLES[platform]()]
