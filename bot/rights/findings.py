"""What is wrong with a `toolbridge.toml`: each finding with file, line, rule and cure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bot.domain.errors import SettingsError

Path = tuple[str | int, ...]  # keys and indexes from the file's root: ("rule", 0, "people")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One error or warning; `where` is the rule or table, empty for the file as a whole."""

    file: str
    line: int  # from 1
    where: str
    what: str  # a sentence without its full stop
    cure: str  # a sentence

    def __str__(self) -> str:
        """Return the finding as one line, which editors and terminals can follow to its place."""
        where = f"{self.where}: " if self.where else ""
        return f"{self.file}:{self.line}: {where}{self.what}. {self.cure}"


class PolicyFileError(SettingsError):
    """The file cannot be used; `findings` are all that is wrong with it."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        head = "The policy is not valid" if len(findings) == 1 else f"The policy has {len(findings)} errors"
        super().__init__("\n".join([f"{head}:", *map(str, findings)]) if findings else f"{head}.")
        self.findings = tuple(findings)


@dataclass(slots=True, kw_only=True)
class Findings:
    """Gathers errors and warnings while a file is read. `line_of` takes a path and a text that is on the line."""

    file: str
    line_of: Callable[[Path, str], int]
    describe: Callable[[Path], str]
    errors: list[Finding] = field(default_factory=list[Finding])
    warnings: list[Finding] = field(default_factory=list[Finding])

    def wrong(self, path: Path, what: str, cure: str, *, text: str = "") -> None:
        """Add an error; `text` is the value at fault as the file has it, which finds its line in a longer list."""
        self.errors.append(self._finding(path, what, cure, text))

    def warn(self, path: Path, what: str, cure: str, *, text: str = "") -> None:
        """Add a warning: the file can be used all the same."""
        self.warnings.append(self._finding(path, what, cure, text))

    def _finding(self, path: Path, what: str, cure: str, text: str) -> Finding:
        return Finding(file=self.file, line=self.line_of(path, text), where=self.describe(path), what=what, cure=cure)
