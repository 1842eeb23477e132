"""A folder beside a file in which it is put together; what processes leave that are killed meanwhile is removed."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from bot.keeping.locks import locked
from bot.keeping.private import make_folder

PREFIX = ".toolbridge-draft-"
_LOCK = "lock"  # of the process that made the folder
_TRIES = 10


@contextmanager
def drafting(target: Path) -> Generator[Path]:
    """Yield an empty folder beside the target, for its owner only; it is gone at the end, with what is left in it.

    Those of processes that have died are removed first. Raises OSError where there can be none.
    """
    make_folder(target.parent)
    for left in target.parent.glob(f"{PREFIX}*"):
        _remove_dead(left)
    with ExitStack() as stack:
        folder = _begin(target.parent, stack)
        try:
            yield folder
        finally:
            stack.close()  # some systems delete no file that is open
            shutil.rmtree(folder.parent, ignore_errors=True)


def _begin(parent: Path, stack: ExitStack) -> Path:
    """Return a new folder within a locked one. Until it is locked, another process may take it for a dead one's."""
    for _ in range(_TRIES):
        held = Path(tempfile.mkdtemp(dir=parent, prefix=PREFIX))
        with suppress(FileNotFoundError), ExitStack() as trying:
            if trying.enter_context(locked(held / _LOCK, "alone", wait_s=0.0)) and (held / _LOCK).exists():
                (held / "draft").mkdir()
                stack.push(trying.pop_all())
                return held / "draft"
        shutil.rmtree(held, ignore_errors=True)
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK), os.fspath(parent))


def _remove_dead(folder: Path) -> None:
    if folder.is_symlink():
        return
    with suppress(OSError):
        with locked(folder / _LOCK, "alone", wait_s=0.0) as is_dead:
            if not is_dead:
                return
            shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)  # with the lock, where no file is deleted that is open
