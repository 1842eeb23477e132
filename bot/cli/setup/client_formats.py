"""The servers in another client's file, whatever its format; each entry is brought into the terms of an mcp.json."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from bot.tools.entries import is_disabled
from bot.tools.mcp_json import ROOTS, McpJson, file_error, read_document
from bot.tools.placeholders import EntryError, Input

Table = Mapping[str, Any]

_YAML = (".yaml", ".yml")
_MCP_SERVERS = "mcpServers"
_OPENCODE_VALUE = re.compile(r"\{(env|file):([^{}]*)\}")
_GEMINI_VARIABLE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientServers:
    """What a file has."""

    entries: Mapping[str, object]  # as they are written, also those that are switched off
    inputs: Mapping[str, Input] = field(default_factory=dict[str, Input])
    off: Collection[str] = ()  # switched off by name, outside of the entry
    convert: Callable[[Table], Table] = dict

    def is_off(self, name: str) -> bool:
        """Return whether the client does not use it."""
        return name in self.off or is_disabled(self.entries[name])

    def entry(self, name: str) -> object:
        """Return it in the terms of an mcp.json. Raises EntryError, which names the key."""
        raw = self.entries[name]
        if not isinstance(raw, dict):
            raise EntryError("it is no table of settings", "Correct it there")
        return self.convert(cast("Table", raw))


def read_client(file: Path, *, folder: Path) -> ClientServers | None:
    """Return the servers of the file; None where it is for other settings only.

    Raises:
        SettingsError: It cannot be read, with the cure.
    """
    if file.suffix == ".toml":
        return _read_codex(file)
    if file.suffix in _YAML:
        return _read_yaml(file)
    if not _may_have_servers(file):
        return None
    document = read_document(file)
    if file.name.startswith("opencode.json"):
        return _of_opencode(file, document)
    if file.name == ".claude.json":
        return _of_claude_code(document, folder)
    has_root = any(root in each for root in ROOTS for each in (document, _table(document.get("mcp"))))
    if not has_root:
        return None
    read = McpJson(file)
    if file.absolute().parent.name == ".gemini":
        return _of_gemini(document, read)
    return ClientServers(entries=read.entries, inputs=read.inputs, convert=_of_zed)


def _may_have_servers(file: Path) -> bool:
    """Return whether the text names servers: many of these files are for other settings too, and may be broken."""
    text = _text(file)
    return any(f'"{root}"' in text for root in (*ROOTS, "mcp"))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise file_error(file, f"it cannot be read ({type(error).__name__})", "Save it as readable UTF-8") from error


def _table(value: Any) -> Table:
    return cast("Table", value) if isinstance(value, dict) else {}


def _entries(file: Path, key: str, value: object) -> Table:
    if value is not None and not isinstance(value, dict):
        raise file_error(file, f"{key}: an object is expected", "Correct it")
    return _table(value)


# --- Codex: https://github.com/openai/codex/blob/main/codex-rs/config/src/mcp_types.rs ----------------------------

_CODEX_NOTES = frozenset(
    {
        "default_tools_approval_mode",
        "experimental_environment",
        "name",
        "oauth_resource",
        "required",
        "scopes",
        "supports_parallel_tool_calls",
        "tools",  # how each of them is approved
    }
)
_CODEX_SAME = {
    "startup_timeout_sec": "connect_timeout_s",
    "tool_timeout_sec": "timeout_s",
    "http_headers": "headers",
    "enabled_tools": "includeTools",
    "disabled_tools": "excludeTools",
}


def _read_codex(file: Path) -> ClientServers | None:
    text = _text(file)
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        if "mcp_servers" not in text:
            return None
        where = f" ({error})" if isinstance(error, tomllib.TOMLDecodeError) else ""
        raise file_error(file, f"it is not valid TOML{where}", "Correct that place") from None
    if "mcp_servers" not in document:
        return None
    return ClientServers(entries=_entries(file, "mcp_servers", document["mcp_servers"]), convert=_of_codex)


def _of_codex(raw: Table) -> Table:
    said = {_CODEX_SAME.get(key, key): value for key, value in raw.items() if key not in _CODEX_NOTES}
    if isinstance(milliseconds := said.pop("startup_timeout_ms", None), int):
        said.setdefault("connect_timeout_s", milliseconds / 1000)
    for key in ("connect_timeout_s", "timeout_s"):
        if isinstance(said.get(key), int):
            said[key] = float(said[key])
    handed_on: object = said.pop("env_vars", None) or []
    if not isinstance(handed_on, list):
        raise EntryError("a list is expected", "Correct it there", key="env_vars")
    _add(said, "env", {name: f"${{{name}}}" for name in map(_variable, cast("list[object]", handed_on))})
    headers = _table(said.pop("env_http_headers", None))
    _add(said, "headers", {header: f"${{{name}}}" for header, name in headers.items()})
    if (token := said.pop("bearer_token_env_var", None)) is not None:
        _add(said, "headers", {"Authorization": f"Bearer ${{{token}}}"})
    return said


def _variable(named: object) -> str:
    """Return the variable that Codex hands on."""
    if isinstance(named, str):
        return named
    if _table(named).get("source") == "remote":
        raise EntryError("a variable is taken from another machine", "Write its value into env", key="env_vars")
    return str(_table(named).get("name", ""))


def _add(said: dict[str, Any], key: str, more: Table) -> None:
    if more:
        said[key] = {**_table(said.get(key)), **more}


# --- opencode: https://opencode.ai/docs/mcp-servers, https://opencode.ai/v2/docs/mcp-servers ---------------------


def _of_opencode(file: Path, document: Table) -> ClientServers | None:
    servers = _entries(file, "mcp", document.get("mcp"))
    is_second = isinstance(servers.get("servers"), dict) and "type" not in servers["servers"]
    found = _table(servers["servers"]) if is_second else servers
    return ClientServers(entries=found, convert=_of_opencode_entry) if found else None


def _of_opencode_entry(raw: Table) -> Table:
    said = {key: _mapped(value, _opencode_value) for key, value in raw.items() if key != "timeout"}
    waits = raw.get("timeout")  # milliseconds, for the list of tools
    if isinstance(waits, int | float) and not isinstance(waits, bool) and waits > 0:
        said["connect_timeout_s"] = waits / 1000
    return said


def _opencode_value(text: str) -> str:
    """Return the text with our placeholders: https://opencode.ai/docs/config."""

    def placeholder(found: re.Match[str]) -> str:
        if found[1] == "file":
            raise EntryError(f"{found[0]} reads a file", "Write the value in its place")
        return f"${{{found[2]}}}"

    return _OPENCODE_VALUE.sub(placeholder, text)


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_mapped(each, change) for each in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {key: _mapped(each, change) for key, each in cast("Table", value).items()}
    return value


# --- others ------------------------------------------------------------------------------------------------------


def _of_claude_code(document: Table, folder: Path) -> ClientServers | None:
    """Return the servers of all projects, and those of this folder: https://docs.anthropic.com/en/docs/claude-code/mcp."""
    own = _table(_table(document.get("projects")).get(str(folder)))
    found = {**_table(document.get(_MCP_SERVERS)), **_table(own.get(_MCP_SERVERS))}
    return ClientServers(entries=found) if found else None


def _of_gemini(document: Table, read: McpJson) -> ClientServers:
    """Return them with what `mcp` says: https://github.com/google-gemini/gemini-cli/blob/main/docs/tools/mcp-server.md."""
    switches = _table(document.get("mcp"))
    allowed, excluded = switches.get("allowed"), switches.get("excluded")
    off = {name for name in read.entries if isinstance(excluded, list) and name in excluded}
    if isinstance(allowed, list) and allowed:
        off |= {name for name in read.entries if name not in allowed}
    return ClientServers(
        entries=read.entries,
        off=off,
        convert=lambda raw: _mapped(raw, lambda text: _GEMINI_VARIABLE.sub(r"${\1}", text)),
    )


def _of_zed(raw: Table) -> Table:
    """Return the entry; of other clients than Zed as it is: https://zed.dev/docs/ai/mcp."""
    if raw.get("source") == "extension" or ("settings" in raw and not {"command", "url"} & raw.keys()):
        raise EntryError("an extension of Zed starts it", "Write its command into mcp.json")
    command = raw.get("command")
    if isinstance(command, dict) and "path" in command:  # as Zed wrote it until 2025
        inner = cast("Table", command)
        return {**raw, **{key: value for key, value in inner.items() if key != "path"}, "command": inner["path"]}
    return raw


def _read_yaml(file: Path) -> None:
    """Say that Continue's own format is not read, where it has servers."""
    if f"{_MCP_SERVERS}:" in _text(file):
        raise file_error(file, "it is YAML, which is not read here", "Write its servers into mcp.json")
