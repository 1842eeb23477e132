"""Placeholders in the values of an mcp.json: `${VAR}`, and those of other clients."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

_PLACEHOLDER = re.compile(r"\$\{([^{}]*)\}")
_VARIABLE = re.compile(r"(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_EDITOR_FOLDERS = (".vscode", ".cursor")  # their files mean the folder around them


class EntryError(Exception):
    """A value of an entry cannot be used; `cure` is a sentence without its period."""

    def __init__(self, what: str, cure: str, *, key: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.cure = cure
        self.key = key


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A value that a file wants to be asked for (VS Code's `inputs`)."""

    id: str
    description: str = ""
    default: str | None = None
    is_password: bool = False
    options: Sequence[str] = ()
    kind: Literal["text", "command"] = "text"

    @property
    def variable(self) -> str:
        """The environment variable that answers it."""
        return re.sub(r"[^A-Z0-9]+", "_", self.id.upper()).strip("_")


class Placeholders:
    """Puts values in for placeholders."""

    def __init__(
        self, *, variables: Mapping[str, str], inputs: Mapping[str, Input], answers: Mapping[str, str], file: Path
    ) -> None:
        self._variables = variables
        self._inputs = inputs
        self._answers = answers
        self.folder = folder_of(file)

    def expand(self, text: str) -> str:
        """Return the text with its values. Raises EntryError."""
        if "${" in _PLACEHOLDER.sub("", text):
            raise EntryError("a placeholder ${ has no end", "Close it with }")
        return _PLACEHOLDER.sub(lambda match: self._value(match.group(1)), text)

    def _value(self, name: str) -> str:
        if name.startswith("input:"):
            return self._answer(name.removeprefix("input:"))
        if (of_editor := self._of_editor(name)) is not None:
            return of_editor
        if (variable := _VARIABLE.fullmatch(name)) is None:
            raise EntryError(f"the placeholder ${{{name}}} is not understood", "Write the value in its place")
        found, default = self._variables.get(variable.group(1)), variable.group(2)
        if found or (found is not None and default is None):
            return found
        if default is None:
            known = variable.group(1)
            raise EntryError(f"the variable {known} is not set", f"Set it, or write ${{{known}:-default}}")
        return default

    def _of_editor(self, name: str) -> str | None:
        """Return the value of a variable of VS Code: https://code.visualstudio.com/docs/reference/variables-reference."""
        match name:
            case "workspaceFolder":
                return str(self.folder)
            case "workspaceFolderBasename":
                return self.folder.name
            case "userHome":
                return str(Path.home())
            case "pathSeparator" | "/":
                return os.sep
            case _:
                return None

    def _answer(self, name: str) -> str:
        asked = self._inputs.get(name)
        if asked is None:
            raise EntryError(f"the input {name!r} is not described", "Add it to `inputs`")
        found = self._answers.get(name) or self._variables.get(asked.variable) or asked.default
        if found is None or (asked.kind == "command" and not found):
            raise EntryError(f"the input {name!r} has no value", f"Set {asked.variable} in the environment or in .env")
        return found


def folder_of(file: Path) -> Path:
    """Return the folder that a file of an editor or client is about."""
    folder = file.absolute().parent
    return folder.parent if is_of_workspace(file) else folder


def is_of_workspace(file: Path) -> bool:
    """Return whether the file is an editor's, for the folder around it."""
    return file.absolute().parent.name in _EDITOR_FOLDERS


def inputs_of(described: object) -> Mapping[str, Input]:
    """Return the inputs that a file describes; entries that are none are left out."""
    found: dict[str, Input] = {}
    for one in _list(described):
        said = cast("dict[str, object]", one) if isinstance(one, dict) else dict[str, object]()
        if isinstance(name := said.get("id"), str):
            found[name] = _input(name, said)
    return found


def _input(name: str, said: Mapping[str, object]) -> Input:
    default, description, options = said.get("default"), said.get("description"), said.get("options")
    choices = [option if isinstance(option, str) else _label(option) for option in _list(options)]
    return Input(
        id=name,
        description=description if isinstance(description, str) else "",
        default=default if isinstance(default, str) else None,
        is_password=said.get("password") is True,
        options=tuple(filter(None, choices)),
        kind="command" if said.get("type") == "command" else "text",
    )


def _list(value: object) -> Sequence[object]:
    return cast("Sequence[object]", value) if isinstance(value, list) else ()


def _label(option: object) -> str:
    value = cast("Mapping[str, object]", option).get("value") if isinstance(option, dict) else None
    return value if isinstance(value, str) else ""
