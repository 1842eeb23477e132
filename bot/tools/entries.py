"""One entry of an mcp.json, of ours or of another client: its keys in our terms."""

from __future__ import annotations

import difflib
import os
import shlex
from collections.abc import Mapping
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bot.tools.placeholders import EntryError

Transport = Literal["any", "http", "sse"]

# Other clients' names for the same: Windsurf, Gemini CLI, opencode, Roo and Cline.
_SAME = {
    "serverUrl": "url",
    "httpUrl": "url",
    "environment": "env",
    "transport": "type",
    "transportType": "type",
}
_NOTES = frozenset({"description", "title", "icon", "icons", "version", "gallery", "note", "comment", "source", "//"})
NO_EFFECT = frozenset({"autoApprove", "alwaysAllow", "trust", "dev", "sandbox", "sandboxEnabled", "oauth", "auth"})
_TYPES: Mapping[str, str] = {
    "stdio": "command",
    "local": "command",
    "http": "http",
    "streamablehttp": "http",
    "remote": "any",
    "sse": "sse",
}
# Cline counts `timeout` in seconds, up to an hour; Gemini CLI in milliseconds.
_SECONDS_BELOW, _MILLISECONDS_ABOVE = 1000, 3600
_LONGEST = 10**9
_EXPECTED = {
    "string_type": "a text is expected",
    "list_type": "a list is expected",
    "dict_type": "an object is expected",
    "model_type": "an object is expected",
    "model_attributes_type": "an object is expected",
    "bool_type": "true or false is expected",
    "float_type": "a number is expected",
    "greater_than": "a number above 0 is expected",
    "finite_number": "a number above 0 is expected",
    "extra_forbidden": "this key is not known",
}


class Filter(BaseModel):
    """Patterns on a server's own tool names."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    allow: list[str] = ["*"]
    deny: list[str] = []


class Entry(BaseModel):
    """One server as it is written, in our terms."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    type: str | None = None
    command: str | None = None
    args: list[str] | None = None
    env: dict[str, str] | None = None
    env_file: str | None = Field(default=None, alias="envFile")
    cwd: str | None = None
    url: str | None = None
    urls: list[str] | None = None
    headers: dict[str, str] | None = None
    bundled: bool = False
    tools: Filter | list[str] = Filter()
    trusted: bool | None = None
    repeatable: list[str] = []
    timeout_s: float = Field(default=60.0, gt=0, allow_inf_nan=False)
    max_timeout_s: float = Field(default=600.0, gt=0, allow_inf_nan=False)
    connect_timeout_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    transport: Transport = Field(default="any", alias="_transport")
    warnings: list[str] = Field(default=[], alias="_warnings")

    @property
    def filter(self) -> Filter:
        """Which tools are offered."""
        return self.tools if isinstance(self.tools, Filter) else Filter(allow=self.tools)


COMMAND_KEYS = frozenset({"command", "args", "env", "env_file", "cwd"})
URL_KEYS = frozenset({"url", "urls", "headers"})


def is_disabled(raw: object) -> bool:
    """Return whether an entry is switched off."""
    said = cast("dict[str, object]", raw) if isinstance(raw, dict) else dict[str, object]()
    return said.get("disabled") is True or said.get("enabled") is False


def read_entry(raw: object) -> Entry:
    """Return the entry. Raises EntryError, which names the key."""
    if not isinstance(raw, dict):
        raise EntryError("an object is expected", 'Write {"command": ...} or {"url": ...}')
    try:
        entry = Entry.model_validate(_in_our_terms(cast("Mapping[str, Any]", raw)))
    except ValidationError as error:
        raise _entry_error(error) from None
    _check_kind(entry)
    return entry


def _in_our_terms(raw: Mapping[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    warnings: list[str] = []
    for key, value in raw.items():
        if key in ("disabled", "enabled") and not isinstance(value, bool | None):
            raise EntryError("true or false is expected", "Correct it", key=key)
        if value is None or key in _NOTES or key in ("disabled", "enabled"):
            continue
        if key in NO_EFFECT:
            warnings.append(f"the key {key} has no effect here")
        elif (known := _SAME.get(key, key)) in said:
            raise EntryError("it says the same as another key", "Remove one of them", key=key)
        elif known == "timeout":
            _set_timeout(said, value, warnings)
        else:
            said[known] = value
    _set_filter(said)
    _set_command(said)
    for key in ("env", "headers"):
        if isinstance(said.get(key), dict):
            said[key] = {name: _as_text(value) for name, value in said[key].items() if value is not None}
    if isinstance(said.get("args"), list):
        said["args"] = [_as_text(value) for value in said["args"]]
    return {**said, "_transport": _transport(raw, said), "_warnings": warnings}


def _set_timeout(said: dict[str, Any], value: object, warnings: list[str]) -> None:
    number = float(min(value, _LONGEST)) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
    if 0 < number < _SECONDS_BELOW:
        said.setdefault("timeout_s", number)
    elif number > _MILLISECONDS_ABOVE:
        said.setdefault("timeout_s", number / 1000)
    else:
        warnings.append("the key timeout has no effect here, because its unit is not plain: write timeout_s")


def _set_filter(said: dict[str, Any]) -> None:
    allow, deny = said.pop("includeTools", None), [*_texts(said, "excludeTools"), *_texts(said, "disabledTools")]
    if allow is not None or deny:
        if "tools" in said:
            raise EntryError("it says the same as tools", "Remove one of them", key="includeTools")
        said["tools"] = {"allow": ["*"] if allow is None else allow, "deny": deny}


def _texts(said: dict[str, Any], key: str) -> list[Any]:
    value: object = said.pop(key, [])
    if not isinstance(value, list):
        raise EntryError("a list is expected", "Write a list of the names of tools", key=key)
    return cast("list[Any]", value)


def _set_command(said: dict[str, Any]) -> None:
    """Take a command apart that holds its arguments too."""
    command: object = said.get("command")
    if isinstance(command, list) and command and "args" not in said:
        said["command"], *said["args"] = cast("list[Any]", command)
    elif isinstance(command, str) and " " in command.strip() and "args" not in said and not os.path.exists(command):  # noqa: PTH110
        try:
            said["command"], *said["args"] = shlex.split(command)
        except ValueError:
            raise EntryError("its quotes do not match", "Write the arguments into args", key="command") from None


def _as_text(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def _transport(raw: Mapping[str, Any], said: dict[str, Any]) -> Transport:
    if raw.get("httpUrl") is not None:
        return "http"
    kind = _kind(said.get("type"))
    return kind if kind in ("http", "sse") else "any"


def _kind(written: object) -> str:
    return _TYPES.get(written.lower().replace("-", "").replace("_", ""), "") if isinstance(written, str) else ""


def _check_kind(entry: Entry) -> None:
    kinds = [kind for kind in ("command", "url", "urls", "bundled") if getattr(entry, kind)]
    if len(kinds) != 1:
        what = f"it has {' and '.join(kinds)}" if kinds else "it has neither a command nor a url"
        raise EntryError(what, "Give it exactly one of command, url, urls or bundled", key=" ".join(kinds))
    kind = kinds[0]
    goes_with = {"command": COMMAND_KEYS, "bundled": frozenset({"bundled"})}.get(kind, URL_KEYS)
    wrong = sorted(key for key in (COMMAND_KEYS | URL_KEYS) - goes_with if getattr(entry, key) is not None)
    if wrong:
        written = [Entry.model_fields[key].alias or key for key in wrong]
        raise EntryError(f"{', '.join(written)} cannot go with {kind}", "Remove one of them", key=written[0])
    wanted = _kind(entry.type) if entry.type is not None else ""
    if entry.type is not None and (not wanted or (wanted == "command") != (kind == "command")):
        cure = "Use stdio with command, http or sse with url"
        raise EntryError(f"the type {entry.type!r} does not fit", cure, key="type")


def _entry_error(error: ValidationError) -> EntryError:
    first = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in first["loc"] if part not in ("Filter", "list[str]"))
    what = _EXPECTED.get(first["type"], "its value does not fit")
    if first["type"] != "extra_forbidden":
        return EntryError(what, "Correct it", key=key)
    known = [
        field.alias or name for name, field in Entry.model_fields.items() if not (field.alias or name).startswith("_")
    ]
    near = difflib.get_close_matches(key, [*known, "disabled", "allow", "deny"], n=1)
    return EntryError(what, f"Did you mean {near[0]}?" if near else "Remove it, or set disabled to true", key=key)
