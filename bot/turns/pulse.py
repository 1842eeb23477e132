"""Whether platforms take posts: what tells a post that fails by itself from an outage."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Literal

Tried = Literal["posted", "rate_limited", "failed"]


class Pulse:
    """When each platform has last taken a post of this process, and how often. Belongs to one event loop."""

    def __init__(self) -> None:
        self._posted_at: dict[str, float] = {}  # seconds of the loop's clock, by the platform's name
        self.tries: Counter[tuple[str, Tried]] = Counter()  # by the platform's name and how each ended

    def posted(self, platform: str) -> None:
        """Take note that the platform has taken a post."""
        self._posted_at[platform] = asyncio.get_running_loop().time()
        self.tries[platform, "posted"] += 1

    def missed(self, platform: str, *, is_rate_limit: bool) -> None:
        """Take note of a try that failed."""
        self.tries[platform, "rate_limited" if is_rate_limit else "failed"] += 1

    def has_posted_since(self, platform: str, since: float) -> bool:
        """Return whether it has taken one after that moment of the loop's clock."""
        return self._posted_at.get(platform, 0.0) > since
