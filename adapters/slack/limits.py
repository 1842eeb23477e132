"""How often Slack's methods may be called: its documented rates, and the pauses that it asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from adapters.shared.buckets import Caller, Priority, Rate
from adapters.shared.common import CommonRates
from adapters.shared.gates import Gate
from adapters.shared.shares import current_share

MAX_IDLE_BUCKETS = 1_000

# https://docs.slack.dev/apis/web-api/rate-limits, and each method's own page. Rates are per workspace and method; a
# burst of a whole minute's calls is tolerated, sustained calls are not.
TIER_2 = Rate(calls=20, period_s=60)
TIER_3 = Rate(calls=50, period_s=60)
TIER_4 = Rate(calls=100, period_s=60)
# One message a second and channel, "short bursts" above that, and "several hundred messages per minute" in a workspace:
# https://docs.slack.dev/reference/methods/chat.postMessage#rate_limiting. A channel's burst was seen to be 25:
# https://github.com/RamblingCookieMonster/PSSlack/issues/52. Where it is smaller, the refusals show that.
POSTS = Rate(calls=300, period_s=60, per_channel=Rate(calls=25, period_s=25))
RATES: Mapping[str, Rate] = {
    "chat.postMessage": POSTS,
    "chat.startStream": TIER_2,
    "chat.stopStream": TIER_2,
    "reactions.remove": TIER_2,
    "conversations.list": TIER_2,
    "usergroups.users.list": TIER_2,
    "chat.appendStream": TIER_4,
    "chat.postEphemeral": TIER_4,
    "views.open": TIER_4,
    "views.update": TIER_4,
    "views.push": TIER_4,
    "views.publish": TIER_4,
    "users.info": TIER_4,
    "files.info": TIER_4,
    "files.getUploadURLExternal": TIER_4,
    "files.completeUploadExternal": TIER_4,
    "auth.test": Rate(calls=100, period_s=60),  # "hundreds of requests per minute"
    "assistant.threads.setStatus": Rate(calls=600, period_s=60),
}
OTHERS = TIER_3  # chat.update, chat.delete, reactions.add, conversations.history and .replies among them


@dataclass(frozen=True, slots=True)
class RateKey:
    """What one limit covers; `channel` is empty where all channels share it."""

    team: str
    method: str
    channel: str = ""

    @property
    def name(self) -> str:
        """What the limit is called among all processes."""
        return "/".join((self.team, self.method, self.channel))


class Limits:
    """Admits calls at Slack's rates, which hold for all processes together. Belongs to one event loop."""

    def __init__(self, rates: Mapping[str, Rate] = RATES, *, common: CommonRates | None = None) -> None:
        self._rates = rates
        self._common = common or CommonRates()
        self._gates: dict[RateKey, Gate] = {}

    def key(self, team: str, method: str, channel: str) -> RateKey:
        """Return the key of the limit that a call counts against."""
        return RateKey(team, method, channel if self._rate(method).per_channel else "")

    async def admit(
        self, key: RateKey, *, deadline: float, since: float | None = None, priority: Priority = Priority.ANSWER
    ) -> None:
        """Wait until a call may be made, and count it.

        Calls of one key go by priority, then by the shares of people and of their conversations, then by `since`: when
        the caller began to wait (default: now). This and `deadline` are seconds of the loop's clock.

        Raises:
            RateLimitError: It may not be made before `deadline`.
        """
        since = asyncio.get_running_loop().time() if since is None else since
        caller = Caller(priority, since, current_share())
        keys = dict.fromkeys((key, RateKey(key.team, key.method)))
        for each in keys:
            await self._gate(each).passed(caller, deadline)
        for each in keys:
            await self._common.passed(each.name, self._rate_of(each), caller, deadline=deadline)

    async def refuse(self, key: RateKey, *, sent_at: float, retry_after_s: float) -> None:
        """Admit no call for `retry_after_s` seconds, as Slack asked, and fewer at once from then on.

        `sent_at` is when the refused call was made. Slack does not say which of its limits was reached; where a key
        has a channel, the channel's is taken for it.
        """
        self._gate(key).refuse(sent_at=sent_at, retry_after_s=retry_after_s)
        await self._common.refuse(key.name, self._rate_of(key), retry_after_s=retry_after_s)

    def _gate(self, key: RateKey) -> Gate:
        gate = self._gates.get(key)
        if gate is None:
            if len(self._gates) >= MAX_IDLE_BUCKETS:
                self._gates = {each: kept for each, kept in self._gates.items() if not kept.is_spare}
            gate = self._gates[key] = Gate(self._rate_of(key))
        return gate

    def _rate_of(self, key: RateKey) -> Rate:
        rate = self._rate(key.method)
        return rate.per_channel if key.channel and rate.per_channel else rate

    def _rate(self, method: str) -> Rate:
        return self._rates.get(method, OTHERS)
