"""What a workspace or a channel does not allow: remembered for a while, so that not every turn tries it again."""

from __future__ import annotations

import time

import structlog
from cachetools import TTLCache

from adapters.slack.errors import TOKEN_CODES, SlackRefusedError
from adapters.slack.own_messages import Place

log = structlog.stdlib.get_logger(__name__)

REMEMBERED_S = 3600.0  # an operator who adds a scope does not have to restart the bot
MAX_PLACES = 5_000
# A refusal for one thread or one person says nothing about the channel; an invitation or a new token may come any time.
_PASSING = TOKEN_CODES | {
    "thread_not_found",
    "message_not_found",
    "user_not_found",
    "team_not_found",
    "not_in_channel",
    "channel_not_found",
    "is_archived",
    "restricted_action_thread_locked",
    "cannot_reply_to_message",
    "msg_too_long",
}


class Refusals:
    """Features that Slack refused, for each channel. Each process learns them by itself, with one refused call each."""

    def __init__(self) -> None:
        self._refused = TTLCache[tuple[str, str, str], None](MAX_PLACES, REMEMBERED_S, timer=time.monotonic)

    def are_known(self, place: Place, feature: str) -> bool:
        """Return whether the feature was refused in that channel within the last hour."""
        return (place.team, place.channel, feature) in self._refused

    def remember(self, place: Place, feature: str, error: SlackRefusedError) -> None:
        """Do without the feature in that channel for an hour, unless the refusal may pass sooner."""
        log.info("feature_refused", feature=feature, code=error.code, channel=place.channel)
        if not error.is_permanent or error.code in _PASSING:
            return
        self._refused[place.team, place.channel, feature] = None
