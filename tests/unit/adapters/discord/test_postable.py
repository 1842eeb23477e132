"""Posts as Discord takes them: what is left out is named, and no word is lost for a note."""

from __future__ import annotations

import pytest

from adapters.discord.markdown import PART_CHARS
from adapters.discord.postable import MAX_FILE_BYTES, MAX_FILES, postable, with_note, without_files
from adapters.discord.render import CONTENT_CHARS
from bot.domain.events import ConversationKey
from bot.domain.messages import Attachment
from bot.domain.turns import Post

PLACE = ConversationKey(platform="discord", space="1", channel="2", thread="")
REASON = "The file is larger than Discord accepts here. Ask for a smaller one, or for a part of it."


def post_of(text: str, *sizes: int) -> Post:
    files = tuple(Attachment(name=f"{number}.bin", data=bytes(size), mime_type="") for number, size in enumerate(sizes))
    return Post(key="k", conversation=PLACE, turn_id=1, part=0, text=text, attachments=files)


def test_files_that_do_not_fit_are_counted_in_the_text() -> None:
    text, files = postable(post_of("Here.", 1, MAX_FILE_BYTES + 1, 0, *[1] * MAX_FILES))
    assert len(files) == MAX_FILES
    assert text == "Here.\n-# 3 files could not be posted: too big or too many."


def test_a_post_without_its_files_says_why() -> None:
    shown = without_files(post_of("Here.", 1), REASON)
    assert shown.text == f"Here.\n-# 1 file could not be posted. {REASON}"
    assert shown.attachments == () and postable(shown).files == []


@pytest.mark.parametrize("length", [1_700, 1_800, 1_860, PART_CHARS])
def test_a_long_post_without_its_files_is_still_one_message_with_a_note(length: int) -> None:
    shown = postable(without_files(post_of("x" * length, 1, 1), REASON))
    assert "\n-# 2 files could not be posted." in shown.text
    assert len(shown.text) <= CONTENT_CHARS and not shown.files
    assert shown.text.count("x") >= length - 40


def test_where_the_rest_of_a_text_is_in_a_file_the_note_comes_first() -> None:
    shown = without_files(post_of("x" * 5_000, 1), REASON)
    assert shown.text.startswith("-# 1 file could not be posted.\n") and shown.text.endswith("x" * 5_000)


def test_a_note_never_makes_a_message_too_long() -> None:
    assert len(with_note("x" * 3_000, "note")) == CONTENT_CHARS
