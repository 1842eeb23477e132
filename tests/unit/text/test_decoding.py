"""Which bytes are text, in which encoding, and where nobody can say."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.text.apart import PIECE
from bot.text.decoding import Decoded, decode_text, is_like_text

PRINTED = st.text(st.characters(exclude_categories=["C"], include_characters="\n\t"), min_size=1)
UTF_16, WESTERN = "read as UTF-16", "read as Windows-1252, because it is not UTF-8"
DAMAGED = "read as UTF-8; what is not UTF-8 in it became \ufffd"

GERMAN = "Gr\xfc\xdfe, 5 \u20ac f\xfcr \u201eK\xe4se\u201c \u2013 tr\xe8s bien"
FRENCH = "Plain words first. L\u2019\xe9t\xe9 \xe0 No\xebl : \xab \xe7a co\xfbte 5 \u20ac \xbb \u2026"
SPANISH = "\xbfQu\xe9 ma\xf1ana? \xa1A\xd1O N\xba 1!"
RUSSIAN = "\u043f\u0440\u0438\u0432\u0435\u0442"
JAPANESE = "\u6771\u4eac\u306e\u30c6\u30b9\u30c8\u3067\u3059"
CHINESE = "\u8fd9\u662f\u4e00\u4e2a\u6d4b\u8bd5"
KOREAN = "\uc548\ub155\ud558\uc138\uc694"
CODE = "def main():\n    return 1  # {0}\n" * 3


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@given(text=PRINTED)
def test_unicode_text_is_read_whole_and_is_no_guess(encoding: str, text: str) -> None:
    assert decode_text(text.encode(encoding)) == Decoded(text=text.removeprefix("\ufeff"))


@pytest.mark.parametrize("text", [GERMAN, FRENCH, SPANISH, CODE.format(GERMAN)])
def test_old_western_text_is_read_with_its_accents_and_is_a_guess(text: str) -> None:
    assert decode_text(text.encode("cp1252")) == Decoded(text=text, guess=WESTERN)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", ["plain words", GERMAN, CODE.format(FRENCH)])
def test_wide_text_without_its_mark_is_a_guess(text: str, encoding: str) -> None:
    assert decode_text(text.encode(encoding)) == Decoded(text=text, guess=UTF_16)


@pytest.mark.parametrize(
    ("text", "encodings"),
    [
        (RUSSIAN, ("cp1251", "koi8-r", "cp866", "iso8859-5")),
        (JAPANESE, ("shift_jis", "euc-jp")),
        (CHINESE, ("gbk", "big5hkscs", "utf-16-le")),
        (KOREAN, ("euc-kr", "utf-16-be")),
        ("\u039a\u03b1\u03bb\u03b7\u03bc\u03ad\u03c1\u03b1", ("cp1253",)),
        ("\u05e9\u05dc\u05d5\u05dd", ("cp1255",)),
        ("\u2500\u2500\u2500\u2500 \u2551", ("cp437",)),
    ],
)
def test_what_would_be_guessed_wrongly_is_not_guessed_even_where_it_is_rare(text: str, encodings: tuple[str]) -> None:
    for encoding in encodings:
        for written in (text, CODE.format(text)) if not encoding.startswith("utf") else (text,):
            data = written.encode(encoding, errors="ignore")
            assert decode_text(data) is None, encoding


def test_a_few_wrong_bytes_in_utf_8_are_shown_and_said() -> None:
    cut = GERMAN.encode() + b"\xe2\x82"
    assert decode_text(cut) == Decoded(text=f"{GERMAN}\ufffd", guess=DAMAGED)
    assert decode_text(f"{GERMAN} ".encode() + "\xfc".encode("cp1252")) == Decoded(
        text=f"{GERMAN} \ufffd", guess=DAMAGED
    )


@given(st.binary())
def test_any_bytes_are_text_without_control_characters_or_no_text(data: bytes) -> None:
    found = decode_text(data)
    assert found is None or not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", found.text)


@given(before=st.binary(), after=st.binary())
def test_zero_bytes_in_any_place_are_no_text(before: bytes, after: bytes) -> None:
    data = b"x" + before + b"\0\0" + after
    assert decode_text(data) is None and not is_like_text(data)


def test_colours_of_a_log_and_foreign_line_ends_are_taken_out() -> None:
    log = b"2026-01-01 00:00:00 \x1b[31mERROR\x1b[0m it did not work\r\nbecause of this\rand that\n"
    clean = "2026-01-01 00:00:00 [31mERROR[0m it did not work\nbecause of this\nand that\n"
    assert decode_text(log) == Decoded(text=clean)


@pytest.mark.parametrize("data", [b"%PDF-1.7\ntext", b"PK\x03\x04" + bytes(50), bytes(range(256)) * 4])
def test_other_files_are_no_text_and_not_like_it(data: bytes) -> None:
    assert decode_text(data) is None and not is_like_text(data)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("before", range(4))
def test_a_long_text_is_the_same_wherever_a_piece_of_it_ends(encoding: str, before: int) -> None:
    text = "x" * before + "gr\xfc\xdfe, w\xf6rld\n" * (PIECE // 8)
    found = decode_text(text.encode(encoding))
    assert found is not None and found.text == text


def test_what_is_wrong_at_the_end_of_a_piece_is_found() -> None:
    assert decode_text(b"x" * (PIECE - 1) + "\xe4\xe4".encode() + b"\xff") is not None  # a damaged character
    assert decode_text(b"x" * (PIECE - 2) + b"\xe4\xf6\xfc\xdf" + b"x" * 100) is None  # a word of no known script
    assert decode_text(b"a\xe4" * 10 + b"x" * PIECE + b"\x00") is None
