"""What a workspace or a channel does not allow: remembered for a while, so that it is not asked for in every turn."""

from __future__ import annotations

import time
from collections import OrderedDict

import structlog

from adapters.slack.errors import TOKEN_CODES, SlackRefusedError
from adapters.slack.own_messages import Place

log = structlog.stdlib.get_logger(__name__)

REMEMBERED_S = 3600.0  # an operator who adds a scope does not have to restart the bot
MAX_PLACES = 5_000
# What Slack says of one thread or one person says nothing of the channel; an invitation or a new token comes any time.
_OF_THE_MOMENT = TOKEN_CODES | {
    "thread_not_found",
    "message_not_found",
    "user_not_found",
    "team_not_found",
    "not_in_channel",
    "channel_not_found",
    "is_archived",
}


class Refusals:
    """Features that Slack refused, for each channel."""

    def __init__(self) -> None:
        self._until: OrderedDict[tuple[str, str, str], float] = OrderedDict()

    def are_known(self, place: Place, feature: str) -> bool:
        """Tell whether the feature was refused in that channel lately."""
        return self._until.get((place.team, place.channel, feature), 0.0) > time.monotonic()

    def remember(self, place: Place, feature: str, error: SlackRefusedError) -> None:
        """Do without the feature in that channel for an hour, unless the refusal was one of the moment."""
        log.info("feature_refused", feature=feature, code=error.code, channel=place.channel)
        if not error.is_permanent or error.code in _OF_THE_MOMENT:
            return
        self._until[place.team, place.channel, feature] = time.monotonic() + REMEMBERED_S
        while len(self._until) > MAX_PLACES:
            self._until.popitem(last=False)
