"""Folders and files that only their owner reads. Windows has no such modes: a user's folder is private there."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FOLDER_MODE, FILE_MODE = 0o700, 0o600
OTHERS = 0o077
# What the home folder has in it: what the bot keeps there, of which it sets the modes, and what operators write.
_KEPT = frozenset({"logs", "attachments", "workspaces", "console-history", "secret-key", "conversation.key"})
_WRITTEN = frozenset({"mcp.json", "toolbridge.toml", "trusted-folders.json", ".env"})
_DATABASE = "toolbridge.db"
_OF_RESTORE = (".restor", "before-restore-")  # how the names begin of what a restore leaves, see `replacing.py`


def make_folder(folder: Path) -> None:
    """Make the folder, and those above it that are missing, for their owner only. Raises OSError."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        make_folder(folder.parent)
    with suppress(FileExistsError):  # another process has just made it
        folder.mkdir(mode=FOLDER_MODE)


def open_private(name: str, flags: int) -> int:
    """Open a file, for its owner only where it is new; the `opener` of `open`."""
    return os.open(name, flags, FILE_MODE)


def make_file(file: Path, text: str) -> None:
    """Make the file where it is missing: whole or not at all. Of two processes that do so, the first one's text counts.

    Raises OSError.
    """
    if file.exists():
        return
    make_folder(file.parent)
    with _faults_of(file):
        draft = _draft(file, text)
        try:
            os.link(draft, file)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            draft.replace(file)
        finally:
            draft.unlink(missing_ok=True)


def replace_file(file: Path, text: str) -> None:
    """Put a file with this text in the place of the file: a reader gets all of the old text or all of the new.

    Raises OSError.
    """
    with _faults_of(file):
        draft = _draft(file, text)
        try:
            draft.replace(file)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


@contextmanager
def _faults_of(file: Path) -> Generator[None]:
    """Have errors name the file, not the draft beside it, which nobody knows."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = os.fspath(file), None
        raise


def _draft(file: Path, text: str) -> Path:
    """Return a new file beside that one, with the text on the disk."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # which makes it 0600
    try:
        with open(descriptor, "wb") as draft:  # noqa: PTH123  (a descriptor that is open)
            draft.write(text.encode())
            draft.flush()
            os.fsync(draft.fileno())
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


def tighten(home: Path) -> str:
    """Make the home and what is known in it private where others can read it; return why that was not possible.

    The sentence says what to do; it is empty where all is private. A missing home is nothing to make private.
    """
    if os.name == "nt" or not home.is_dir():
        return ""
    try:
        return _tighten(home)
    except OSError as error:
        return f"{home} can be read by others, and its mode cannot be changed ({error.strerror}). Run: chmod 700 {home}"


def _tighten(home: Path) -> str:
    if is_open(home):
        strangers = sorted(entry.name for entry in home.iterdir() if not _is_ours(entry.name))
        if strangers:
            return (
                f"{home} can be read by others. It is left so, because it holds more than what Toolbridge keeps "
                f"({strangers[0]}). Run: chmod 700 {home}, or set TOOLBRIDGE_HOME to a folder of its own."
            )
        home.chmod(FOLDER_MODE)
    for path in _known(home):
        if is_open(path):
            path.chmod(FOLDER_MODE if path.is_dir() else FILE_MODE)
    return ""


def is_open(path: Path) -> bool:
    """Return whether others than the owner may read or change it."""
    return bool(stat.S_IMODE(path.stat().st_mode) & OTHERS)


def _known(home: Path) -> Iterator[Path]:
    for entry in home.iterdir():
        if (entry.name in _KEPT or entry.name.startswith(_DATABASE)) and not entry.is_symlink():
            yield entry
            if entry.name in ("logs", "attachments"):
                yield from (file for file in entry.iterdir() if file.is_file() and not file.is_symlink())


def _is_ours(name: str) -> bool:
    """Return whether the bot or its operator made it. Where anything else is in the home, its mode is left as it is."""
    drafted = name[1:].rpartition(".")[0] if name.startswith(".") else ""
    return name.startswith((_DATABASE, *_OF_RESTORE)) or bool({name, drafted} & (_KEPT | _WRITTEN))
