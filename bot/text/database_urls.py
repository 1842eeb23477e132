"""URLs of databases; those of PostgreSQL as libpq reads them: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS

Python's own parser reads passwords with `#` or `?` otherwise than libpq does, and would not find all of them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote

from bot.text.secret_values import is_secret_name

_URL = re.compile(
    r"(?P<scheme>postgres(?:ql)?)://"
    r"(?:(?P<user>[^:@/]*)(?::(?P<password>[^@/]*))?@)?"
    r"(?P<hosts>[^/?]*)(?:/(?P<database>[^?]*))?(?:\?(?P<parameters>.*))?",
    re.DOTALL,
)
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\[\]:@#]*)(?::(?P<port>\d{0,5}))?")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseUrl:
    """The parts of a URL, decoded. What it leaves out, libpq takes from its environment (PGHOST, ...)."""

    user: str = ""
    password: str = field(default="", repr=False)
    hosts: tuple[tuple[str, str], ...] = ()  # with their ports
    database: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)  # as they are written there, and decoded

    @property
    def is_local(self) -> bool:
        """Whether each host is this machine: a loopback address, or a socket of its file system."""
        return all(map(is_loopback, [host for host, _ in self.hosts] or [""]))

    @property
    def label(self) -> str:
        """The URL without its user and without any secret."""
        hosts = ",".join(f"{host}:{port}" if port else host for host, port in self.hosts)
        return f"postgresql://{hosts}/{self.database}"

    @property
    def for_commands(self) -> str:
        """The URL as PostgreSQL's own commands take it, with its user and parameters, without any secret."""
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        hosts = "" if {"host", "hostaddr"} & self.parameters.keys() else ",".join(map(_written, self.hosts))
        kept = [(name, value) for name, value in self.parameters.items() if not is_secret_name(name)]
        said = "&".join(f"{name}={quote(value, safe='/')}" for name, value in kept if name not in ("user", "dbname"))
        return f"postgresql://{user}{hosts}/{quote(self.database, safe='')}{'?' if said else ''}{said}"


def is_postgres(url: str) -> bool:
    """Return whether the URL is of PostgreSQL."""
    return url.partition("://")[0] in ("postgres", "postgresql")


def sqlite_path(url: str) -> Path | None:
    """Return the path of an SQLite URL; None for any other URL."""
    scheme, _, rest = url.partition("://")
    return Path(rest[1:]).expanduser() if scheme == "sqlite" and rest.startswith("/") and rest[1:] else None


def read_database_url(url: str) -> DatabaseUrl:
    """Return the parts of the URL.

    Raises:
        ValueError: libpq would misread or refuse it, and might show parts of a password. The sentence quotes nothing.
    """
    found = _URL.fullmatch(url.strip())
    if found is None:
        raise ValueError("write postgresql://user:password@host:5432/database")
    hosts = [_HOST.fullmatch(host) for host in (found["hosts"] or "").split(",")]
    if not all(hosts) or re.search("[@/]", found["database"] or "") or _BAD_ESCAPE.search(url):
        raise ValueError(
            "its user, password or host has a character that no URL has: write %40 for @, %2F for /, %25 for %"
        )
    raw = _parameters(found["parameters"] or "")
    parameters = {name: unquote(value) for name, value in raw.items()}
    written = [found["password"] or "", *(value for name, value in raw.items() if is_secret_name(name))]
    return DatabaseUrl(
        user=unquote(found["user"] or parameters.get("user", "")),
        password=unquote(found["password"] or "") or parameters.get("password", ""),
        hosts=tuple((_decoded(host["host"]), host["port"] or "") for host in hosts if host and host[0])
        or _of_parameters(parameters),
        database=unquote(found["database"] or "") or parameters.get("dbname", ""),
        parameters=parameters,
        secrets=tuple(secret for each in written if each for secret in (each, unquote(each))),
    )


def secrets_of_database_url(url: str) -> Iterator[str]:
    """Yield the secrets in the URL: its password, and those among its parameters."""
    try:
        yield from read_database_url(url).secrets
    except ValueError:
        return


def is_loopback(host: str) -> bool:
    """Return whether the host is this machine: a loopback address, or a socket, as libpq takes it without a host."""
    if not host or host[0] in "/@" or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _parameters(text: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in text.split("&") if pair)
    return {unquote(name): value for name, _, value in pairs}


def _of_parameters(parameters: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    hosts = (parameters.get("host") or parameters.get("hostaddr") or "").split(",")
    ports = parameters.get("port", "").split(",")
    each = ports if len(ports) == len(hosts) else ports[:1] * len(hosts)
    return tuple((host, port) for host, port in zip(hosts, each, strict=True) if host)


def _written(address: tuple[str, str]) -> str:
    host, port = address
    host = f"[{host}]" if ":" in host else quote(host, safe="")
    return f"{host}:{port}" if port else host


def _decoded(host: str) -> str:
    return unquote(host.strip("[]"))
