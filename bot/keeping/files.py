"""What the home folder keeps beside the database (attachments, workspaces, typed lines, logs), and how it goes."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog

from bot.domain.events import ConversationKey
from bot.domain.turns import answer_key
from bot.keeping.private import FILE_MODE, replace_file
from bot.text import typed_lines

log = structlog.stdlib.get_logger(__name__)

ATTACHMENTS, WORKSPACES, TYPED, LOGS = "attachments", "workspaces", "console-history", "logs"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesGone:
    """How much was deleted."""

    attachments: int = 0
    saved: int = 0  # files of conversations, in their workspaces
    typed_lines: int = 0
    log_lines: int = 0
    undeleted: int = 0  # files that were to go and could not be deleted; the log says why

    def __bool__(self) -> bool:
        return self != FilesGone()

    def __add__(self, other: FilesGone) -> FilesGone:
        return FilesGone(
            attachments=self.attachments + other.attachments,
            saved=self.saved + other.saved,
            typed_lines=self.typed_lines + other.typed_lines,
            log_lines=self.log_lines + other.log_lines,
            undeleted=self.undeleted + other.undeleted,
        )


def former_id(conversation: ConversationKey) -> str:
    """Return the id under which tool servers have known the conversation from the first version on."""
    return conversation.opaque_id


@dataclass(frozen=True, slots=True)
class KeptFiles:
    """The files of one home folder. What is missing is passed over, what cannot be deleted counted, no link followed.

    `id_of` gives the id under which tool servers know a conversation; files under its former id count as well.
    """

    home: Path
    id_of: Callable[[ConversationKey], str] = former_id

    async def forget(
        self, conversation: ConversationKey, event_keys: Iterable[str], *, with_saved: bool = False
    ) -> FilesGone:
        """Delete the attachments of these questions, what was typed in the conversation, and the files saved in it."""
        keys = list(event_keys)
        return await asyncio.to_thread(self._forget, conversation, keys, with_saved=with_saved)

    async def count_saved(self, conversation: ConversationKey) -> int:
        """Return how many files are saved in the conversation."""
        return await asyncio.to_thread(lambda: len(self._saved(conversation)))

    async def forget_older(self, before: float) -> FilesGone:
        """Delete what was written last before that time, in seconds since the epoch; of logs and typed lines, lines."""
        return await asyncio.to_thread(self._forget_older, before)

    def _forget(self, conversation: ConversationKey, event_keys: Iterable[str], *, with_saved: bool) -> FilesGone:
        answers = {answer_key(key) for key in event_keys}
        of_them = [file for file in _files(self.home / ATTACHMENTS) if file.name.partition(".")[0] in answers]
        saved, left = 0, 0
        if with_saved:
            saved, left = _delete(self._saved(conversation))
            for workspace in self._workspaces(conversation):
                with suppress(OSError):
                    workspace.rmdir()
        gone = FilesGone(saved=saved, undeleted=left)
        if conversation.platform == "console":
            gone += _shorten(self.home / TYPED, lambda text: typed_lines.without_conversation(text, str(conversation)))
        attachments, left = _delete(of_them)
        return gone + FilesGone(attachments=attachments, undeleted=left)

    def _forget_older(self, before: float) -> FilesGone:
        saved = left = 0
        for workspace in _folders(self.home / WORKSPACES):
            gone, not_gone = _delete(_older(_files(workspace), before))
            saved, left = saved + gone, left + not_gone
            with suppress(OSError):  # there are others in it
                workspace.rmdir()
        logs = list(_files(self.home / LOGS))
        attachments, more_left = _delete(_older(_files(self.home / ATTACHMENTS), before))
        return _shorten(self.home / TYPED, lambda text: typed_lines.without_older(text, before)) + FilesGone(
            attachments=attachments,
            saved=saved,
            undeleted=left + more_left,
            log_lines=sum(_cut_log(file, before) for file in logs),
        )

    def _saved(self, conversation: ConversationKey) -> Sequence[Path]:
        return [file for workspace in self._workspaces(conversation) for file in _files(workspace)]

    def _workspaces(self, conversation: ConversationKey) -> Sequence[Path]:
        ids = dict.fromkeys((self.id_of(conversation), former_id(conversation)))
        return [self.home / WORKSPACES / workspace_name(each) for each in ids]


def workspace_name(conversation_id: str) -> str:
    """Return the folder that the bundled server gives to the conversation of that id (`mcp_server/workspace.py`)."""
    return f"c-{hashlib.sha256(conversation_id.encode()).hexdigest()}"


# --- files ---


def _files(folder: Path) -> Iterator[Path]:
    with suppress(OSError):
        if not folder.is_symlink():
            yield from [Path(entry.path) for entry in os.scandir(folder) if entry.is_file(follow_symlinks=False)]


def _folders(folder: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]


def _older(files: Iterable[Path], before: float) -> Iterator[Path]:
    for file in files:
        with suppress(OSError):
            if file.lstat().st_mtime < before:
                yield file


def _delete(files: Iterable[Path]) -> tuple[int, int]:
    """Delete them; return how many are gone, and how many are still there."""
    gone = left = 0
    for file in files:
        try:
            file.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            _note_undeleted(file, error)
            left += 1
        else:
            gone += 1
    return gone, left


def _note_undeleted(file: Path, error: OSError) -> None:
    # Only the folder: names of files may be people's words.
    log.warning("file_not_deleted", folder=str(file.parent), error=error.strerror)


# --- lines ---


def _shorten(file: Path, kept: Callable[[str], str]) -> FilesGone:
    """Put what is to be kept in the place of the file; return how many typed lines went."""
    try:
        before = file.read_bytes().decode(errors="replace")
    except OSError:
        return FilesGone()
    after = kept(before)
    gone = _typed(before) - _typed(after)
    if not gone:
        return FilesGone()
    try:
        replace_file(file, after)
    except OSError as error:
        _note_undeleted(file, error)
        return FilesGone(undeleted=1)
    return FilesGone(typed_lines=gone)


def _typed(text: str) -> int:
    return text.count("\n+")


def _cut_log(file: Path, before: float) -> int:
    """Remove the lines up to the first one that is new enough, in place: the file may be open; return how many went."""
    try:
        with file.open("r+b") as log:
            lines = log.readlines()
            cut = next((number for number, line in enumerate(lines) if _is_since(line, before)), len(lines))
            if not cut:
                return 0
            log.seek(0)
            log.writelines(lines[cut:])
            log.truncate()
        file.chmod(FILE_MODE)
    except OSError:
        return 0
    if cut == len(lines) and file.suffix != ".log":  # one that was full, and is empty now
        _delete([file])
    return cut


def _is_since(line: bytes, before: float) -> bool:
    found = _TIME.search(line.decode(errors="replace"))  # a line of a traceback has none
    try:
        return found is not None and datetime.fromisoformat(found[0]).timestamp() >= before
    except ValueError:  # in a message, anything may look like a time
        return False
