"""How many may connect, and how long they may take."""

from __future__ import annotations

import sys
from dataclasses import dataclass

MAX_CONNECTIONS = 512
MIN_CONNECTIONS = 8
DESCRIPTORS_EACH = 4  # most of a process's descriptors are for the database, tool servers, models and platforms
MAX_HEAD_BYTES = 16 * 1024
PIECE_BYTES = 8 * 1024  # of what has arrived, taken at once
# Two for each chunk of a body, which costs far more time than its bytes. Slack sends none; proxies put some KB in each.
MAX_CHUNK_LINES = 4_096
# The longest message of Slack, 40,000 characters, comes as text and as blocks, as it was and as it is now, with up to
# twelve bytes a character: https://api.slack.com/changelog/2018-04-truncating-really-long-messages
MAX_BODY_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What the listener gives to its peers."""

    connections: int = MAX_CONNECTIONS
    unfinished_each: int = MAX_CONNECTIONS // 4  # connections of one peer that wait for their request; not a proxy's
    held_bytes: int = 64 * 1024 * 1024  # of all bodies together
    head_s: float = 10.0
    body_s: float = 20.0
    answer_s: float = 30.0
    idle_s: float = 75.0  # more than the 60 s for which proxies like nginx keep a connection
    linger_s: float = 2.0  # for a peer to read why its request was refused
    patience_s: float = 3.0  # until a request in work may be given up for a new one; Slack repeats it by then
    drain_s: float = 5.0  # for answers that are under way when the listener closes


def bounds_for(descriptors: int | None) -> Bounds:
    """Return the bounds for a process that may have so many descriptors open; None: unknown."""
    if descriptors is None:
        return Bounds()
    connections = max(MIN_CONNECTIONS, min(MAX_CONNECTIONS, descriptors // DESCRIPTORS_EACH))
    return Bounds(connections=connections, unfinished_each=max(MIN_CONNECTIONS // 2, connections // 4))


def descriptors() -> int | None:
    """Return how many descriptors this process may have open."""
    if sys.platform == "win32":
        return None
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft
