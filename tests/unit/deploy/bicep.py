"""Bicep read as far as names go: what a file declares, and what its expressions refer to. It is no compiler."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

# https://learn.microsoft.com/azure/azure-resource-manager/bicep/bicep-functions: those that the files use.
FUNCTIONS = frozenset(
    {
        *("allowed", "description", "maxLength", "maxValue", "minLength", "minValue"),
        *("az", "base64", "concat", "guid", "items", "json", "loadTextContent", "map", "range", "replace"),
        *("resourceGroup", "subscriptionResourceId", "tenant", "toUpper", "union", "uniqueString"),
    }
)
WORDS = frozenset(
    {
        *("param", "var", "resource", "module", "output", "targetScope", "existing", "if", "for", "in"),
        *("true", "false", "null", "string", "int", "bool", "array", "object"),
    }
)
_DECLARED = re.compile(
    r"^(param|var|resource|module|output) (\w+)(?: (?:'([^']+)'|(\w+)))?( existing)?( =)?", flags=re.MULTILINE
)
_TOKEN = re.compile(
    r"//[^\n]*|'(?:\\.|\$\{(?P<inner>[^}]*)\}|[^'\\])*'|(?P<name>(?<![\w.])[A-Za-z_]\w*)(?P<after>\s*(?::|=>)?)"
)


@dataclass(frozen=True, slots=True)
class File:
    """One file."""

    path: Path
    text: str = field(repr=False)

    @property
    def parameters(self) -> dict[str, bool]:
        """Each parameter, and whether it has to be given."""
        return {each[2]: each[6] is None for each in _DECLARED.finditer(self.text) if each[1] == "param"}

    @property
    def resources(self) -> dict[str, tuple[str, bool]]:
        """Each resource: its type with the API's version, and whether another file makes it."""
        found = (each for each in _DECLARED.finditer(self.text) if each[1] == "resource")
        return {each[2]: (each[3], each[5] is not None) for each in found}

    @property
    def outputs(self) -> list[str]:
        return [each[2] for each in _DECLARED.finditer(self.text) if each[1] == "output"]

    def named(self, symbol: str) -> str:
        """Return the `name` that a resource is given."""
        body = self.text[self.text.index(f"resource {symbol} ") :]
        return re.search(r"\bname: (.+)", body)[1]  # type: ignore[index]

    def unknown(self) -> list[str]:
        """Return the names that expressions use and nothing declares."""
        declared = {each[2] for each in _DECLARED.finditer(self.text)}
        declared |= set(re.findall(r"\bfor (\w+) in\b", self.text)) | set(re.findall(r"\b(\w+) =>", self.text))
        return sorted(set(_used(self.text)) - declared - FUNCTIONS - WORDS)


def read(path: Path) -> File:
    return File(path, path.read_text(encoding="utf-8"))


def _used(text: str) -> Iterator[str]:
    for token in _TOKEN.finditer(text):
        if token["name"]:
            if not token["after"].strip():  # a key, or the variable of a lambda
                yield token["name"]
        elif token[0].startswith("'"):
            for inner in re.findall(r"(?<!\\)\$\{([^}]*)\}", token[0]):
                yield from _used(inner)
