"""The quick rows of the failure table; `python -m tests.failures` plays all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.failures.__main__ import FILE
from tests.failures.cases import Case, all_cases

CASES = list(all_cases())


@pytest.mark.parametrize("case", [case for case in CASES if case.is_in_suite], ids=lambda case: case.happens)
async def test_the_user_sees_what_the_failure_table_says(case: Case, tmp_path: Path) -> None:
    await case.run(tmp_path)


def test_the_printed_table_has_just_the_rows_that_are_played() -> None:
    printed = [line.split(" | ")[:2] for line in FILE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert printed[1:] == [[f"| {case.happens}", case.seen] for case in CASES]
