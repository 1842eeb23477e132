"""The listener itself: its sockets, and the loop that takes connections from them."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from email.utils import formatdate
from functools import partial

import structlog
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from bot.http.bounds import MAX_HEAD_BYTES, Bounds, bounds_for, descriptors
from bot.http.connections import Connection, Connections
from bot.http.door import Door
from bot.http.peers import Network, Peers
from bot.http.reasons import bare_reason
from bot.http.refusals import Refusals
from bot.ports.http import HttpListener, HttpRoute, NoListener
from bot.ports.tasks import end_all

log = structlog.stdlib.get_logger(__name__)

BACKLOG = 2_048  # what the system holds of connections that were not taken yet; it may cut it
LOOK_S = 0.25
PAUSE_S = 0.05  # until a place or a descriptor is looked for again
FAULT_PAUSE_S = 1.0  # after what should not happen, and may happen each time
READ_ROUNDS = 3  # of the event loop, until what a new connection has sent is read: only then may it have to make room
SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


NOT_NEEDED = (
    "/healthz does not answer. Discord and Slack's Socket Mode do not need the listener: HTTP_PORT=off switches it off."
)


@asynccontextmanager
async def open_listener(
    host: str, port: int | None, *, proxies: Sequence[Network] = (), bounds: Bounds | None = None
) -> AsyncGenerator[HttpListener]:
    """Listen at `host`:`port` while the context is open; None: not at all. 0 is any port that is free.

    Where the port is not free there is one warning, and whatever needs the listener gets an AdapterError with the cure.
    `proxies` are those whose X-Forwarded-For counts; without `bounds` they follow from the process's descriptors.
    """
    if port is None:
        yield NoListener("HTTP_PORT=off switches off the listener that this needs. Set HTTP_PORT to a port.")
        return
    try:
        sockets = await open_sockets(host, port)
    except OSError as error:
        reason = (
            f"The bot cannot listen on {host}:{port} ({bare_reason(error)}). "
            "Set HTTP_HOST and HTTP_PORT to an address that is free."
        )
        log.warning("http_not_open", reason=reason, effect=NOT_NEEDED)
        yield NoListener(reason)
        return
    listener = Listener(sockets, peers=Peers(proxies), bounds=bounds or bounds_for(descriptors()))
    async with listener.listening():
        yield listener


class Listener:
    """Satisfies `HttpListener`. Made by `open_listener`."""

    def __init__(self, sockets: Sequence[socket.socket], *, peers: Peers, bounds: Bounds) -> None:
        self._sockets = sockets
        self._bounds = bounds
        self._refusals = Refusals()
        self.connections = Connections(bounds, peers=peers, refusals=self._refusals)
        self._door = Door(
            peers=peers,
            refusals=self._refusals,
            held_bytes=bounds.held_bytes,
            relieve=self.connections.close_oldest_body,
        )
        self._state = ServerState()
        self._config = Config(
            self._door,
            http=H11Protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=int(bounds.idle_s) + 1,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        )
        self._config.load()
        self.port: int = sockets[0].getsockname()[1]

    def serve(self, *routes: HttpRoute) -> AbstractContextManager[None]:
        """See `HttpListener`."""
        return self._door.serving(*routes)

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[None]:
        """Take connections while the context is open; what is in work at its end is answered within a moment."""
        self._stamp()
        accepting = [going_on(partial(self._accept, each)) for each in self._sockets]
        tasks = [asyncio.create_task(each, name="http:accept") for each in accepting]
        tasks.append(asyncio.create_task(going_on(self._look_after), name="http:look-after"))
        host = self._sockets[0].getsockname()[0]
        log.info("http_open", host=host, port=self.port, connections=self._bounds.connections)
        try:
            yield
        finally:
            await end_all(tasks)
            for each in self._sockets:
                each.close()
            await self._drain()
            self._refusals.tell(at_once=True)

    async def _accept(self, listening: socket.socket) -> None:
        try:
            accepted, address = await asyncio.get_running_loop().sock_accept(listening)
        except OSError as error:  # one that was closed meanwhile, or no descriptor left
            if error.errno in SHORTAGES:
                self._refusals.count("no_descriptor")
                self.connections.close_oldest()
            await asyncio.sleep(PAUSE_S)
            return
        await self._take(accepted, peer=str(address[0]) if address else "")

    async def _take(self, accepted: socket.socket, *, peer: str) -> None:
        """Begin to serve the connection, once there is a place for it: others wait in the system's own queue."""
        try:
            while not self.connections.make_room(peer):  # noqa: ASYNC110  (time makes room, too)
                await asyncio.sleep(PAUSE_S)
            make = partial(Connection, self._config, self._state, connections=self.connections)
            await asyncio.get_running_loop().connect_accepted_socket(make, accepted)
            for _ in range(READ_ROUNDS):
                await asyncio.sleep(0)
        except OSError:
            accepted.close()
        except BaseException:
            accepted.close()
            raise

    async def _look_after(self) -> None:
        await asyncio.sleep(LOOK_S)
        self._stamp()
        self.connections.close_late()
        self._refusals.tell()

    def _stamp(self) -> None:
        self._state.default_headers = [(b"date", formatdate(time.time(), usegmt=True).encode())]

    async def _drain(self) -> None:
        self.connections.shut_down()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._bounds.drain_s):
                while self.connections or self._state.tasks:  # noqa: ASYNC110  (tasks and connections are uvicorn's)
                    await asyncio.sleep(PAUSE_S / 5)
        self.connections.close()
        await end_all(self._state.tasks)


async def going_on(step: Callable[[], Awaitable[None]], *, pause_s: float = FAULT_PAUSE_S) -> None:
    """Do the step again and again until cancelled; one that fails is logged, and the next one waits for a moment."""
    while True:
        try:
            await step()
        except Exception:  # one connection is isolated from the next
            log.exception("http_step_failed")
            await asyncio.sleep(pause_s)


async def open_sockets(host: str, port: int) -> Sequence[socket.socket]:
    """Return a listening socket for each address of the host. Raises OSError."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except UnicodeError as error:
        raise OSError(bare_reason(error)) from None
    sockets: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
            where = (address[0], port or (sockets[0].getsockname()[1] if sockets else 0), *address[2:])
            sockets.append(socket.create_server(where, family=family, backlog=BACKLOG))
            sockets[-1].setblocking(False)
    except OSError:
        for each in sockets:
            each.close()
        raise
    return sockets
