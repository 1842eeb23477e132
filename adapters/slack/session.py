"""The connection to Slack: Socket Mode, or the bot's HTTP listener; both lead to Bolt."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from adapters.shared.tasks import run_together
from adapters.slack.api import SlackApi
from adapters.slack.bolt import BoltApp, Handle, OAuth
from adapters.slack.http_endpoint import HttpEndpoint
from adapters.slack.identities import Identities
from adapters.slack.parse import PLATFORM
from adapters.slack.socket_slots import SocketSlots, app_of
from adapters.slack.sockets import Sockets, Watch
from bot.ports.cluster import Cluster
from bot.ports.http import HttpListener


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Where deliveries come in; without an app token they come over HTTP."""

    app_token: str = ""
    signing_secret: str = ""


class Session:
    """Receives deliveries until it is cancelled; when `handle` returns, it has stored what must not be lost."""

    def __init__(
        self,
        endpoints: Endpoints,
        *,
        api: SlackApi,
        identities: Identities,
        handle: Handle,
        listener: HttpListener,
        cluster: Cluster,
        oauth: OAuth | None = None,
        watch: Watch | None = None,
    ) -> None:
        slots = SocketSlots(cluster, app=app_of(endpoints.app_token))
        bolt = BoltApp(api, identities=identities, handle=handle, may_take=slots.may_take, oauth=oauth)
        self._uses_sockets = bool(endpoints.app_token)
        self._needs_http = not self._uses_sockets or oauth is not None
        self._sockets = Sockets(bolt, api, app_token=endpoints.app_token, slots=slots, watch=watch or Watch())
        self._http = HttpEndpoint(bolt, signing_secret=endpoints.signing_secret, listener=listener)

    @property
    def opened(self) -> asyncio.Event:
        """Set once deliveries could come in."""
        return self._sockets.opened if self._uses_sockets else self._http.opened

    @property
    def is_connected(self) -> bool:
        """Whether deliveries can come in now."""
        return self._sockets.is_connected if self._uses_sockets else self._http.opened.is_set()

    @property
    def is_spare(self) -> bool:
        """Whether other processes of the bot have all of the app's sockets."""
        return self._uses_sockets and self._sockets.is_spare

    @property
    def connections(self) -> int:
        """How many sockets are open."""
        return self._sockets.connections

    @property
    def reconnects(self) -> int:
        """How many sockets were opened in place of one that had ended."""
        return self._sockets.reconnects

    @property
    def gaps(self) -> int:
        """How often no connection was left."""
        return self._sockets.gaps

    @property
    def port(self) -> int:
        """The port of the HTTP listener; 0 where it is not open."""
        return self._http.port

    async def run(self) -> None:
        """Receive deliveries; reconnects by itself.

        Raises:
            AdapterError: Slack does not accept the app token, or nothing listens for what it delivers.
        """
        parts: dict[str, Coroutine[Any, Any, None]] = {}
        if self._needs_http:
            parts["http"] = self._http.serve(is_needed=not self._uses_sockets)
        if self._uses_sockets:
            parts |= self._sockets.parts()
        await run_together(PLATFORM, **parts)
