"""What the statements of the store need of a database engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from enum import IntEnum
from typing import Any, Protocol, TypeVar

from bot.ports.cluster_store import Topic

T = TypeVar("T")


class Row(Protocol):
    """One row of a result; its columns are read by name."""

    def __getitem__(self, name: str, /) -> Any: ...


class Last(IntEnum):
    """Rows that nearly every unit writes, in the order in which they are written, after all others.

    Who has written them keeps all other writers waiting until the commit.
    """

    SPENDING = 1
    TOOL_USES = 2
    AUDIT = 3


class Db(Protocol):
    """Runs statements within one transaction. Their parameters are written as `?`; an engine may translate that."""

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Sequence[Row]:
        """Run one statement and return the rows that it gives."""
        ...

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> None:
        """Run one statement for each row of parameters."""
        ...

    def for_update(self, of: str, *, skips: bool = False) -> str:
        """Return the clause with which a SELECT locks its rows of these tables (names or aliases, with commas).

        They are locked until the unit is committed; `skips` leaves out those that others have locked. The clause is
        empty on an engine with one writer at a time.
        """
        ...

    def lock(self, name: str) -> None:
        """Wait for all units that have locked this name, until they are committed; it guards what has no row to lock.

        It does nothing on an engine with one writer at a time.
        """
        ...

    def write_last(self, what: Last, write: Callable[[Db, Sequence[T]], None], items: Sequence[T], /) -> None:
        """Have the items written at the end of the transaction, by one call together with those of other units in it.

        An engine with one writer at a time may write them at once. `write` is the same function for all items.
        """
        ...

    def notify(self, topic: Topic) -> None:
        """Tell the other processes of it once the unit is committed, where the engine can."""
        ...


# A unit of work is a plain function of a Db: all or nothing of it is stored. It must be safe to repeat, do nothing but
# run statements, and may refuse with a BotError only before its first write. Units that read only write nothing.
Unit = Callable[[Db], T]


class Engine(Protocol):
    """A database that runs units, for as long as it is open."""

    @property
    def keeps_files(self) -> bool:
        """Whether the bundled tool server keeps the files of conversations here, in the table `file`."""
        ...

    async def read(self, unit: Unit[T]) -> T:
        """Return what the unit reads of all that was committed before. Raises StoreError."""
        ...

    async def read_behind(self, unit: Unit[T]) -> T:
        """Return what the unit reads once all that this process wrote before has been committed. Raises StoreError."""
        ...

    def write(self, unit: Unit[T], *, is_urgent: bool = False, of: Hashable = None) -> Awaitable[T]:
        """Return the unit's result once it is durable; an urgent unit goes before those that wait.

        Units `of` the same thing run in the order in which they were written; others may run side by side.
        A cancelled caller waits for the commit all the same, so it never has to guess what was stored.

        Raises:
            BotError: The unit's own refusal.
            StoreError: The database failed; nothing of the unit was kept.
        """
        ...

    def listen(self, hear: Callable[[Topic], None]) -> None:
        """See `bot.ports.cluster_store.ClusterStore`."""
        ...

    def measure(self, committed: Callable[[int], None]) -> None:
        """See `bot.ports.store.Store`."""
        ...

    async def scrub(self) -> bool:
        """See `bot.ports.retention_store.RetentionStore`."""
        ...

    async def scrub_at_start(self) -> bool:
        """See `bot.ports.retention_store.RetentionStore`."""
        ...

    async def check(self) -> None:
        """Read all of the data. Raises StoreError where it is damaged."""
        ...


def first(rows: Sequence[Row]) -> Row | None:
    """Return the first row, or None where there is none."""
    return rows[0] if rows else None


def places(values: Sequence[object]) -> str:
    """Return the list of places for these parameters, as `IN` takes it: `(?, ?)`."""
    return f"({', '.join('?' * len(values))})"


def key_range(prefix: str) -> tuple[str, str]:
    """Return the first text that begins so, and one that is after all of those (its end is no character)."""
    return prefix, f"{prefix}\U0010ffff"


def ids_served(rows: str, column: str, prefixes: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Return a query for the ids of the rows (a table with its condition) whose column begins with one of the prefixes,
    and its parameters.

    Each prefix is looked up by itself: joined by OR, they would not be found along an index.
    """
    one = f"SELECT id FROM {rows} AND {column} >= ? AND {column} < ?"  # noqa: S608  (no outside text in it)
    return " UNION ALL ".join([one] * len(prefixes)), [bound for prefix in prefixes for bound in key_range(prefix)]
