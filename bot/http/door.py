"""Takes requests: bounds their size, knows who sent them, and finds the route that answers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.http.bounds import MAX_BODY_BYTES, MAX_HEAD_BYTES
from bot.http.connections import CONNECTION, Connection
from bot.http.peers import Peers
from bot.http.refusals import Refusals
from bot.ports.http import HttpRoute

log = structlog.stdlib.get_logger(__name__)

HEALTH_PATH = "/healthz"
# What the log calls them; of others it has the status.
REASONS = {
    400: "not_valid",
    401: "not_signed",
    404: "unknown_path",
    405: "wrong_method",
    413: "body_too_large",
    429: "too_many",
    431: "head_too_large",
    503: "away",
}


class Door:
    """The ASGI application. `relieve` is called while all bodies together are larger than `held_bytes`."""

    def __init__(self, *, peers: Peers, refusals: Refusals, held_bytes: int, relieve: Callable[[], None]) -> None:
        self._peers = peers
        self._refusals = refusals
        self._held_bytes = held_bytes
        self._relieve = relieve
        self._held = 0
        self._signed: set[str] = set()
        self._states: set[str] = set()
        self._routes = {HEALTH_PATH: Route(HEALTH_PATH, _is_well, methods=["GET"])}
        self._router = self._route()

    @contextmanager
    def serving(self, *routes: HttpRoute) -> Generator[None]:
        """Answer at the routes while the context is open, 503 afterwards."""
        self._put(Route(each.path, each.answer, methods=[each.method]) for each in routes)
        self._signed |= {each.path for each in routes if each.is_signed}
        self._states |= {each.path for each in routes if each.is_state}
        try:
            yield
        finally:
            self._put(Route(each.path, _is_away, methods=[each.method]) for each in routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; nothing is raised for anything that a peer may send."""
        if scope["type"] != "http":
            return
        if client := scope["client"]:
            forwarded = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
            scope["client"] = (self._peers.sender(client[0], forwarded), 0)
        answering = _Answering(send)
        body = _Body(self, receive)
        try:
            await _app(self._router, scope, body.receive, answering.send)
        except ClientDisconnect:
            return
        except Exception:  # one request is isolated from the next
            log.exception("http_failed")
            if not answering.status:
                await PlainTextResponse("Internal Server Error", status_code=500)(scope, receive, answering.send)
        finally:
            self._held -= body.size
        if answering.status < 300 and scope["path"] in self._signed:
            connection: Connection = scope["state"][CONNECTION]
            connection.is_known = True
        if answering.status >= 400 and scope["path"] not in self._states:
            reason = REASONS.get(answering.status, f"status_{answering.status}")
            self._refusals.count(reason, peer=scope["client"][0] if client else "")

    def hold(self, size: int) -> None:
        """Count bytes of a body that is being held."""
        self._held += size
        if self._held > self._held_bytes:
            self._relieve()

    def _put(self, routes: Iterable[Route]) -> None:
        self._routes |= {route.path: route for route in routes}
        self._router = self._route()

    def _route(self) -> Router:
        return Router(list(self._routes.values()), redirect_slashes=False)


async def _app(router: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse what is too large before any of its body is read."""
    try:
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEAD_BYTES:
            raise HTTPException(431)
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if int(length) > MAX_BODY_BYTES:
            raise HTTPException(413)
        await router(scope, receive, send)
    except HTTPException as refused:
        await PlainTextResponse(refused.detail, status_code=refused.status_code)(scope, receive, send)


class _Answering:
    """Knows with which status a request was answered; 0 before."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


class _Body:
    """A request's body, whose parts are counted: its length may not have been given."""

    def __init__(self, door: Door, receive: Receive) -> None:
        self._door = door
        self._receive = receive
        self.size = 0

    async def receive(self) -> Message:
        message = await self._receive()
        if part := message.get("body", b""):
            self.size += len(part)
            self._door.hold(len(part))
            if self.size > MAX_BODY_BYTES:
                raise HTTPException(413)
        return message


async def _is_well(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _is_away(_request: Request) -> Response:
    return PlainTextResponse("Service Unavailable", status_code=503)
