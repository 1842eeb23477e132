"""The connections of the listener: how many there are, what each waits for, and which has to go."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from enum import Enum, auto

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from bot.http.bounds import MAX_CHUNK_LINES, PIECE_BYTES, Bounds
from bot.http.peers import Peers
from bot.http.refusals import Refusals

_SILENT = logging.getLogger(f"{__name__}.uvicorn")
_SILENT.setLevel(logging.CRITICAL + 1)  # each bad request is a line of uvicorn's; here they are counted


CONNECTION = "connection"


class Stage(Enum):
    """What a connection waits for."""

    IDLE = auto()  # the next request
    HEAD = auto()
    BODY = auto()
    ANSWER = auto()
    END = auto()  # it was answered before its request had ended, or is being closed


class Connection(H11Protocol):
    """One connection, which has to get on within the bounds."""

    def __init__(self, config: Config, state: ServerState, *, connections: Connections) -> None:
        super().__init__(config, state, {CONNECTION: self})  # a request finds it in its scope's state
        self.logger = _SILENT
        self.peer = ""
        self.is_known = False  # a proxy's, or one by which something came that was signed
        self.since = 0.0  # when it began to wait for this request
        self.until = 0.0
        self._connections = connections
        self._stage = Stage.HEAD
        self._chunk_lines = 0

    @property
    def stage(self) -> Stage:
        """What it waits for; an answer that its peer does not read is no answer."""
        return Stage.END if self._stage is Stage.ANSWER and self.flow.write_paused else self._stage

    # --- what uvicorn and asyncio call ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  (as uvicorn's)
        """Begin to wait for the head."""
        super().connection_made(transport)
        self.peer = self.client[0] if self.client else ""
        self.is_known = self._connections.peers.is_trusted(self.peer)
        self._enter(Stage.HEAD)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        self._connections.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, and look how far the request has got."""
        if self._stage is Stage.IDLE:
            self._enter(Stage.HEAD)
        for start in range(0, len(data), PIECE_BYTES):  # h11 takes all chunks of what it is given at once
            piece = data[start : start + PIECE_BYTES]
            super().data_received(piece)
            self._look()
            if self._has_many_chunks(piece):
                self._connections.refusals.count("many_chunks", peer=self.peer)
                self.transport.abort()
            if self.transport.is_closing():
                return

    def on_response_complete(self) -> None:
        """Wait for the next request; a peer that has sent it already, which no proxy does, is let go."""
        if self.conn.their_state is h11.DONE and self.conn.trailing_data[0]:
            self._connections.refusals.count("pipelined", peer=self.peer)
            self.transport.close()
        super().on_response_complete()
        self._look()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP; uvicorn's own fails where the request before is still being answered."""
        self._connections.refusals.count("no_http", peer=self.peer)
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:
            self.transport.close()
        if self.cycle and not self.cycle.response_complete:  # nothing more can be sent
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    # --- how far it has got ---

    def _has_many_chunks(self, piece: bytes) -> bool:
        if self.conn.their_state is h11.SEND_BODY and any(name == b"transfer-encoding" for name, _ in self.headers):
            self._chunk_lines += piece.count(b"\r\n")
        return self._chunk_lines > MAX_CHUNK_LINES

    def _look(self) -> None:
        if (stage := self._found()) is not self._stage:
            self._enter(stage)

    def _found(self) -> Stage:
        theirs, ours = self.conn.their_state, self.conn.our_state
        if self.transport.is_closing() or theirs is h11.ERROR:
            return Stage.END
        if theirs is h11.IDLE:
            return Stage.HEAD if self._stage is Stage.HEAD else Stage.IDLE
        if ours not in (h11.SEND_RESPONSE, h11.SEND_BODY):
            return Stage.END
        return Stage.BODY if theirs is h11.SEND_BODY else Stage.ANSWER

    def _enter(self, stage: Stage) -> None:
        now, bounds = self.loop.time(), self._connections.bounds
        wait_s = {
            Stage.IDLE: bounds.idle_s,
            Stage.HEAD: bounds.head_s,
            Stage.BODY: bounds.body_s,
            Stage.ANSWER: bounds.answer_s,
            Stage.END: bounds.linger_s,
        }
        if stage in (Stage.IDLE, Stage.HEAD):
            self.since = now
            self._chunk_lines = 0
        self._stage = stage
        self.until = now + wait_s[stage]


_LATE = {Stage.HEAD: "slow_head", Stage.BODY: "slow_body", Stage.ANSWER: "slow_answer", Stage.END: "slow_reader"}


class Connections:
    """All connections. Where there are too many, the one that has waited longest for its request makes room.

    A complete request is left alone for a moment, so that a peer who sends one at once gets an answer, however many
    others hold connections without sending any.
    """

    def __init__(self, bounds: Bounds, *, peers: Peers, refusals: Refusals) -> None:
        self.bounds = bounds
        self.peers = peers
        self.refusals = refusals
        self._open: set[Connection] = set()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, connection: Connection) -> None:
        """Count it."""
        self._open.add(connection)

    def discard(self, connection: Connection) -> None:
        """Count it no more."""
        self._open.discard(connection)

    def make_room(self, peer: str) -> bool:
        """Have a place free for one more of `peer`; False: all are in work, and one will be free in a moment."""
        if not self.peers.is_trusted(peer):
            own = [each for each in self._waiting() if each.peer == peer and not each.is_known]
            if len(own) >= self.bounds.unfinished_each:
                return self._close_oldest(own)
        return len(self._open) < self.bounds.connections or self.close_oldest()

    def close_oldest(self) -> bool:
        """Close the one that has waited longest, known ones last; False: each is in work, and has been for a moment."""
        given_up = asyncio.get_running_loop().time() - self.bounds.patience_s
        return self._close_oldest(self._waiting()) or self._close_oldest(
            connection for connection in self._open if connection.since < given_up
        )

    def close_oldest_body(self) -> None:
        """Close the one whose body has taken longest to come."""
        self._close_oldest(connection for connection in self._open if connection.stage is Stage.BODY)

    def close_late(self) -> None:
        """Close all that have taken too long."""
        now = asyncio.get_running_loop().time()
        for connection in [each for each in self._open if each.until < now]:
            if reason := _LATE.get(connection.stage):
                self.refusals.count(reason, peer=connection.peer)
            self._close(connection)

    def shut_down(self) -> None:
        """Close what waits for a request; what is in work is answered first."""
        for connection in list(self._open):
            if connection.stage is Stage.ANSWER:
                connection.shutdown()
            else:
                self._close(connection)

    def close(self) -> None:
        """Close all."""
        for connection in list(self._open):
            self._close(connection)

    def _waiting(self) -> list[Connection]:
        return [connection for connection in self._open if connection.stage is not Stage.ANSWER]

    def _close_oldest(self, connections: Iterable[Connection]) -> bool:
        oldest = min(connections, key=lambda each: (each.is_known, each.since), default=None)
        if oldest is None:
            return False
        # Any server may close an idle one: https://www.rfc-editor.org/rfc/rfc9112#section-9.6
        if oldest.stage is not Stage.IDLE:
            self.refusals.count("crowded_out", peer=oldest.peer)
        self._close(oldest)
        return True

    def _close(self, connection: Connection) -> None:
        self._open.discard(connection)  # its socket is closed in the loop's next round
        connection.transport.abort()
