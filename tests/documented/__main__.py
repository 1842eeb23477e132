"""`python -m tests.documented` prints which commands of the documents no test runs, and why none can."""

from __future__ import annotations

from tests.documented.commands import commands
from tests.documented.table import row_of


def main() -> None:
    """Print them, each text once, under the reason that they share."""
    why: dict[str, dict[str, None]] = {}
    for command in commands():
        row = row_of(command)
        if row is not None and (row.by or row.cannot):
            why.setdefault(row.cannot, {})[command.text] = None
    run = why.pop("", {})
    print(f"{len(run)} commands are run by tests, {sum(map(len, why.values()))} are not:")
    for reason, texts in why.items():
        print(f"\n{reason}", *texts, sep="\n    ")


if __name__ == "__main__":
    main()
