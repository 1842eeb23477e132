"""The connection to Slack: two Socket Mode connections that are watched, or an HTTP endpoint; Bolt behind both."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
import structlog
from aiohttp import web as http
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.authorization.async_authorize import AsyncAuthorize
from slack_bolt.context.async_context import AsyncBoltContext
from slack_bolt.oauth.async_oauth_settings import AsyncOAuthSettings
from slack_bolt.response import BoltResponse
from slack_sdk.errors import SlackClientError
from slack_sdk.socket_mode.aiohttp import SocketModeClient

from adapters.shared.tasks import run_together
from adapters.slack.api import SlackApi
from adapters.slack.errors import TOKEN_CODES
from adapters.slack.identities import Identities
from adapters.slack.installs import Installations, InstalledTokens, NoteStates
from adapters.slack.manifest import BOT_SCOPES
from adapters.slack.parse import PLATFORM
from adapters.slack.private_parts import set_body
from bot.domain.backoff import Backoff
from bot.domain.errors import AdapterError, BotError, RateLimitError

log = structlog.stdlib.get_logger(__name__)

CONNECTIONS = 2  # an app may have ten; while Slack renews one, the other stays open
DRAIN_S = 5.0
EVENTS_PATH = "/slack/events"

Body = Mapping[str, Any]
Handle = Callable[[Body, str], Awaitable[None]]  # (body, the bot's user id); Slack is acknowledged once it returns


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """How the sockets are watched; seconds."""

    ping_interval_s: float = 10.0
    look_s: float = 1.0
    stuck_s: float = 3.0  # after this long without a connection, the next try uses a new address
    # A socket that has been down this long is given up together with its client, whatever that is trying.
    dead_s: float = 30.0
    backoff: Backoff = field(default_factory=lambda: Backoff(first_s=1.0))
    note_s: float = 10.0  # how often it is noted that the bot is there


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth:
    """What it takes for workspaces to install the app themselves."""

    client_id: str
    client_secret: str
    installations: Installations
    tokens: InstalledTokens
    states: NoteStates


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Where deliveries come in; without an app token they come over HTTP."""

    app_token: str = ""
    signing_secret: str = ""
    host: str = "127.0.0.1"
    port: int = 8080


class Session:
    """Receives deliveries until it is cancelled; when `handle` returns, it has stored what must not be lost."""

    def __init__(
        self,
        endpoints: Endpoints,
        *,
        api: SlackApi,
        identities: Identities,
        handle: Handle,
        oauth: OAuth | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._endpoints = endpoints
        self._api = api
        self._identities = identities
        self._handle = handle
        self._oauth = oauth
        self._watch = watch or Watch()
        self._app = self._make_app()
        self._connected: set[SocketModeClient] = set()
        self._handling = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._is_closing = False
        self.opened = asyncio.Event()  # deliveries can come in
        self.gaps = 0  # how often no connection was left
        self.port = 0  # of the HTTP endpoint, once it is open

    @property
    def is_connected(self) -> bool:
        """Whether deliveries can come in now."""
        return bool(self._connected) if self._endpoints.app_token else self.opened.is_set()

    async def run(self) -> None:
        """Receive deliveries; reconnects by itself.

        Raises:
            AdapterError: Slack does not accept the app token, or the HTTP port is not free.
        """
        needs_http = not self._endpoints.app_token or self._oauth is not None
        parts = {"http": self._serve_http()} if needs_http else {}
        if self._endpoints.app_token:
            parts |= {f"socket-{number}": self._keep_connected(number) for number in range(CONNECTIONS)}
        await run_together(PLATFORM, **parts)

    # --- Bolt ---

    def _make_app(self) -> AsyncApp:
        quiet = logging.getLogger(f"{__name__}.bolt")
        quiet.setLevel(logging.ERROR)  # it warns about intended settings, and below that logs what people wrote
        oauth = self._oauth
        app = AsyncApp(
            name="toolbridge",
            logger=quiet,
            client=self._api.client,
            signing_secret=self._endpoints.signing_secret,
            request_verification_enabled=bool(self._endpoints.signing_secret),
            process_before_response=True,  # deliveries are handled before they are acknowledged
            authorize=_Authorize(self._api, self._identities),
            before_authorize=self._refuse_strangers,
            installation_store=oauth.installations if oauth else None,
            oauth_settings=AsyncOAuthSettings(
                client_id=oauth.client_id,
                client_secret=oauth.client_secret,
                scopes=list(BOT_SCOPES),
                installation_store=oauth.installations,
                state_store=oauth.states,
                logger=_silent(),
            )
            if oauth
            else None,
        )
        app.middleware(self._receive)  # pyright: ignore[reportUnknownMemberType]  (Bolt's own is not typed)
        if oauth:
            app.enable_token_revocation_listeners()
        return app

    async def _refuse_strangers(
        self, context: AsyncBoltContext, next_: Callable[[], Awaitable[object]]
    ) -> BoltResponse | None:
        """Acknowledge deliveries from workspaces that have removed the bot: nobody can be answered there."""
        team = context.team_id or ""
        if self._oauth is not None and team:
            try:
                await self._oauth.tokens.remember(team, context.enterprise_id)
                await self._oauth.tokens.bot_token(team)
            except BotError as error:
                is_stranger = isinstance(error, AdapterError) and error.is_permanent
                log.info("delivery_not_taken", team=team, error=str(error))
                return BoltResponse(status=200 if is_stranger else 503, body="")
        await next_()
        return None

    async def _receive(
        self, body: dict[str, Any], context: AsyncBoltContext, next_: Callable[[], Awaitable[object]]
    ) -> BoltResponse | None:
        if self._is_closing:
            return BoltResponse(status=503)  # not acknowledged: Slack delivers it to another connection, or later
        self._handling += 1
        self._is_idle.clear()
        try:
            await self._handle(body, context.bot_user_id or "")
        except BotError as error:
            log.warning("delivery_not_taken", error=str(error))
            return BoltResponse(status=503)  # Slack delivers it again
        finally:
            self._handling -= 1
            if not self._handling:
                self._is_idle.set()
        event: Mapping[str, Any] = body.get("event") or {}
        if self._oauth and event.get("type") in ("tokens_revoked", "app_uninstalled"):
            await next_()
            self._identities.forget(context.team_id or "")
            return None
        return BoltResponse(status=200, body="")

    async def _drain(self) -> None:
        """Take nothing new; wait until what is being handled is acknowledged."""
        self._is_closing = True
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await self._is_idle.wait()
                await asyncio.sleep(0)  # the acknowledgement is sent right after

    # --- Socket Mode ---

    async def _keep_connected(self, number: int) -> None:
        failures = 0
        while True:
            failures += 1
            pause_s = self._watch.backoff.wait_s(failures)
            try:
                if await self._connect():
                    failures, pause_s = 0, self._watch.backoff.first_s
                log.warning("slack_socket_given_up", connection=number)
            except RateLimitError as error:
                pause_s = max(pause_s, error.retry_after_s)
            except AdapterError as error:
                code = getattr(error, "code", "")
                if code in TOKEN_CODES or code in ("missing_scope", "not_allowed_token_type"):
                    raise AdapterError(
                        f"Slack does not accept SLACK_APP_TOKEN ({code}). Make an app-level token with the scope "
                        f"connections:write in the app's settings, and restart.",
                        is_permanent=True,
                    ) from None
                log.warning("slack_connect_failed", connection=number, error=str(error))
            await asyncio.sleep(pause_s)

    async def _connect(self) -> bool:
        """Return when there has been no connection for too long; False: there never was one. Raises AdapterError."""
        opened = await self._api.call_as_app("apps.connections.open", app_token=self._endpoints.app_token)
        async with self._client() as client:
            client.wss_uri = str(opened["url"])
            return await self._stay_connected(client)

    @asynccontextmanager
    async def _client(self) -> AsyncGenerator[SocketModeClient]:
        handler = AsyncSocketModeHandler(
            self._app,
            app_token=self._endpoints.app_token,
            logger=_silent(),  # the watch logs failures without the address and its ticket
            ping_interval=self._watch.ping_interval_s,
        )
        client: SocketModeClient = handler.client
        try:
            yield client
        finally:
            self._miss(client)
            if _is_cancelled():
                await self._drain()
            await client.close()

    async def _stay_connected(self, client: SocketModeClient) -> bool:
        """Return when the client has been without a connection for too long, and whether it ever had one."""
        async with asyncio.TaskGroup() as group:
            connecting = group.create_task(client.connect())  # tries until it is cancelled
            try:
                return await self._look_after(client)
            finally:
                connecting.cancel()

    async def _look_after(self, client: SocketModeClient) -> bool:
        loop = asyncio.get_running_loop()
        last_seen, was_connected = loop.time(), False
        while loop.time() - last_seen < self._watch.dead_s:
            if await client.is_connected():
                if client not in self._connected:
                    log.info("slack_connected", connections=len(self._connected) + 1)
                last_seen, was_connected = loop.time(), True
                self._connected.add(client)
                self.opened.set()
            else:
                self._miss(client)
                if loop.time() - last_seen > self._watch.stuck_s:
                    # The client retries a failed handshake at the same address forever, which is valid only once.
                    client.wss_uri = None
            await asyncio.sleep(self._watch.look_s)
        return was_connected

    def _miss(self, client: SocketModeClient) -> None:
        if client in self._connected:
            self._connected.remove(client)
            if not self._connected:
                self.gaps += 1
                log.warning("slack_disconnected", gaps=self.gaps)

    # --- HTTP ---

    async def _serve_http(self) -> None:
        application = http.Application(client_max_size=4 * 1024 * 1024)
        if self._endpoints.signing_secret:  # without it, Slack's deliveries cannot be told from forged ones
            application.router.add_post(EVENTS_PATH, self._on_request)
        if (flow := self._app.oauth_flow) is not None:
            application.router.add_get("/slack/install", self._on_install)
            application.router.add_get("/slack/oauth_redirect", self._on_redirect)
            log.info("slack_install_page", path=flow.install_path)
        runner = http.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=DRAIN_S)
        await runner.setup()
        try:
            site = http.TCPSite(runner, self._endpoints.host, self._endpoints.port)
            try:
                await site.start()
            except OSError as error:
                raise AdapterError(
                    f"Slack's HTTP endpoint cannot listen on {self._endpoints.host}:{self._endpoints.port} "
                    f"({error.strerror}). Set HTTP_HOST and HTTP_PORT to an address that is free.",
                    is_permanent=True,
                ) from None
            self.port = runner.addresses[0][1]
            log.info("slack_http_open", port=self.port, path=EVENTS_PATH)
            if not self._endpoints.app_token:
                self.opened.set()
            await asyncio.Event().wait()
        finally:
            await self._drain()
            await runner.cleanup()

    async def _on_request(self, request: http.Request) -> http.Response:
        bolt_request = await to_bolt_request(request)
        if request.content_type == "application/x-www-form-urlencoded":
            form = dict(parse_qsl(bolt_request.raw_body, keep_blank_values=True))
            if "payload" not in form:
                # Bolt mistakes any form in which the word "payload" occurs for an interaction, and finds none in it.
                set_body(bolt_request, form)
        return await to_aiohttp_response(await self._app.async_dispatch(bolt_request))

    async def _on_install(self, request: http.Request) -> http.Response:
        flow = self._app.oauth_flow
        assert flow is not None
        return await to_aiohttp_response(await flow.handle_installation(await to_bolt_request(request)))

    async def _on_redirect(self, request: http.Request) -> http.Response:
        flow = self._app.oauth_flow
        assert flow is not None
        try:
            response = await to_aiohttp_response(await flow.handle_callback(await to_bolt_request(request)))
        except (BotError, SlackClientError, aiohttp.ClientError, OSError) as error:
            log.warning("slack_install_failed", error=type(error).__name__)
            return http.Response(status=503, text="The installation could not be finished. Open /slack/install again.")
        log.info("slack_install_ended", status=response.status)
        return response


class _Authorize(AsyncAuthorize):
    """Tells Bolt who the bot is. Where that is unknown it raises: Bolt then answers 500, and Slack delivers again."""

    def __init__(self, api: SlackApi, identities: Identities) -> None:
        self._api = api
        self._identities = identities

    async def __call__(
        self,
        *,
        context: AsyncBoltContext,
        enterprise_id: str | None,
        team_id: str | None,
        user_id: str | None,
        actor_enterprise_id: str | None = None,
        actor_team_id: str | None = None,
        actor_user_id: str | None = None,
    ) -> AuthorizeResult:
        team = team_id or ""
        identity = await self._identities.of(team)
        return AuthorizeResult(
            enterprise_id=enterprise_id,
            team_id=team_id,
            bot_user_id=identity.user,
            bot_id=identity.bot,
            bot_token=await self._api.tokens.bot_token(team),
        )


def _silent() -> logging.Logger:
    """Return a logger for libraries that write codes, addresses and whole answers into their warnings."""
    silent = logging.getLogger(f"{__name__}.silent")
    silent.setLevel(logging.CRITICAL)
    return silent


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
