"""Files that came with a question: text goes into it, images go along with it, and of the rest it is said why not."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from bot.domain.errors import AdapterError
from bot.domain.events import ConversationKey, SharedFile
from bot.domain.messages import Attachment, UserMessage
from bot.text.cleaning import clean_name
from bot.text.decoding import decode_text, is_like_text
from bot.text.marks import marked, unmarked

MAX_FILES = 10  # of one message
MAX_FILE_CHARS = 50_000  # of one text file
FILES_WITHOUT_CUT = 2  # so many of the longest text files fit into one question
MAX_IMAGES_BYTES = 8_000_000  # of all images of a question; each request repeats them, a third larger as base64
MAX_AT_ONCE = 4  # fetched for one question
FETCH_S = 60.0


class FileSource(Protocol):
    """Where the bytes of shared files are; every adapter is one."""

    async def fetch(self, file: SharedFile, conversation: ConversationKey, *, max_bytes: int) -> bytes:
        """Return the bytes of a file. Raises AdapterError with a sentence for the person who sent it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedContent:
    """What came of a question's files; `text` holds the notes too: the model reads what the user reads."""

    text: str = ""
    images: tuple[Attachment, ...] = ()
    notes: tuple[str, ...] = ()  # sentences: what was not read, and why

    def added_to(self, question: UserMessage) -> UserMessage:
        """Return the question together with the files."""
        attached = "\n\n".join(part for part in (question.attached, self.text) if part)
        return replace(question, attached=attached, images=self.images)


async def read_files(
    files: Sequence[SharedFile],
    *,
    quoted: Sequence[SharedFile] = (),
    source: FileSource,
    conversation: ConversationKey,
    max_bytes: int,
    max_chars: int = MAX_FILE_CHARS,
) -> SharedContent:
    """Return what the model can be given of the files, in their order, and a sentence for everything that it cannot.

    `quoted` are those of messages that the question points at; they come after its own. All are fetched at once, a few
    at a time. No file makes it fail: one that cannot be had is a note. `max_bytes` is for each file, `max_chars` for
    the text of each.
    """
    turnstile = asyncio.Semaphore(MAX_AT_ONCE)
    wanted = [*files, *quoted]

    async def read(file: SharedFile) -> _Content:
        if reason := _why_not(file, max_bytes=max_bytes):
            return _unread(file, reason)
        async with turnstile:
            return await _fetch(file, source, conversation, max_bytes=max_bytes, max_chars=max_chars)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(read(file)) for file in wanted[:MAX_FILES]]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    contents = [task.result() for task in tasks]
    content = _put_together(contents, max_chars=max_chars * FILES_WITHOUT_CUT, own=len(files))
    if len(wanted) <= MAX_FILES:
        return content
    return _noted(content, f"Of the {len(wanted)} files only the first {MAX_FILES} were looked at.")


def image_type(data: bytes) -> str | None:
    """Return the MIME type of an image that vision models take; None for anything else.

    PNG, JPEG, GIF and WebP are those that https://developers.openai.com/api/docs/guides/images-vision names.
    """
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    return None


# --- one file ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Text:
    name: str
    text: str  # its beginning, where it is too long
    length: int  # characters of all of it
    guess: str = ""  # how it was read, where its encoding is not certain


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unread:
    sentence: str


_Content = _Text | Attachment | _Unread

_NOT_TAKEN = "only text files and images (PNG, JPEG, GIF, WebP) can be taken"
_UNKNOWN_ENCODING = "its encoding is not known; please save it as UTF-8 and send it again"
_NEVER_TEXT = (
    "audio/",
    "video/",
    "font/",
    "application/pdf",
    "application/zip",
    "application/gzip",
    "application/vnd.openxmlformats-officedocument",
    "application/vnd.ms-",
    "application/msword",
)
_TYPESCRIPT = (".ts", ".mts", ".cts")  # which many take for video


def _why_not(file: SharedFile, *, max_bytes: int) -> str:
    """Return why the file need not be fetched at all, or nothing."""
    is_typescript = file.name.lower().endswith(_TYPESCRIPT)
    if file.mime_type.lower().startswith(_NEVER_TEXT) and not is_typescript:
        return _NOT_TAKEN
    if max_bytes <= 0:
        return "the operator has turned files off (MAX_FILE_MB)"
    return _too_large(max_bytes) if file.size > max_bytes else ""


def _too_large(max_bytes: int) -> str:
    return f"it is larger than the {max_bytes / 1_000_000:g} MB that a file may have (MAX_FILE_MB)"


def _unread(file: SharedFile, reason: str) -> _Unread:
    return _Unread(sentence=f"The file `{clean_name(file.name)}` was not read: {reason}.")


async def _fetch(
    file: SharedFile, source: FileSource, conversation: ConversationKey, *, max_bytes: int, max_chars: int
) -> _Content:
    try:
        async with asyncio.timeout(FETCH_S):
            data = await source.fetch(file, conversation, max_bytes=max_bytes)
    except TimeoutError:
        return _unread(file, f"it did not arrive within {FETCH_S:.0f} s; please send it again")
    except AdapterError as error:
        sentence = " ".join(str(error).replace("[", "(").replace("]", ")").split())
        return _unread(file, sentence.rstrip("."))
    if len(data) > max_bytes:
        return _unread(file, _too_large(max_bytes))
    # Ten megabytes take up to half a second, during which everyone else would wait.
    return await asyncio.to_thread(_recognize, file, data, max_chars=max_chars)


def _recognize(file: SharedFile, data: bytes, *, max_chars: int) -> _Content:
    """Recognize the file by its bytes: its name and type are only claims."""
    if mime_type := image_type(data):
        return Attachment(name=clean_name(file.name), mime_type=mime_type, data=data)
    claimed = file.mime_type.lower()
    is_other_image = claimed.startswith("image/") and not claimed.startswith("image/svg")
    found = None if is_other_image else decode_text(data)
    if found is None:
        return _unread(file, _NOT_TAKEN if is_other_image or not is_like_text(data) else _UNKNOWN_ENCODING)
    if not found.text.strip():
        return _unread(file, "it is empty")
    text = found.text[:max_chars]
    return _Text(name=clean_name(file.name), text=text, length=len(found.text), guess=found.guess)


# --- all together ------------------------------------------------------------------------------------------------


def _put_together(contents: Sequence[_Content], *, max_chars: int, own: int) -> SharedContent:
    """Return all that was read; the first `own` came with the question itself."""
    blocks: list[str] = []
    images: list[Attachment] = []
    notes: list[str] = []
    room, image_room = max_chars, MAX_IMAGES_BYTES
    for number, content in enumerate(contents):
        match content:
            case _Text():
                text = content.text[:room]
                room -= len(text)
                if text:
                    blocks.append(_quote(content.name, text, origin=_OWN if number < own else _QUOTED))
                if text and content.guess:
                    notes.append(f"The file `{content.name}` was {content.guess}.")
                if len(text) < content.length:
                    notes.append(_cut_note(content, len(text)))
            case Attachment() if len(content.data) <= image_room:
                image_room -= len(content.data)
                images.append(content)
            case Attachment():
                limit = f"the images of one message may have {MAX_IMAGES_BYTES / 1_000_000:g} MB together"
                notes.append(f"The file `{content.name}` was not read: {limit}.")
            case _Unread():
                notes.append(content.sentence)
    if len(images) > 1:
        blocks.append(marked(f"The images, in their order: {', '.join(f'`{image.name}`' for image in images)}."))
    content = SharedContent(text="\n\n".join(blocks), images=tuple(images))
    return _noted(content, *notes)


def _noted(content: SharedContent, *notes: str) -> SharedContent:
    text = "\n\n".join([part for part in (content.text, *map(marked, notes)) if part])
    return replace(content, text=text, notes=(*content.notes, *notes))


def _cut_note(file: _Text, chars: int) -> str:
    if not chars:
        return f"The file `{file.name}` was not read: the files before it take up the room that there is."
    return f"Of the file `{file.name}` only the first {chars:,} of {file.length:,} characters were read."


_OWN = "this message"
_QUOTED = "a message quoted above"


def _quote(name: str, text: str, *, origin: str) -> str:
    """Return the text in a fence that nothing in it can close."""
    text = unmarked(text)
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    suffix = name.rpartition(".")[2].lower() if "." in name else ""
    language = suffix if re.fullmatch(r"[a-z0-9]{1,10}", suffix) else ""
    heading = marked(f"The file `{name}` was sent with {origin}:")
    return "\n".join((heading, f"{fence}{language}", text.rstrip("\n"), fence))
