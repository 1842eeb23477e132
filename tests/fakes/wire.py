"""A TCP proxy in front of a server, that can lose what goes through it at a chosen moment."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Literal

CHUNK = 65536

Cut = Literal["request", "answer"]


class Wire:
    """Passes bytes on between clients and a server on this machine, on a port of its own."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.cuts_made = 0
        self._cut: tuple[bytes, Cut] | None = None
        self._stalls_then = False
        self._flows = threading.Event()
        self._flows.set()
        self._refuses = False
        self._lock = threading.Lock()
        self._open: set[_Link] = set()
        threading.Thread(target=self._accept, name="wire", daemon=True).start()

    def cut(self, words: bytes, what: Cut, *, stalls: bool = False) -> None:
        """End the next connection on which a client sends these words: before the server has them, or before the client
        has the answer. With `stalls`, nothing is passed on after that until `flow`.
        """
        with self._lock:
            self._cut = (words, what)
            self._stalls_then = stalls

    def stall(self) -> None:
        """Pass nothing on until `flow`, as a network does that is gone."""
        self._flows.clear()

    def refuse(self) -> None:
        """End all connections, and each new one at once, until `flow`: so it is where the server is down."""
        self._refuses = True
        self.end_all()

    def flow(self) -> None:
        """Pass bytes on again."""
        self._refuses = False
        self._flows.set()

    def end_all(self) -> None:
        """End all connections."""
        for link in list(self._open):
            link.end()

    def close(self) -> None:
        """End everything."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # closing alone does not end a wait for clients
        self._listening.close()
        self._flows.set()
        self.end_all()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listening.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._server_port))
                except OSError:
                    client.close()
                    continue
                link = _Link(client, server)
                self._open.add(link)
                if self._refuses:
                    self._end(link)
                    continue
                threading.Thread(target=self._pass_on, args=(link,), name="wire-up", daemon=True).start()
                threading.Thread(target=self._pass_back, args=(link,), name="wire-down", daemon=True).start()

    def _pass_on(self, link: _Link) -> None:
        with suppress(OSError):
            while data := link.client.recv(CHUNK):
                self._flows.wait()
                match self._lost_with(data):
                    case "request":
                        break
                    case "answer":
                        link.is_deaf = True
                    case None:
                        pass
                link.server.sendall(data)
        self._end(link)

    def _pass_back(self, link: _Link) -> None:
        with suppress(OSError):
            while (data := link.server.recv(CHUNK)) and not link.is_deaf:
                self._flows.wait()
                link.client.sendall(data)
        self._end(link)

    def _lost_with(self, data: bytes) -> Cut | None:
        with self._lock:
            if self._cut is None or self._cut[0] not in data:
                return None
            _, what = self._cut
            self._cut = None
            self.cuts_made += 1
            if self._stalls_then:
                self.stall()
            return what

    def _end(self, link: _Link) -> None:
        self._open.discard(link)
        link.end()


class _Link:
    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.is_deaf = False  # the client gets nothing more
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def end(self) -> None:
        """Close both sides."""
        for one in (self.client, self.server):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
