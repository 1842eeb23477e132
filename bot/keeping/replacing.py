"""Files of the home that are replaced all together: a process that dies on the way leaves all the old or all the new.

The new ones are gathered in a folder of their own. Once a list of what goes where is written, it is decided: the
next process that opens the home carries the list out to its end.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from bot.domain.errors import SettingsError
from bot.keeping.locks import locked
from bot.keeping.private import FOLDER_MODE, make_folder, replace_file

GATHERED = ".restoring"  # the folder of the new files
PUT_AWAY = "before-restore-"  # what the names of the folders with the old ones begin with
DECIDED = ".restore.json"
_LOCK = ".restore.lock"  # of one process that replaces files, or of all that use them
_USING_S = 1.0  # for another command that looks whether something is left of a restore, or a restore that gives up

Moves = Sequence[tuple[Path, Path]]  # from where to where; of a relative path, in the home


@contextmanager
def gathering(home: Path) -> Generator[Path]:
    """Yield an empty folder in the home to gather new files in; it is gone at the end, with what is left in it.

    Raises:
        SettingsError: Another process is replacing files of this home, or uses it.
        OSError: The folder cannot be made.
    """
    make_folder(home)
    with locked(home / _LOCK, "alone", wait_s=0.0) as is_alone:
        if not is_alone:
            raise SettingsError(_who_is_there(home))
        _carry_out(home)
        folder = home / GATHERED
        try:
            folder.mkdir(mode=FOLDER_MODE)
            yield folder
        finally:
            _clear(home)


@contextmanager
def using(home: Path) -> Generator[None]:
    """Use the home while the context is open, together with other processes: meanwhile, nothing of it is replaced.

    A home that cannot be made or locked is used all the same: what needs it says what is wrong with it.

    Raises:
        SettingsError: A restore replaces its files now, or was interrupted and cannot be brought to its end.
    """
    finish_replacing(home)
    with ExitStack() as stack:
        with suppress(OSError):
            make_folder(home)
            if not stack.enter_context(locked(home / _LOCK, "together", wait_s=_USING_S)) or is_decided(home):
                raise SettingsError(_under_way(home))
        yield


def replace_all(home: Path, *, away: Moves, into: Moves) -> None:
    """Put the old files away, then the new ones in their places, within `gathering`; nothing is in the way there.

    Each move stays on one file system. Once this has begun, `finish_replacing` brings it to its end. Raises OSError.
    """
    decided = {"away": _written(home, away), "into": _written(home, into)}
    replace_file(home / DECIDED, json.dumps(decided))
    _sync(home)
    _carry_out(home)


def is_decided(home: Path) -> bool:
    """Return whether files are to be replaced, and not all of them are yet."""
    return (home / DECIDED).exists()


def finish_replacing(home: Path) -> None:
    """Bring to its end what a process began that was killed meanwhile, or remove what it had gathered before that.

    Raises:
        SettingsError: It cannot be brought to its end.
    """
    try:
        if not (is_decided(home) or (home / GATHERED).exists()):
            return
        with locked(home / _LOCK, "alone", wait_s=10.0 if is_decided(home) else 0.0) as is_alone:
            if is_alone:
                _carry_out(home)
    except PermissionError:  # of a home that cannot be used at all; where the database is opened, that is said
        return
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else f"{DECIDED} cannot be read"
        raise SettingsError(
            f"A restore of {home} was interrupted, and its end cannot be made up for ({why}). Correct that, and start "
            f"any command again."
        ) from error
    if is_decided(home):
        raise SettingsError(_under_way(home))


def _under_way(home: Path) -> str:
    return (
        f"Another process is replacing files of {home} (`toolbridge restore`). Wait until it has ended, then start "
        f"this again."
    )


def _who_is_there(home: Path) -> str:
    """Return who holds the lock, and what to do; others that use the home leave room for one more."""
    with locked(home / _LOCK, "together", wait_s=0.0) as is_in_use:
        if not is_in_use:
            return _under_way(home)
    return (
        f"{home} is in use: a process or a command of Toolbridge works with it, or is just starting. Stop `toolbridge "
        f"run` and `toolbridge chat`, wait for other commands to end, then start this again."
    )


def _written(home: Path, moves: Moves) -> Sequence[Sequence[str]]:
    """Return the moves with paths from the home on: the next process may know it under another name."""
    return [
        [os.fspath(path.relative_to(home) if path.is_relative_to(home) else path) for path in move] for move in moves
    ]


def _carry_out(home: Path) -> None:
    decided = home / DECIDED
    if decided.exists():
        away, into = _read(decided, home)
        for source, target in away:
            if not os.path.lexists(target):  # otherwise it was moved before, and a new one is in its place
                _move(source, target)
        for source, target in into:
            _move(source, target)
        decided.unlink()
        _sync(home)
    _clear(home)


def _read(decided: Path, home: Path) -> tuple[Moves, Moves]:
    """Return what is to be put away and what is to be put in place. Raises ValueError where the list is not ours."""
    listed = json.loads(decided.read_text(encoding="utf-8"))
    try:
        away, into = ([(home / source, home / target) for source, target in listed[name]] for name in ("away", "into"))
    except (TypeError, KeyError) as error:
        raise ValueError(f"{decided} has no lists of moves") from error
    return away, into


def _move(source: Path, target: Path) -> None:
    if not os.path.lexists(source):
        return  # it was moved before
    make_folder(target.parent)
    source.rename(target)
    _sync(target.parent)
    _sync(source.parent)


def _clear(home: Path) -> None:
    if not is_decided(home):
        shutil.rmtree(home / GATHERED, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Have the names in the folder on the disk, where the system lets a folder be opened."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
