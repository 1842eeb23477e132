"""Files that a person names for their next message; as on other platforms, they are read when its turn runs."""

from __future__ import annotations

import mimetypes
import os
import shlex
import stat
from collections.abc import Sequence
from pathlib import Path

from bot.domain.errors import AdapterError
from bot.domain.events import SharedFile
from bot.text.counting import count
from bot.text.terminal import flat


def named_files(argument: str) -> Sequence[str]:
    """Return the names in what was typed: separated by spaces, with quotes and backslashes as in a shell.

    All of it is one name where there is a file of that name, or where a quote is not closed (`it's.txt`).
    """
    whole = argument.strip()
    if not whole or _is_there(whole):
        return [whole] if whole else []
    try:
        return shlex.split(whole)
    except ValueError:
        return [whole]


def _is_there(name: str) -> bool:
    """Return whether there is a file or a folder of that name."""
    try:
        return _path(name).exists()
    except (OSError, ValueError, RuntimeError):
        return False


def shared_file(name: str) -> SharedFile:
    """Return the file of that name, in which `~` is the person's own folder.

    Raises:
        AdapterError: There is none, or it cannot be read; a sentence for the person.
    """
    shown = flat(name)
    try:
        path = Path(os.path.abspath(_path(name)))  # noqa: PTH100  (`resolve` would give the name behind a link)
        found = path.stat()
    except FileNotFoundError:
        raise AdapterError(f"There is no file {shown}.", is_permanent=True) from None
    except (OSError, ValueError, RuntimeError) as error:
        raise AdapterError(f"{shown} cannot be read: {_reason(error)}.", is_permanent=True) from None
    if stat.S_ISDIR(found.st_mode):
        raise AdapterError(f"{shown} is a folder. Attach the files in it.", is_permanent=True)
    if not stat.S_ISREG(found.st_mode):
        raise AdapterError(f"{shown} is no file that can be read to its end.", is_permanent=True)
    if not os.access(path, os.R_OK):
        raise AdapterError(f"{shown} cannot be read: permission denied.", is_permanent=True)
    kind = mimetypes.guess_type(path.name)[0] or ""
    return SharedFile(name=path.name, mime_type=kind, size=found.st_size, reference=str(path))


def read_shared(file: SharedFile, *, max_bytes: int) -> bytes:
    """Return the bytes of the file as it is now, one more than `max_bytes` at most.

    Raises:
        AdapterError: It is gone or cannot be read; a sentence for the person.
    """
    try:
        if not stat.S_ISREG(os.stat(file.reference).st_mode):  # noqa: PTH116  (a FIFO would never end)
            raise AdapterError("That is no file any more. Attach it again.", is_permanent=True)
        with open(file.reference, "rb") as source:  # noqa: PTH123
            return source.read(max_bytes + 1)
    except FileNotFoundError:
        raise AdapterError("That file is gone. Attach it again.", is_permanent=True) from None
    except (OSError, ValueError) as error:
        raise AdapterError(f"It cannot be read ({_reason(error)}).", is_permanent=True) from None


def attached(files: Sequence[SharedFile]) -> str:
    """Return a sentence on the files that go with the next message."""
    if not files:
        return "No file is attached. /attach FILE attaches one to your next message."
    names = ", ".join(f"{flat(file.name)} ({count(file.size, 'byte')})" for file in files)
    return f"Your next message takes along {names}. /detach leaves {'it' if len(files) == 1 else 'them'} out."


def _path(name: str) -> Path:
    return Path(name).expanduser()


def _reason(error: Exception) -> str:
    if isinstance(error, ValueError):  # whose words differ by the version of Python
        return "its name has a null character"
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return flat(said).rstrip(".").lower()
