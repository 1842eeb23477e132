"""One connection to PostgreSQL, made again when it is lost, and the transactions on it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psycopg
from psycopg.pq import ConnStatus, TransactionStatus

from bot.domain.errors import SettingsError, StoreError
from bot.stores.postgres.clock import DatabaseClock
from bot.stores.postgres.db import PgDb, Row, run
from bot.stores.postgres.errors import unreachable
from bot.stores.postgres.options import PostgresOptions

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_S = 30
# A process that stands still in a transaction must not hold up the heartbeats of others past their leases (15 s), ...
IDLE_TIMEOUT_S = 5
LOCK_TIMEOUT_S = 7  # ... and who waits for its locks outlasts it.
OLDEST_VERSION = 130_000  # the first with `pg_current_xact_id`
_SCHEMA = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,54}")

# A network that is gone is noticed within half a minute; what the URL says of these counts more.
_KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20_000}
# https://www.postgresql.org/docs/current/runtime-config-wal.html: below `on` a crash may lose what was committed.
_LOWER = ("off", "local", "remote_write")
# What a server counts since it began to run; a crash sets it back. Transaction ids of before may be given again then.
_INCARNATION = "pg_postmaster_start_time()::text || (SELECT stats_reset FROM pg_stat_bgwriter)::text"


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
        """Make a connection. Raises StoreError."""
        url = (self.options.listen_url if listens else "") or self.url
        password = self.options.password() if self.options.password is not None else None
        try:
            given = psycopg.conninfo.conninfo_to_dict(url)
        except psycopg.Error:
            raise SettingsError(
                "DATABASE_URL is no address of a PostgreSQL database. "
                "It must look like postgresql://user@host:5432/database."
            ) from None
        defaults = {
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": self.options.name,
            **_KEEPALIVES,
            **given,
            "client_encoding": "UTF8",
        }
        if password is not None:
            defaults["password"] = password
        try:
            return psycopg.connect("", autocommit=True, **defaults)  # pyright: ignore[reportArgumentType]
        except psycopg.Error as error:
            raise unreachable(error, secrets=str(defaults.get("password") or "")) from error

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
            "search_path": f'"{self.schema}"',
            "timezone": "UTC",
        }
        sets = ", ".join(f"set_config('{name}', '{value}', {local})" for name, value in settings.items())
        lower = ", ".join(f"'{value}'" for value in _LOWER)
        return (
            f"SELECT {sets};"  # noqa: S608  (the schema's name is checked)
            f" SELECT set_config('synchronous_commit', 'on', {local})"
            f" WHERE current_setting('synchronous_commit') IN ({lower})"
        )


@dataclass(frozen=True, slots=True)
class Begun:
    """A transaction that was begun: its id, and the run of the server in which that id means this transaction."""

    xid: str
    incarnation: str


class Session:
    """A connection that one thread uses. Its methods raise psycopg.Error, and StoreError where none can be made."""

    def __init__(self, database: Database, clock: DatabaseClock, *, steady: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._steady = steady
        self._connection: psycopg.Connection | None = None
        self._db: PgDb | None = None
        self._incarnation = ""
        local = f" {database.settings(is_local=True)};" if database.is_pooled else ""
        self._begin = (
            f"BEGIN ISOLATION LEVEL READ COMMITTED;{local}"  # noqa: S608  (the schema's name is checked)
            " SELECT pg_current_xact_id()::text AS xid, extract(epoch FROM clock_timestamp())::float8 AS shown"
        ).encode()
        self._begin_reading = f"BEGIN READ ONLY;{local}".encode()

    @property
    def is_open(self) -> bool:
        """Return whether the connection is there, as far as this side knows."""
        return self._connection is not None and self._connection.pgconn.status == ConnStatus.OK

    def open(self) -> PgDb:
        """Return the connection's statements, making it where there is none."""
        if self._db is not None and self.is_open:
            return self._db
        self.close()
        connection = self._database.connect()
        try:
            self._db = self._set_up(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return self._db

    def _set_up(self, connection: psycopg.Connection) -> PgDb:
        if connection.info.server_version < OLDEST_VERSION:
            raise StoreError(f"PostgreSQL must be version {OLDEST_VERSION // 10_000} or newer.")
        if not self._database.is_pooled:
            run(connection.pgconn, self._database.settings(is_local=False).encode())
        (row,) = run(connection.pgconn, f"SELECT {_INCARNATION} AS incarnation".encode())
        self._incarnation = row["incarnation"]
        return PgDb(connection.pgconn, prepares=not self._database.is_pooled)

    def begin(self) -> Begun:
        """Begin a transaction."""
        db = self.open()
        db.topics.clear()
        asked_at = self._steady()
        (row,) = self._run(self._begin)
        self._clock.read(row["shown"], asked_at=asked_at, answered_at=self._steady())
        return Begun(row["xid"], self._incarnation)

    def begin_reading(self) -> None:
        """Begin a transaction that writes nothing, where reading needs one."""
        self.open()
        if self._database.is_pooled:
            self._run(self._begin_reading)

    def script(self, script: str) -> None:
        """Run a script of several statements within the transaction."""
        self._run(script.encode())

    def commit(self, told: str = "") -> None:
        """Commit the transaction, after what is `told` (a statement, or nothing)."""
        if self._is_begun():
            self._run(f"{told} COMMIT".encode())

    def roll_back(self) -> None:
        """End the transaction without keeping anything of it; a connection that cannot do that is closed."""
        if self._is_begun():
            try:
                self._run(b"ROLLBACK")
            except psycopg.Error:
                self.close()
        elif not self.is_open:
            self.close()

    def close(self) -> None:
        """Close the connection; it is made again when it is used."""
        connection, self._connection, self._db = self._connection, None, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    def _is_begun(self) -> bool:
        if not self.is_open or self._connection is None:
            return False
        return self._connection.pgconn.transaction_status != TransactionStatus.IDLE

    def _run(self, script: bytes) -> list[Row]:
        if self._connection is None:
            raise psycopg.OperationalError("there is no connection")
        return list(run(self._connection.pgconn, script))
