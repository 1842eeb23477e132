"""Folders that nobody can change, not even root."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

_CLOSED: set[Path] = set()
_WATCHED: list[bool] = []


@contextmanager
def unchangeable(folder: Path) -> Generator[None]:
    """Refuse, in this process, each deletion and each new file below the folder while the context is open."""
    if not _WATCHED:
        # Once, for it cannot be removed: https://docs.python.org/3/library/sys.html#sys.addaudithook
        sys.addaudithook(_refuse)
        _WATCHED.append(True)
    _CLOSED.add(folder)
    try:
        yield
    finally:
        _CLOSED.discard(folder)


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    if _CLOSED and (event == "os.remove" or _makes_a_file(event, arguments)):
        file = Path(os.fsdecode(arguments[0]))  # pyright: ignore[reportArgumentType]
        if _CLOSED & set(file.parents):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))


def _makes_a_file(event: str, arguments: tuple[object, ...]) -> bool:
    return event == "open" and isinstance(arguments[2], int) and bool(arguments[2] & os.O_EXCL)
