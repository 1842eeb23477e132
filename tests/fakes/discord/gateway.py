"""The gateway of the loopback Discord: sessions, heartbeats, resuming, what an event's intents let through.

https://discord.com/developers/docs/events/gateway; frames are plain text, as without compression.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from aiohttp import WSMsgType, web

from tests.fakes.discord.errors import Json
from tests.fakes.discord.shapes import Shapes
from tests.fakes.discord.world import Guild, GuildId, Message

DISPATCH, HEARTBEAT, IDENTIFY, PRESENCE, VOICE, RESUME, RECONNECT, MEMBERS = 0, 1, 2, 3, 4, 6, 7, 8
INVALID_SESSION, HELLO, ACK = 9, 10, 11

# https://discord.com/developers/docs/events/gateway#gateway-intents
GUILDS, GUILD_MEMBERS, PRESENCES = 1 << 0, 1 << 1, 1 << 8
GUILD_MESSAGES, GUILD_REACTIONS, GUILD_TYPING = 1 << 9, 1 << 10, 1 << 11
DIRECT_MESSAGES, DIRECT_REACTIONS, DIRECT_TYPING = 1 << 12, 1 << 13, 1 << 14
MESSAGE_CONTENT = 1 << 15
KNOWN_INTENTS = sum(1 << bit for bit in (*range(17), 20, 21, 24, 25))

# https://discord.com/developers/docs/topics/opcodes-and-status-codes#gateway-gateway-close-event-codes
UNKNOWN_OPCODE, DECODE_ERROR, NOT_AUTHENTICATED, BAD_TOKEN, ALREADY_AUTHENTICATED = 4001, 4002, 4003, 4004, 4005
INVALID_SEQ, RATE_LIMITED, INVALID_SHARD, SHARDING_REQUIRED = 4007, 4008, 4010, 4011
INVALID_INTENTS, DISALLOWED_INTENTS = 4013, 4014
AWAY_SESSIONS = 4  # of a shard, that can be resumed; Discord keeps them for minutes
MAX_SENDS, SENDS_WINDOW_S = 120, 60.0  # https://discord.com/developers/docs/events/gateway#rate-limiting


@dataclass(eq=False)
class Socket:
    """One open connection."""

    ws: web.WebSocketResponse
    request: web.Request
    session: Session | None = None
    sends: deque[float] = field(default_factory=deque[float])
    beats: int = 0
    is_frozen: bool = False  # nothing is sent on it any more


@dataclass(eq=False, kw_only=True)
class Session:
    """What a client identified for; events are kept for the replay while it is away."""

    id: str
    shard: int
    shards: int
    intents: int
    properties: Json
    seq: int = 0
    is_valid: bool = True
    frames: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    socket: Socket | None = None
    resumes: int = 0

    @property
    def is_connected(self) -> bool:
        return self.socket is not None


class CloseSocketError(Exception):
    """The client did what the gateway answers with that close code."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


class Gateway(Shapes):
    """The way to the app. Settings are plain attributes and may be changed while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.heartbeat_interval_s = 41.25
        self.acks_heartbeats = True
        self.recommended_shards = 1
        self.required_shards = 1  # fewer are refused with 4011, as above 2,500 guilds a shard
        self.session_starts, self.session_starts_left = 1000, 1000  # a day
        self.max_concurrency = 1
        # So long a second IDENTIFY of a place is refused. By default any pace will do, so that tests do not wait;
        # Discord's are 5 s.
        self.identify_gap_s = 0.0
        self.refused_identifies = 0
        self.sessions: list[Session] = []
        self.sockets: list[Socket] = []
        self.refused_handshakes = 0
        self.is_gateway_down = False
        self.frames: list[Json] = []  # what clients sent, the token left out; heartbeats are not kept
        self._refusals = 0
        self._duplicates = 0
        self._identified_at: dict[int, float] = {}  # by the place of the shard
        self._session_ids = count(1)
        self._outgoing: set[asyncio.Task[None]] = set()

    @property
    def gateway_url(self) -> str:
        """The gateway's URL, without query."""
        return f"{self.url.replace('http', 'ws', 1)}/gateway"

    # --- what tests do to the gateway

    def connected(self, *, shard: int | None = None) -> list[Session]:
        """Return the sessions that have an open connection, oldest first."""
        return [each for each in self.sessions if each.is_connected and shard in {None, each.shard}]

    def refuse_gateway(self, times: int = 1) -> None:
        """Answer the next handshakes with 503; `is_gateway_down` refuses all."""
        self._refusals += times

    def duplicate_next(self, times: int = 1) -> None:
        """Deliver the next messages and interactions twice."""
        self._duplicates += times

    async def cut(self, *, shard: int | None = None) -> None:
        """Break the connections without a close frame, as a network does; sessions can be resumed."""
        for socket in self._open(shard):
            self._let_go(socket)
            if socket.request.transport is not None:
                socket.request.transport.abort()
        await asyncio.sleep(0)

    async def close_sockets(self, code: int = 1001, *, shard: int | None = None, is_resumable: bool = True) -> None:
        """Close the connections with that code."""
        for socket in self._open(shard):
            session = self._let_go(socket)
            if session is not None and not is_resumable:
                session.is_valid = False
            await socket.ws.close(code=code)

    async def ask_to_reconnect(self, *, shard: int | None = None) -> None:
        """Send op 7: the client is to reconnect and resume."""
        for socket in self._open(shard):
            await self._send(socket, {"op": RECONNECT, "d": None})

    async def invalidate(self, *, shard: int | None = None, is_resumable: bool = False) -> None:
        """Send op 9; unless resumable the client must identify again and has lost what it missed."""
        for socket in self._open(shard):
            if socket.session is not None and not is_resumable:
                socket.session.is_valid = False
            await self._send(socket, {"op": INVALID_SESSION, "d": is_resumable})

    def forget_sessions(self) -> None:
        """Let every session that is away be gone: RESUME is answered with op 9."""
        for session in self.sessions:
            if not session.is_connected:
                session.is_valid = False

    def freeze(self, *, shard: int | None = None) -> None:
        """Send nothing more on the open connections, as when they are half dead; they stay open."""
        for socket in self._open(shard):
            socket.is_frozen = True

    async def ask_for_heartbeat(self, *, shard: int | None = None) -> None:
        """Send op 1: the client is to send a heartbeat at once."""
        for socket in self._open(shard):
            await self._send(socket, {"op": HEARTBEAT, "d": None})

    async def send_raw(self, frame: str | Json, *, shard: int | None = None) -> None:
        """Send a text frame as it is, or an object: with an event's name in `t`, as the next dispatch."""
        for socket in self._open(shard):
            if isinstance(frame, str):
                await socket.ws.send_str(frame)
            elif "t" in frame and socket.session is not None:
                self._dispatch_to(socket.session, frame["t"], frame.get("d"))
            else:
                await self._send(socket, frame)

    def _open(self, shard: int | None) -> list[Socket]:
        return [
            socket
            for socket in self.sockets
            if shard is None or (socket.session is not None and socket.session.shard == shard)
        ]

    # --- dispatching

    def dispatch(self, event: str, data: Json, *, guild: GuildId | None = None, intents: int = 0) -> None:
        """Deliver an event to the sessions of the guild's shard that have one of the intents (0: to all).

        Sessions that are away get it when they resume. https://discord.com/developers/docs/events/gateway#sharding
        """
        for session in self._sessions_of(guild):
            if not intents or session.intents & intents:
                self._dispatch_to(session, event, data)

    def dispatch_message(self, event: str, message: Message, *, extra: Json | None = None) -> None:
        """Deliver MESSAGE_CREATE or MESSAGE_UPDATE as each session may see it."""
        room = self.channels[message.channel]
        if message.is_ephemeral or not self.bot_may(room, "VIEW_CHANNEL"):
            return
        for session in self._sessions_of(room.guild):
            if not session.intents & (DIRECT_MESSAGES if room.is_dm else GUILD_MESSAGES):
                continue
            data = self.message_json(message, has_intent=bool(session.intents & MESSAGE_CONTENT)) | (extra or {})
            if room.guild is not None:
                guild = self.guilds[room.guild]
                data["guild_id"] = str(guild.id)
                if message.webhook is None:
                    data["member"] = self.member_json(guild, message.author, with_user=False)
            self._dispatch_to(session, event, data)

    def _sessions_of(self, guild: GuildId | None) -> list[Session]:
        number = 0 if guild is None else self.guild(guild).id
        return [each for each in self.sessions if each.is_valid and (number >> 22) % each.shards == each.shard]

    def _dispatch_to(self, session: Session, event: str, data: Any) -> None:
        times = 1
        if self._duplicates and event in {"MESSAGE_CREATE", "INTERACTION_CREATE"}:
            self._duplicates -= 1
            times = 2
        for _ in range(times):
            session.seq += 1
            frame = json.dumps({"op": DISPATCH, "t": event, "s": session.seq, "d": data})
            session.frames.append((session.seq, frame))
            if session.socket is not None and not session.socket.is_frozen:
                self._write(session.socket, frame)

    def _write(self, socket: Socket, frame: str) -> None:
        """Send in the background; tasks run in the order in which they are made, so frames keep their order."""
        task = asyncio.get_running_loop().create_task(self._send_text(socket, frame))
        self._outgoing.add(task)
        task.add_done_callback(self._outgoing.discard)

    async def _send_text(self, socket: Socket, frame: str) -> None:
        try:
            await socket.ws.send_str(frame)
        except (ConnectionError, RuntimeError):
            self._let_go(socket)

    async def _send(self, socket: Socket, frame: Json) -> None:
        if not socket.is_frozen:
            await self._send_text(socket, json.dumps(frame))

    # --- a connection

    async def serve_gateway(self, request: web.Request) -> web.StreamResponse:
        if self.is_gateway_down or self._refusals:
            self._refusals = max(0, self._refusals - 1)
            self.refused_handshakes += 1
            self.touch()
            return web.Response(status=503, text="no gateway")
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        socket = Socket(ws, request)
        self.sockets.append(socket)
        try:
            await self._send(
                socket, {"op": HELLO, "d": {"heartbeat_interval": int(self.heartbeat_interval_s * 1000), "_trace": []}}
            )
            async for frame in ws:
                if frame.type is WSMsgType.TEXT:
                    await self._take(socket, frame.data)
        except CloseSocketError as refusal:
            self._let_go(socket)
            await ws.close(code=refusal.code)
        finally:
            session = self._let_go(socket)
            # https://discord.com/developers/docs/events/gateway#initiating-a-disconnect: 1000 and 1001 end the session
            if session is not None and ws.close_code in {1000, 1001}:
                session.is_valid = False
            self.touch()
        return ws

    def _let_go(self, socket: Socket) -> Session | None:
        """Part the connection from its session; the session stays for a RESUME."""
        if socket in self.sockets:
            self.sockets.remove(socket)
        session, socket.session = socket.session, None
        if session is not None and session.socket is socket:
            session.socket = None
        self.touch()
        return session

    async def _take(self, socket: Socket, text: str) -> None:
        try:
            frame = json.loads(text)
            op, data = frame["op"], frame.get("d")
        except (ValueError, KeyError, TypeError):
            raise CloseSocketError(DECODE_ERROR) from None
        self._count_send(socket)
        if op == HEARTBEAT:
            socket.beats += 1
            if socket.session is not None and isinstance(data, int):  # what the client has is not replayed any more
                socket.session.frames = [each for each in socket.session.frames if each[0] > data]
            if self.acks_heartbeats:
                await self._send(socket, {"op": ACK})
            self.touch()
            return
        details: Json = data or {}
        self.frames.append({"op": op, "d": {key: value for key, value in details.items() if key != "token"}})
        if op == IDENTIFY:
            await self._identify(socket, data)
        elif op == RESUME:
            await self._resume(socket, data)
        elif op not in {PRESENCE, VOICE, MEMBERS}:
            raise CloseSocketError(UNKNOWN_OPCODE)
        elif socket.session is None:
            raise CloseSocketError(NOT_AUTHENTICATED)
        self.touch()

    def _count_send(self, socket: Socket) -> None:
        now = time.monotonic()
        socket.sends.append(now)
        while now - socket.sends[0] > SENDS_WINDOW_S:
            socket.sends.popleft()
        if len(socket.sends) > MAX_SENDS:
            raise CloseSocketError(RATE_LIMITED)

    async def _identify(self, socket: Socket, data: Json) -> None:
        if socket.session is not None:
            raise CloseSocketError(ALREADY_AUTHENTICATED)
        shard, shards = data.get("shard") or (0, 1)
        self._check_identify(data, shard=shard, shards=shards)
        self._count_start()
        if self._is_too_soon(shard):
            await self._send(socket, {"op": INVALID_SESSION, "d": False})
            return
        self._forget_oldest(shard)
        session = Session(
            id=f"session-{next(self._session_ids)}",
            shard=shard,
            shards=shards,
            intents=data["intents"],
            properties=data.get("properties", {}),
        )
        self.sessions.append(session)
        session.socket, socket.session = socket, session
        guilds = [each for each in self.guilds.values() if self._is_here(each, session)]
        self._dispatch_to(session, "READY", self._ready_json(session, guilds))
        for guild in guilds:
            if guild.is_available:
                self._dispatch_to(session, "GUILD_CREATE", self.guild_json(guild))

    def _count_start(self) -> None:
        """Above the day's number all sessions end and the token is void.

        https://docs.discord.com/developers/events/gateway#identifying
        """
        self.session_starts_left -= 1
        if self.session_starts_left < 0:
            self.token = "void"
            for session in self.sessions:
                session.is_valid = False
            raise CloseSocketError(BAD_TOKEN)

    def _is_too_soon(self, shard: int) -> bool:
        """Count an IDENTIFY: https://docs.discord.com/developers/events/gateway#sharding-max-concurrency."""
        place, now = shard % self.max_concurrency, time.monotonic()
        is_refused = now - self._identified_at.get(place, float("-inf")) < self.identify_gap_s
        self.refused_identifies += is_refused
        if not is_refused:
            self._identified_at[place] = now
        return is_refused

    def _forget_oldest(self, shard: int) -> None:
        """Keep the last few sessions of the shard that are away.

        Several sessions of one shard may be connected at once, and each gets all events:
        https://docs.discord.com/developers/events/gateway#sharding
        """
        away = [each for each in self.sessions if not each.is_connected and each.shard == shard]
        for session in away[:-AWAY_SESSIONS]:
            self.sessions.remove(session)

    def _is_here(self, guild: Guild, session: Session) -> bool:
        return guild.has_bot and (guild.id >> 22) % session.shards == session.shard

    def _check_identify(self, data: Json, *, shard: int, shards: int) -> None:
        if data.get("token") != self.token:
            raise CloseSocketError(BAD_TOKEN)
        if not 0 <= shard < shards:
            raise CloseSocketError(INVALID_SHARD)
        if shards < self.required_shards:
            raise CloseSocketError(SHARDING_REQUIRED)
        intents = data.get("intents")
        if not isinstance(intents, int) or intents & ~KNOWN_INTENTS:
            raise CloseSocketError(INVALID_INTENTS)
        forbidden = GUILD_MEMBERS | PRESENCES | (0 if self.has_message_content else MESSAGE_CONTENT)
        if intents & forbidden:
            raise CloseSocketError(DISALLOWED_INTENTS)

    def _ready_json(self, session: Session, guilds: list[Guild]) -> Json:
        """https://discord.com/developers/docs/events/gateway-events#ready"""
        return {
            "v": 10,
            "user": self.user_json(self.bot),
            "guilds": [{"id": str(guild.id), "unavailable": True} for guild in guilds],
            "session_id": session.id,
            "resume_gateway_url": self.gateway_url,
            "shard": [session.shard, session.shards],
            "application": {"id": str(self.application_id), "flags": self.application_json()["flags"]},
        }

    async def _resume(self, socket: Socket, data: Json) -> None:
        """Replay what was missed, then RESUMED: https://discord.com/developers/docs/events/gateway#resuming."""
        if data.get("token") != self.token:
            raise CloseSocketError(BAD_TOKEN)
        session = next((each for each in self.sessions if each.id == data.get("session_id") and each.is_valid), None)
        if session is None:
            await self._send(socket, {"op": INVALID_SESSION, "d": False})
            return
        seq = data.get("seq")
        if not isinstance(seq, int) or seq > session.seq:
            raise CloseSocketError(INVALID_SEQ)
        if session.socket is not None:
            self._let_go(session.socket)
        session.socket, socket.session = socket, session
        session.resumes += 1
        for number, frame in list(session.frames):
            if number > seq:
                self._write(socket, frame)
        session.frames = [each for each in session.frames if each[0] > seq]
        self._dispatch_to(session, "RESUMED", {"_trace": []})

    async def stop_gateway(self) -> None:
        for socket in list(self.sockets):
            self._let_go(socket)
            if socket.request.transport is not None:
                socket.request.transport.abort()
        if self._outgoing:
            await asyncio.wait(set(self._outgoing), timeout=1.0)
