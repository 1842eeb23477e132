"""The HTTP endpoint: deliveries where there are no sockets, and the pages that install the app."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qsl

import aiohttp
import structlog
from aiohttp import web as http
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_sdk.errors import SlackClientError

from adapters.slack.bolt import DRAIN_S, BoltApp
from adapters.slack.private_parts import set_body
from bot.domain.errors import AdapterError, BotError

log = structlog.stdlib.get_logger(__name__)

EVENTS_PATH = "/slack/events"


class HttpEndpoint:
    """Serves `host`:`port`; without a `signing_secret`, deliveries are not taken there."""

    def __init__(self, bolt: BoltApp, *, signing_secret: str, host: str, port: int) -> None:
        self._bolt = bolt
        self._signing_secret = signing_secret
        self._host = host
        self._wanted_port = port
        self.opened = asyncio.Event()
        self.port = 0  # once it is open

    async def serve(self) -> None:
        """Serve until cancelled. Raises AdapterError where the port is not free."""
        application = http.Application(client_max_size=4 * 1024 * 1024)
        if self._signing_secret:  # without it, forged deliveries could not be recognised
            application.router.add_post(EVENTS_PATH, self._on_request)
        if (flow := self._bolt.app.oauth_flow) is not None:
            application.router.add_get("/slack/install", self._on_install)
            application.router.add_get("/slack/oauth_redirect", self._on_redirect)
            log.info("slack_install_page", path=flow.install_path)
        runner = http.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=DRAIN_S)
        await runner.setup()
        try:
            site = http.TCPSite(runner, self._host, self._wanted_port)
            try:
                await site.start()
            except OSError as error:
                raise AdapterError(
                    f"Slack's HTTP endpoint cannot listen on {self._host}:{self._wanted_port} "
                    f"({error.strerror}). Set HTTP_HOST and HTTP_PORT to an address that is free.",
                    is_permanent=True,
                ) from None
            self.port = runner.addresses[0][1]
            log.info("slack_http_open", port=self.port, path=EVENTS_PATH)
            self.opened.set()
            await asyncio.Event().wait()
        finally:
            await self._bolt.drain()
            await runner.cleanup()

    async def _on_request(self, request: http.Request) -> http.Response:
        bolt_request = await to_bolt_request(request)
        if request.content_type == "application/x-www-form-urlencoded":
            form = dict(parse_qsl(bolt_request.raw_body, keep_blank_values=True))
            if "payload" not in form:
                # Bolt mistakes any form in which the word "payload" occurs for an interaction, and finds none in it.
                set_body(bolt_request, form)
        return await to_aiohttp_response(await self._bolt.app.async_dispatch(bolt_request))

    async def _on_install(self, request: http.Request) -> http.Response:
        flow = self._bolt.app.oauth_flow
        assert flow is not None
        return await to_aiohttp_response(await flow.handle_installation(await to_bolt_request(request)))

    async def _on_redirect(self, request: http.Request) -> http.Response:
        flow = self._bolt.app.oauth_flow
        assert flow is not None
        try:
            response = await to_aiohttp_response(await flow.handle_callback(await to_bolt_request(request)))
        except (BotError, SlackClientError, aiohttp.ClientError, OSError) as error:
            log.warning("slack_install_failed", error=type(error).__name__)
            return http.Response(status=503, text="The installation could not be finished. Open /slack/install again.")
        log.info("slack_install_ended", status=response.status)
        return response
