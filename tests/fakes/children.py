"""Processes that may end at any moment, also between two questions about them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import psutil


def is_alive(process: psutil.Process) -> bool:
    """Return whether the process runs; one that has ended and waits for its parent does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill_all(processes: Iterable[psutil.Process]) -> None:
    """Kill those that are there still."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
