"""One connection to PostgreSQL that outlives restarts of the database: what it was doing then is done once more."""

import logging
import os
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any, LiteralString, TypeVar

import psycopg
from mcp.server.mcpserver.exceptions import ToolError
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo

T = TypeVar("T")
Transaction = psycopg.Connection[tuple[Any, ...]]
Work = Callable[[Transaction], T]

REACH_S = 15.0  # a restart takes less
_PAUSE_S = 0.2
_LOG = logging.getLogger(__name__)

# A URL may name others. A connection that is dead without a word is found out within half a minute.
_DEFAULTS: Mapping[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "application_name": "toolbridge files",
}
# A process that stands still must not keep others from what it has locked.
_LIMIT: LiteralString = "SET LOCAL statement_timeout = '10s'; SET LOCAL idle_in_transaction_session_timeout = '10s'"
_READ: LiteralString = f"BEGIN READ ONLY; {_LIMIT}"
# What was saved survives a crash of the database also where its operator has asked for less by default.
_WRITE: LiteralString = (
    f"BEGIN; {_LIMIT}; SELECT set_config('synchronous_commit', 'on', true)"
    " WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')"
)


class LoginError(Exception):
    """The address of the database or its password cannot be used; the sentence shows nothing of them."""


class KeptConnection:
    """Runs transactions, one at a time. All its methods raise ToolError, which names nothing of the database.

    Work may run twice, so doing it twice must leave what doing it once leaves: the connection may be lost, also before
    the answer to the commit, or two transactions stand in each other's way. It never needs a session: PgBouncer may
    stand between.
    """

    def __init__(self, url: str, *, password: Callable[[], str] | None = None, reach_s: float = REACH_S) -> None:
        """Connect nothing yet. `password` gives that of each new connection, where the URL has none, and goes out
        encrypted; `reach_s` is how long a call waits for a database that cannot be reached.

        Raises:
            LoginError: The URL is none.
        """
        self._password = password
        self._reach_s = reach_s
        try:
            given = conninfo_to_dict(url)
            defaults = {**_DEFAULTS, **({} if password is None else _encrypted(str(given.get("host") or "")))}
            self._login = make_conninfo(url, **{key: value for key, value in defaults.items() if key not in given})
        except psycopg.Error:
            raise LoginError("the address of the database for files is not valid") from None
        self._connection: Transaction | None = None
        self._turn = Lock()

    def read(self, work: Work[T]) -> T:
        """Return what the work reads."""
        with self._alone(), _storage_faults():
            try:
                return self._once(_READ, work)
            except psycopg.Error as error:
                self._check_repeatable(error)
            return self._once(_READ, work)

    def write(self, work: Work[T]) -> T:
        """Return what the work returned, once it is durable; where it is not known whether it was, it is done again."""
        with self._alone(), _storage_faults():
            try:
                return self._once(_WRITE, work)
            except _CommitLostError as lost:
                self._once(_WRITE, work)
                return lost.result  # the second time, it found what it had done itself
            except psycopg.Error as error:
                self._check_repeatable(error)
            return self._once(_WRITE, work)

    def _once(self, begin: LiteralString, work: Work[T]) -> T:
        connection = self._reached()
        connection.execute(begin)
        try:
            result = work(connection)
        except BaseException:
            with suppress(psycopg.Error):
                connection.execute("ROLLBACK")
            raise
        try:
            connection.execute("COMMIT")
        except psycopg.Error as error:
            if begin == _WRITE and self._is_lost(error):
                raise _CommitLostError(result) from error
            raise
        return result

    def _check_repeatable(self, error: psycopg.Error) -> None:
        """Return where the work may run again: nothing of it was kept. Raises the error where it would come again."""
        if self._is_lost(error) or isinstance(error, errors.DeadlockDetected | errors.SerializationFailure):
            return
        raise error

    def _is_lost(self, error: psycopg.Error) -> bool:
        if isinstance(error, errors.AdminShutdown | errors.CrashShutdown) and self._connection is not None:
            self._connection.close()
        return self._connection is not None and self._connection.closed

    def _reached(self) -> Transaction:
        """Return the connection, a new one where there is none or it was lost."""
        if self._connection is not None and not self._connection.closed:
            return self._connection
        give_up_at = time.monotonic() + self._reach_s
        while True:
            try:
                self._connection = self._connect()
            except (psycopg.OperationalError, LoginError) as error:
                if time.monotonic() >= give_up_at:
                    raise _UnreachableError from error
                time.sleep(_PAUSE_S)
            else:
                return self._connection

    def _connect(self) -> Transaction:
        secret: dict[str, Any] = {} if self._password is None else {"password": self._password()}
        return psycopg.connect(self._login, autocommit=True, prepare_threshold=None, **secret)

    @contextmanager
    def _alone(self) -> Generator[None]:
        if not self._turn.acquire(timeout=2 * self._reach_s):
            raise ToolError("the file storage is busy; try again in a minute")
        try:
            yield
        finally:
            self._turn.release()


def _encrypted(host: str) -> Mapping[str, str]:
    """Return the option for encryption, where the host is another machine and the environment asks for nothing else."""
    is_local = not host or host.startswith(("/", "@", "127.")) or host in ("localhost", "::1")
    return {} if is_local or "PGSSLMODE" in os.environ else {"sslmode": "require"}


class _UnreachableError(Exception):
    """No connection could be made."""


class _CommitLostError(Exception):
    """A transaction may have been committed: the answer did not arrive."""

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result


@contextmanager
def _storage_faults() -> Generator[None]:
    """Turn errors of the database into errors that name no host, user, table or value."""
    try:
        yield
    except (_UnreachableError, _CommitLostError):
        _LOG.warning("the database of the files cannot be reached")
        raise ToolError("the file storage failed: its database cannot be reached; try again in a minute") from None
    except psycopg.Error as error:
        _LOG.warning("the database of the files refused a statement: %s (%s)", type(error).__name__, error.sqlstate)
        raise ToolError(f"the file storage failed: {type(error).__name__}") from None
