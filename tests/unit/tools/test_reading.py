"""Lines and results of servers, however odd they are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.types import JSONRPCError, JSONRPCResponse

from bot.tools.servers.lines import LineSplitter, LongLine
from bot.tools.servers.mending import mend_result
from bot.tools.servers.reading import Waiting, read_messages, unreadable

CALL: Waiting = {5: "tools/call"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["content", "type", "text", "tools", "name", "inputSchema", "x"]), inner),
    max_leaves=12,
)  # fmt: skip


@given(st.binary() | st.text().map(str.encode) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_line_however_odd_raises(line: bytes) -> None:
    read_messages(line, waiting=CALL)


@given(st.dictionaries(st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error"]), JSON))
def test_no_message_however_odd_raises(message: dict[str, Any]) -> None:
    read_messages(json.dumps(message).encode(), waiting=CALL)


@given(
    st.sampled_from(["tools/list", "tools/call", "initialize", "server/discover", "prompts/list", "other"]),
    st.dictionaries(st.sampled_from(["content", "isError", "structuredContent", "tools", "nextCursor", "_meta"]), JSON)
    | st.fixed_dictionaries({"tools": st.lists(JSON)})
    | st.fixed_dictionaries({"content": st.lists(JSON)}),
)
def test_no_result_however_odd_raises(method: str, result: dict[str, Any]) -> None:
    mend_result(method, result, report=lambda _name, _why: None)


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","id":5,"result":"text"}',
        b'{"jsonrpc":"2.0","id":5,"result":{"content":[',
        b'{"result":{"content":[{"type":"te",,}]},"jsonrpc":"2.0","id":5}',
        b'{"result":{"content":[{"type":"text","te',
        b'{"id":"5","result":' + b"[" * 100_000,
        b'{"jsonrpc":"2.0","id":5}',
    ],
    ids=["shape", "cut", "broken", "cut before the id", "nested", "nothing"],
)
def test_an_answer_that_cannot_be_read_is_an_error_to_the_request_that_waits(line: bytes) -> None:
    (answer,) = read_messages(line, waiting=CALL)
    assert isinstance(answer, JSONRPCError)
    assert (answer.id, answer.error.message) == (5, "its answer is not valid JSON-RPC")


@pytest.mark.parametrize(
    "line",
    [
        b"Welcome to this server!",
        b"{ welcome }",
        b'{"level":"info","id":5,"msg":"listening"}',
        b'{"jsonrpc":"2.0","method":"notifications/message","params":{',
        b'{"jsonrpc":"2.0","id":77,"result":"text"}',
        b"[1, 2]",
        b"null",
    ],
)
def test_what_is_no_answer_ends_no_request(line: bytes) -> None:
    assert [message for message in read_messages(line, waiting=CALL) if not hasattr(message, "method")] == []


def test_a_cut_answer_without_an_id_belongs_to_the_only_request_that_waits() -> None:
    line = b'{"result":{"content":[{"type":"text","te'
    assert read_messages(line, waiting={5: "tools/call", 6: "tools/call"}) == []
    (answer,) = read_messages(line, waiting={5: "tools/call", 4: "subscriptions/listen"})
    assert isinstance(answer, JSONRPCError)
    assert answer.id == 5


def test_numbers_of_any_length_are_read() -> None:
    (answer,) = read_messages(b'{"jsonrpc":"2.0","id":5,"result":{"n":' + b"9" * 6000 + b',"x":NaN}}', waiting=CALL)
    assert isinstance(answer, JSONRPCResponse)
    assert answer.result["x"] is None
    json.dumps(answer.result, allow_nan=False)


def test_both_ends_of_an_answer_that_is_too_large_are_looked_at_for_its_id() -> None:
    id_first = (b'{"jsonrpc":"2.0","id":5,"result":{', b'"}}')
    id_last = (b'{"result":{', b'"},"jsonrpc":"2.0","id":5}')
    for head, tail in (id_first, id_last):
        (answer,) = unreadable(head, tail, waiting={5: "tools/call", 6: "tools/call"}, why="too large")
        assert isinstance(answer, JSONRPCError)
        assert (answer.id, answer.error.message) == (5, "too large")


@given(st.lists(st.binary()), st.integers(min_value=1, max_value=40))
def test_lines_are_the_same_however_they_arrive(pieces: list[bytes], limit: int) -> None:
    splitter = LineSplitter(limit)
    lines = [line for piece in pieces for line in splitter.feed(piece)] + [splitter.flush()]
    expected = b"".join(pieces).split(b"\n")
    assert len(lines) == len(expected)
    for line, whole in zip(lines, expected, strict=True):
        assert line == whole if len(whole) <= limit else isinstance(line, LongLine)
        if isinstance(line, LongLine):
            assert whole.startswith(line.head)
            assert whole.endswith(line.tail)
