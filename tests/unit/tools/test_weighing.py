"""Messages of servers, weighed before they are parsed; notices by the thousand."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp.types import JSONRPCError, JSONRPCResponse

from bot.text.apart import PIECE
from bot.tools.servers.storms import NoticeGate
from bot.tools.servers.weighing import MAX_PARTS, is_heavy, outside_of_texts, read_weighed

TRICKS = st.text(st.sampled_from('\\"{}[],: a\u4e2d'), max_size=30)
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
DOCUMENTS = st.recursive(
    TRICKS | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(TRICKS, inner), max_leaves=30
)


@settings(max_examples=50)
@given(DOCUMENTS)
def test_exactly_what_is_outside_of_texts_is_counted_wherever_a_piece_ends(document: Any) -> None:
    whole = json.dumps(["\\" * PIECE + '"', document, 'a\\"' * (PIECE // 5)])
    outside = list(outside_of_texts(whole.encode()))
    assert b"".join(b"".join(parts) for parts in outside).decode() == _TEXT.sub("", whole)


@pytest.mark.parametrize(
    "result",
    [
        {"text": '[{,:\\"' * 400_000},
        {"text": "\\" * 1_000_001},
        {"content": [{"type": "text", "text": "x"}] * 5_000},
        {"data": "QUJD" * 2_000_000},
    ],
)
async def test_what_is_long_only_by_its_texts_is_read(result: dict[str, Any]) -> None:
    raw = json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()
    (message,) = await read_weighed(raw, waiting={1: "tools/call"})
    assert isinstance(message, JSONRPCResponse) and message.result == result


MANY: list[Any] = [[1] * MAX_PARTS, [[0]] * MAX_PARTS, {str(n): 1 for n in range(MAX_PARTS)}]


@pytest.mark.parametrize("value", MANY)
async def test_too_many_parts_are_an_error_to_the_request_that_waits(value: Any) -> None:
    raw = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"value": value}}).encode()
    assert await is_heavy(raw)
    (message,) = await read_weighed(raw, waiting={1: "tools/call", 2: "ping"})
    assert isinstance(message, JSONRPCError) and message.id == 1
    assert message.error.message == "its answer has more than 60,000 parts"


def test_of_notices_that_come_by_the_thousand_few_are_read_and_of_other_messages_all() -> None:
    gate = NoticeGate()

    def notice(token: int) -> bytes:
        params = {"progressToken": token, "progress": 1}
        return json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}).encode()

    assert sum(gate.admits(notice(1)) for _ in range(1_000)) < 100
    assert gate.admits(notice(2))  # of another call
    for other in (
        b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}',
        b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"\\"notifications/progress\\""}]}}',
        b'{"jsonrpc":"2.0","id":1,"result":{"method":"notifications/progress"}}',
        b'"notifications/progress" [',
    ):
        assert all(gate.admits(other) for _ in range(3))
