"""Removes from an SQLite file what was deleted in it.

`secure_delete` overwrites what is deleted, but not the copies that remain in a page's free space when SQLite moves rows
to other pages. Only writing the whole file again leaves none.
"""

from __future__ import annotations

import sqlite3

from bot.stores.sqlite.group_commit import roll_back

REWRITTEN_BYTES = 32 * 1024 * 1024  # takes about 0.15 s, in which nothing else is written
DUE = "store/rewrite"  # the note that says that the file is to be written again
REWRITE_WAIT_MS = 100  # for others
TRUNCATE_WAIT_MS = 20


def rewrite(connection: sqlite3.Connection, *, max_bytes: int | None) -> bool:
    """Write the file again, or note that this is due where the file is larger or in use; return which it was."""
    roll_back(connection)
    if max_bytes is not None and _size(connection) > max_bytes:
        return _put_off(connection)
    if not _vacuum(connection, in_memory=max_bytes is not None):
        return _put_off(connection)
    connection.execute("DELETE FROM note WHERE name = ?", (DUE,))
    return True


def _vacuum(connection: sqlite3.Connection, *, in_memory: bool) -> bool:
    """Write the file again; False where it is in use, or no space is left: texts are overwritten all the same."""
    with _Waiting(connection, REWRITE_WAIT_MS):
        try:
            # A copy of the texts, for a moment: in memory where they are few, otherwise in a file without a name.
            connection.execute(f"PRAGMA temp_store = {'MEMORY' if in_memory else 'DEFAULT'}")
            connection.execute("VACUUM")
        except sqlite3.OperationalError:
            return False
        finally:
            connection.execute("PRAGMA temp_store = DEFAULT")
    return True


def is_due(connection: sqlite3.Connection) -> bool:
    """Return whether the file was to be written again."""
    return connection.execute("SELECT 1 FROM note WHERE name = ?", (DUE,)).fetchone() is not None


def truncate_wal(connection: sqlite3.Connection) -> bool:
    """Empty the write-ahead file; False where someone reads what it holds."""
    roll_back(connection)
    with _Waiting(connection, TRUNCATE_WAIT_MS):
        (is_busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not is_busy


def _size(connection: sqlite3.Connection) -> int:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    return pages * page_bytes


def _put_off(connection: sqlite3.Connection) -> bool:
    connection.execute("INSERT INTO note (name, text) VALUES (?, 'due') ON CONFLICT (name) DO NOTHING", (DUE,))
    return False


class _Waiting:
    """Bounds how long the connection waits for others: turns wait for it meanwhile."""

    def __init__(self, connection: sqlite3.Connection, wait_ms: int) -> None:
        self._connection = connection
        self._wait_ms = wait_ms
        (self._before_ms,) = connection.execute("PRAGMA busy_timeout").fetchone()

    def __enter__(self) -> None:
        self._connection.execute(f"PRAGMA busy_timeout = {self._wait_ms}")

    def __exit__(self, *_: object) -> None:
        self._connection.execute(f"PRAGMA busy_timeout = {self._before_ms}")
