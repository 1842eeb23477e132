"""The files of conversations in one folder for each, nothing outside it."""

import os
import secrets
import stat
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Literal

from mcp.server.mcpserver.exceptions import ToolError

from mcp_server.workspace import (
    MAX_FILE_BYTES,
    MAX_FILES,
    DeletedFile,
    FileEntry,
    FileList,
    FileText,
    SavedFile,
    decoded,
    encoded,
    folder_name,
    full,
    missing,
    name_fault,
    plain_name,
)

_DRAFT_SUFFIX = ".tmp"
_ABANDONED_AFTER_S = 3600.0  # a draft this old belongs to a process that died


class FolderWorkspace:
    """Every conversation's files below one root folder; satisfies `Workspace`.

    Only the owner has access to folders and files, so only the owner could swap them while they are in use; anything
    planted there before, such as a symbolic link, is never followed.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._placing = threading.Lock()

    def adopt(self, conversation: str, former: str) -> None:
        """Move the files that were kept under a former id of the conversation, once; where it has files, nothing."""
        old, new = self._root / folder_name(former), self._root / folder_name(conversation)
        with self._placing, _storage_faults(), suppress(FileNotFoundError):
            if stat.S_ISDIR(old.lstat().st_mode) and not os.path.lexists(new):
                old.rename(new)

    def save(self, conversation: str | None, filename: str, content: str) -> SavedFile:
        """Put `content` into the file, whole or not at all, and on disk before this returns."""
        name = plain_name(filename)
        data = encoded(content)
        with _storage_faults():
            folder = self._made_folder(conversation)
            _remove_abandoned_drafts(folder)
            draft = folder / f".{secrets.token_hex(8)}{_DRAFT_SUFFIX}"
            try:
                _write_through(draft, data)
                overwritten = self._place(draft, folder / name)
            finally:
                draft.unlink(missing_ok=True)
            _flush_folder(folder)
        return SavedFile(filename=name, size_bytes=len(data), overwritten=overwritten)

    def read(self, conversation: str | None, filename: str) -> FileText:
        """Return the file's text, which must be UTF-8 of at most `MAX_FILE_BYTES`."""
        path = self._existing_file(conversation, filename)
        with _storage_faults(), _opened(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise ToolError(f"{path.name} is larger than {MAX_FILE_BYTES:,} bytes and cannot be read")
        return FileText(filename=path.name, size_bytes=len(data), content=decoded(path.name, data))

    def list(self, conversation: str | None) -> FileList:
        """Return the conversation's files in the order of their names."""
        with _storage_faults():
            folder = self._folder(conversation)
            paths = sorted(_files(folder)) if folder else []
            entries = [entry for entry in map(_entry, paths) if entry is not None]
        return FileList(files=entries)

    def delete(self, conversation: str | None, filename: str) -> DeletedFile:
        """Remove the file for good."""
        path = self._existing_file(conversation, filename)
        with _storage_faults():
            path.unlink()
        return DeletedFile(filename=path.name)

    def _place(self, draft: Path, target: Path) -> bool:
        """Move the draft to its name; True when a file was there. One thread at a time, so the count holds."""
        with self._placing:
            overwritten = _is_file(target)
            if not overwritten and sum(1 for _ in _files(target.parent)) >= MAX_FILES:
                raise full()
            draft.replace(target)
        return overwritten

    def _existing_file(self, conversation: str | None, filename: str) -> Path:
        name = plain_name(filename)
        with _storage_faults():
            folder = self._folder(conversation)
            if folder is None or not _is_file(folder / name):
                raise missing(name)
        return folder / name

    def _made_folder(self, conversation: str | None) -> Path:
        _make_private(self._root)
        with suppress(FileExistsError):
            (self._root / folder_name(conversation)).mkdir(mode=0o700)
        folder = self._folder(conversation)
        if folder is None:
            raise ToolError("the conversation's folder has just been removed; try again")
        return folder

    def _folder(self, conversation: str | None) -> Path | None:
        """The conversation's folder, None when it has none yet."""
        folder = self._root / folder_name(conversation)
        with suppress(FileNotFoundError):
            if not stat.S_ISDIR(folder.lstat().st_mode):
                raise ToolError(
                    "something else lies where this conversation's folder belongs; the operator must remove it"
                )
            return folder
        return None


def _make_private(folder: Path) -> None:
    """Make the folder, and those above it that are missing, for their owner only; mkdir would open those above."""
    if not folder.is_dir():
        _make_private(folder.parent)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)


def _is_file(path: Path) -> bool:
    """Whether a regular file is there; False for nothing, ToolError for anything else, links included."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(mode):
        raise ToolError(f"{path.name} is not a regular file and is left alone; use another name")
    return True


def _files(folder: Path) -> Iterator[Path]:
    """The regular files in the folder that a caller could have named."""
    for entry in os.scandir(folder):
        if entry.is_file(follow_symlinks=False) and name_fault(entry.name) is None:
            yield folder / entry.name


def _entry(path: Path) -> FileEntry | None:
    """The file's entry in the list, None when another thread has just deleted it."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    modified = datetime.fromtimestamp(status.st_mtime, UTC).isoformat(timespec="seconds")
    return FileEntry(filename=path.name, size_bytes=status.st_size, modified_at=modified)


def _write_through(path: Path, data: bytes) -> None:
    with _opened(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _opened(path: Path, mode: Literal["rb", "xb"]) -> BinaryIO:
    def refuse_links(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NOFOLLOW", 0), 0o600)  # Windows has no such flag

    return open(path, mode, opener=refuse_links)  # Path.open takes no opener


def _flush_folder(folder: Path) -> None:
    """Make a rename in the folder survive a power cut; Windows has no call for it."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_abandoned_drafts(folder: Path) -> None:
    oldest = time.time() - _ABANDONED_AFTER_S
    for draft in folder.glob(f".*{_DRAFT_SUFFIX}"):
        with suppress(FileNotFoundError):
            if draft.lstat().st_mtime < oldest:
                draft.unlink()


@contextmanager
def _storage_faults() -> Generator[None]:
    """Turn errors of the file system into errors that name no path."""
    try:
        yield
    except OSError as error:
        raise ToolError(f"the file storage failed: {error.strerror or type(error).__name__}") from error
