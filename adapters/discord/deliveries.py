"""What the gateway delivers, given to the part that handles it."""

from __future__ import annotations

from adapters.discord.arrivals import DiscordArrivals
from adapters.discord.interactions import Interactions
from adapters.shared.payloads import Payload, dict_of
from adapters.shared.tasks import Background


class Deliveries:
    """Takes every delivery of one run, which knows who the bot is."""

    def __init__(self, arrivals: DiscordArrivals, interactions: Interactions, *, background: Background) -> None:
        self._arrivals = arrivals
        self._interactions = interactions
        self._background = background

    def take(self, dispatch: str, payload: Payload) -> None:
        """Take one delivery; returns at once."""
        payload = dict_of(payload)
        if dispatch == "INTERACTION_CREATE":
            self._background.spawn(self._interactions.handle(payload), name="interaction")
        else:
            self._arrivals.take(dispatch, payload)
