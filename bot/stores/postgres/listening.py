"""What other processes send by NOTIFY, on a connection of its own."""

from __future__ import annotations

import asyncio
import selectors
import socket
import threading
from collections.abc import Callable
from typing import get_args

import psycopg
import structlog

from bot.domain.errors import BotError
from bot.ports.cluster_store import Topic
from bot.stores.postgres.database import Database

log = structlog.stdlib.get_logger(__name__)

TOPICS: tuple[Topic, ...] = get_args(Topic)
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0

Hear = Callable[[Topic], None]


class Listener:
    """Hears what other processes send, from the first `add` on; connects again for as long as it is open."""

    def __init__(self, database: Database, channel: str, source: str) -> None:
        self._database = database
        self._channel = channel
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._hearers: list[Hear] = []
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._closed, self._close = socket.socketpair()

    def add(self, hear: Hear) -> None:
        """Have `hear` called on the event loop."""
        self._hearers.append(hear)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="store-listener", daemon=True)
            self._thread.start()

    async def close(self) -> None:
        """End the thread and its connection."""
        self._closing.set()
        self._close.send(b"x")
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        self._closed.close()
        self._close.close()

    def _run(self) -> None:
        pause_s, is_said = FIRST_PAUSE_S, False
        while not self._closing.is_set():
            try:
                with self._database.connect(listens=True) as connection:
                    connection.execute(f'LISTEN "{self._channel}"'.encode())
                    if is_said:
                        log.info("database_heard_again")
                    pause_s, is_said = FIRST_PAUSE_S, False
                    self._tell(TOPICS)  # what was sent before is not known
                    self._hear(connection)
            except (psycopg.Error, BotError, OSError) as error:
                if not is_said and not self._closing.is_set():
                    log.warning("database_not_heard", reason=type(error).__name__)  # all of it can be found by looking
                    is_said = True
                self._closing.wait(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _hear(self, connection: psycopg.Connection) -> None:
        pgconn = connection.pgconn
        with selectors.DefaultSelector() as selector:
            selector.register(pgconn.socket, selectors.EVENT_READ)
            selector.register(self._closed, selectors.EVENT_READ)
            while not self._closing.is_set():
                selector.select()
                pgconn.consume_input()
                while (told := pgconn.notifies()) is not None:
                    source, _, topic = told.extra.decode(errors="replace").partition(" ")
                    if source != self._source and topic in TOPICS:
                        self._tell([topic])

    def _tell(self, topics: list[Topic] | tuple[Topic, ...]) -> None:
        for topic in topics:
            self._loop.call_soon_threadsafe(self._pass_on, topic)

    def _pass_on(self, topic: Topic) -> None:
        for hear in self._hearers:
            hear(topic)
