"""SECURITY.md names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def test_every_test_that_is_named_is_there() -> None:
    for row in (line for line in TEXT.splitlines() if line.startswith("|")):
        names = re.findall(r"`((?:tests/)?[\w/]*test_\w+\.py)`", row)
        files = [ROOT / name if name.startswith("tests/") else ROOT / "tests" / "integration" / name for name in names]
        written = "".join(file.read_text(encoding="utf-8") for file in files)
        for test in re.findall(r"`(test_\w+)`", row):
            assert f"def {test}(" in written, test
