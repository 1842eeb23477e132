"""Names of worker processes, from which others on the same machine can see whether one is still alive."""

from __future__ import annotations

import os
import socket
import uuid

import psutil

from bot.ports.store import WorkStore


def new_worker_id() -> str:
    """Return a name for this process that no other, earlier or later, has."""
    return f"{_machine()}|{os.getpid()}|{_started(os.getpid())}|{uuid.uuid4().hex[:8]}"


async def expire_dead_workers(store: WorkStore) -> list[str]:
    """End the leases of this machine's processes that are gone, so that nobody waits for them to run out."""
    dead = [worker for worker in await store.workers() if _is_dead(worker)]
    for worker in dead:
        await store.expire(worker)
    return dead


def _is_dead(worker: str) -> bool:
    parts = worker.split("|")
    if len(parts) != 4 or parts[0] != _machine():
        return False  # of another machine: only its lease can tell
    return _started(int(parts[1])) != parts[2]


def _machine() -> str:
    try:
        # Containers may share a host name and a disk, but not a process table.
        namespace = os.readlink("/proc/self/ns/pid")  # noqa: PTH115  (it points at no file)
    except OSError:
        namespace = ""
    return f"{socket.gethostname()}{namespace}"


def _started(pid: int) -> str:
    """Return when the process started, in seconds since boot: setting the clock does not change it."""
    try:
        return f"{psutil.Process(pid).create_time() - psutil.boot_time():.2f}"
    except psutil.Error:
        return ""
