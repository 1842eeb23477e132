"""Names of worker processes, from which others on the same machine can see whether one is still alive."""

from __future__ import annotations

import os
import socket
import uuid
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

from bot.ports.work_store import WorkStore


def new_worker_id() -> str:
    """Return a name for this process that no other, earlier or later, has."""
    return f"{_machine()}|{os.getpid()}|{_started(os.getpid())}|{uuid.uuid4().hex[:8]}"


async def expire_dead_workers(store: WorkStore) -> list[str]:
    """End the leases of this machine's processes that are gone, so that nobody waits for them to run out."""
    dead = [worker for worker in await store.workers() if _is_dead(worker)]
    for worker in dead:
        await store.expire(worker)
    return dead


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalProcess:
    """A process of this machine that works on turns, as its worker's name says."""

    pid: int
    started: str

    @property
    def is_alive(self) -> bool:
        """Whether it still runs. One that was killed and whose parent has not noticed does not."""
        return _started(self.pid) == self.started


def process_of(worker: str) -> LocalProcess | None:
    """Return the process; None where it is on another machine: of that, only its lease is known."""
    match worker.split("|"):
        case [machine, pid, started, _] if machine == _machine():
            return LocalProcess(pid=int(pid), started=started)
        case _:
            return None


def _is_dead(worker: str) -> bool:
    process = process_of(worker)
    return process is not None and not process.is_alive


@cache
def _machine() -> str:
    """Return a name for this machine, since it was started, and its process table.

    Two machines may have one host name, and copies of a machine one id; containers may share all but a process table.
    """
    parts = [socket.gethostname(), _first_line("/etc/machine-id"), _first_line("/proc/sys/kernel/random/boot_id")]
    if not parts[-1]:  # no Linux: the address of a network card
        parts.append(f"{uuid.getnode():x}")
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))  # noqa: PTH115  (it points at no file)
    return " ".join(filter(None, parts)).replace("|", "")


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").partition("\n")[0]
    except (OSError, UnicodeDecodeError):
        return ""


def _started(pid: int) -> str:
    """Return when the process started, by a clock that nobody sets; empty where it does not run any more."""
    try:
        return _started_on_linux(Path(f"/proc/{pid}/stat").read_bytes())
    except OSError:
        return "" if Path("/proc/self/stat").exists() else _started_elsewhere(pid)


def _started_on_linux(stat: bytes) -> str:
    """Return the time since boot: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html"""
    state, *others = stat[stat.rindex(b")") + 1 :].split()  # a program's name may have anything in it
    return "" if state in (b"Z", b"X") else others[18].decode()


def _started_elsewhere(pid: int) -> str:
    try:
        process = psutil.Process(pid)
        is_over = process.status() == psutil.STATUS_ZOMBIE
        return "" if is_over else f"{process.create_time() - psutil.boot_time():.2f}"
    except psutil.Error:
        return ""
