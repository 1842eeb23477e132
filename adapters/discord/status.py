"""Small signs of work: the bot types in a channel, and puts an hourglass on messages that wait."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from adapters.discord.api import DiscordApi
from adapters.discord.own_messages import Place
from adapters.discord.parse import message_place
from bot.domain.errors import AdapterError
from bot.domain.events import ConversationKey
from bot.domain.turns import TurnView

log = structlog.stdlib.get_logger(__name__)

TYPING_S = 8.0  # shown for ten: https://discord.com/developers/docs/resources/channel#trigger-typing-indicator
WAITING_SIGN = "⏳"
REACTION = "/channels/{channel_id}/messages/{message_id}/reactions/{emoji}/@me"


@dataclass(slots=True, kw_only=True)
class Typing:
    """Satisfies `adapters.shared.progress.Status`."""

    api: DiscordApi
    place: Place

    def is_up_to_date(self, view: TurnView) -> bool:
        """Return True: every view shows the same, and only has to be refreshed."""
        return True

    async def work(self, view: TurnView) -> None:
        """Show the bot typing; never fails."""
        try:
            await self.api.call("POST", "/channels/{channel_id}/typing", channel_id=self.place.channel)
        except AdapterError as error:
            log.info("status_not_shown", error=str(error))

    async def rest(self, view: TurnView) -> None:
        """Do nothing: the next message ends the typing, and so does time."""


class Hourglass:
    """The bot's reaction on messages that wait; satisfies `adapters.shared.arrivals.React`."""

    def __init__(self, api: DiscordApi) -> None:
        self._api = api

    async def __call__(self, conversation: ConversationKey, event_key: str, *, is_waiting: bool) -> None:
        """Add the reaction to the message, or remove it. Raises AdapterError."""
        channel, message = message_place(event_key)
        method = "PUT" if is_waiting else "DELETE"
        await self._api.call(method, REACTION, channel_id=channel, message_id=message, emoji=WAITING_SIGN)
