"""One server of another client as an entry of our mcp.json; its secrets and answers to its inputs go to `.env`."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from bot.text.secret_values import is_secret_name, of_arguments, of_named, of_url
from bot.tools.entries import NO_EFFECT, read_entry
from bot.tools.placeholders import EntryError, Input, folder_of, is_of_workspace

_INPUT = re.compile(r"\$\{input:([^{}]*)\}")
_OF_WORKSPACE = re.compile(r"\$\{(workspaceFolder|workspaceFolderBasename)(?::[^{}]*)?\}")
_MAPS = ("env", "environment", "headers")
_URLS = ("url", "serverUrl", "httpUrl")
_MIN_SECRET_CHARS = 6  # what is shorter is a word, and is found in too many places

Answer = Callable[[Input], Awaitable[str]]


@dataclass(slots=True, kw_only=True)
class Taken:
    """A server as it is taken over."""

    name: str
    entry: dict[str, Any]
    variables: dict[str, str] = field(default_factory=dict[str, str])  # for `.env`, by names that are free there


async def take_over(
    name: str,
    raw: object,
    *,
    file: Path,
    inputs: Mapping[str, Input],
    answer: Answer,
    known: Mapping[str, str],
) -> Taken:
    """Return the server of that file in our terms; `answer` says what an input is to be.

    `known` are the variables that `.env` has: their names are taken, unless the value is the same.

    Raises:
        EntryError: It cannot be used here, with the cure.
    """
    read = read_entry(raw)  # which says what is wrong in the words of the file
    said = {key: value for key, value in cast("Mapping[str, Any]", raw).items() if key not in NO_EFFECT}
    if read.command is not None and read.args:  # also where the command holds its arguments too
        said |= {"command": read.command, "args": read.args}
    taken = Taken(name=name, entry=cast("dict[str, Any]", _mapped(said, lambda text: _of_folder(text, file))))
    answers = {one: await _answered(one, inputs, answer) for one in dict.fromkeys(_inputs_in(taken.entry))}
    variables = _Variables(name, taken.variables, known)
    _hide_secrets(taken.entry, variables)
    written = {one: variables.placeholder(one, value) for one, value in answers.items()}
    entry = _mapped(taken.entry, lambda text: _INPUT.sub(lambda found: written[found[1]], text))
    taken.entry = cast("dict[str, Any]", entry)
    if isinstance(env_file := taken.entry.get("envFile"), str):
        taken.entry["envFile"] = _beside(file, env_file)
    return taken


def _beside(file: Path, written: str) -> str:
    return str(folder_of(file) / Path(written).expanduser())


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """Return the JSON value with each of its texts changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_mapped(each, change) for each in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {key: _mapped(each, change) for key, each in cast("dict[str, Any]", value).items()}
    return value


def _of_folder(text: str, file: Path) -> str:
    """Return the text with the folder that the file is about; here, the same words would mean another one."""

    def folder(found: re.Match[str]) -> str:
        if not is_of_workspace(file) or folder_of(file) == Path.home():
            raise EntryError(f"{found[0]} is no folder of this file", "Write the path in its place")
        return str(folder_of(file)) if found[1] == "workspaceFolder" else folder_of(file).name

    return _OF_WORKSPACE.sub(folder, text)


def _inputs_in(entry: object) -> Iterable[str]:
    found: list[str] = []
    _mapped(entry, lambda text: found.extend(_INPUT.findall(text)) or text)
    return found


async def _answered(name: str, inputs: Mapping[str, Input], answer: Answer) -> str:
    asked = inputs.get(name)
    if asked is None:
        raise EntryError(f"the input {name!r} is not described", "Add it to `inputs` there")
    if asked.kind == "command":
        raise EntryError(f"the input {name!r} is answered by a command of the editor", "Write the value in its place")
    value = await answer(asked) or asked.default
    if not value:
        raise EntryError(
            f"the input {name!r} has no value", f"Set {asked.variable} in the environment, or run setup at a terminal"
        )
    return value


class _Variables:
    """Gives names of `.env` to the values of one server: no name of ours, and none that is taken by another value."""

    def __init__(self, server: str, values: dict[str, str], known: Mapping[str, str]) -> None:
        self._server = server
        self._values = values
        self._known = known

    def placeholder(self, name: str, value: str) -> str:
        """Return the placeholder that stands for the value from now on."""
        wanted = re.sub(r"[^A-Z0-9]+", "_", f"TOOL_{self._server}_{name}".upper()).strip("_")
        number, free = 1, wanted
        while {**self._known, **self._values}.get(free, value) != value:
            number += 1
            free = f"{wanted}_{number}"
        self._values[free] = value
        return f"${{{free}}}"


def _hide_secrets(entry: dict[str, Any], variables: _Variables) -> None:
    """Put a placeholder in the place of each secret."""
    for key in _MAPS:
        for name, value in (cast("dict[str, Any]", entry[key]) if isinstance(entry.get(key), dict) else {}).items():
            if isinstance(value, str):
                entry[key][name] = _hidden(value, _secrets_of(name, value), name, variables)
    for key in _URLS:
        if isinstance(url := entry.get(key), str):
            entry[key] = _hidden(url, of_url(url), "URL_KEY", variables)
    if isinstance(entry.get("args"), list):
        arguments = [each if isinstance(each, str) else "" for each in cast("list[Any]", entry["args"])]
        secrets = list(of_arguments(arguments))
        entry["args"] = [
            _hidden(each, secrets, "KEY", variables) if isinstance(each, str) else each
            for each in cast("list[Any]", entry["args"])
        ]


def _secrets_of(name: str, value: str) -> Iterable[str]:
    """Return what of a named value is secret; the shortest first, so that `Bearer` stays readable."""
    return sorted(of_named({name: value}), key=len) or ([value] if is_secret_name(name) else [])


def _hidden(text: str, secrets: Iterable[str], name: str, variables: _Variables) -> str:
    for secret in secrets:
        if secret in text and "${" not in secret and len(secret) >= _MIN_SECRET_CHARS and not _is_covered(text, secret):
            text = text.replace(secret, variables.placeholder(name, secret))
    return text


def _is_covered(text: str, secret: str) -> bool:
    """Return whether only placeholders have the word in them."""
    return secret not in re.sub(r"\$\{[^{}]*\}", "", text)
