"""A PostgreSQL database that connections are made to, and what each of them has to keep to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Conninfo

from bot.domain.errors import SettingsError
from bot.stores.postgres.options import PostgresOptions
from bot.stores.postgres.refusals import unreachable
from bot.text.database_urls import read_database_url

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_S = 30
# A process that stands still in a transaction must not hold up the heartbeats of others past their leases (15 s), ...
IDLE_TIMEOUT_S = 5
LOCK_TIMEOUT_S = 7  # ... and those that wait for its locks outlast it.
_SCHEMA = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,54}")

# A network that is gone is noticed within half a minute; what the URL says of these counts more.
_KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20_000}
# https://www.postgresql.org/docs/current/runtime-config-wal.html: below `on` a crash may lose what was committed.
_LOWER = ("off", "local", "remote_write")


@dataclass(frozen=True, slots=True)
class Database:
    """A database that connections are made to."""

    url: str
    options: PostgresOptions

    @property
    def is_pooled(self) -> bool:
        """Return whether transactions may each run on another session of the server: nothing outlives them there."""
        return bool(self.options.listen_url)

    @property
    def schema(self) -> str:
        """Return the schema's name. Raises SettingsError where it is none."""
        if not _SCHEMA.fullmatch(self.options.schema):
            raise SettingsError("DATABASE_SCHEMA must be a name of up to 55 letters, digits and underscores.")
        return self.options.schema

    def connect(self, *, listens: bool = False) -> psycopg.Connection:
        """Make a connection. Raises StoreError, and SettingsError for a URL that libpq does not take."""
        url, setting = self._address(listens=listens)
        parameters = self._parameters(url, setting)
        try:
            return psycopg.connect(make_conninfo(**parameters), autocommit=True)
        except psycopg.ProgrammingError as error:  # psycopg reads some by itself
            raise SettingsError(f"{setting} cannot be used ({error}). Correct it.") from None
        except psycopg.Error as error:
            raise unreachable(error, secrets=str(parameters.get("password") or ""), setting=setting) from error

    def refuse_pooler(self, connection: psycopg.Connection) -> None:
        """Raise SettingsError where transactions of this connection may run on other sessions than its own."""
        if leads_to_pooler(connection):
            ways = (
                "; or leave it, and set DATABASE_LISTEN_URL to that" if self.options.setting == "DATABASE_URL" else ""
            )
            raise SettingsError(
                f"{self.options.setting} leads to a pooler, such as PgBouncer. Set it to the address of PostgreSQL "
                f"itself{ways}."
            )

    def _address(self, *, listens: bool) -> tuple[str, str]:
        if listens and self.options.listen_url:
            return self.options.listen_url, "DATABASE_LISTEN_URL"
        return self.url, self.options.setting

    def _parameters(self, url: str, setting: str) -> Mapping[str, Any]:
        try:
            given = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
        except psycopg.Error:  # its words repeat the URL
            raise SettingsError(_malformed(url, setting)) from None
        password = {"password": self.options.password()} if self.options.password is not None else {}
        standard = {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": self.options.name, **_KEEPALIVES}
        return {**standard, **given, **password, "client_encoding": "UTF8"}

    def settings(self, *, is_local: bool) -> str:
        """Return the statement that sets what a session, or with `is_local` its transaction, has to keep to."""
        local = "true" if is_local else "false"
        times = {
            "statement_timeout": STATEMENT_TIMEOUT_S,
            "lock_timeout": LOCK_TIMEOUT_S,
            "idle_in_transaction_session_timeout": IDLE_TIMEOUT_S,
        }
        settings = {
            **{name: f"{seconds}s" for name, seconds in times.items()},
            "enable_seqscan": "off",  # every statement has its index, whatever old statistics make of it
            "search_path": f'"{self.schema}"',
            "timezone": "UTC",
        }
        sets = ", ".join(f"set_config('{name}', '{value}', {local})" for name, value in settings.items())
        lower = ", ".join(f"'{value}'" for value in _LOWER)
        return (
            f"SELECT {sets};"
            f" SELECT set_config('synchronous_commit', 'on', {local})"
            f" WHERE current_setting('synchronous_commit') IN ({lower})"
        )


def leads_to_pooler(connection: psycopg.Connection) -> bool:
    """Return whether a pooler answers in PostgreSQL's place.

    It has told its client another process id than that of the server's process, or of none: what its client cancels,
    it has to find by that.
    """
    (row,) = connection.execute("SELECT pg_backend_pid()").fetchall()
    return row[0] != connection.pgconn.backend_pid


def _malformed(url: str, setting: str) -> str:
    """Return the sentence for a URL that libpq cannot read; of the URL it shows nothing."""
    try:
        parameters = read_database_url(url).parameters
    except ValueError as error:
        return f"{setting} is not valid: {error}."
    known = [default.keyword.decode() for default in Conninfo.get_defaults()]
    if "" in parameters.values():
        return f"{setting} has a parameter without a value: write NAME=VALUE, and %26 for & within a value."
    if unknown := parameters.keys() - known:
        meant = get_close_matches(unknown.pop(), known, n=1)
        return (
            f"{setting} has a parameter that PostgreSQL does not know{f'; {meant[0]} may be meant' if meant else ''}."
        )
    return f"{setting} is no address of a PostgreSQL database. It must look like postgresql://user@host:5432/database."
