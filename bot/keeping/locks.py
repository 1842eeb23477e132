"""Locks of folders, by a file in each. They are SQLite's, which every system lets go of when a process dies."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Literal

from bot.keeping.private import open_private

_BEGINNING = {
    "alone": ("BEGIN EXCLUSIVE",),
    "together": ("BEGIN", "SELECT count(*) FROM sqlite_master"),  # only what is read locks
}


@contextmanager
def locked(file: Path, how: Literal["alone", "together"], *, wait_s: float) -> Generator[bool]:
    """Hold the lock while the context is open, and yield True; False where that of another process is in the way.

    The file is made where it is missing, and stays. Nothing else may open it: on POSIX, closing it lets go of all
    locks that the process has on it, https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled

    Raises:
        OSError: The file cannot be made, or the file system has no locks.
    """
    with suppress(FileExistsError):
        os.close(open_private(os.fspath(file), os.O_CREAT | os.O_EXCL | os.O_RDWR))
    with ExitStack() as stack:
        try:
            lock = stack.enter_context(closing(sqlite3.connect(file, timeout=wait_s, isolation_level=None)))
            is_held = _begin(lock, how)
        except sqlite3.Error as error:
            code = errno.ENOLCK if file.exists() else errno.ENOENT  # its folder was removed meanwhile
            raise OSError(code, os.strerror(code), os.fspath(file)) from error
        yield is_held


def _begin(lock: sqlite3.Connection, how: Literal["alone", "together"]) -> bool:
    try:
        for statement in _BEGINNING[how]:
            lock.execute(statement).fetchall()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise
        return False
    return True
