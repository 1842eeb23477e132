"""Socket Mode: two connections where the app has room for them, reopened only as often as Slack can bear."""

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
from adapters.slack.socket_slots import LINES, SocketSlots
from bot.domain.backoff import Backoff
from bot.domain.errors import AdapterError, BotError, RateLimitError

log = structlog.stdlib.get_logger(__name__)

SETTLE_S = 2.0  # for acknowledgements, before a connection that Slack renews is closed
HOLD_S = 5.0  # Slack warns ten seconds before it closes a connection
# https://docs.slack.dev/apis/events-api/using-socket-mode#disconnect
RENEWALS = frozenset({"warning", "refresh_requested"})
NO_SLOT = "no slot"  # the slot of the connection is another process's from now on
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
    share_s: float = 5.0  # how often the connections are divided again among the bot's processes


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """How a connection ended: Slack's reason, or ours."""

    reason: str
    lasted_s: float = 0.0
    retry_after_s: float = 0.0


class Sockets:
    """The connections of one app-level token."""

    def __init__(self, bolt: BoltApp, api: SlackApi, *, app_token: str, slots: SocketSlots, watch: Watch) -> None:
        self._bolt = bolt
        self._api = api
        self._app_token = app_token
        self._slots = slots
        self._watch = watch
        self._connected: dict[int, SocketClient] = {}  # by line
        self._explained: set[str] = set()  # reasons of `CLOSED` that are in the log
        self._is_renewed = asyncio.Event()  # there is a connection that Slack has not asked to go
        self.opened = asyncio.Event()  # there was a connection
        self.gaps = 0  # how often none was left
        self._begun: set[int] = set()  # lines that were connected once
        self.reconnects = 0  # connections in place of one that had ended

    @property
    def is_connected(self) -> bool:
        """Whether deliveries can come in now."""
        return bool(self._connected)

    @property
    def is_spare(self) -> bool:
        """Whether other processes of the bot have all sockets that there can be."""
        return self._slots.is_spare

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._connected)

    def parts(self) -> Mapping[str, Coroutine[Any, Any, None]]:
        """Return what keeps each connection open, to be run together. Each raises AdapterError where Slack does not
        accept the token.
        """
        lines = {f"socket-{line}": self._keep_connected(line) for line in range(LINES)}
        return {"slots": self._keep_slots(), **lines}

    async def _keep_slots(self) -> None:
        while True:
            try:
                await self._slots.look(self._connected.keys())
            except BotError as error:  # the connections stay as they are
                log.warning("slack_slots_not_seen", error=str(error))
            await asyncio.sleep(self._watch.share_s)

    async def _keep_connected(self, line: int) -> None:
        failures = 0
        try:
            while True:
                await self._slots.wait_for(line)
                end = await self._connect(line)
                failures = 0 if end.lasted_s >= self._watch.steady_s else failures + 1
                if end.reason == NO_SLOT:
                    await self._slots.leave(line)
                    continue
                pause_s = self._pause_s(end, failures)
                self._explain(end.reason)
                log.info("slack_socket_ended", connection=line, reason=end.reason, pause_s=round(pause_s, 1))
                await self._pause(line, pause_s)
        finally:
            await self._slots.leave(line)

    async def _pause(self, line: int, pause_s: float) -> None:
        """Wait that long; a slot that is to be given up before then is freed at once."""
        until = asyncio.get_running_loop().time() + pause_s
        while (left_s := until - asyncio.get_running_loop().time()) > 0:
            if not self._slots.keeps(line):
                await self._slots.leave(line)
            await asyncio.sleep(min(left_s, self._watch.look_s))

    def _pause_s(self, end: _End, failures: int) -> float:
        """Return how long to wait before the next connection."""
        if end.reason in CLOSED:
            return self._watch.closed_backoff.wait_s(max(failures, 1))
        if end.reason in RENEWALS and not failures and self.is_connected:
            return 0.0
        return max(self._watch.backoff.wait_s(max(failures, 1)), end.retry_after_s)

    async def _connect(self, line: int) -> _End:
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
            log.warning("slack_connect_failed", connection=line, error=str(error))
            return _End(reason="no address")
        async with self._client(line) as client:
            return await self._stay_connected(client, str(opened["url"]), line)

    @asynccontextmanager
    async def _client(self, line: int) -> AsyncGenerator[SocketClient]:
        client = SocketClient(self._bolt.app, self._app_token, ping_interval_s=self._watch.ping_interval_s)
        try:
            yield client
        finally:
            self._miss(line)
            if _is_cancelled():
                await self._bolt.drain()
            await client.close()

    async def _stay_connected(self, client: SocketClient, url: str, line: int) -> _End:
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
            self._note(client, line)
        reason = await self._until_ended(client, line)
        lasted_s = asyncio.get_running_loop().time() - began_at
        if reason in RENEWALS:
            await self._hand_over(line)
        elif reason == NO_SLOT and self._slots.may_take():
            await self._bolt.settle(timeout_s=SETTLE_S)
        return _End(reason=reason, lasted_s=lasted_s)

    async def _until_ended(self, client: SocketClient, line: int) -> str:
        while not client.ended.is_set():
            if not self._slots.keeps(line):
                return NO_SLOT
            if not await client.is_connected():
                return "lost"
            await _within(client.ended, self._watch.look_s)
        return client.reason

    async def _hand_over(self, line: int) -> None:
        """Wait before a connection is renewed: until what came over it is acknowledged, and another one is open.

        Two that were opened together are renewed together, so the second waits for the first.
        """
        await self._bolt.settle(timeout_s=SETTLE_S)
        if line > 0 and all(client.ended.is_set() for client in self._connected.values()):
            self._is_renewed.clear()
            await _within(self._is_renewed, HOLD_S)

    def _explain(self, reason: str) -> None:
        """Say what to do, once for all connections and tries."""
        if reason in CLOSED and reason not in self._explained:
            self._explained.add(reason)
            log.warning("slack_connection_refused", reason=reason, error=CLOSED[reason])

    def _note(self, client: SocketClient, line: int) -> None:
        self.reconnects += line in self._begun
        self._begun.add(line)
        self._connected[line] = client
        self._is_renewed.set()
        self.opened.set()
        if len(self._connected) >= self._slots.count:
            self._explained.clear()
        log.info("slack_connected", connections=len(self._connected))

    def _miss(self, line: int) -> None:
        if self._connected.pop(line, None) is not None and not self._connected:
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
