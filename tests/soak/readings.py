"""What a process holds: read again and again, and judged at the end."""

from __future__ import annotations

import gc
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import psutil

MIB = 1024 * 1024
FIFTHS = 5  # the first is warming up; the second and the last are compared


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """The memory of one process in the second and in the last fifth of a run, and whether that is flat."""

    part: str
    early_mib: float
    late_mib: float
    allowed_mib: float  # of the last fifth

    @property
    def is_flat(self) -> bool:
        return self.late_mib <= self.allowed_mib


def judge_memory(part: str, rss: Sequence[int], *, allowance: float, allowance_mib: float) -> Growth:
    """Compare the medians of resident memory (bytes, in order of time); `allowance` is a share of the early one."""
    size = len(rss) // FIFTHS
    early, late = median(rss[size : 2 * size]) / MIB, median(rss[-size:]) / MIB
    return Growth(part=part, early_mib=early, late_mib=late, allowed_mib=early * (1 + allowance) + allowance_mib)


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """What this process has open."""

    threads: frozenset[str]
    descriptors: int
    children: frozenset[int]


def take_census() -> Census:
    """Count what is open now. Objects that wait for the garbage collector are closed first."""
    gc.collect()
    process = psutil.Process()
    return Census(
        threads=frozenset(f"{thread.name} ({thread.ident})" for thread in threading.enumerate()),
        descriptors=process.num_fds(),
        children=frozenset(child.pid for child in process.children(recursive=True)),
    )


def left_over(before: Census, after: Census) -> Mapping[str, int]:
    """Return how much of what is open now was not open before."""
    return {
        "threads": len(after.threads - before.threads),
        "file descriptors": max(0, after.descriptors - before.descriptors),
        "processes": len(after.children - before.children),
    }
