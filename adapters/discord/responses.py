"""Responses to interactions, which only the person who acted sees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from adapters.discord.api import DiscordApi
from adapters.discord.errors import ALREADY_ANSWERED, INVALID_FORM, DiscordRefusedError, DiscordUnreachableError
from adapters.discord.own_messages import NO_MENTIONS, SUPPRESS_EMBEDS
from adapters.discord.payloads import text_at
from adapters.discord.phrases import DONE, REFUSED_FORM, TOO_OFTEN
from adapters.discord.render import Shown, notice_text
from adapters.shared.payloads import Payload
from bot.domain.answers import Done, Refused
from bot.domain.errors import BotError

log = structlog.stdlib.get_logger(__name__)

EPHEMERAL = 1 << 6
# https://discord.com/developers/docs/interactions/receiving-and-responding#interaction-response-object-interaction-callback-type
MESSAGE, LATER, LATER_UPDATE, CHOICES, FORM = 4, 5, 6, 8, 9


class Responses:
    """Responds to interactions; never fails: what Discord refuses is logged."""

    def __init__(self, api: DiscordApi, *, application: str) -> None:
        self._api = api
        self._application = application

    async def say(self, interaction: Payload, text: str) -> None:
        """Respond with a sentence."""
        await self.show(interaction, Shown(text=notice_text(text or DONE)))

    async def show(self, interaction: Payload, shown: Shown) -> None:
        """Respond with a message without a file."""
        data: dict[str, Any] = {
            "content": shown.text,
            "components": list(shown.rows),
            "flags": EPHEMERAL | SUPPRESS_EMBEDS,
            "allowed_mentions": NO_MENTIONS,
        }
        await self._respond(interaction, MESSAGE, data)

    async def say_later(self, interaction: Payload) -> None:
        """Acknowledge the interaction: Discord shows that a response will follow, by `fill` or `fill_text`."""
        await self._respond(interaction, LATER, {"flags": EPHEMERAL})

    async def update_later(self, interaction: Payload) -> None:
        """Acknowledge the interaction: `fill` will change the message that it came from."""
        await self._respond(interaction, LATER_UPDATE, None)

    async def offer(self, interaction: Payload, names: list[str]) -> None:
        """Offer completions of what was typed so far."""
        await self._respond(interaction, CHOICES, {"choices": [{"name": name, "value": name} for name in names]})

    async def open_form(self, interaction: Payload, form: Mapping[str, Any]) -> None:
        """Respond with a form, which Discord takes within three seconds and as the first response only."""
        if not await self._respond(interaction, FORM, form):
            await self.say(interaction, REFUSED_FORM)

    async def fill_text(self, interaction: Payload, text: str) -> None:
        """Put a sentence where Discord shows that a response follows."""
        await self.fill(interaction, Shown(text=notice_text(text or DONE)))

    async def fill(self, interaction: Payload, shown: Shown) -> None:
        """Put the message where Discord shows that a response follows; possible for 15 minutes."""
        body: dict[str, Any] = {
            "content": shown.text,
            "components": list(shown.rows),
            "flags": SUPPRESS_EMBEDS,
            "allowed_mentions": NO_MENTIONS,
        }
        await self._call(
            "PATCH",
            "/webhooks/{webhook_id}/{webhook_token}/messages/@original",
            json=body,
            files=[shown.file] if shown.file else (),
            webhook_id=self._application,
            webhook_token=text_at(interaction, "token"),
        )

    async def _respond(self, interaction: Payload, kind: int, data: Mapping[str, Any] | None) -> bool:
        """Respond; return False where Discord does not take a response of that form, but takes another one."""
        return await self._call(
            "POST",
            "/interactions/{interaction_id}/{interaction_token}/callback",
            json={"type": kind, **({"data": data} if data is not None else {})},
            interaction_id=text_at(interaction, "id"),
            interaction_token=text_at(interaction, "token"),
        )

    async def _call(self, method: str, path: str, **arguments: Any) -> bool:
        """Call Discord, a second time where the first one may not have arrived: twice does no harm.

        Returns False where Discord refused the form of what was sent.
        """
        for is_last in (False, True):
            try:
                await self._api.call(method, path, **arguments)
            except DiscordUnreachableError as error:
                if is_last:
                    log.warning("interaction_not_answered", error=str(error))
            except BotError as error:
                if not (isinstance(error, DiscordRefusedError) and error.code == ALREADY_ANSWERED):
                    log.warning("interaction_not_answered", error=str(error))
                return not (isinstance(error, DiscordRefusedError) and error.code == INVALID_FORM)
            else:
                break
        return True


def outcome_text(outcome: Done | Refused) -> str:
    """Return what the person reads, also where the core has said it before.

    Discord shows an interaction without an answer as failed.
    """
    return outcome.notice or (DONE if isinstance(outcome, Done) else TOO_OFTEN)
