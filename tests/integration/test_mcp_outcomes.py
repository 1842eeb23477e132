"""What became of a call over HTTP: an answer that does not say so means "may have run", never "refused"."""

from __future__ import annotations

import json

import pytest
from mcp.types import HEADER_MISMATCH

from bot.tools.toolset import Toolset
from tests.fakes.mcp_servers.http_player import HttpPlayer, answer
from tests.fakes.mcp_servers.processes import QUICK, call, until, web


def rpc_error(code: int, message: str, *, id_: str = "@ID@") -> bytes:
    error = json.dumps({"code": code, "message": message})
    return f'{{"jsonrpc": "2.0", "id": {id_}, "error": {error}}}'.encode()


PAGE = b"<html><body>Down for maintenance</body></html>"
UNCLEAR = {
    "500": answer(500, b"Internal Server Error", content_type="text/plain"),
    "500 with an error": answer(500, rpc_error(-32603, "Internal error")),
    "500 without a body": answer(500, b""),
    "501": answer(501, b""),
    "408": answer(408, b"Request Timeout", content_type="text/plain"),
    "202": answer(202, b""),
    "200 without a body": answer(200, b""),
    "a page": answer(200, PAGE, content_type="text/html"),
    "JSON that breaks off": answer(200, b'{"jsonrpc": "2.0", "id": @ID@, "result": {"conte'),
    "JSON that is no message": answer(200, b'{"ok": true}'),
    "a list": answer(200, b"[]"),
    "a stream that breaks off": answer(200, b'data: {"jsonrpc": "2.0", "id"\n\n', content_type="text/event-stream"),
    "a timeout of the server's own": answer(200, rpc_error(-32001, "Request timed out")),
}
SESSION_LOST = {
    "404": answer(404, rpc_error(-32001, "Session not found", id_="null")),
    "404 without a body": answer(404, b""),
    "400": answer(400, rpc_error(-32000, "Bad Request: No valid session ID provided", id_="null")),
    "400 as text": answer(400, b"Invalid session ID", content_type="text/plain"),
    "400 not initialized": answer(400, rpc_error(-32000, "Bad Request: Server not initialized", id_="null")),
    "401": answer(401, b'{"error": "Unknown session"}'),
    "410": answer(410, b"This session has expired", content_type="text/plain"),
    "500": answer(500, rpc_error(-32603, "Session 12-ab not found")),
    "503 with a body": answer(503, b'{"error": "session terminated"}'),
    "200 with an error": answer(200, rpc_error(-32001, "Session not found")),
    "200 with another": answer(200, rpc_error(-32000, "Session does not exist")),
    "200 with a third": answer(200, rpc_error(-32600, "Invalid session id")),
}
TURNED_AWAY = {
    "400": answer(400, b"Bad Request", content_type="text/plain"),
    "401": answer(401, b"", headers="WWW-Authenticate: Bearer\r\n"),
    "403": answer(403, PAGE, content_type="text/html"),
    "405": answer(405, b""),
    "413": answer(413, b""),
    "429": answer(429, b"", headers="Retry-After: 5\r\n"),
}


def named(answers: dict[str, bytes]) -> list[object]:
    return [pytest.param(raw, id=name) for name, raw in answers.items()]


@pytest.mark.parametrize("raw", named(UNCLEAR))
async def test_an_answer_that_does_not_say_what_became_of_the_call_means_that_it_may_have_run(raw: bytes) -> None:
    async with (
        HttpPlayer(answers={"tools/call": raw}, once=True).open() as player,
        Toolset([web("shop", player.url)], timing=QUICK, offer_wait_s=20) as tools,
    ):
        await tools.offer(None)
        listed = player.asked.count("tools/list")
        result = await call(tools, "shop__act")
        assert result.outcome == "interrupted"
        assert "may have run" in result.text
        assert not any(word in result.text for word in ("refused", "pydantic", "validation error", "input_value"))
        assert player.asked.count("tools/call") == 1
        await until(lambda: player.asked.count("tools/list") > listed)  # the connection is checked
        assert (await call(tools, "shop__act")).text == "acted"


async def test_a_call_that_may_have_run_is_repeated_where_that_does_no_harm() -> None:
    async with (
        HttpPlayer(answers={"tools/call": UNCLEAR["a page"]}, once=True).open() as player,
        Toolset([web("shop", player.url, repeatable=("act",))], timing=QUICK, offer_wait_s=20) as tools,
    ):
        await tools.offer(None)
        assert (await call(tools, "shop__act")).text == "acted"


@pytest.mark.parametrize("raw", named(SESSION_LOST))
async def test_a_lost_session_in_any_wording_is_begun_again_and_the_call_runs_once(raw: bytes) -> None:
    async with (
        HttpPlayer(answers={"tools/call": raw}, once=True).open() as player,
        Toolset([web("shop", player.url)], timing=QUICK, offer_wait_s=20) as tools,
    ):
        await tools.offer(None)
        player.sessions = 7  # the server was restarted: it knows no session of before
        assert (await call(tools, "shop__act")).text == "acted"
        assert player.sessions == 8
        assert player.asked.count("tools/call") == 2


async def test_a_server_that_always_says_that_the_session_is_lost_gets_no_endless_calls() -> None:
    async with (
        HttpPlayer(answers={"tools/call": SESSION_LOST["200 with an error"]}).open() as player,
        Toolset([web("shop", player.url)], timing=QUICK, offer_wait_s=20) as tools,
    ):
        await tools.offer(None)
        result = await call(tools, "shop__act")
        assert result.outcome == "error"
        assert "no longer knows" in result.text or "Session not found" in result.text
        assert player.asked.count("tools/call") == 2


@pytest.mark.parametrize("raw", named(TURNED_AWAY))
async def test_a_call_that_does_not_get_through_to_the_server_did_not_run_and_the_next_one_works(raw: bytes) -> None:
    async with (
        HttpPlayer(answers={"tools/call": raw}, once=True).open() as player,
        Toolset([web("shop", player.url)], timing=QUICK, offer_wait_s=20) as tools,
    ):
        await tools.offer(None)
        result = await call(tools, "shop__act")
        assert result.outcome == "error"
        assert "did not run" in result.text
        assert raw[9:12].decode() in result.text
        assert (await call(tools, "shop__act")).text == "acted"


async def test_an_error_of_the_server_is_said_in_its_own_words() -> None:
    async with (
        HttpPlayer(answers={"tools/call": answer(400, rpc_error(-32602, "no such room"))}).open() as player,
        Toolset([web("shop", player.url)], timing=QUICK, offer_wait_s=20) as tools,
    ):
        await tools.offer(None)
        result = await call(tools, "shop__act")
        assert (result.outcome, result.text) == ("error", "The server 'shop' refused the call: no such room")


async def test_a_call_whose_headers_do_not_fit_the_schema_of_now_is_sent_again_with_those_that_do() -> None:
    # Servers of 2026-07-28 compare headers with arguments before they run anything (SEP-2243).
    refused = answer(400, rpc_error(HEADER_MISMATCH, "Mcp-Param-Region does not match"))
    async with (
        HttpPlayer(answers={"tools/call": refused}, once=True).open() as player,
        Toolset([web("shop", player.url)], timing=QUICK, offer_wait_s=20) as tools,
    ):
        await tools.offer(None)
        assert (await call(tools, "shop__act")).text == "acted"
        assert player.asked[-3:] == ["tools/call", "tools/list", "tools/call"]
