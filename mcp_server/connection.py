"""One connection to PostgreSQL that outlives restarts of the database: what it was doing then is done once more."""

import logging
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

STATEMENT_S: LiteralString = "10s"
REACH_S = 15.0  # how long a call waits for a database that restarts
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
_LIMIT: LiteralString = f"SET LOCAL statement_timeout = '{STATEMENT_S}'"
_READ: LiteralString = f"BEGIN READ ONLY; {_LIMIT}"
# What was saved survives a crash of the database also where its operator has asked for less by default.
_WRITE: LiteralString = (
    f"BEGIN; {_LIMIT}; SELECT set_config('synchronous_commit', 'on', true)"
    " WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')"
)


class LoginError(Exception):
    """The address of the database cannot be used; the sentence shows nothing of it."""


class KeptConnection:
    """Runs transactions, one at a time. All its methods raise ToolError, which names nothing of the database.

    Work may run twice: where the connection was lost before the commit, or two transactions stood in each other's way.
    It runs once where only the answer to the commit was lost. It never needs a session: PgBouncer may stand between.
    """

    def __init__(self, url: str) -> None:
        """Connect nothing yet. Raises LoginError where the URL is none."""
        try:
            given = conninfo_to_dict(url)
            self._login = make_conninfo(url, **{key: value for key, value in _DEFAULTS.items() if key not in given})
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
        """Return what the work returns, once that is durable."""
        with self._alone(), _storage_faults():
            try:
                return self._once(_WRITE, work)
            except _CommitLostError as lost:
                if self._is_committed(lost.number):
                    return lost.result
            except psycopg.Error as error:
                self._check_repeatable(error)
            return self._once(_WRITE, work)

    def _once(self, begin: LiteralString, work: Work[T]) -> T:
        connection = self._reached()
        connection.execute(begin)
        try:
            result = work(connection)
            number = _number(connection) if begin == _WRITE else ""
        except BaseException:
            with suppress(psycopg.Error):
                connection.execute("ROLLBACK")
            raise
        try:
            connection.execute("COMMIT")
        except psycopg.Error as error:
            if number and self._is_lost(error):
                raise _CommitLostError(number, result) from error
            raise
        return result

    def _is_committed(self, number: str) -> bool:
        """Return what became of a transaction whose commit was not answered, once the database knows."""
        while True:
            ((status,),) = self._reached().execute("SELECT pg_xact_status(%s::xid8)", (number,)).fetchall()
            if status != "in progress":
                return status == "committed"
            time.sleep(_PAUSE_S)

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
        give_up_at = time.monotonic() + REACH_S
        while True:
            try:
                self._connection = psycopg.connect(self._login, autocommit=True, prepare_threshold=None)
            except psycopg.OperationalError as error:
                if time.monotonic() >= give_up_at:
                    raise _UnreachableError from error
                time.sleep(_PAUSE_S)
            else:
                return self._connection

    @contextmanager
    def _alone(self) -> Generator[None]:
        if not self._turn.acquire(timeout=2 * REACH_S):
            raise ToolError("the file storage is busy; try again in a minute")
        try:
            yield
        finally:
            self._turn.release()


class _UnreachableError(Exception):
    """No connection could be made."""


class _CommitLostError(Exception):
    """A transaction may have been committed: the answer did not arrive."""

    def __init__(self, number: str, result: Any) -> None:
        super().__init__()
        self.number = number
        self.result = result


def _number(connection: Transaction) -> str:
    ((number,),) = connection.execute("SELECT pg_current_xact_id()::text").fetchall()
    return str(number)


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
