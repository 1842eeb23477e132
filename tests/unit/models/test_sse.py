"""The decoder of server-sent events."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.models.sse import SseDecoder

LINES = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]))


def decode(chunks: Iterable[bytes], *, max_bytes: int = 1_000_000) -> list[str]:
    decoder = SseDecoder(max_bytes=max_bytes)
    return [data for chunk in chunks for data in decoder.feed(chunk)]


@given(
    data=st.lists(st.lists(LINES, min_size=1, max_size=3)),
    ends=st.lists(st.sampled_from(["\n", "\r", "\r\n"]), min_size=1),
    cuts=st.lists(st.integers(min_value=1, max_value=20), min_size=1),
    comment=LINES,
)
def test_events_come_out_whole_however_the_bytes_are_cut_and_the_lines_are_ended(
    data: list[list[str]], ends: list[str], cuts: list[int], comment: str
) -> None:
    written = 0

    def end() -> str:
        nonlocal written
        written += 1
        return ends[written % len(ends)]

    body = ""
    for event in data:
        body += f": {comment}{end()}event: message{end()}id: 7{end()}"
        body += "".join(f"data: {line}{end()}" for line in event)
        # A lone CR right before an LF would be one line end: end the event with what was used last.
        body += body[-2:] if body.endswith("\r\n") else body[-1]
    raw = body.encode()
    chunks: list[bytes] = []
    while raw:
        size = cuts[len(chunks) % len(cuts)]
        chunks.append(raw[:size])
        raw = raw[size:]
    assert decode(chunks) == ["\n".join(event) for event in data]


@given(st.lists(st.binary()))
def test_no_bytes_raise_anything_but_a_value_error(chunks: list[bytes]) -> None:
    with contextlib.suppress(ValueError):
        decode(chunks)


def test_an_event_is_given_out_as_soon_as_its_last_byte_is_there() -> None:
    decoder = SseDecoder()
    assert list(decoder.feed(b"data: a\r")) == []
    assert list(decoder.feed(b"\n\r")) == ["a"]
    assert list(decoder.feed(b"\ndata: b\n\n")) == ["b"]


def test_an_event_without_its_empty_line_is_left_out() -> None:
    assert decode([b"data: a\n\ndata: b\n"]) == ["a"]


def test_a_byte_order_mark_and_a_missing_space_are_fine() -> None:
    assert decode([b"\xef\xbb\xbfdata:a\n\n", b"data\n\n", b"data:  b\n\n"]) == ["a", "", " b"]


def test_a_character_cut_in_two_is_put_together() -> None:
    raw = f"data: {json.dumps('ö😀', ensure_ascii=False)}\n\n".encode()
    assert [json.loads(one) for one in decode([raw[:9], raw[9:11], raw[11:]])] == ["ö😀"]


@pytest.mark.parametrize("chunk", [b"x" * 60, b"data: x\n" * 20])
def test_an_event_that_never_ends_is_refused(chunk: bytes) -> None:
    with pytest.raises(ValueError, match="longer than 1000 bytes"):
        decode([chunk] * 20, max_bytes=1000)


def test_comments_without_events_are_never_too_many() -> None:
    assert decode([b": still ", b"here\n\n"] * 100, max_bytes=100) == []
