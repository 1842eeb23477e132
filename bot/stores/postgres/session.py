"""One connection to PostgreSQL, made again when it is lost, and the transactions on it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psycopg
from psycopg.pq import ConnStatus, TransactionStatus

from bot.domain.errors import StoreError
from bot.stores.postgres.clock import DatabaseClock
from bot.stores.postgres.database import Database
from bot.stores.postgres.db import PgDb

BRIEF_LOCK_TIMEOUT_MS = 250
OLDEST_VERSION = 130_000  # the first with `pg_current_xact_id`
# What a server counts since it began to run; a crash sets it back. Transaction ids of before may be given again then.
_INCARNATION = (
    "pg_postmaster_start_time()::text || COALESCE((SELECT stats_reset FROM pg_stat_bgwriter)::text, '') AS incarnation"
)


@dataclass(frozen=True, slots=True)
class Begun:
    """A transaction that was begun: its id, and the run of the server in which that id means this transaction."""

    xid: str
    incarnation: str


class Session:
    """A connection that one thread uses. Its methods raise psycopg.Error, and StoreError where none can be made."""

    def __init__(
        self, database: Database, clock: DatabaseClock, *, steady: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._clock = clock
        self._steady = steady
        self._connection: psycopg.Connection | None = None
        self._db: PgDb | None = None
        self._incarnation = ""
        # Behind a pooler every transaction may meet another server process, and the server may have been restarted.
        local = f" {database.settings(is_local=True)};" if database.is_pooled else ""
        incarnation = f", {_INCARNATION}" if database.is_pooled else ""
        self._begin = f"BEGIN ISOLATION LEVEL READ COMMITTED;{local}"
        self._briefly = f" SET LOCAL lock_timeout = {BRIEF_LOCK_TIMEOUT_MS};"
        self._look = (
            " SELECT pg_current_xact_id()::text AS xid,"  # noqa: S608  (no outside text)
            f" extract(epoch FROM clock_timestamp())::float8 AS shown{incarnation}"
        )
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
        db = PgDb(connection.pgconn, prepares=not self._database.is_pooled)
        if not self._database.is_pooled:
            self._database.refuse_pooler(connection)
            db.run(self._database.settings(is_local=False).encode())
        (row,) = db.run(f"SELECT {_INCARNATION}".encode())
        self._incarnation = row["incarnation"]
        return db

    def begin(self, *, briefly: bool = False) -> Begun:
        """Begin a transaction, in which locks may be waited for only `briefly`."""
        db = self.open()
        db.start()
        asked_at = self._steady()
        (row,) = db.run(f"{self._begin}{self._briefly if briefly else ''}{self._look}".encode())
        self._clock.read(row["shown"], asked_at=asked_at, answered_at=self._steady())
        return Begun(row["xid"], row.get("incarnation", self._incarnation))

    def begin_reading(self) -> None:
        """Begin a transaction that writes nothing, where reading needs one."""
        db = self.open()
        if self._database.is_pooled:
            db.run(self._begin_reading)

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

    def cut_stuck(self, answer_s: float) -> None:
        """Cut the connection where the server has not answered for that long; for another thread than the session's.

        A server that stands still keeps its connections alive: nothing else would tell its client.
        """
        db, connection = self._db, self._connection
        if db is not None and connection is not None and self._steady() - db.asked_at > answer_s:
            with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.pgconn.socket)) as same:
                same.shutdown(socket.SHUT_RDWR)

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

    def _run(self, script: bytes) -> None:
        if self._db is None:
            raise psycopg.OperationalError("there is no connection")
        self._db.run(script)
