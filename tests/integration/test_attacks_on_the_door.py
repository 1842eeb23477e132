"""Attacks on the HTTP door: slow peers, nonsense, and a process without descriptors. Each is a line in SECURITY.md."""

from __future__ import annotations

import asyncio
import socket
import sys

import pytest
from structlog.testing import capture_logs

from adapters.slack.http_endpoint import PAGES_PER_MINUTE
from bot.http.bounds import bounds_for
from bot.http.listener import open_listener
from tests.attacks.door import hold
from tests.attacks.fuzz_http import EVENTS, FORM_TYPE, JSON_TYPE, Sent, fuzz, open_door, signed

WAIT_S = 30.0
NONSENSE = {
    "deep JSON": (JSON_TYPE, b'{"a":' * 100_000),
    "a list": (JSON_TYPE, b"[]"),
    "bad bytes": (JSON_TYPE, b"\xff\xfe"),
    "an unknown charset": (f"{JSON_TYPE}; charset=x-none", b"{"),
    "a number of 100,000 digits": (JSON_TYPE, b'{"type":' + b"1" * 100_000 + b"}"),
    "a form of nothing": (FORM_TYPE, b"payload="),
    "a form with a list": (FORM_TYPE, b"payload=[]"),
    "no workspace": (JSON_TYPE, b'{"type": "event_callback"}'),
    "ids of other types": (JSON_TYPE, b'{"type": "event_callback", "team_id": ["T1"], "event": 5}'),
}


@pytest.mark.skipif(sys.platform != "linux", reason="the process gets few descriptors from outside")
async def test_signed_events_are_acknowledged_while_slow_peers_of_the_same_address_hold_connections() -> None:
    figures = await hold(peers=300, events=5, descriptors=256)
    assert figures["signed events lost"] == 0
    assert figures["longest acknowledgement (s)"] < 3.0
    assert figures["connections held at once"] <= bounds_for(256).connections
    assert figures["lines of the log on refusals"] <= 1 + figures["all of it (s)"] / 60
    assert figures["tracebacks in the log"] == 0


async def test_nonsense_is_refused_without_a_traceback_whether_it_is_signed_or_not() -> None:
    async with open_door() as door:
        for name, (content_type, body) in NONSENSE.items():
            for headers, status in ((signed(body), 400), (signed(body, secret="guessed"), 401), ({}, 401)):
                sent = Sent("POST", EVENTS, (("Content-Type", content_type), *headers.items()), body)
                wanted = {400} if name == "bad bytes" and headers else {status}
                assert await door.status(sent) in wanted, name
        assert door.faults.lines == []


async def test_one_address_does_not_push_out_the_installations_that_others_have_begun() -> None:
    async with open_door() as door:
        pages = [await door.status(Sent("GET", "/slack/install")) for _ in range(PAGES_PER_MINUTE + 5)]
        assert pages == [200] * PAGES_PER_MINUTE + [429] * 5
        assert await door.status(Sent("GET", "/healthz")) == 200
        assert door.faults.lines == []


@pytest.mark.parametrize("at", ["now", "", "-1", "1e9", "9" * 5_000, "1_000", "²"])
async def test_a_time_that_is_none_is_not_signed(at: str) -> None:
    async with open_door() as door:
        headers = {**signed(b"{}"), "X-Slack-Request-Timestamp": at}
        assert await door.status(Sent("POST", EVENTS, tuple(headers.items()), b"{}")) == 401
        assert door.faults.lines == []


def test_no_request_of_any_shape_is_an_error_of_the_bot() -> None:
    statuses = fuzz(60)["statuses"]
    assert {200, 400} <= statuses.keys()


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted there")
async def test_where_no_descriptor_is_left_requests_are_answered_and_the_log_does_not_grow() -> None:
    import resource

    loop = asyncio.get_running_loop()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with capture_logs() as logged:
        async with open_listener("127.0.0.1", 0) as listener:
            slow = [socket.socket() for _ in range(20)]
            quick = socket.socket()
            for each in (*slow, quick):
                each.setblocking(False)
            complaints: list[object] = []
            loop.set_exception_handler(lambda _loop, context: complaints.append(context))
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (quick.fileno() + 5, hard))  # the last that was opened
                async with asyncio.timeout(WAIT_S):
                    for each in slow:
                        await loop.sock_connect(each, ("127.0.0.1", listener.port))
                    await loop.sock_connect(quick, ("127.0.0.1", listener.port))
                    await loop.sock_sendall(quick, b"GET /healthz HTTP/1.1\r\nHost: bot\r\n\r\n")
                    assert (await loop.sock_recv(quick, 1_000)).startswith(b"HTTP/1.1 200")
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                for each in (*slow, quick):
                    each.close()
    assert complaints == []
    lines = [line["reasons"] for line in logged if line["event"] == "http_refused"]
    assert len(lines) <= 2 and any("no_descriptor" in reasons for reasons in lines)  # the last at the end
