"""One connection of Socket Mode: the SDK's client, which does not reconnect by itself.

The SDK reconnects at once whatever ends a connection, and for ever, even where Slack has just said that there are too
many of them: https://github.com/slackapi/bolt-js/issues/2238.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.app.async_app import AsyncApp
from slack_sdk.socket_mode.aiohttp import SocketModeClient

from adapters.slack.bolt import silent


class SocketClient(SocketModeClient):
    """A client for one connection; `reason` says why Slack ended it.

    https://docs.slack.dev/apis/events-api/using-socket-mode#connect: the first frame is "hello", or "disconnect" where
    Slack does not take the connection.
    """

    def __init__(self, app: AsyncApp, app_token: str, *, ping_interval_s: float) -> None:
        super().__init__(
            app_token=app_token,
            logger=silent(),  # the SDK would log the address and its ticket
            web_client=app.client,
            ping_interval=ping_interval_s,
            auto_reconnect_enabled=False,
        )
        self.begun = asyncio.Event()  # Slack has said something
        self.ended = asyncio.Event()
        self.reason = ""
        _Handler(app, self)

    async def run_message_listeners(self, message: Mapping[str, Any], raw_message: str) -> None:
        """Take a frame from Slack; the SDK's part are deliveries."""
        match message.get("type"):
            case "hello":
                self.begun.set()
            case "disconnect":
                self._end(str(message.get("reason")))
            case _:
                await super().run_message_listeners(dict(message), raw_message)  # pyright: ignore[reportUnknownMemberType]

    async def connect_to_new_endpoint(self, force: bool = False) -> None:
        """Take note that this connection is lost; `adapters.slack.sockets` opens the next one."""
        self._end("lost")

    def _end(self, reason: str) -> None:
        if not self.ended.is_set():
            self.reason = reason
            self.begun.set()
            self.ended.set()


class _Handler(AsyncSocketModeHandler):
    """Bolt's handler of deliveries, with a client that exists already."""

    def __init__(self, app: AsyncApp, client: SocketModeClient) -> None:
        self.app, self.app_token, self.client = app, client.app_token, client
        client.socket_mode_request_listeners.append(self.handle)  # pyright: ignore[reportArgumentType]  (as in Bolt)
