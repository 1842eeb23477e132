"""What the gateway delivers, given to the part that handles it."""

from __future__ import annotations

from adapters.discord.arrivals import DiscordArrivals
from adapters.discord.interactions import Interactions
from adapters.discord.parse import DIRECT, PLATFORM
from adapters.discord.payloads import text_at
from adapters.shared.payloads import Payload, dict_of
from adapters.shared.shares import on_behalf_of
from adapters.shared.tasks import Background
from bot.domain.events import ConversationKey


class Deliveries:
    """Takes every delivery of one run, which knows who the bot is."""

    def __init__(self, arrivals: DiscordArrivals, interactions: Interactions, *, background: Background) -> None:
        self._arrivals = arrivals
        self._interactions = interactions
        self._background = background

    def take(self, dispatch: str, payload: Payload) -> None:
        """Take one delivery; returns at once."""
        payload = dict_of(payload)
        with on_behalf_of(*_sender(payload)):
            self._take(dispatch, payload)

    def _take(self, dispatch: str, payload: Payload) -> None:
        if dispatch == "INTERACTION_CREATE":
            self._background.spawn(self._interactions.handle(payload), name="interaction")
        else:
            self._arrivals.take(dispatch, payload)


def _sender(payload: Payload) -> tuple[str, ConversationKey]:
    """Return who caused a delivery, "" where it does not say, and in which channel."""
    member = dict_of(dict_of(payload.get("member")).get("user"))
    user = dict_of(payload.get("author")) or member or dict_of(payload.get("user"))
    space = text_at(payload, "guild_id") or DIRECT
    channel = ConversationKey(platform=PLATFORM, space=space, channel=text_at(payload, "channel_id"))
    return text_at(user, "id"), channel
