"""Folders of the home: what is in them, what is old, and how it goes. Saved files that are in folders."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from bot.ports.saved_files import Deleted

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SavedFolders:
    """Satisfies `SavedFiles`: a folder for each workspace below one root, as `mcp_server/folder.py` makes them."""

    root: Path

    async def count(self, workspaces: Sequence[str]) -> int:
        """See `SavedFiles`."""
        return await asyncio.to_thread(lambda: sum(1 for name in workspaces for _ in files_in(self.root / name)))

    async def delete(self, workspaces: Sequence[str]) -> Deleted:
        """See `SavedFiles`."""
        return await asyncio.to_thread(lambda: self._delete([self.root / name for name in workspaces]))

    async def delete_older(self, before: float) -> Deleted:
        """See `SavedFiles`."""
        return await asyncio.to_thread(lambda: self._delete(list(_folders(self.root)), before=before))

    def _delete(self, folders: Sequence[Path], *, before: float | None = None) -> Deleted:
        deleted = Deleted()
        for folder in folders:
            files = files_in(folder)
            deleted += delete_files(files if before is None else older(files, before))
            with suppress(OSError):  # it is not there, or others are in it
                folder.rmdir()
        return deleted


def files_in(folder: Path) -> Iterator[Path]:
    """Yield the regular files of a folder; none where it is missing or a link."""
    with suppress(OSError):
        if not folder.is_symlink():
            yield from [Path(entry.path) for entry in os.scandir(folder) if entry.is_file(follow_symlinks=False)]


def _folders(folder: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]


def older(files: Iterable[Path], before: float) -> Iterator[Path]:
    """Yield those that were written last before that time, in seconds since the epoch."""
    for file in files:
        with suppress(OSError):
            if file.lstat().st_mtime < before:
                yield file


def delete_files(files: Iterable[Path]) -> Deleted:
    """Delete them; what is missing is passed over, and of what cannot be deleted the log says why."""
    gone = left = 0
    for file in files:
        try:
            file.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            note_undeleted(file, error)
            left += 1
        else:
            gone += 1
    return Deleted(gone=gone, left=left)


def note_undeleted(file: Path, error: OSError) -> None:
    """Log that a file could not be deleted."""
    # Only the folder: names of files may be people's words.
    log.warning("file_not_deleted", folder=str(file.parent), error=error.strerror)
