"""Statements on a PostgreSQL connection, by libpq itself.

Each statement is prepared once on a connection. psycopg's cursors do the same with more generality, at twice the cost
of a turn's CPU.
"""

from __future__ import annotations

import selectors
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from math import inf
from time import monotonic
from typing import Any, TypeVar

import psycopg
from psycopg import errors
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from bot.ports.cluster_store import Topic
from bot.stores.db import Db, Last
from bot.text.cleaning import strip_surrogates

MANY = 100  # statements in one round trip
_UNKNOWN, _BIGINT, _DOUBLE, _TEXT, _BYTES = 0, 20, 701, 25, 17  # object ids of types; they are the same everywhere
_TYPES: Mapping[type, int] = {int: _BIGINT, bool: _BIGINT, float: _DOUBLE, str: _TEXT, bytes: _BYTES}
_DONE = {ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK, ExecStatus.EMPTY_QUERY}

Row = Mapping[str, Any]
T = TypeVar("T")


class PgDb:
    """See `bot.stores.db.Db`; used by one thread at a time. Raises psycopg.Error."""

    def __init__(self, connection: PGconn, *, prepares: bool) -> None:
        self._connection = connection
        self._prepares = prepares
        self._names: dict[tuple[str, tuple[int, ...]], bytes] = {}
        self.topics: set[Topic] = set()  # to be sent with the commit
        self._last: dict[tuple[Last, Callable[[Db, Sequence[Any]], None]], list[Any]] = {}
        self.asked_at = inf  # since when it waits for the server, in seconds of the monotonic clock

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Sequence[Row]:
        types, values = _written(parameters)
        self.asked_at = monotonic()
        try:
            if self._prepares:
                return _rows(self._connection.exec_prepared(self._prepared(statement, types), values))
            return _rows(self._connection.exec_params(_dollars(statement), values, types))
        finally:
            self.asked_at = inf

    def run(self, script: bytes) -> Sequence[Row]:
        """Run statements without parameters in one round trip; return the rows of the last one."""
        self.asked_at = monotonic()
        try:
            return _rows(self._connection.exec_(script))
        finally:
            self.asked_at = inf

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> None:
        remaining = iter(rows)
        while some := list(islice(remaining, MANY)):
            if len(some) == 1 or not self._prepares:
                for row in some:
                    self.execute(statement, row)
            else:
                self._send_all(statement, some)

    def for_update(self, of: str, *, skips: bool = False) -> str:
        # Rows that refer to a locked one may still be inserted: no key ever changes.
        return f" FOR NO KEY UPDATE OF {of}{' SKIP LOCKED' if skips else ''}"

    def lock(self, name: str) -> None:
        self.execute("SELECT pg_advisory_xact_lock(hashtextextended(current_schema || ?, 0))", (f"/{name}",))

    def write_last(self, what: Last, write: Callable[[Db, Sequence[T]], None], items: Sequence[T], /) -> None:
        self._last.setdefault((what, write), []).extend(items)

    def notify(self, topic: Topic) -> None:
        self.topics.add(topic)

    def start(self) -> None:
        """Forget what was left of a transaction that was rolled back."""
        self.topics.clear()
        self._last.clear()

    def finish(self) -> None:
        """Write what is to be written last."""
        for (_, write), items in sorted(self._last.items(), key=lambda last: last[0][0]):
            write(self, items)

    def _send_all(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Send the rows without waiting in between: one round trip for all of them."""
        written = [_written(row) for row in rows]
        named = [(self._prepared(statement, types), values) for types, values in written]
        connection = self._connection
        self.asked_at = monotonic()
        connection.nonblocking = 1
        connection.enter_pipeline_mode()
        try:
            for name, values in named:
                connection.send_query_prepared(name, values)
            connection.pipeline_sync()
            _drain(connection)
        finally:
            self.asked_at = inf
            if connection.status == ConnStatus.OK:
                connection.exit_pipeline_mode()
                connection.nonblocking = 0

    def _prepared(self, statement: str, types: tuple[int, ...]) -> bytes:
        name = self._names.get((statement, types))
        if name is None:
            name = b"s%d" % len(self._names)
            _rows(self._connection.prepare(name, _dollars(statement), types))
            self._names[statement, types] = name
        return name


@lru_cache(maxsize=1_000)
def _dollars(statement: str) -> bytes:
    """Return the statement with numbered places. No statement of ours has a question mark in a literal."""
    first, *others = statement.split("?")
    return "".join((first, *(f"${number}{part}" for number, part in enumerate(others, start=1)))).encode()


# --- values ---


def _written(parameters: Sequence[Any]) -> tuple[tuple[int, ...], list[Any]]:
    """Return the parameters' types, and how they are sent."""
    types = tuple([_UNKNOWN if value is None else _TYPES[type(value)] for value in parameters])
    return types, [None if value is None else _WRITERS[type(value)](value) for value in parameters]


def _text(value: str) -> bytes:
    try:
        written = value.encode()
    except UnicodeEncodeError:
        written = strip_surrogates(value).encode()
    # PostgreSQL's texts hold no NUL; a message must not be lost for one.
    return written.replace(b"\0", b"\xef\xbf\xbd") if b"\0" in written else written


_WRITERS: Mapping[type, Callable[[Any], bytes]] = {
    int: lambda value: b"%d" % value,
    bool: lambda value: b"%d" % value,
    float: lambda value: repr(value).encode(),
    str: _text,
    bytes: lambda value: b"\\x" + value.hex().encode(),
}


def _number(raw: bytes) -> float:
    return float(raw) if b"." in raw else int(raw)


_READERS: Mapping[int, Callable[[bytes], Any]] = {
    16: lambda raw: raw == b"t",  # boolean
    _BYTES: lambda raw: bytes.fromhex(raw[2:].decode()),
    20: int,
    21: int,
    23: int,
    26: int,
    700: float,
    _DOUBLE: float,
    1700: _number,  # numeric: what the sum of bigints is
}


def _rows(result: PGresult) -> Sequence[Row]:
    status = result.status
    if status == ExecStatus.TUPLES_OK:
        return _tuples(result) if result.ntuples else ()
    if status not in _DONE:
        raise failure(result)
    return ()


def _tuples(result: PGresult) -> Sequence[Row]:
    columns = [
        (number, (result.fname(number) or b"").decode(), _READERS.get(result.ftype(number), bytes.decode))
        for number in range(result.nfields)
    ]
    get = result.get_value
    return [
        {name: None if (raw := get(row, number)) is None else read(raw) for number, name, read in columns}
        for row in range(result.ntuples)
    ]


def failure(result: PGresult) -> psycopg.Error:
    """Return the error that the result tells of."""
    return errors.error_from_result(result)


# --- many statements in one round trip ---


def _drain(connection: PGconn) -> None:
    """Send what is buffered and read all results up to the sync; raise the first error among them.

    libpq's own waiting would hold the interpreter's lock: no other thread could end the transaction that is waited for.
    """
    failed: psycopg.Error | None = None
    is_sending = True
    while True:
        is_sending = is_sending and connection.flush() == 1
        if is_sending or connection.is_busy():
            _wait(connection, is_sending=is_sending)
            connection.consume_input()
            continue
        result = connection.get_result()
        if result is None:
            continue
        if result.status == ExecStatus.PIPELINE_SYNC:
            break
        if result.status not in _DONE and result.status != ExecStatus.PIPELINE_ABORTED:
            failed = failed or failure(result)
    if failed is not None:
        raise failed


def _wait(connection: PGconn, *, is_sending: bool) -> None:
    """Wait until something can be read, or sent. Not by `select`, which takes no descriptor above 1,023."""
    with selectors.DefaultSelector() as selector:
        selector.register(connection.socket, selectors.EVENT_READ | (selectors.EVENT_WRITE if is_sending else 0))
        selector.select()
