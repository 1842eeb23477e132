"""What the home folder keeps beside the database (attachments, workspaces, typed lines, logs), and how it goes."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bot.domain.events import ConversationKey
from bot.domain.turns import answer_key
from bot.keeping.folders import SavedFolders, delete_files, files_in, note_undeleted, older
from bot.keeping.private import FILE_MODE, replace_file
from bot.ports.saved_files import Deleted, SavedFiles
from bot.text import typed_lines

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

    `id_of` gives the id under which tool servers know a conversation; files under its former id count as well. `saved`
    are the places where conversations have saved files: without any, it is the home's folder.
    """

    home: Path
    id_of: Callable[[ConversationKey], str] = former_id
    saved: Sequence[SavedFiles] = ()

    async def forget(
        self, conversation: ConversationKey, event_keys: Iterable[str], *, with_saved: bool = False
    ) -> FilesGone:
        """Delete the attachments of these questions, what was typed in the conversation, and the files saved in it.

        Raises StoreError where these are in a database that fails.
        """
        gone = await asyncio.to_thread(self._forget, conversation, list(event_keys))
        if not with_saved:
            return gone
        workspaces = self._workspaces(conversation)
        return gone + _saved_gone([await place.delete(workspaces) for place in self._places])

    async def count_saved(self, conversation: ConversationKey) -> int:
        """Return how many files are saved in the conversation. Raises StoreError."""
        return sum([await place.count(self._workspaces(conversation)) for place in self._places])

    async def forget_older(self, before: float) -> FilesGone:
        """Delete what was written last before that time, in seconds since the epoch; of logs and typed lines, lines.

        Raises StoreError.
        """
        gone = await asyncio.to_thread(self._forget_older, before)
        return gone + _saved_gone([await place.delete_older(before) for place in self._places])

    @property
    def _places(self) -> Sequence[SavedFiles]:
        return self.saved or (SavedFolders(self.home / WORKSPACES),)

    def _workspaces(self, conversation: ConversationKey) -> Sequence[str]:
        ids = dict.fromkeys((self.id_of(conversation), former_id(conversation)))
        return [workspace_name(each) for each in ids]

    def _forget(self, conversation: ConversationKey, event_keys: Iterable[str]) -> FilesGone:
        answers = {answer_key(key) for key in event_keys}
        of_them = [file for file in files_in(self.home / ATTACHMENTS) if file.name.partition(".")[0] in answers]
        gone = _attachments_gone(delete_files(of_them))
        if conversation.platform == "console":
            gone += _shorten(self.home / TYPED, lambda text: typed_lines.without_conversation(text, str(conversation)))
        return gone

    def _forget_older(self, before: float) -> FilesGone:
        attachments = delete_files(older(files_in(self.home / ATTACHMENTS), before))
        typed = _shorten(self.home / TYPED, lambda text: typed_lines.without_older(text, before))
        logs = [_cut_log(file, before) for file in list(files_in(self.home / LOGS))]
        return _attachments_gone(attachments) + typed + FilesGone(log_lines=sum(logs))


def _saved_gone(deleted: Iterable[Deleted]) -> FilesGone:
    total = sum(deleted, Deleted())
    return FilesGone(saved=total.gone, undeleted=total.left)


def _attachments_gone(deleted: Deleted) -> FilesGone:
    return FilesGone(attachments=deleted.gone, undeleted=deleted.left)


def workspace_name(conversation_id: str) -> str:
    """Return under which name the bundled server keeps the files of a conversation (`mcp_server/workspace.py`)."""
    return f"c-{hashlib.sha256(conversation_id.encode()).hexdigest()}"


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
        note_undeleted(file, error)
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
        delete_files([file])
    return cut


def _is_since(line: bytes, before: float) -> bool:
    found = _TIME.search(line.decode(errors="replace"))  # a line of a traceback has none
    try:
        return found is not None and datetime.fromisoformat(found[0]).timestamp() >= before
    except ValueError:  # in a message, anything may look like a time
        return False
