"""What is done once, however often it is asked for, and at whichever of the processes that share a database."""

from __future__ import annotations

from cachetools import TTLCache

from bot.ports.cluster import Cluster

ONCE_S = 3_600.0  # platforms deliver again for half an hour at most


class Once:
    """Remembers keys for `within_s` seconds: this process the newest `max_keys`, the database those of all processes.

    What `is_lasting` counts as well where its process has ended: what that got in its last seconds may be delivered to
    the next one again. Otherwise a process that is alone asks nobody.
    """

    def __init__(
        self, topic: str, cluster: Cluster, *, max_keys: int, within_s: float = ONCE_S, is_lasting: bool = True
    ) -> None:
        self._topic = topic
        self._cluster = cluster
        self._within_s = within_s
        self._is_lasting = is_lasting
        self._own = TTLCache[str, bool](max_keys, ttl=within_s)

    def __contains__(self, key: str) -> bool:
        """Return whether this process has done it."""
        return key in self._own

    def add_here(self, key: str) -> bool:
        """Remember the key; return whether it is new to this process."""
        is_new = key not in self._own
        self._own[key] = True
        return is_new

    async def add(self, key: str, *, platform: str = "") -> bool:
        """Remember the key; return whether it is new to all, or to those that serve the platform."""
        return self.add_here(key) and await self._cluster.is_first(
            f"{self._topic}/{key}", within_s=self._within_s, platform=platform, is_lasting=self._is_lasting
        )
