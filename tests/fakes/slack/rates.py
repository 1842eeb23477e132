"""How many calls the loopback Slack takes, and how long it asks callers to wait."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from dataclasses import dataclass, field

from tests.fakes.slack.web_api import METHOD_TIERS, TIERS

# https://docs.slack.dev/reference/methods/chat.postMessage#rate_limiting: one message a second and channel, "several
# hundred messages per minute" in all of a workspace, both with bursts of which no number is documented.
POSTS_PER_S = 1.0
POSTS_AT_ONCE = 25  # as reported: https://github.com/RamblingCookieMonster/PSSlack/issues/52
WORKSPACE_POSTS_PER_MINUTE = 300
MINUTE_S = 60.0


@dataclass(slots=True)
class _Bucket:
    size: float
    per_s: float
    level: float
    filled_at: float

    def wait_s(self, now: float) -> float:
        """Return how long it takes until a call is taken; 0: this one was."""
        self.level = min(self.size, self.level + (now - self.filled_at) * self.per_s)
        self.filled_at = now
        if self.level < 1:
            return (1 - self.level) / self.per_s
        self.level -= 1
        return 0.0


@dataclass(kw_only=True)
class Rates:
    """What is tolerated; without a change, everything.

    `posts_at_once` is how many messages a channel takes at once; it takes one more each second. 1 is no burst at all,
    None any number. `are_enforced` holds callers to the documented rate of each method as well.
    """

    are_enforced: bool = False
    posts_at_once: int | None = None
    _recent: dict[tuple[str, str], deque[float]] = field(default_factory=lambda: defaultdict(deque[float]), init=False)
    _buckets: dict[tuple[str, str], _Bucket] = field(default_factory=dict[tuple[str, str], _Bucket], init=False)

    def retry_after_s(self, method: str, *, team: str, channel: str, now: float) -> int | None:
        """Return the whole seconds to wait where the call is one too many, as Slack says them; None: it is taken.

        https://docs.slack.dev/apis/web-api/rate-limits
        """
        if method == "chat.postMessage":
            wait_s = self._until_posted(team, channel, now)
        elif self.are_enforced and method in METHOD_TIERS:
            wait_s = self._until_below_tier(method, team, now)
        else:
            wait_s = 0.0
        return max(1, math.ceil(wait_s)) if wait_s else None

    def _until_posted(self, team: str, channel: str, now: float) -> float:
        at_once = self.posts_at_once or (POSTS_AT_ONCE if self.are_enforced else None)
        if at_once is None:
            return 0.0
        if wait_s := self._bucket(team, channel, size=at_once, per_s=POSTS_PER_S, now=now).wait_s(now):
            return wait_s
        size = WORKSPACE_POSTS_PER_MINUTE
        return self._bucket(team, "", size=size, per_s=size / MINUTE_S, now=now).wait_s(now)

    def _bucket(self, team: str, channel: str, *, size: int, per_s: float, now: float) -> _Bucket:
        return self._buckets.setdefault(
            (team, channel), _Bucket(size=size, per_s=per_s, level=float(size), filled_at=now)
        )

    def _until_below_tier(self, method: str, team: str, now: float) -> float:
        recent = self._recent[method, team]
        while recent and now - recent[0] >= MINUTE_S:
            recent.popleft()
        if len(recent) >= TIERS[METHOD_TIERS[method]]:
            return MINUTE_S - (now - recent[0])
        recent.append(now)
        return 0.0
