"""Socket Mode: two connections, reopened only as often as Slack can bear."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import structlog

from adapters.slack.api import SlackApi
from adapters.slack.bolt import BoltApp
from adapters.slack.errors import TOKEN_CODES
from adapters.slack.socket_client import SocketClient
from bot.domain.backoff import Backoff
from bot.domain.errors import AdapterError, RateLimitError

log = structlog.stdlib.get_logger(__name__)

CONNECTIONS = 2  # an app may have ten; while Slack renews one, the other stays open
SETTLE_S = 2.0  # for acknowledgements, before a connection that Slack renews is closed
HOLD_S = 5.0  # Slack warns ten seconds before it closes a connection
# https://docs.slack.dev/apis/events-api/using-socket-mode#disconnect
RENEWALS = frozenset({"warning", "refresh_requested"})
CLOSED: Mapping[str, str] = {
    "too_many_websockets": (
        "Slack opens no further connection: the app has ten already, which is the most. Run fewer processes of the bot "
        "with this SLACK_APP_TOKEN, or have Slack deliver over HTTP (SLACK_SIGNING_SECRET without SLACK_APP_TOKEN)."
    ),
    "link_disabled": (
        "Socket Mode is switched off for this app. Switch it on in the app's settings under Socket Mode, or have Slack "
        "deliver over HTTP (SLACK_SIGNING_SECRET without SLACK_APP_TOKEN)."
    ),
}
_BAD_TOKEN = TOKEN_CODES | {"missing_scope", "not_allowed_token_type"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """How the sockets are watched; seconds."""

    ping_interval_s: float = 10.0
    look_s: float = 1.0
    stuck_s: float = 5.0  # from the handshake to Slack's "hello"; after that, the next try uses a new address
    steady_s: float = 10.0  # a connection that lasted this long did not fail
    backoff: Backoff = field(default_factory=lambda: Backoff(first_s=1.0, jitter=0.5))
    # Where someone has to do something first. Connections that Slack has not noticed the end of count among the ten.
    closed_backoff: Backoff = field(default_factory=lambda: Backoff(first_s=120.0, max_s=300.0, jitter=0.5))
    note_s: float = 10.0  # how often it is noted that the bot is there


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """How a connection ended: Slack's reason, or ours."""

    reason: str
    lasted_s: float = 0.0
    retry_after_s: float = 0.0


class Sockets:
    """The connections of one app-level token."""

    def __init__(self, bolt: BoltApp, api: SlackApi, *, app_token: str, watch: Watch) -> None:
        self._bolt = bolt
        self._api = api
        self._app_token = app_token
        self._watch = watch
        self._connected: set[SocketClient] = set()
        self._explained: set[str] = set()  # reasons of `CLOSED` that are in the log
        self._is_renewed = asyncio.Event()  # there is a connection that Slack has not asked to go
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
            end = await self._connect(number)
            failures = 0 if end.lasted_s >= self._watch.steady_s else failures + 1
            pause_s = self._pause_s(end, failures)
            self._explain(end.reason)
            log.info("slack_socket_ended", connection=number, reason=end.reason, pause_s=round(pause_s, 1))
            await asyncio.sleep(pause_s)

    def _pause_s(self, end: _End, failures: int) -> float:
        """Return how long to wait before the next connection."""
        if end.reason in CLOSED:
            return self._watch.closed_backoff.wait_s(max(failures, 1))
        if end.reason in RENEWALS and not failures and self.is_connected:
            return 0.0
        return max(self._watch.backoff.wait_s(max(failures, 1)), end.retry_after_s)

    async def _connect(self, number: int) -> _End:
        """Open a connection and return when it has ended. Raises AdapterError where Slack does not accept the token."""
        try:
            opened = await self._api.call_as_app("apps.connections.open", app_token=self._app_token)
        except RateLimitError as error:
            return _End(reason="rate limit", retry_after_s=error.retry_after_s)
        except AdapterError as error:
            if (code := getattr(error, "code", "")) in _BAD_TOKEN:
                raise AdapterError(
                    f"Slack does not accept SLACK_APP_TOKEN ({code}). Make an app-level token with the scope "
                    f"connections:write in the app's settings, and restart.",
                    is_permanent=True,
                ) from None
            log.warning("slack_connect_failed", connection=number, error=str(error))
            return _End(reason="no address")
        async with self._client() as client:
            return await self._stay_connected(client, str(opened["url"]), number)

    @asynccontextmanager
    async def _client(self) -> AsyncGenerator[SocketClient]:
        client = SocketClient(self._bolt.app, self._app_token, ping_interval_s=self._watch.ping_interval_s)
        try:
            yield client
        finally:
            self._miss(client)
            if _is_cancelled():
                await self._bolt.drain()
            await client.close()

    async def _stay_connected(self, client: SocketClient, url: str, number: int) -> _End:
        client.wss_uri = url
        try:
            async with asyncio.timeout(self._watch.stuck_s):
                # Where the handshake fails, it is tried again at the same address, which is valid only once.
                await client.connect()
                await client.begun.wait()
        except TimeoutError:
            return _End(reason="no connection")
        began_at = asyncio.get_running_loop().time()
        if not client.ended.is_set():
            self._note(client)
        reason = await self._until_ended(client)
        lasted_s = asyncio.get_running_loop().time() - began_at
        if reason in RENEWALS:
            await self._hand_over(number)
        return _End(reason=reason, lasted_s=lasted_s)

    async def _until_ended(self, client: SocketClient) -> str:
        while not client.ended.is_set():
            if not await client.is_connected():
                return "lost"
            await _within(client.ended, self._watch.look_s)
        return client.reason

    async def _hand_over(self, number: int) -> None:
        """Wait before a connection is renewed: until what came over it is acknowledged, and another one is open.

        Two that were opened together are renewed together, so the second waits for the first.
        """
        await self._bolt.settle(timeout_s=SETTLE_S)
        if number > 0 and all(client.ended.is_set() for client in self._connected):
            self._is_renewed.clear()
            await _within(self._is_renewed, HOLD_S)

    def _explain(self, reason: str) -> None:
        """Say what to do, once for all connections and tries."""
        if reason in CLOSED and reason not in self._explained:
            self._explained.add(reason)
            log.warning("slack_connection_refused", reason=reason, error=CLOSED[reason])

    def _note(self, client: SocketClient) -> None:
        self._connected.add(client)
        self._is_renewed.set()
        self.opened.set()
        if len(self._connected) == CONNECTIONS:
            self._explained.clear()
        log.info("slack_connected", connections=len(self._connected))

    def _miss(self, client: SocketClient) -> None:
        if client in self._connected:
            self._connected.remove(client)
            if not self._connected:
                self.gaps += 1
                if not _is_cancelled():  # the bot does not end
                    log.warning("slack_disconnected", gaps=self.gaps)


async def _within(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
