"""A Dockerfile read into its stages. https://docs.docker.com/reference/dockerfile/"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction: RUN, COPY, ... and all that follows it."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """Its arguments: of the exec form, what is in the list."""
        return json.loads(self.text) if self.text.startswith("[") else shlex.split(self.text)


@dataclass(frozen=True, slots=True)
class Stage:
    """What stands between one FROM and the next."""

    base: str
    name: str
    steps: Sequence[Step]

    def all(self, name: str) -> list[Step]:
        return [step for step in self.steps if step.name == name]

    def last(self, name: str) -> Step:
        return self.all(name)[-1]

    @property
    def environment(self) -> dict[str, str]:
        """What ENV sets, with `$PATH` as it stands there."""
        return dict(word.split("=", 1) for step in self.all("ENV") for word in step.words)


def read(file: Path = DOCKERFILE) -> list[Stage]:
    """Return the stages, the image itself last."""
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    stages: list[Stage] = []
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        name, _, text = line.strip().partition(" ")
        if name == "FROM":
            base, *named = text.split()
            stages.append(Stage(base, named[-1] if named else "", []))
        else:
            stages[-1] = Stage(stages[-1].base, stages[-1].name, [*stages[-1].steps, Step(name, text.strip())])
    return stages


def is_sent(path: str, *, ignored: Sequence[str] | None = None) -> bool:
    """Return whether a file of the repository reaches the build: the last line of .dockerignore that fits decides."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if ignored is None else ignored
    sent = True
    for line in (line.strip() for line in lines):
        if line and not line.startswith("#") and _fits(path, line.removeprefix("!")):
            sent = line.startswith("!")
    return sent


def _fits(path: str, pattern: str) -> bool:
    parts = path.split("/")
    heads = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    if pattern.startswith("**/"):
        return any(fnmatch(part, pattern[3:]) for part in parts)
    return any(fnmatch(head, pattern) and head.count("/") == pattern.count("/") for head in heads)
