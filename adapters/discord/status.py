"""The status of a channel while the bot works there: Discord shows it typing."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from adapters.discord.api import DiscordApi
from adapters.discord.own_messages import Place
from bot.domain.errors import AdapterError
from bot.domain.turns import TurnView

log = structlog.stdlib.get_logger(__name__)

TYPING_S = 8.0  # shown for ten: https://discord.com/developers/docs/resources/channel#trigger-typing-indicator


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

    async def rest(self) -> None:
        """Do nothing: the next message ends the typing, and so does time."""
