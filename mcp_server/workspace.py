"""The text files of each conversation: plain names, limits, and what a place that keeps them can do."""

import hashlib
import unicodedata
from typing import Annotated, Final, Protocol

from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel, ConfigDict, Field

from mcp_server.answer import Answer
from mcp_server.phrases import counted, quoted

MAX_FILE_BYTES: Final = 1024 * 1024
MAX_FILES: Final = 200  # in one conversation
MAX_NAME_BYTES: Final = 200  # in UTF-8; file systems stop at 255

_SHARED = "shared"
_SEPARATORS_AND_WILDCARDS = frozenset('<>:"/\\|?*')
_WINDOWS_DEVICES = frozenset(
    {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}
    | {f"{port}{digit}" for port in ("COM", "LPT") for digit in "0123456789¹²³"}
)


class SavedFile(Answer):
    """A file that was saved."""

    filename: str
    size_bytes: int
    overwritten: Annotated[bool, Field(description="true when a file of that name was there before")]

    def sentence(self) -> str:
        """What was saved, and whether it replaced another file."""
        saved = f"Saved {self.filename} ({counted(self.size_bytes, 'byte')})"
        return f"{saved}, overwriting the earlier file of that name." if self.overwritten else f"{saved}."


class FileText(Answer):
    """A file's whole text."""

    filename: str
    size_bytes: int
    content: str

    def sentence(self) -> str:
        """A heading, then the text of the file, unchanged."""
        if not self.content:
            return f"{self.filename} is empty."
        return f"{self.filename} ({counted(self.size_bytes, 'byte')}):\n{self.content}"


class FileEntry(BaseModel):
    """One file in a list."""

    model_config = ConfigDict(frozen=True)

    filename: str
    size_bytes: int
    modified_at: Annotated[str, Field(description="ISO 8601, UTC")]


class FileList(Answer):
    """The files of one conversation, by name."""

    files: list[FileEntry]

    def sentence(self) -> str:
        """One line per file."""
        if not self.files:
            return "There are no files in this conversation yet."
        lines = [f"{file.filename} ({counted(file.size_bytes, 'byte')})" for file in self.files]
        return "\n".join([f"{counted(len(lines), 'file')}:", *lines])


class DeletedFile(Answer):
    """A file that is gone."""

    filename: str

    def sentence(self) -> str:
        """What was deleted."""
        return f"Deleted {self.filename}."


class Workspace(Protocol):
    """Every conversation's files.

    `conversation` is any non-empty text, or None for the files that no conversation owns.
    Threads may share one workspace. All methods raise ToolError with what to do next; a failed call leaves no file half
    changed.
    """

    def adopt(self, conversation: str, former: str) -> None:
        """Move the files that were kept under a former id of the conversation, once; where it has files, nothing."""
        ...

    def save(self, conversation: str | None, filename: str, content: str) -> SavedFile:
        """Put `content` into the file, whole or not at all; when this returns, it survives a power cut."""
        ...

    def read(self, conversation: str | None, filename: str) -> FileText:
        """Return the file's text, which must be UTF-8 of at most `MAX_FILE_BYTES`."""
        ...

    def list(self, conversation: str | None) -> FileList:
        """Return the conversation's files in the order of their names."""
        ...

    def delete(self, conversation: str | None, filename: str) -> DeletedFile:
        """Remove the file for good."""
        ...


def folder_name(conversation: str | None) -> str:
    """What a conversation's files are kept under: a digest, so that no id can name a path or another's files."""
    if conversation is None:
        return _SHARED
    return "c-" + hashlib.sha256(conversation.encode("utf-8", "surrogatepass")).hexdigest()


def plain_name(filename: str) -> str:
    """Return `filename`, in Unicode form NFC, if it is a plain file name on every operating system.

    Raises:
        ToolError: It is not; the message says why.
    """
    name = unicodedata.normalize("NFC", filename)
    fault = name_fault(name)
    if fault:
        raise ToolError(f"{quoted(filename)} cannot be a file name: {fault}; use a plain name such as notes.txt")
    return name


def name_fault(name: str) -> str | None:
    """Return why it is no plain file name, as a phrase; None where it is one."""
    if not name:
        return "it is empty"
    if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        return f"it is longer than {MAX_NAME_BYTES} bytes"
    if any(unicodedata.category(char).startswith("C") for char in name):
        return "it has control or invisible characters"
    if not _SEPARATORS_AND_WILDCARDS.isdisjoint(name):
        return 'it must not have any of < > : " / \\ | ? *'
    if name.startswith((".", " ")) or name.endswith((".", " ")):
        return "it must not begin or end with a dot or a space"
    if name.partition(".")[0].rstrip().upper() in _WINDOWS_DEVICES:
        return "Windows keeps it for a device"
    return None


def encoded(content: str) -> bytes:
    """Return the bytes of a text; ToolError where no file can have them."""
    try:
        data = content.encode()
    except UnicodeEncodeError as error:
        raise ToolError("the content has half a surrogate pair, which no text file can hold") from error
    if len(data) > MAX_FILE_BYTES:
        raise ToolError(
            f"the content has {len(data):,} bytes; a file may have {MAX_FILE_BYTES:,}: split it into several"
        )
    return data


def decoded(name: str, data: bytes) -> str:
    """Return the text of a file; ToolError where it is none."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ToolError(f"{name} is not UTF-8 text (byte {error.start + 1:,} is wrong) and cannot be read") from error


def missing(name: str) -> ToolError:
    """Return the error for a file that is not there."""
    return ToolError(f"there is no file {quoted(name)}; list_text_files shows what there is")


def full() -> ToolError:
    """Return the error for a file too many."""
    return ToolError(f"this conversation already has {MAX_FILES} files, the most it may have; delete one first")
