"""The configured tool servers: read from MCP_SERVER_URL and mcp.json, checked and frozen."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import takewhile
from pathlib import Path, PurePath
from typing import Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bot.domain.errors import SettingsError
from bot.settings import Settings

BUNDLED_NAME = "toolbridge"
URL_SERVER_NAME = "tools"  # all URLs of MCP_SERVER_URL are replicas of one server
DEFAULT_FILE = Path("mcp.json")
HIDDEN = "…"

# The bundled server calls public APIs through the same proxies as this process.
_NETWORK_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
# Programs whose first plain argument is a program or a package, so it can be shown.
_LAUNCHER = re.compile(r"(python|node|npx|uv|uvx|pipx|bun|bunx|deno|docker|podman)[\d.]*(\.exe|\.cmd)?")
_LAUNCHER_OPTIONS = ("-m", "-u", "-y", "--yes")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_MIN_SECRET_CHARS = 6  # shorter values are words like "true" and "prod", which error texts need


@dataclass(frozen=True, slots=True, kw_only=True)
class StdioEndpoint:
    """A server that is started as a child process; messages go over its standard input and output."""

    program: str
    args: tuple[str, ...] = field(default=(), repr=False)
    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    cwd: Path | None = None
    label: str  # the part that may be shown

    @property
    def secrets(self) -> frozenset[str]:
        """Texts that must not be shown."""
        return _without_short([*self.env.values(), *(arg for arg in self.args if arg not in self.label)])


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpEndpoint:
    """A server that is reached over HTTP."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    label: str
    transport: Literal["any", "http", "sse"] = "any"  # "sse" is the legacy one; with "any" both are tried

    @property
    def secrets(self) -> frozenset[str]:
        """Texts that must not be shown."""
        parts = urlsplit(self.url)
        words = [word for value in self.headers.values() for word in (value, *value.split())]
        in_path = [segment for segment in parts.path.split("/") if _looks_secret(segment)]
        return _without_short([*words, parts.query, parts.netloc.rpartition("@")[0], parts.password or "", *in_path])


Endpoint = StdioEndpoint | HttpEndpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """One tool server; several endpoints are replicas that offer the same tools."""

    name: str
    endpoints: tuple[Endpoint, ...]
    allow: tuple[str, ...] = ("*",)  # patterns on the server's own tool names
    deny: tuple[str, ...] = ()
    trusted: bool = False  # only a trusted server's annotations decide anything
    repeatable: tuple[str, ...] = ()  # the operator's word that these tools are read-only or idempotent
    timeout_s: float = 60.0  # for a call; each report of progress grants it again
    max_timeout_s: float = 600.0  # for a call that reports progress
    connect_timeout_s: float | None = None  # None: 60 s for a process, 15 s for HTTP
    warnings: tuple[str, ...] = ()  # phrases: what of its entry has no effect here
    problem: str = ""  # why it cannot be set up, with the cure; it has no endpoints then

    def offers(self, tool: str) -> bool:
        """Return whether the operator allows this tool to be offered."""
        return _matches(tool, self.allow) and not _matches(tool, self.deny)

    def repeats(self, tool: str) -> bool:
        """Return whether the operator says that this tool can be called twice without harm."""
        return _matches(tool, self.repeatable)


def load_servers(settings: Settings, *, environ: Mapping[str, str] | None = None) -> tuple[ServerConfig, ...]:
    """Return the configured servers: those of MCP_SERVER_URL, then those of mcp.json in its order.

    Without either, it is the bundled server. `${VAR}` is looked up in `environ`: by default the process's environment,
    then `.env`.

    Raises:
        SettingsError: The file or a value in it is not valid; it names the file, the server and the cure.
    """
    variables = _variables() if environ is None else environ
    file = settings.mcp_config or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)
    servers = [_from_urls(settings.mcp_server_url)] if settings.mcp_server_url is not None else []
    if file is not None:
        reader = _FileReader(file.expanduser(), settings=settings, variables=variables)
        servers += reader.read(taken={server.name for server in servers})
    elif not servers:
        servers = [bundled_server(settings, variables=variables)]
    return tuple(servers)


def _variables() -> Mapping[str, str]:
    from_file = dotenv_values(".env", encoding="utf-8")  # load_settings has checked that it can be read
    return {**{name: value for name, value in from_file.items() if value is not None}, **os.environ}


def bundled_server(settings: Settings, *, variables: Mapping[str, str]) -> ServerConfig:
    """Return the configuration of the server that comes with the bot."""
    env = {"TOOLBRIDGE_HOME": str(settings.toolbridge_home)}
    apis = {"WEATHER_API_URL": settings.weather_api_url, "GEOCODING_API_URL": settings.geocoding_api_url}
    env |= {name: value for name, value in apis.items() if value is not None}
    for name in (*_NETWORK_VARIABLES, *(name.lower() for name in _NETWORK_VARIABLES), "TZ"):
        if name in variables:
            env[name] = variables[name]
    command = StdioEndpoint(program=sys.executable, args=("-m", "mcp_server"), env=env, label="python -m mcp_server")
    return ServerConfig(name=BUNDLED_NAME, endpoints=(command,), trusted=True)


def _from_urls(text: str) -> ServerConfig:
    urls = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    problem = next((problem for url in urls if (problem := _url_problem(url))), "" if urls else "it names no URL")
    if problem:
        raise SettingsError(
            f"MCP_SERVER_URL is not valid: {problem}. Write http(s)://host:port/mcp, several with commas between."
        )
    return ServerConfig(
        name=URL_SERVER_NAME, endpoints=tuple(HttpEndpoint(url=url, label=_url_label(url)) for url in urls)
    )


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    servers: dict[str, Any] = Field(alias="mcpServers")
    schema_url: str | None = Field(default=None, alias="$schema")


class _Filter(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    allow: list[str] = ["*"]
    deny: list[str] = []


class _Entry(BaseModel):
    """One value of `mcpServers` as it is written."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    type: str | None = None
    command: str | None = None
    args: list[str] | None = None
    env: dict[str, str] | None = None
    cwd: str | None = None
    url: str | None = None
    urls: list[str] | None = None
    headers: dict[str, str] | None = None
    bundled: bool = False
    tools: _Filter | list[str] = _Filter()
    trusted: bool | None = None
    repeatable: list[str] = []
    timeout_s: float = Field(default=60.0, gt=0, allow_inf_nan=False)
    disabled: bool = False


_COMMAND_KEYS = frozenset({"command", "args", "env", "cwd"})
_URL_KEYS = frozenset({"url", "urls", "headers"})
_TYPES = {"stdio": "command", "http": "url", "streamable-http": "url", "streamableHttp": "url"}


class _FileReader:
    """Reads one mcp.json; every problem becomes a SettingsError that names file and server."""

    def __init__(self, file: Path, *, settings: Settings, variables: Mapping[str, str]) -> None:
        self._file = file
        self._settings = settings
        self._variables = variables
        self._server = ""

    def read(self, *, taken: set[str]) -> list[ServerConfig]:
        servers: list[ServerConfig] = []
        for name, raw in self._entries().items():
            self._server = name
            if not name.strip():
                raise self._error("a server has an empty name", "Give it a name")
            if name in taken:
                raise self._error("this name is taken by the servers of MCP_SERVER_URL", "Rename it or unset the other")
            entry = self._parse(raw)
            if not entry.disabled:
                servers.append(self._config(name, entry))
        return servers

    def _entries(self) -> dict[str, Any]:
        try:
            document = json.loads(self._file.read_text(encoding="utf-8-sig"), object_pairs_hook=self._unique)
        except FileNotFoundError:
            raise self._error("the file does not exist", "Correct MCP_CONFIG or unset it") from None
        except (OSError, UnicodeDecodeError) as error:
            raise self._error(f"it cannot be read ({type(error).__name__})", "Save it as readable UTF-8") from error
        except json.JSONDecodeError as error:
            where = f"line {error.lineno}, column {error.colno}"
            raise self._error(f"it is not valid JSON ({error.msg}, {where})", "Correct that place") from None
        try:
            return _File.model_validate(document).servers
        except ValidationError as error:
            raise self._error(_describe(error), 'Write {"mcpServers": {"NAME": {"command": ...}}}') from None

    def _unique(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise self._error(f"the key {key!r} is there twice", "Remove or rename one")
            found[key] = value
        return found

    def _parse(self, raw: object) -> _Entry:
        try:
            return _Entry.model_validate(raw)
        except ValidationError as error:
            raise self._error(_describe(error), "Correct or remove these keys") from None

    def _config(self, name: str, entry: _Entry) -> ServerConfig:
        tools = entry.tools if isinstance(entry.tools, _Filter) else _Filter(allow=entry.tools)
        return ServerConfig(
            name=name,
            endpoints=self._endpoints(entry),
            allow=tuple(tools.allow),
            deny=tuple(tools.deny),
            trusted=entry.bundled if entry.trusted is None else entry.trusted,
            repeatable=tuple(entry.repeatable),
            timeout_s=entry.timeout_s,
        )

    def _endpoints(self, entry: _Entry) -> tuple[Endpoint, ...]:
        kinds = [kind for kind in ("command", "url", "urls", "bundled") if getattr(entry, kind)]
        if len(kinds) != 1:
            what = f"it has {' and '.join(kinds)}" if kinds else "it has neither a command nor a url"
            raise self._error(what, "Give it exactly one of command, url, urls or bundled")
        self._check_keys(entry, kinds[0])
        if entry.bundled:
            return bundled_server(self._settings, variables=self._variables).endpoints
        if entry.command is not None:
            return (self._command(entry, entry.command),)
        urls = entry.urls if entry.urls is not None else [entry.url or ""]
        headers = {key: self._expand(value) for key, value in (entry.headers or {}).items()}
        return tuple(self._url(url, headers=headers) for url in urls)

    def _check_keys(self, entry: _Entry, kind: str) -> None:
        goes_with = {"command": _COMMAND_KEYS, "bundled": frozenset({"bundled"})}.get(kind, _URL_KEYS)
        wrong = sorted(key for key in (_COMMAND_KEYS | _URL_KEYS) - goes_with if getattr(entry, key) is not None)
        if wrong:
            raise self._error(f"{', '.join(wrong)} cannot go with {kind}", "Remove one of them")
        wanted = _TYPES.get(entry.type, "") if entry.type is not None else kind
        if not kind.startswith(wanted) or not wanted:
            raise self._error(f"its type {entry.type!r} does not fit", "Use stdio with command, http with url(s)")

    def _command(self, entry: _Entry, command: str) -> StdioEndpoint:
        return StdioEndpoint(
            program=self._expand(command),
            args=tuple(self._expand(arg) for arg in entry.args or ()),
            env={key: self._expand(value) for key, value in (entry.env or {}).items()},
            cwd=Path(self._expand(entry.cwd)).expanduser() if entry.cwd is not None else None,
            label=_command_label(command, entry.args or []),
        )

    def _url(self, text: str, *, headers: Mapping[str, str]) -> HttpEndpoint:
        url = self._expand(text)
        if problem := _url_problem(url):
            raise self._error(problem, "Write http(s)://host:port/mcp")
        return HttpEndpoint(url=url, headers=headers, label=_url_label(url))

    def _expand(self, text: str) -> str:
        def value(match: re.Match[str]) -> str:
            name, default = match.groups()
            found = self._variables.get(name)
            if found or (found is not None and default is None):
                return found
            if default is None:
                raise self._error(f"the variable {name} is not set", f"Set it, or write ${{{name}:-default}}")
            return default

        return _VARIABLE.sub(value, text)

    def _error(self, what: str, cure: str) -> SettingsError:
        server = f", server {self._server!r}" if self._server else ""
        return SettingsError(f"{self._file}{server}: {what}. {cure}.")


def _describe(error: ValidationError) -> str:
    problems: dict[str, str] = {}
    for item in error.errors(include_url=False, include_input=False):
        key = ".".join(str(part) for part in item["loc"] if part not in ("_Filter", "list[str]"))
        problems.setdefault(key, f"{key or 'the value'}: {item['msg']}")
    return "; ".join(problems.values())


def _url_problem(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_complete = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_complete = False
    return "" if is_complete else "a URL is not a complete http or https URL"


def _url_label(url: str) -> str:
    parts = urlsplit(url)
    path = "/".join(HIDDEN if _looks_secret(segment) else segment for segment in parts.path.split("/"))
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}"


def _looks_secret(segment: str) -> bool:
    return len(segment) > 24  # some hosted servers put the key into the path


def _command_label(command: str, args: list[str]) -> str:
    """Return the program and what it launches; other arguments may hold secrets."""
    program = PurePath(command).name
    if _LAUNCHER.fullmatch(program) is None:
        return program
    options = list(takewhile(lambda arg: arg in _LAUNCHER_OPTIONS, args))
    launched = [arg for arg in args[len(options) : len(options) + 1] if not arg.startswith("-")]
    return " ".join(
        [program, *options, *(PurePath(arg).name if PurePath(arg).is_absolute() else arg for arg in launched)]
    )


def _matches(tool: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(tool, pattern) for pattern in patterns)


def _without_short(values: Iterable[str]) -> frozenset[str]:
    return frozenset(value for value in values if len(value) >= _MIN_SECRET_CHARS)
