"""How the loopback Slack reaches the app: Socket Mode or HTTP, the wait for the acknowledgement, repeats.

https://docs.slack.dev/apis/events-api/using-socket-mode and https://docs.slack.dev/apis/events-api
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal
from urllib.parse import urlencode

import aiohttp
from aiohttp import web
from slack_sdk.signature import SignatureVerifier

from tests.fakes.slack.world import Json, World

Kind = Literal["events_api", "slash_commands", "interactive"]
DisconnectReason = Literal["warning", "refresh_requested", "link_disabled"]
# https://docs.slack.dev/apis/events-api/using-socket-mode: up to 10 open connections. The eleventh is opened, and its
# first frame sends it away: https://github.com/slackapi/bolt-js/issues/2238
MAX_SOCKETS = 10
MAX_REPEATS = 3  # https://docs.slack.dev/apis/events-api: at once, after 1 minute, after 5 minutes


@dataclass(eq=False, kw_only=True)
class Delivery:
    """One payload for the app and what became of it; times are those of time.monotonic()."""

    kind: Kind
    payload: Json
    team: str
    made_at: float
    sent_at: list[float] = field(default_factory=list[float])  # one for each attempt that went out
    acked_at: float | None = None
    answer: Json | None = None  # what the acknowledgement carried
    faults: list[str] = field(default_factory=list[str])  # why attempts failed
    gave_up: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event, repr=False)  # acknowledged or given up
    acked: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def latency_s(self) -> float | None:
        """Return the seconds between the first attempt and the acknowledgement."""
        return self.acked_at - self.sent_at[0] if self.acked_at is not None and self.sent_at else None

    @property
    def event(self) -> Json:
        return self.payload.get("event", {})


@dataclass(eq=False)
class Socket:
    """One open Socket Mode connection."""

    ws: web.WebSocketResponse
    request: web.Request
    is_frozen: bool = False
    is_retired: bool = False  # it was asked to go; new deliveries take another while there is one
    acks: int = 0


class Deliveries(World):
    """The way to the app. Settings are plain attributes and may be changed while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.mode: Literal["socket", "http"] = "socket"
        self.events_url = ""
        self.balanced_urls: list[str] = []  # of all processes behind one address; attempts take them in turn
        self.interactivity_url = ""  # defaults to events_url, as bolt has one path for all
        self.commands_url = ""
        self.keeps_connections = True  # over HTTP; otherwise each delivery comes by a new one
        self.ack_timeout_s = 3.0  # https://docs.slack.dev/apis/events-api: an answer within three seconds
        self.retry_gaps_s: tuple[float, ...] = (0.0, 0.3, 1.0)  # Slack's are 0, 60 and 300
        self.retired_life_s = 10.0
        self.acks: list[Delivery] = []
        self.sockets: list[Socket] = []
        self.refused_handshakes = 0
        self.handshakes = 0  # all, whatever became of them
        self.foreign_sockets = 0  # connections of the app's other processes: they count among the ten
        self.sends_away: DisconnectReason | None = None  # why each new connection has to go right after its hello
        self._refusals = 0
        self._turns = count()
        self._envelopes: dict[str, Delivery] = {}
        self._held: list[Delivery] | None = None
        self._duplicates = 0
        self._background: set[asyncio.Task[Any]] = set()
        self._session: aiohttp.ClientSession | None = None

    # --- what tests do to the way

    def hold(self) -> None:
        """Collect the deliveries of events from now on instead of sending them."""
        self._held = []

    @property
    def held(self) -> list[Delivery]:
        return self._held or []

    async def release(self, order: list[int] | None = None) -> list[Delivery]:
        """Send what was collected, in that order of indices (an index may come twice), and hold no longer."""
        held, self._held = self._held or [], None
        chosen = [held[index] for index in (order if order is not None else range(len(held)))]
        started: list[Delivery] = []
        for delivery in chosen:
            started.append(delivery if delivery not in started else self._copy(delivery))
            self._start(started[-1])
        await asyncio.sleep(0)
        return started

    def duplicate_next(self, times: int = 1) -> None:
        """Send the next event that many times more, with the same event_id."""
        self._duplicates = times

    def refuse_sockets(self, times: int) -> None:
        """Let the next handshakes fail; each uses up its ticket."""
        self._refusals = times

    async def disconnect(self, reason: DisconnectReason = "refresh_requested", *, sockets: int | None = None) -> None:
        """Send the disconnect message to all open sockets, or to the oldest few."""
        for socket in self.open_sockets()[:sockets]:
            await self._retire(socket, reason)

    async def _retire(self, socket: Socket, reason: DisconnectReason) -> None:
        socket.is_retired = reason != "warning"
        await socket.ws.send_json(_disconnect(reason))
        if socket.is_retired:
            self.run(self._close_later(socket))

    async def cut_sockets(self, sockets: int | None = None) -> None:
        """Drop the TCP connections without a close frame."""
        for socket in self.open_sockets()[:sockets]:
            self._drop(socket)
            if socket.request.transport is not None:
                socket.request.transport.abort()
        await asyncio.sleep(0)

    def freeze_sockets(self, sockets: int | None = None) -> None:
        """Let open sockets go silent: no pong, and what arrives on them is not read."""
        for socket in self.open_sockets()[:sockets]:
            socket.is_frozen = True

    def open_sockets(self) -> list[Socket]:
        return [socket for socket in self.sockets if not socket.ws.closed]

    def deliveries_of(self, event_type: str) -> list[Delivery]:
        """Return the deliveries of events of that type, without those that tell the app of its own messages."""
        return [
            delivery
            for delivery in self.acks
            if delivery.event.get("type") == event_type and "bot_id" not in delivery.event
        ]

    async def settled(self, timeout_s: float = 60.0) -> None:
        """Wait until every delivery is acknowledged or given up."""
        await self.until(lambda: all(delivery.ended.is_set() for delivery in self.acks), timeout_s)

    # --- deliveries

    def deliver(self, kind: Kind, payload: Json, *, team: str) -> Delivery:
        """Send a payload to the app in the background; events may be held or sent twice, as was asked for."""
        delivery = Delivery(kind=kind, payload=payload, team=team, made_at=time.monotonic())
        if kind != "events_api":
            return self._start(delivery)
        if self._held is not None:
            self._held.append(delivery)
            self.touch()
            return delivery
        self._start(delivery)
        extra, self._duplicates = self._duplicates, 0
        for _ in range(extra):
            self._start(self._copy(delivery))
        return delivery

    def deliver_event(self, event: Json, *, team: str) -> Delivery:
        """Send an event in its envelope: https://docs.slack.dev/apis/events-api#callback-field."""
        workspace = self.teams[team]
        authorization = {
            "enterprise_id": workspace.enterprise,
            # Of an installation for an organization: slackapi/bolt-python, tests/scenario_tests/test_events_org_apps.py
            "team_id": None if workspace.is_org_wide else team,
            "user_id": workspace.bot_user,
            "is_bot": True,
            "is_enterprise_install": workspace.is_org_wide,
        }
        payload: Json = {
            "token": "verification-test",
            "team_id": team,
            "context_team_id": team,
            "context_enterprise_id": workspace.enterprise,
            "api_app_id": self.app_id,
            "event": event,
            "type": "event_callback",
            "event_id": self.next_id("Ev"),
            "event_time": int(self.now()),
            "authorizations": [authorization],
            "is_ext_shared_channel": False,
            "event_context": self.next_id("4-"),
        }
        if workspace.enterprise:
            payload["enterprise_id"] = workspace.enterprise
        return self.deliver("events_api", payload, team=team)

    def announce(self, channel: str, event: Json) -> Delivery | None:
        """Deliver a message event of the channel to the app, if its bot is a member there."""
        room = self.channels[channel]
        workspace = self.teams[room.team]
        if workspace.bot_user not in room.members or not workspace.is_installed:
            return None
        shape = event | {"channel": channel, "channel_type": room.kind, "event_ts": event["ts"]}
        return self.deliver_event(shape, team=room.team)

    async def ended(self, delivery: Delivery) -> Delivery:
        """Wait until the delivery is acknowledged or given up and return it."""
        await delivery.ended.wait()
        return delivery

    def run(self, work: Any) -> None:
        """Run a coroutine in the background; it ends with the fake."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _copy(self, delivery: Delivery) -> Delivery:
        return Delivery(kind=delivery.kind, payload=delivery.payload, team=delivery.team, made_at=time.monotonic())

    def _start(self, delivery: Delivery) -> Delivery:
        self.acks.append(delivery)
        self.run(self._send_until_acked(delivery))
        return delivery

    async def _send_until_acked(self, delivery: Delivery) -> None:
        try:
            await self._send(delivery)
        finally:  # also where the payload is not JSON: tests wait for the end of each delivery
            delivery.gave_up = not delivery.acked.is_set()
            delivery.ended.set()
            self.touch()

    async def _send(self, delivery: Delivery) -> None:
        # Only events are repeated; of commands and clicks the person is told that the app did not answer.
        gaps = self.retry_gaps_s[:MAX_REPEATS] if delivery.kind == "events_api" else ()
        for attempt, gap_s in enumerate((0.0, *gaps)):
            if gap_s and await _within(delivery.acked, gap_s):
                break
            fault = await (self._over_socket if self.mode == "socket" else self._over_http)(delivery, attempt)
            if not fault:
                break
            delivery.faults.append(fault)

    def _acknowledge(self, delivery: Delivery, answer: Json | None) -> None:
        if delivery.acked_at is None:
            delivery.acked_at, delivery.answer = time.monotonic(), answer
            delivery.gave_up = False
            delivery.acked.set()
            self.touch()

    # --- Socket Mode

    async def _over_socket(self, delivery: Delivery, attempt: int) -> str:
        """Return why the attempt failed, or nothing once it is acknowledged."""
        socket = await self._next_socket()
        if socket is None:
            return "no_socket"
        envelope: Json = {
            "envelope_id": str(uuid.uuid4()),
            "type": delivery.kind,
            "accepts_response_payload": delivery.kind != "events_api",
            "payload": delivery.payload,
        }
        if delivery.kind == "events_api":
            envelope |= {"retry_attempt": attempt, "retry_reason": "timeout" if attempt else ""}
        self._envelopes[envelope["envelope_id"]] = delivery
        delivery.sent_at.append(time.monotonic())
        self.touch()
        try:
            await socket.ws.send_json(envelope)
        except ConnectionError:
            return "connection_lost"
        return "" if await _within(delivery.acked, self.ack_timeout_s) else "timeout"

    async def _next_socket(self) -> Socket | None:
        """Return the open sockets in turn; without one, wait for it as long as for an acknowledgement."""

        def ready() -> list[Socket]:
            found = self.open_sockets()
            return [socket for socket in found if not socket.is_retired] or found

        if not ready():
            try:
                await self.until(ready, self.ack_timeout_s)
            except TimeoutError:
                return None
        found = ready()
        return found[next(self._turns) % len(found)]

    async def link(self, request: web.Request, tickets: set[str]) -> web.StreamResponse:
        """The WebSocket endpoint: a URL of apps.connections.open is good for one connection."""
        ticket = request.query.get("ticket", "")
        if ticket not in tickets:
            return web.Response(status=403, text="this ticket is unknown or was used")
        tickets.remove(ticket)
        self.handshakes += 1
        self.touch()
        if self._refusals > 0:
            self._refusals -= 1
            self.refused_handshakes += 1
            self.touch()
            return web.Response(status=503, text="try again later")
        ws = web.WebSocketResponse(autoping=False)
        await ws.prepare(request)
        if self.sockets_left <= 0:
            await ws.send_json(_disconnect("too_many_websockets"))
            await ws.close()
            return ws
        await self._serve(Socket(ws, request))
        return ws

    @property
    def sockets_left(self) -> int:
        """How many connections the app can still open."""
        return MAX_SOCKETS - self.foreign_sockets - len(self.open_sockets())

    async def _serve(self, socket: Socket) -> None:
        self.sockets.append(socket)
        hello = {
            "type": "hello",
            "num_connections": len(self.open_sockets()),
            "debug_info": {"host": "wss-test", "approximate_connection_time": 18_060},
            "connection_info": {"app_id": self.app_id},
        }
        try:
            await socket.ws.send_json(hello)
            self.touch()
            if self.sends_away:
                await self._retire(socket, self.sends_away)
            await self._read(socket)
        except ConnectionError:
            pass
        finally:
            self._drop(socket)

    async def _read(self, socket: Socket) -> None:
        while True:
            message = await socket.ws.receive()
            if message.type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED}:
                return
            if message.type is aiohttp.WSMsgType.ERROR:
                return
            if socket.is_frozen:
                continue
            if message.type is aiohttp.WSMsgType.PING:
                await socket.ws.pong(message.data)
            elif message.type is aiohttp.WSMsgType.TEXT:
                self._take(socket, message.data)

    def _take(self, socket: Socket, text: str) -> None:
        try:
            body = json.loads(text)
        except ValueError:
            return
        if delivery := self._envelopes.get(body.get("envelope_id", "")):
            socket.acks += 1
            self._acknowledge(delivery, body.get("payload"))

    def _drop(self, socket: Socket) -> None:
        if socket in self.sockets:
            self.sockets.remove(socket)
            self.touch()

    async def _close_later(self, socket: Socket) -> None:
        await asyncio.sleep(self.retired_life_s)
        await socket.ws.close()

    # --- HTTP

    async def _over_http(self, delivery: Delivery, attempt: int) -> str:
        retry = {"num": attempt, "reason": delivery.faults[-1]} if attempt else {}
        delivery.sent_at.append(time.monotonic())
        self.touch()
        try:
            status, answer = await self.deliver_http(
                self._url_of(delivery), delivery.payload, kind=delivery.kind, retry=retry
            )
        except TimeoutError:
            return "http_timeout"
        except aiohttp.ClientError:
            return "connection_failed"
        if not 200 <= status < 300:
            return "http_error"
        self._acknowledge(delivery, answer)
        return ""

    def _url_of(self, delivery: Delivery) -> str:
        if self.balanced_urls:
            return self.balanced_urls[next(self._turns) % len(self.balanced_urls)]
        urls = {"slash_commands": self.commands_url, "interactive": self.interactivity_url}
        return urls.get(delivery.kind, "") or self.events_url

    async def deliver_http(
        self,
        url: str,
        payload: Json,
        *,
        kind: Kind = "events_api",
        retry: Json | None = None,
        signing_secret: str | None = None,
        timestamp: int | None = None,
    ) -> tuple[int, Json | None]:
        """POST a payload once, signed as Slack signs, and return the status and the answer.

        https://docs.slack.dev/authentication/verifying-requests-from-slack

        Raises:
            TimeoutError: No answer within `ack_timeout_s`.
            aiohttp.ClientError: No connection.
        """
        body, content_type = encode_body(kind, payload)
        at = str(timestamp if timestamp is not None else int(time.time()))
        signer = SignatureVerifier(self.signing_secret if signing_secret is None else signing_secret)
        headers = {
            "Content-Type": content_type,
            "X-Slack-Request-Timestamp": at,
            "X-Slack-Signature": signer.generate_signature(timestamp=at, body=body) or "",
        }
        if retry:
            headers |= {"X-Slack-Retry-Num": str(retry["num"]), "X-Slack-Retry-Reason": retry["reason"]}
        if self._session is None:
            connector = aiohttp.TCPConnector(force_close=not self.keeps_connections)
            self._session = aiohttp.ClientSession(connector=connector)
        async with (
            asyncio.timeout(self.ack_timeout_s),
            self._session.post(url, data=body.encode(), headers=headers) as response,
        ):
            return response.status, _answer(response.content_type, await response.text())

    async def stop_delivering(self) -> None:
        """End everything that runs in the background."""
        tasks = list(self._background)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for socket in self.open_sockets():
            await socket.ws.close()
        if self._session is not None:
            await self._session.close()


def encode_body(kind: Kind, payload: Json) -> tuple[str, str]:
    """Return the body and its type: events are JSON, commands are a form, clicks a form with JSON in `payload`."""
    if kind == "events_api":
        return json.dumps(payload), "application/json"
    fields = payload if kind == "slash_commands" else {"payload": json.dumps(payload)}
    return urlencode(fields), "application/x-www-form-urlencoded"


def _answer(content_type: str, body: str) -> Json | None:
    if not body:
        return None
    return json.loads(body) if content_type == "application/json" else {"text": body}


def _disconnect(reason: str) -> Json:
    return {"type": "disconnect", "reason": reason, "debug_info": {"host": "wss-test"}}


async def _within(event: asyncio.Event, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
