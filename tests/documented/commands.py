"""Reads the commands out of the documents: the lines of shell blocks, and commands of ours within sentences."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^( *)```(?:sh|bash|shell|console)\n(.*?)^ *```", flags=re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`((?:toolbridge(?= )|python3? -[mc]|pip install|kill -HUP|eval)[^`]*)`(?!`)")
_COMMENT = re.compile(r"\s+#\s.*$")
# What ends one program's part of a line; a quoted one does not, which is good enough for what the documents show.
_BETWEEN = re.compile(r"\s(?:&&|\|\|?|&|;|>>?|2>>?)(?=\s|$)|;\s")
_SETTING = re.compile(r"[A-Z][A-Z0-9_]*=\S*$")


@dataclass(frozen=True, slots=True)
class Command:
    """One line as a reader would type it, without its comment, and where it is."""

    document: str
    line: int
    text: str

    @property
    def is_setting(self) -> bool:
        """Whether it is a line of `.env`, or exports one, and starts nothing."""
        return re.fullmatch(r"(?:export )?[A-Z][A-Z0-9_]*=\S*", self.text) is not None

    @property
    def calls(self) -> list[list[str]]:
        """The programs that it starts, as words, without the settings before them."""
        found: list[list[str]] = []
        for part in _BETWEEN.split(re.sub(r"\$\([^)]*\)", "VALUE", self.text)):
            words = _words(part)
            while words and (_SETTING.match(words[0]) or words[0] in ("do", "{", "sudo", "-u")):
                words = words[2:] if words[0] == "-u" else words[1:]
            if words:
                found.append(words)
        return found

    def __str__(self) -> str:
        return f"{self.document}:{self.line}: {self.text}"


@cache
def commands() -> tuple[Command, ...]:
    """Return all of them, in the order of the documents."""
    return tuple(found for path in documents() for found in _read(path))


def documents() -> list[Path]:
    """Return every page of the repository."""
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")]
    return sorted([*files, *(ROOT / "tests" / "reports").rglob("*.md")])


def _read(path: Path) -> Iterator[Command]:
    text, name = path.read_text(encoding="utf-8"), str(path.relative_to(ROOT))
    for block in _BLOCK.finditer(text):
        first = text.count("\n", 0, block.start(2)) + 1
        for number, line in _lines(block[2]):
            yield Command(name, first + number, line)
    prose = _BLOCK.sub(lambda block: re.sub(r"[^\n]", "", block[0]), text)
    for inline in _INLINE.finditer(prose):
        yield Command(name, prose.count("\n", 0, inline.start()) + 1, " ".join(inline[1].split()))


def _lines(block: str) -> Iterator[tuple[int, str]]:
    """Yield each command with the number of its line; one that goes on over several lines is one."""
    gathered = ""
    for number, line in enumerate(block.splitlines()):
        code = _COMMENT.sub("", line).strip()
        gathered = f"{gathered}\n{code}" if gathered else code
        if gathered.count("{ ") > len(re.findall(r"(?:;|^) *\}", gathered, flags=re.MULTILINE)):
            continue
        if gathered and not gathered.startswith("#"):
            yield number, gathered
        gathered = ""


def _words(part: str) -> list[str]:
    try:
        return shlex.split(part)
    except ValueError:  # a part of something that was quoted
        return part.split()
