"""Socket Mode: two connections that are watched, because the SDK's own retries can hang."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_sdk.socket_mode.aiohttp import SocketModeClient

from adapters.slack.api import SlackApi
from adapters.slack.bolt import BoltApp, silent
from adapters.slack.errors import TOKEN_CODES
from bot.domain.backoff import Backoff
from bot.domain.errors import AdapterError, RateLimitError

log = structlog.stdlib.get_logger(__name__)

CONNECTIONS = 2  # an app may have ten; while Slack renews one, the other stays open


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


class Sockets:
    """The connections of one app-level token."""

    def __init__(self, bolt: BoltApp, api: SlackApi, *, app_token: str, watch: Watch) -> None:
        self._bolt = bolt
        self._api = api
        self._app_token = app_token
        self._watch = watch
        self._connected: set[SocketModeClient] = set()
        self.opened = asyncio.Event()  # there was a connection
        self.gaps = 0  # how often none was left

    @property
    def is_connected(self) -> bool:
        """Whether deliveries can come in now."""
        return bool(self._connected)

    def parts(self) -> Mapping[str, Coroutine[Any, Any, None]]:
        """Return what keeps each connection open, to be run together. Each raises AdapterError where Slack does not
        accept the token.
        """
        return {f"socket-{number}": self._keep_connected(number) for number in range(CONNECTIONS)}

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
        opened = await self._api.call_as_app("apps.connections.open", app_token=self._app_token)
        async with self._client() as client:
            client.wss_uri = str(opened["url"])
            return await self._stay_connected(client)

    @asynccontextmanager
    async def _client(self) -> AsyncGenerator[SocketModeClient]:
        handler = AsyncSocketModeHandler(
            self._bolt.app,
            app_token=self._app_token,
            logger=silent(),  # the watch logs failures without the address and its ticket
            ping_interval=self._watch.ping_interval_s,
        )
        client: SocketModeClient = handler.client
        try:
            yield client
        finally:
            self._miss(client)
            if _is_cancelled():
                await self._bolt.drain()
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


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
