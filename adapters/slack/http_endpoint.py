"""Slack over HTTP: deliveries where there are no sockets, and the pages that install the app."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import IPv6Address, ip_network
from typing import Any

import aiohttp
import structlog
from cachetools import TTLCache
from slack_bolt.adapter.starlette.async_handler import to_async_bolt_request, to_starlette_response
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.errors import SlackClientError
from slack_sdk.signature import SignatureVerifier
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from adapters.slack.bolt import BoltApp
from adapters.slack.http_body import NotSignedError, NotValidError, parse_body, verified
from adapters.slack.parse import team_of
from adapters.slack.private_parts import set_body
from bot.domain.errors import AdapterError, BotError
from bot.ports.http import HttpListener, HttpRoute

log = structlog.stdlib.get_logger(__name__)

EVENTS_PATH = "/slack/events"
INSTALL_PATH = "/slack/install"
REDIRECT_PATH = "/slack/oauth_redirect"
# Each page to install keeps a state, of which there are MAX_STATES: one address must not push out those of others.
PAGES_PER_MINUTE = 20
MAX_SENDERS = 10_000  # remembered at once


class HttpEndpoint:
    """Slack's part of the bot's listener; without a `signing_secret`, deliveries are not taken there."""

    def __init__(self, bolt: BoltApp, *, signing_secret: str, listener: HttpListener) -> None:
        self._bolt = bolt
        self._verifier = SignatureVerifier(signing_secret) if signing_secret else None
        self._listener = listener
        self._pages = TTLCache[str, int](MAX_SENDERS, ttl=60.0)  # opened by each sender
        self.opened = asyncio.Event()

    @property
    def port(self) -> int:
        """The listener's port; 0 where it is not open."""
        return self._listener.port

    async def serve(self, *, is_needed: bool) -> None:
        """Serve until cancelled.

        Raises:
            AdapterError: The listener is not open, and `is_needed`.
        """
        try:
            serving = self._listener.serve(*self._routes())
        except AdapterError:
            if is_needed:
                raise
            return  # the listener has said why
        with serving:
            log.info("slack_http_open", port=self.port)
            self.opened.set()
            try:
                await asyncio.Event().wait()
            finally:
                await self._bolt.drain()

    def _routes(self) -> list[HttpRoute]:
        routes: list[HttpRoute] = []
        if self._verifier is not None:  # without it, forged deliveries could not be recognised
            routes.append(HttpRoute(method="POST", path=EVENTS_PATH, answer=self._on_request, is_signed=True))
        if self._bolt.app.oauth_flow is not None:
            routes.append(HttpRoute(method="GET", path=INSTALL_PATH, answer=self._on_install))
            routes.append(HttpRoute(method="GET", path=REDIRECT_PATH, answer=self._on_redirect))
        return routes

    async def _on_request(self, request: Request) -> Response:
        assert self._verifier is not None
        raw = await request.body()
        try:
            text = verified(raw, request.headers, self._verifier)
            body = parse_body(text, content_type=request.headers.get("content-type", ""))
            bolt_request = to_async_bolt_request(request, b"")  # Bolt's own parser takes some forms for interactions
            _put(body, bolt_request)
        except NotSignedError:
            return PlainTextResponse("not signed", status_code=401)
        except NotValidError:
            return PlainTextResponse("not valid", status_code=400)
        return to_starlette_response(await self._bolt.app.async_dispatch(bolt_request))

    async def _on_install(self, request: Request) -> Response:
        flow, sender = self._bolt.app.oauth_flow, _sender(request)
        assert flow is not None, "the route is there only with it"
        self._pages[sender] = opened = self._pages.get(sender, 0) + 1
        if opened > PAGES_PER_MINUTE:
            return PlainTextResponse("Too many installations were begun here. Try again in a minute.", status_code=429)
        return await _page(flow.handle_installation)(request)

    async def _on_redirect(self, request: Request) -> Response:
        flow = self._bolt.app.oauth_flow
        assert flow is not None
        try:
            response = await _page(flow.handle_callback)(request)
        except (BotError, SlackClientError, aiohttp.ClientError, OSError) as error:
            log.warning("slack_install_failed", error=type(error).__name__)
            return PlainTextResponse(
                "The installation could not be finished. Open /slack/install again.", status_code=503
            )
        log.info("slack_install_ended", status=response.status_code)
        return response


def _sender(request: Request) -> str:
    """Return who sends the request; one who has an IPv6 address has all of its network."""
    host = (request.client.host if request.client else "").partition("%")[0]
    if ":" not in host or IPv6Address(host).ipv4_mapped:
        return host
    return str(ip_network(f"{host}/64", strict=False))


def _put(body: dict[str, Any], request: AsyncBoltRequest) -> None:
    """Have Bolt see the body.

    Raises:
        NotValidError: It names no workspace, or a part by which Bolt places it is of another type than Slack's.
    """
    if not team_of(body) and not (body.get("ssl_check") == "1" or body.get("type") == "url_verification"):
        raise NotValidError
    if not isinstance(body.get("event", {}), dict):
        raise NotValidError
    try:
        set_body(request, body)
    except ValueError:
        raise NotValidError from None


def _page(show: Callable[[AsyncBoltRequest], Awaitable[BoltResponse]]) -> Callable[[Request], Awaitable[Response]]:
    """Return the page as a route; a body that a browser would not send is left unread."""

    async def answer(request: Request) -> Response:
        return to_starlette_response(await show(to_async_bolt_request(request, b"")))

    return answer
