"""Results and arguments of tool calls."""

from __future__ import annotations

import base64
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
)

from bot.text.apart import PIECE
from bot.tools.results import NOTHING, parse_result
from bot.tools.servers.errors import CallError
from bot.tools.toolset import arguments_to_send


def test_texts_are_joined_and_structured_content_is_not_repeated() -> None:
    content: list[ContentBlock] = [TextContent(text="one"), TextContent(text=""), TextContent(text="two")]
    result = parse_result("c1", CallToolResult(content=content, structured_content={"a": 1}))
    assert (result.call_id, result.text, result.outcome) == ("c1", "one\ntwo", "ok")


def test_structured_content_stands_in_where_there_is_no_text() -> None:
    structured = {"größe": [1, 2.5, None]}
    assert parse_result("c", CallToolResult(content=[], structured_content=structured)).text == '{"größe":[1,2.5,null]}'
    picture = ImageContent(data=base64.b64encode(b"x" * 3000).decode(), mime_type="image/png")
    result = parse_result("c", CallToolResult(content=[picture], structured_content=structured))
    assert result.text.splitlines() == ['{"größe":[1,2.5,null]}', "[image/png, 3 KB, shown to the user]"]


def test_an_empty_result_says_so() -> None:
    assert parse_result("c", CallToolResult(content=[])).text == NOTHING


def test_a_tools_error_is_an_outcome() -> None:
    result = parse_result("c", CallToolResult(content=[TextContent(text="no such city")], is_error=True))
    assert (result.outcome, result.text) == ("error", "no such city")


@pytest.mark.parametrize(
    ("uri", "name"),
    [("file:///a/b%20c.pdf?x=1", "b c.pdf"), ("data:", "data:"), ("http://[", "["), ("x://h/..%2f..%2fetc", "etc")],
)
def test_a_resource_of_bytes_is_named_after_its_address(uri: str, name: str) -> None:
    block = EmbeddedResource(resource=BlobResourceContents(uri=uri, blob=base64.b64encode(b"1234").decode()))
    (attachment,) = parse_result("c", CallToolResult(content=[block])).attachments
    assert (attachment.name, attachment.data) == (name, b"1234")


@pytest.mark.parametrize(
    ("mime_type", "name"),
    [("audio/wav", "audio-1.wav"), ("audio/mp3", "audio-1.mp3"), ("audio/webm", "audio-1.weba"), ("x/y", "audio-1")],
)
def test_a_sound_has_the_ending_by_which_platforms_know_that_it_can_be_played(mime_type: str, name: str) -> None:
    block = AudioContent(data=base64.b64encode(b"1234").decode(), mime_type=mime_type)
    (attachment,) = parse_result("c", CallToolResult(content=[block])).attachments
    assert attachment.name == name


@given(data=st.text(), mime_type=st.text(), uri=st.text())
def test_no_result_however_odd_raises(data: str, mime_type: str, uri: str) -> None:
    content: list[ContentBlock] = [
        ImageContent(data=data, mime_type=mime_type),
        AudioContent(data=data, mime_type=mime_type),
        EmbeddedResource(resource=BlobResourceContents(uri=uri, blob=data, mime_type=mime_type)),
        ResourceLink(name=data, uri=uri),
    ]
    result = parse_result("c", CallToolResult(content=content))
    assert len(result.text) > 0
    assert all("/" not in attachment.name for attachment in result.attachments)


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5)))
def test_every_json_object_is_understood(arguments: dict[str, object]) -> None:
    assert arguments_to_send(json.dumps(arguments)) == arguments


@given(
    st.text() | st.sampled_from(["[" * 100_000, '{"a": 1e999}', '{"a": NaN}', "1" * 5000, '{"a": "\\udc00"}', "[1]"])
)
def test_text_that_is_no_json_object_is_refused_in_words(text: str) -> None:
    try:
        arguments = arguments_to_send(text)
    except CallError as error:
        assert "Send one JSON object" in str(error)  # noqa: PT017  (both ends are right, for different texts)
    else:
        assert json.dumps(arguments, allow_nan=False).encode()


@pytest.mark.parametrize("text", ["", "  \n"])
def test_no_text_means_no_arguments(text: str) -> None:
    assert arguments_to_send(text) == {}


@pytest.mark.parametrize("size", [0, 1, 2, 3, PIECE * 3 // 4, PIECE, PIECE + 1, 3 * PIECE + 2])
@pytest.mark.parametrize("width", [0, 76])
def test_a_large_picture_is_decoded_piece_by_piece_whatever_its_length_and_lines(size: int, width: int) -> None:
    data = random.Random(size).randbytes(size)
    encoded = base64.b64encode(data).decode()
    if width:
        encoded = "\n".join(encoded[at : at + width] for at in range(0, len(encoded), width)) + "\n"
    result = parse_result("1", CallToolResult(content=[ImageContent(data=encoded, mime_type="image/png")]))
    assert [each.data for each in result.attachments] == [data]


@pytest.mark.parametrize("rest", ["QQ==QUJD", "!", "QQ==" + "\n" * PIECE + "QUJD", "Q"])
def test_base64_that_is_none_is_said_wherever_a_piece_ends(rest: str) -> None:
    for before in ("", "QUJD" * (PIECE // 4), "QUJD" * (PIECE // 4 - 1)):
        result = parse_result("1", CallToolResult(content=[ImageContent(data=before + rest, mime_type="image/png")]))
        assert "invalid base64" in result.text


def test_a_text_without_an_end_is_cut_and_that_is_said() -> None:
    result = parse_result("1", CallToolResult(content=[TextContent(text="x" * 3_000_000)]))
    assert result.text == "x" * 1_000_000 + "\n[cut: the first 1,000,000 of 3,000,000 characters of this answer]"
