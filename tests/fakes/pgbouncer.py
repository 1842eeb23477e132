"""A real PgBouncer in transaction mode, before a PostgreSQL server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.fakes.postgres import UNPRIVILEGED, PostgresServer, free_port

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
START_S = 30.0
CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 200
server_reset_query_always = 0
"""


@contextmanager
def pgbouncer(server: PostgresServer, *, pool_size: int = 3) -> Generator[str]:
    """Yield the URL of the server's database behind the pooler, which has so few sessions of the server."""
    folder, port = Path(tempfile.mkdtemp(prefix="pgbouncer-")), free_port()
    folder.chmod(0o755)
    file = folder / "pgbouncer.ini"
    users = folder / "users.txt"
    users.write_text('"postgres" ""\n', encoding="utf-8")
    configuration = CONFIGURATION.format(server=server.port, port=port, users=users, pool_size=pool_size)
    file.write_text(configuration, encoding="utf-8")
    user = {"user": UNPRIVILEGED} if os.geteuid() == 0 else {}
    assert PROGRAM is not None
    process = subprocess.Popen([PROGRAM, "-q", file], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, **user)
    try:
        _wait_until_open(process, port)
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        process.kill()
        process.communicate()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_open(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"PgBouncer did not start: {(process.stderr and process.stderr.read()) or b''!r}")
