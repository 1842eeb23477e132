"""The bot's HTTP listener: addresses, sizes, times, places and proxies."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from structlog.testing import capture_logs

from bot.domain.errors import AdapterError
from bot.http.bounds import MAX_BODY_BYTES, MAX_HEAD_BYTES, Bounds
from bot.http.listener import going_on, open_listener
from bot.ports.http import HttpListener, HttpRoute
from bot.ports.tasks import running
from tests.attacks.lag import LoopLag

WAIT_S = 30.0
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: bot\r\n\r\n"
ECHO = b"POST /echo HTTP/1.1\r\nHost: bot\r\n"
QUICK = Bounds(head_s=0.3, body_s=0.3, idle_s=0.3, linger_s=0.3)


@dataclass
class Wire:
    """One connection to the listener."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> Wire:
        self.writer.write(data)
        await self.writer.drain()
        return self

    async def answer(self) -> tuple[int, bytes]:
        """Return the status and the body of the next answer; 0 where the connection is closed without one."""
        try:
            async with asyncio.timeout(WAIT_S):
                head = await self.reader.readuntil(b"\r\n\r\n")
                length = next((line for line in head.lower().split(b"\r\n") if b"content-length" in line), b": 0")
                return int(head.split()[1]), await self.reader.readexactly(int(length.partition(b":")[2]))
        except (asyncio.IncompleteReadError, ConnectionError):
            return 0, b""

    async def closed(self) -> bytes:
        """Return what still comes until the connection is closed."""
        try:
            async with asyncio.timeout(WAIT_S):
                return await self.reader.read()
        except ConnectionError:
            return b""


@dataclass
class World:
    """A listener with a route that returns what it gets."""

    listener: HttpListener
    wires: list[Wire]

    async def connect(self, data: bytes = b"") -> Wire:
        wire = Wire(*await asyncio.open_connection("127.0.0.1", self.listener.port))
        self.wires.append(wire)
        return await wire.send(data)

    async def ask(self, data: bytes) -> tuple[int, bytes]:
        return await (await self.connect(data)).answer()


async def echo(request: Request) -> Response:
    return PlainTextResponse(await request.body())


@asynccontextmanager
async def open_world(
    bounds: Bounds | None = None,
    *,
    answer: Callable[[Request], Awaitable[Response]] = echo,
    proxies: str = "",
    is_signed: bool = False,
) -> AsyncGenerator[World]:
    trusted = [ip_network(proxies)] if proxies else []
    async with open_listener("127.0.0.1", 0, bounds=bounds, proxies=trusted) as listener:
        world = World(listener, [])
        try:
            with listener.serve(HttpRoute(method="POST", path="/echo", answer=answer, is_signed=is_signed)):
                yield world
        finally:
            for wire in world.wires:
                wire.writer.close()


def posted(body: bytes, *headers: bytes) -> bytes:
    return ECHO + b"".join(b"%b\r\n" % header for header in headers) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def refused(logged: list[Any]) -> dict[str, int]:
    """Return what was refused, by reason."""
    counted: dict[str, int] = {}
    for line in logged:
        for reason, number in line.get("reasons", {}).items():
            counted[reason] = counted.get(reason, 0) + number
    return counted


# --- faults ---


class Faulty(IPv4Network):
    """A network that fails for each address while it is to."""

    is_faulty = False

    def __contains__(self, other: object) -> bool:
        if self.is_faulty:
            raise LookupError("not to be expected")
        return super().__contains__(other)


async def test_a_fault_costs_one_connection_and_is_in_the_log_with_its_traceback() -> None:
    proxies = Faulty("192.0.2.0/24")
    with capture_logs() as logged:
        async with open_listener("127.0.0.1", 0, proxies=[proxies]) as listener:
            world = World(listener, [])
            proxies.is_faulty = True
            assert await (await world.connect()).closed() == b""
            proxies.is_faulty = False
            assert (await world.ask(HEALTH))[0] == 200
            for wire in world.wires:
                wire.writer.close()
    (line,) = [line for line in logged if line["event"] == "http_step_failed"]
    assert line["exc_info"] and line["log_level"] == "error"


async def test_a_step_that_fails_is_done_again() -> None:
    done = asyncio.Event()
    faults = [ValueError(), OSError(), MemoryError()]

    async def step() -> None:
        if faults:
            raise faults.pop()
        done.set()
        await asyncio.Event().wait()

    with capture_logs() as logged:
        async with running(going_on(step, pause_s=0.0), name="test"), asyncio.timeout(WAIT_S):
            await done.wait()
    assert [line["event"] for line in logged] == ["http_step_failed"] * 3


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted there")
async def test_without_descriptors_it_waits_at_rest_and_goes_on_once_there_are_some() -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    loop = asyncio.get_running_loop()
    async with open_world() as world:
        client = socket.socket()
        client.setblocking(False)
        spare = os.dup(client.fileno())
        os.close(spare)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (spare, hard))  # the next one would be too many
            with pytest.raises(OSError, match="Too many open files"):
                os.dup(client.fileno())
            await loop.sock_connect(client, ("127.0.0.1", world.listener.port))
            await loop.sock_sendall(client, HEALTH)
            before = time.process_time()
            await asyncio.sleep(1.0)
            assert time.process_time() - before < 0.5
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            async with asyncio.timeout(WAIT_S):
                assert (await loop.sock_recv(client, 1_000)).startswith(b"HTTP/1.1 200")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            client.close()


# --- addresses ---


async def test_the_listener_says_that_the_bot_is_there() -> None:
    async with open_world() as world:
        status, body = await world.ask(HEALTH)
        assert (status, json.loads(body)) == (200, {"status": "ok"})


async def test_unknown_addresses_and_wrong_methods_are_refused() -> None:
    async with open_world() as world:
        assert (await world.ask(HEALTH.replace(b"/healthz", b"/healthz/")))[0] == 404
        assert (await world.ask(HEALTH.replace(b"GET", b"DELETE")))[0] == 405
        assert (await world.ask(HEALTH.replace(b"/healthz", b"/echo")))[0] == 405
        assert await world.ask(posted(b"hello")) == (200, b"hello")


async def test_a_route_answers_as_long_as_it_is_served() -> None:
    async with open_listener("127.0.0.1", 0) as listener:
        world = World(listener, [])
        assert (await world.ask(posted(b"")))[0] == 404
        with listener.serve(HttpRoute(method="POST", path="/echo", answer=echo)):
            assert (await world.ask(posted(b"")))[0] == 200
        assert (await world.ask(posted(b"")))[0] == 503


async def test_a_route_that_fails_is_an_error_of_its_own_and_the_next_request_is_answered() -> None:
    async def fail(_request: Request) -> Response:
        raise LookupError

    async with open_world(answer=fail) as world:
        with capture_logs() as logged:
            assert (await world.ask(posted(b"")))[0] == 500
        assert [line["event"] for line in logged if line["log_level"] == "error"] == ["http_failed"]
        assert (await world.ask(HEALTH))[0] == 200


async def test_a_port_that_is_taken_is_one_warning_and_an_error_for_who_needs_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, capture_logs() as logged:
        port = taken.getsockname()[1]
        async with open_listener("127.0.0.1", port) as listener:
            assert listener.port == 0
            with pytest.raises(AdapterError, match=f"cannot listen on 127.0.0.1:{port}.*Set HTTP_HOST and HTTP_PORT"):
                listener.serve()
    assert [(line["event"], line["log_level"]) for line in logged] == [("http_not_open", "warning")]


async def test_a_host_that_can_be_no_name_is_said_like_a_port_that_is_taken() -> None:
    with capture_logs() as logged:
        async with open_listener("bot..internal", 0) as listener:
            with pytest.raises(AdapterError, match=r"cannot listen on bot\.\.internal:0 \(.*Set HTTP_HOST"):
                listener.serve()
    assert [line["event"] for line in logged] == ["http_not_open"]


async def test_a_listener_that_is_switched_off_says_so_to_who_needs_it() -> None:
    async with open_listener("127.0.0.1", None) as listener:
        with pytest.raises(AdapterError, match="HTTP_PORT=off"):
            listener.serve()


async def test_what_is_in_work_when_the_listener_closes_is_still_answered() -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_request: Request) -> Response:
        began.set()
        await go_on.wait()
        return PlainTextResponse("done")

    async def go_on_once_closing(idle: Wire) -> None:
        assert await idle.closed() == b""
        go_on.set()

    async with open_listener("127.0.0.1", 0) as listener:
        world = World(listener, [])
        with listener.serve(HttpRoute(method="POST", path="/echo", answer=slow)):
            wire = await world.connect(posted(b""))
            idle = await world.connect()
            async with asyncio.timeout(WAIT_S):
                await began.wait()
        closing = asyncio.create_task(go_on_once_closing(idle))
    assert (await wire.answer()) == (200, b"done")
    await closing


# --- sizes ---


async def test_a_body_that_is_too_large_is_refused_before_it_is_sent() -> None:
    head = ECHO + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    async with open_world() as world:
        assert (await world.ask(head % (MAX_BODY_BYTES + 1)))[0] == 413
        assert (await world.ask(head % 10))[0] == 100
        body = b"x" * MAX_BODY_BYTES
        assert await world.ask(posted(body)) == (200, body)


async def test_a_body_of_unknown_length_is_refused_once_it_is_too_large() -> None:
    async with open_world() as world:
        wire = await world.connect(ECHO + b"Transfer-Encoding: chunked\r\n\r\n")
        sending = asyncio.create_task(wire.send(b"100000\r\n%b\r\n" % (b"x" * 0x100000) * 5))
        assert (await wire.answer())[0] == 413
        sending.cancel()


@pytest.mark.parametrize("head", [ECHO, HEALTH.removesuffix(b"\r\n")], ids=["being read", "answered already"])
async def test_a_body_in_very_many_chunks_holds_up_nobody(head: bytes) -> None:
    chunks = b"1\r\na\r\n" * 500_000
    with capture_logs() as logged:
        async with open_world() as world:
            wire = await world.connect()
            sending = asyncio.create_task(wire.send(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks))
            async with LoopLag() as lag:
                await asyncio.gather(sending, return_exceptions=True)
            await wire.closed()
    assert refused(logged)["many_chunks"] == 1
    assert lag.worst_ms < 500  # it was several seconds


async def test_a_body_in_chunks_as_proxies_make_them_is_taken() -> None:
    body = b"a" * 1_000_000
    chunks = b"".join(b"400\r\n" + body[at : at + 1024].ljust(1024, b"a") + b"\r\n" for at in range(0, 1_000_000, 1024))
    async with open_world() as world:
        sent = ECHO + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
        status, echoed = await world.ask(sent)
    assert status == 200 and len(echoed) == 1_000_448


async def test_a_peer_that_goes_on_sending_what_was_refused_is_closed() -> None:
    async with open_world(QUICK) as world:
        wire = await world.connect(ECHO + b"Content-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1))
        assert (await wire.answer())[0] == 413
        await wire.send(b"x" * 1_000)
        assert await wire.closed() == b""


@pytest.mark.parametrize("is_split", [False, True])
async def test_a_head_that_is_too_large_is_refused(is_split: bool) -> None:
    head = HEALTH.replace(b"\r\n\r\n", b"\r\nX-Long: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n")
    async with open_world() as world:
        wire = await world.connect(head[: -4 if is_split else len(head)])
        assert (await wire.answer())[0] in (400, 431)


async def test_bodies_that_are_too_large_together_cost_the_slowest_its_connection() -> None:
    async with open_world(Bounds(held_bytes=1_000)) as world:
        with capture_logs() as logged:
            slow = await world.connect(ECHO + b"Expect: 100-continue\r\nContent-Length: 1000\r\n\r\n")
            assert (await slow.answer())[0] == 100  # it is the older one
            await slow.send(b"x" * 900)
            assert await world.ask(posted(b"y" * 500)) == (200, b"y" * 500)
            assert await slow.closed() == b""
            await until_refused(logged, "crowded_out")
        assert await world.ask(posted(b"y" * 500)) == (200, b"y" * 500)


# --- times ---


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", "slow_head"),
        (HEALTH[:-2], "slow_head"),
        (ECHO + b"Content-Length: 10\r\n\r\nx", "slow_body"),
        (ECHO + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", "slow_body"),
    ],
    ids=["silent", "half a head", "half a body", "some chunks"],
)
async def test_a_peer_that_does_not_finish_its_request_is_closed(sent: bytes, reason: str) -> None:
    async with open_world(QUICK) as world:
        with capture_logs() as logged:
            wire = await world.connect(sent)
            assert await wire.closed() == b""
            await until_refused(logged, reason)


async def test_drops_of_a_head_do_not_lengthen_its_time() -> None:
    async with open_world(QUICK) as world:
        wire = await world.connect(HEALTH[:-2])
        ending = asyncio.create_task(wire.closed())
        while not ending.done():
            wire.writer.write(b"a")
            await asyncio.sleep(0.02)
        assert ending.result() == b""


async def test_a_connection_is_kept_for_the_next_request_for_a_while() -> None:
    async with open_world(QUICK) as world:
        wire = await world.connect(HEALTH)
        assert (await wire.answer())[0] == 200
        await wire.send(HEALTH)
        assert (await wire.answer())[0] == 200
        with capture_logs() as logged:
            assert await wire.closed() == b""
        assert refused(logged) == {}


async def test_requests_that_are_sent_before_the_answer_are_not_all_answered() -> None:
    async with open_world() as world:
        wire = await world.connect(HEALTH * 100)
        assert (await wire.answer())[0] == 200
        assert await wire.closed() == b""


# --- places ---


async def test_who_has_waited_longest_without_a_request_makes_room_for_the_next() -> None:
    async with open_world(Bounds(connections=4, unfinished_each=4)) as world:
        slow = [await world.connect(HEALTH[:-2]) for _ in range(4)]
        for _ in range(3):
            assert (await world.ask(HEALTH))[0] == 200
        assert await slow[0].closed() == b""


async def test_one_peer_may_not_hold_all_places_without_a_request() -> None:
    async with open_world(Bounds(connections=100, unfinished_each=3)) as world:
        with capture_logs() as logged:
            slow = [await world.connect(HEALTH[:-2]) for _ in range(6)]
            assert [await each.closed() for each in slow[:3]] == [b"", b"", b""]
            assert (await world.ask(HEALTH))[0] == 200
            await until_refused(logged, "crowded_out")


async def test_by_a_trusted_proxy_all_may_come() -> None:
    async with open_world(Bounds(connections=100, unfinished_each=3), proxies="127.0.0.0/8") as world:
        slow = [await world.connect(posted(b"x")[:-1]) for _ in range(20)]
        for each in slow:
            assert await (await each.send(b"x")).answer() == (200, b"x")


async def test_who_has_sent_what_was_signed_keeps_the_connection() -> None:
    async with open_world(Bounds(connections=8, unfinished_each=3), is_signed=True) as world:
        known = await world.connect(posted(b"1"))
        assert await known.answer() == (200, b"1")
        for _ in range(20):
            await world.connect(HEALTH[:-2])
        assert await (await known.send(posted(b"2"))).answer() == (200, b"2")


async def test_where_all_places_are_in_work_others_wait_and_are_answered() -> None:
    go_on = asyncio.Event()

    async def slow(_request: Request) -> Response:
        await go_on.wait()
        return PlainTextResponse("done")

    async with open_world(Bounds(connections=2, unfinished_each=2), answer=slow) as world:
        wires = [await world.connect(posted(b"")) for _ in range(6)]
        asyncio.get_running_loop().call_later(0.2, go_on.set)
        assert [await wire.answer() for wire in wires] == [(200, b"done")] * 6


async def test_work_that_takes_longer_than_anyone_waits_for_it_makes_room() -> None:
    both = asyncio.Barrier(3)

    async def never(_request: Request) -> Response:
        await both.wait()
        await asyncio.Event().wait()
        raise AssertionError

    bounds = Bounds(connections=2, unfinished_each=2, patience_s=0.2, drain_s=0.1)
    async with open_world(bounds, answer=never) as world:
        for _ in range(2):
            await world.connect(posted(b""))
        async with asyncio.timeout(WAIT_S):
            await both.wait()
        assert (await world.ask(HEALTH))[0] == 200


# --- who it was ---


@pytest.mark.parametrize(
    ("proxies", "sender"), [("", "127.0.0.1"), ("127.0.0.1/32", "203.0.113.7"), ("10.0.0.0/8", "127.0.0.1")]
)
async def test_the_log_names_who_sent_most_of_what_was_refused_by_the_word_of_trusted_proxies_only(
    proxies: str, sender: str
) -> None:
    with capture_logs() as logged:
        async with open_world(proxies=proxies) as world:
            head = HEALTH.replace(b"/healthz", b"/secret-path")
            assert (await world.ask(head.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 6.6.6.6, 203.0.113.7\r\n\r\n")))[
                0
            ] == 404
    (line,) = [line for line in logged if line["event"] == "http_refused"]
    assert (line["reasons"], line["most_from"]) == ({"unknown_path": 1}, sender)
    assert "secret" not in str(logged)


# --- the same, for tests ---


async def until_refused(logged: list[Any], reason: str) -> None:
    async with asyncio.timeout(WAIT_S):
        while reason not in refused(logged):  # noqa: ASYNC110  (logged at most four times a second)
            await asyncio.sleep(0.02)
