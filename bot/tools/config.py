"""What is configured of a tool server: how it is reached, what of it is offered, and what may be shown of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import takewhile
from pathlib import Path, PurePath
from typing import Literal
from urllib.parse import urlsplit

from bot.text.secret_values import of_arguments, of_named, of_url

HIDDEN = "…"

# Programs whose first plain argument is a program or a package, so it can be shown.
_LAUNCHER = re.compile(r"(python|node|npx|uv|uvx|pipx|bun|bunx|deno|docker|podman)[\d.]*(\.exe|\.cmd)?")
_LAUNCHER_OPTIONS = ("-m", "-u", "-y", "--yes")
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

    @property
    def known_values(self) -> Iterable[str]:
        """Those of them that are secrets by their names or looks, not modes or paths; they are hidden in all texts."""
        return [*of_named(self.env), *of_arguments(self.args)]


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

    @property
    def known_values(self) -> Iterable[str]:
        """Those of them that are secrets by their names or looks, and are hidden in all texts."""
        return [*of_url(self.url), *of_named(self.headers)]


Endpoint = StdioEndpoint | HttpEndpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """One tool server; several endpoints are replicas that offer the same tools."""

    name: str
    endpoints: tuple[Endpoint, ...]
    allow: tuple[str, ...] = ("*",)  # patterns on the server's own tool names
    deny: tuple[str, ...] = ()
    is_bundled: bool = False  # it comes with the bot, whatever it is called
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


def url_problem(url: str) -> str:
    """Return what is wrong with a URL, as a phrase; "" where nothing is."""
    try:
        parts = urlsplit(url)
        is_complete = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_complete = False
    return "" if is_complete else "a URL is not a complete http or https URL"


def url_label(url: str) -> str:
    """Return what may be shown of a URL."""
    parts = urlsplit(url)
    path = "/".join(HIDDEN if _looks_secret(segment) else segment for segment in parts.path.split("/"))
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}"


def _looks_secret(segment: str) -> bool:
    return len(segment) > 24  # some hosted servers put the key into the path


def command_label(command: str, args: list[str]) -> str:
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
