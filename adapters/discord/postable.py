"""Posts as Discord takes them: the text of one message, with the files that fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from adapters.discord.markdown import PART_CHARS
from adapters.discord.render import CONTENT_CHARS, part_message
from bot.domain.messages import Attachment
from bot.domain.turns import Post
from bot.text.counting import count

MAX_FILES = 10
MAX_FILE_BYTES = 10 * 1024 * 1024  # https://docs.discord.com/developers/reference#uploading-files
MAX_FILES_BYTES = 24 * 1024 * 1024  # of a request's 25 MiB


class Postable(NamedTuple):
    """What is sent of a post."""

    text: str
    files: Sequence[Attachment]


def postable(post: Post) -> Postable:
    """Return the post as one message; its text says how many files are left out."""
    shown = part_message(post.text)
    files = [*([shown.file] if shown.file else []), *post.attachments]
    taken = _that_fit(files)
    left = len(files) - len(taken)
    return Postable(with_note(shown.text, f"{_files(left)}: too big or too many.") if left else shown.text, taken)


def without_files(post: Post, reason: str) -> Post:
    """Return the post with a note in place of its files: with the reason where there is room for it."""
    note = _files(len(post.attachments))
    if len(post.text) > PART_CHARS:  # the end of it is in a file, where nobody would look for the note
        return replace(post, text=f"-# {note}.\n{post.text}", attachments=())
    room = PART_CHARS - len(post.text) - len("\n-# ")
    whole = f"{note}. {reason}"
    text = with_note(post.text, whole if len(whole) <= room else f"{note}.", max_chars=PART_CHARS)
    return replace(post, text=text, attachments=())


def with_note(text: str, note: str, *, max_chars: int = CONTENT_CHARS) -> str:
    """Return the text with a note in small letters at its end; the text is cut where both do not fit."""
    small = f"\n-# {note}"
    return text[: max_chars - len(small)].rstrip() + small


def _that_fit(files: Sequence[Attachment]) -> Sequence[Attachment]:
    taken: list[Attachment] = []
    room = MAX_FILES_BYTES
    for file in files:
        size = len(file.data)
        if 0 < size <= min(room, MAX_FILE_BYTES) and len(taken) < MAX_FILES:
            taken.append(file)
            room -= size
    return taken


def _files(number: int) -> str:
    return f"{count(number, 'file')} could not be posted"
