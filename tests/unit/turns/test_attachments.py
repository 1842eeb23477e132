"""What a file is, told by its bytes, and what the model and the user are told of it."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.domain.errors import AdapterError
from bot.domain.events import ConversationKey, SharedFile
from bot.domain.messages import Attachment, UserMessage
from bot.text.cleaning import clean_name
from bot.text.images import leave_images_out
from bot.turns.attachments import (
    MAX_AT_ONCE,
    MAX_FILES,
    MAX_IMAGES_BYTES,
    SharedContent,
    image_type,
    read_files,
)
from bot.turns.context import TOKENS_AN_IMAGE, count_tokens

CONVERSATION = ConversationKey(platform="fake", space="team", channel="general")
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
ONLY = "only text files and images (PNG, JPEG, GIF, WebP) can be taken"


@dataclass
class Source:
    """A platform that has these files; what is an error is raised."""

    files: dict[str, bytes | AdapterError]
    fetched: list[str] = field(default_factory=list[str])
    most_at_once: int = 0
    _at_once: int = 0

    async def fetch(self, file: SharedFile, conversation: ConversationKey, *, max_bytes: int) -> bytes:
        self.fetched.append(file.name)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        for _ in range(10):
            await asyncio.sleep(0)
        self._at_once -= 1
        content = self.files[file.reference]
        if isinstance(content, AdapterError):
            raise content
        return content


def shared(name: str, *, mime_type: str = "application/octet-stream", size: int = 0) -> SharedFile:
    return SharedFile(name=name, mime_type=mime_type, size=size, reference=name)


async def read(
    files: dict[str, bytes | AdapterError],
    *,
    mime_type: str = "application/octet-stream",
    max_bytes: int = 10_000_000,
    max_chars: int = 1000,
) -> SharedContent:
    return await read_files(
        [shared(name, mime_type=mime_type) for name in files],
        source=Source(files),
        conversation=CONVERSATION,
        max_bytes=max_bytes,
        max_chars=max_chars,
    )


# --- what is taken -----------------------------------------------------------------------------------------------


async def test_a_text_file_stands_in_a_fence_under_its_name() -> None:
    content = await read({"main.py": b"print(1)\n"})
    assert content.text == "⟦The file `main.py` was sent with this message:⟧\n```py\nprint(1)\n```"
    assert content.images == () and content.notes == ()


async def test_a_text_that_has_fences_itself_cannot_leave_its_own() -> None:
    inner = "```\nx\n```\n`````\nGo on."
    content = await read({"notes.md": inner.encode()})
    assert f"\n``````md\n{inner}\n``````" in content.text


@pytest.mark.parametrize(
    ("data", "mime_type"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0" + bytes(20), "image/jpeg"),
        (b"GIF89a" + bytes(20), "image/gif"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "image/webp"),
    ],
)
async def test_an_image_goes_along_as_what_its_bytes_say(data: bytes, mime_type: str) -> None:
    content = await read({"cat.txt": data}, mime_type="text/plain")
    assert content == SharedContent(images=(Attachment(name="cat.txt", mime_type=mime_type, data=data),))


async def test_several_images_are_named_in_their_order() -> None:
    content = await read({"a.png": PNG, "b.png": PNG})
    assert content.text == "⟦The images, in their order: `a.png`, `b.png`.⟧"


async def test_what_claims_to_be_an_image_and_is_none_is_no_text_either() -> None:
    content = await read({"cat.png": b"<html>Please log in</html>"}, mime_type="image/png")
    assert content.notes == (f"The file `cat.png` was not read: {ONLY}.",)


async def test_svg_is_text() -> None:
    assert "<svg/>" in (await read({"a.svg": b"<svg/>"}, mime_type="image/svg+xml")).text


@pytest.mark.parametrize("mime_type", ["application/pdf", "audio/mpeg", "video/mp4", "application/zip"])
async def test_what_can_be_neither_is_not_even_fetched(mime_type: str) -> None:
    source = Source({})
    content = await read_files(
        [shared("x", mime_type=mime_type)], source=source, conversation=CONVERSATION, max_bytes=1000
    )
    assert content.notes == (f"The file `x` was not read: {ONLY}.",)
    assert content.text == f"⟦{content.notes[0]}⟧"
    assert source.fetched == []


async def test_typescript_is_text_though_many_take_it_for_video() -> None:
    assert "let a = 1" in (await read({"a.ts": b"let a = 1"}, mime_type="video/mp2t")).text


@pytest.mark.parametrize("data", [b"PK\x03\x04" + bytes(50), b"%PDF-1.7\nsome text", bytes(range(256)) * 4])
async def test_other_bytes_are_not_taken_for_text_whatever_is_claimed(data: bytes) -> None:
    content = await read({"x.txt": data}, mime_type="text/plain")
    assert content.notes == (f"The file `x.txt` was not read: {ONLY}.",)


@pytest.mark.parametrize(
    ("data", "note"),
    [
        ("Müller;Grüße\n".encode("cp1252"), "was read as Windows-1252, because it is not UTF-8"),
        ("Müller;Grüße\n".encode("utf-16-le"), "was read as UTF-16"),
        ("Müller, Grüße".encode() + b"\xc3", "was read as UTF-8; what is not UTF-8 in it became \ufffd"),
    ],
)
async def test_a_guessed_encoding_is_told_to_the_model_and_the_user(data: bytes, note: str) -> None:
    content = await read({"list.csv": data})
    assert content.notes == (f"The file `list.csv` {note}.",)
    assert "Müller" in content.text and f"⟦{content.notes[0]}⟧" in content.text


@pytest.mark.parametrize("encoding", ["shift_jis", "gbk", "cp1251"])
async def test_an_encoding_that_cannot_be_guessed_is_said_with_the_cure(encoding: str) -> None:
    text = "\u043f\u0440\u0438\u0432\u0435\u0442" if encoding == "cp1251" else "\u6771\u4eac\u306e\u30c6\u30b9\u30c8"
    notes = (await read({"x.txt": f"# {text}\n".encode(encoding)})).notes
    reason = "its encoding is not known; please save it as UTF-8 and send it again"
    assert notes == (f"The file `x.txt` was not read: {reason}.",)


async def test_an_empty_file_is_said_to_be_empty() -> None:
    assert (await read({"x.txt": b"\n"})).notes == ("The file `x.txt` was not read: it is empty.",)


# --- limits ------------------------------------------------------------------------------------------------------


async def test_a_file_that_is_too_large_is_not_fetched_and_the_limit_is_named() -> None:
    source = Source({})
    content = await read_files(
        [shared("big.txt", size=2_500_001)], source=source, conversation=CONVERSATION, max_bytes=2_500_000
    )
    assert content.notes == (
        "The file `big.txt` was not read: it is larger than the 2.5 MB that a file may have (MAX_FILE_MB).",
    )
    assert source.fetched == []


async def test_a_file_that_turns_out_to_be_too_large_is_not_read() -> None:
    [note] = (await read({"x.txt": b"a" * 11}, max_bytes=10)).notes
    assert "MAX_FILE_MB" in note


async def test_where_the_limit_is_zero_files_are_said_to_be_turned_off() -> None:
    [note] = (await read({"x.txt": b"a"}, max_bytes=0)).notes
    assert note == "The file `x.txt` was not read: the operator has turned files off (MAX_FILE_MB)."


async def test_a_long_text_is_cut_and_both_are_told() -> None:
    content = await read({"x.txt": b"a" * 1234}, max_chars=1000)
    assert content.notes == ("Of the file `x.txt` only the first 1,000 of 1,234 characters were read.",)
    assert content.text.count("a" * 1000) == 1 and f"⟦{content.notes[0]}⟧" in content.text


async def test_the_text_of_all_files_together_is_bounded() -> None:
    content = await read(dict.fromkeys(("a", "b", "c", "d"), b"%" * 80), max_chars=100)
    assert content.text.count("%") == 200
    assert content.notes == (
        "Of the file `c` only the first 40 of 80 characters were read.",
        "The file `d` was not read: the files before it take up the room that there is.",
    )


async def test_the_images_together_are_bounded() -> None:
    large = PNG + bytes(MAX_IMAGES_BYTES // 2)
    content = await read({"a.png": large, "b.png": large, "c.png": PNG}, max_bytes=2 * MAX_IMAGES_BYTES)
    assert [image.name for image in content.images] == ["a.png", "c.png"]
    assert content.notes == ("The file `b.png` was not read: the images of one message may have 8 MB together.",)


async def test_more_files_than_are_taken_are_not_fetched() -> None:
    files: dict[str, bytes | AdapterError] = {f"{n}.txt": b"x" for n in range(MAX_FILES + 2)}
    source = Source(files)
    content = await read_files(
        [shared(name) for name in files], source=source, conversation=CONVERSATION, max_bytes=100
    )
    assert content.notes == ("Of the 12 files only the first 10 were looked at.",)
    assert source.fetched == list(files)[:MAX_FILES]


async def test_files_are_fetched_at_once_but_not_all_of_them() -> None:
    files: dict[str, bytes | AdapterError] = {str(n): b"x" for n in range(MAX_FILES)}
    source = Source(files)
    await read_files([shared(name) for name in files], source=source, conversation=CONVERSATION, max_bytes=100)
    assert source.most_at_once == MAX_AT_ONCE


# --- failures ----------------------------------------------------------------------------------------------------


async def test_a_file_that_cannot_be_had_is_a_note_and_the_others_are_read() -> None:
    content = await read({"a.txt": AdapterError("The file is gone [deleted]\nby its author."), "b.txt": b"here"})
    assert content.notes == ("The file `a.txt` was not read: The file is gone (deleted) by its author.",)
    assert "here" in content.text


class NoFiles:
    """A platform whose people cannot send files."""

    async def fetch(self, file: SharedFile, conversation: ConversationKey, *, max_bytes: int) -> bytes:
        raise AdapterError("the bot cannot take files here.", is_permanent=True)


async def test_a_platform_without_files_is_said_to_have_none() -> None:
    content = await read_files([shared("a.txt")], source=NoFiles(), conversation=CONVERSATION, max_bytes=100)
    assert content.notes == ("The file `a.txt` was not read: the bot cannot take files here.",)


# --- names and decoding ------------------------------------------------------------------------------------------


@given(st.text(max_size=300))
def test_a_name_is_one_short_printable_line_that_cannot_leave_its_quotes(name: str) -> None:
    clean = clean_name(name)
    assert 0 < len(clean) <= 80 and clean.isprintable() and clean == clean.strip()
    assert not set("`[]\n") & set(clean)
    assert clean_name(clean) == clean


def test_a_long_name_keeps_its_end() -> None:
    assert clean_name("x" * 200 + ".tar.gz").endswith(".tar.gz")


@given(st.text().filter(str.strip))
@example(".TS")
async def test_whatever_a_file_is_called_its_note_stays_on_one_line_in_its_brackets(name: str) -> None:
    files = [shared(name, mime_type="application/pdf")]
    source = Source({files[0].reference: AdapterError("It is gone.")})  # asked for where it is called like TypeScript
    content = await read_files(files, source=source, conversation=CONVERSATION, max_bytes=100)
    assert re.fullmatch(r"⟦The file `[^`⟦⟧\n]+` was not read: [^⟦⟧\n]+⟧", content.text)


@given(st.binary(max_size=40))
def test_only_the_first_bytes_make_an_image(data: bytes) -> None:
    assert image_type(b"x" + data) is None
    assert image_type(b"\x89PNG\r\n\x1a\n" + data) == "image/png"


# --- the question ------------------------------------------------------------------------------------------------


def test_a_question_gets_the_text_and_the_images_and_keeps_its_speaker() -> None:
    image = Attachment(name="a.png", mime_type="image/png", data=PNG)
    question = SharedContent(text="[file]", images=(image,)).added_to(UserMessage(text="See", speaker="Ada"))
    assert question == UserMessage(text="See", attached="[file]", speaker="Ada", images=(image,))
    assert SharedContent(text="[file]").added_to(UserMessage(text="", attached="[note]")).attached == "[note]\n\n[file]"


def test_without_its_images_a_question_has_a_sentence_for_each() -> None:
    images = tuple(Attachment(name=name, mime_type="image/png", data=PNG) for name in ("a.png", "b.png"))
    message = leave_images_out(UserMessage(text="See", images=images), "The image {name} is gone.")
    assert message == UserMessage(text="See", attached="⟦The image `a.png` is gone.⟧\n\n⟦The image `b.png` is gone.⟧")
    assert leave_images_out(UserMessage(text=" as it is "), "x") == UserMessage(text=" as it is ")


def test_an_image_counts_as_many_tokens_whatever_its_size() -> None:
    images = tuple(Attachment(name="a", mime_type="image/png", data=PNG * n) for n in (1, 1000))
    plain, seen = UserMessage(text="See"), UserMessage(text="See", images=images)
    assert count_tokens(seen, len) - count_tokens(plain, len) == 2 * TOKENS_AN_IMAGE
