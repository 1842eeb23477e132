"""Presses below what is asked: decisions, details, and the buttons of forms."""

from __future__ import annotations

from typing import assert_never

import structlog

from adapters.discord.ask_marks import About, AskPress, Decide, FormPress, Malformed
from adapters.discord.ask_view import ask_details
from adapters.discord.forms import Forms
from adapters.discord.phrases import NOT_VALID
from adapters.discord.presses import Pressed
from adapters.discord.responses import Responses, outcome_text
from adapters.shared.payloads import Payload
from bot.domain.answers import Details, Refused
from bot.domain.events import DecisionMade, DetailsAsked
from bot.ports.platform import Host

log = structlog.stdlib.get_logger(__name__)


class AskPresses:
    """Hands them to the host; only the person who pressed sees the answer. The core changes the message."""

    def __init__(self, host: Host, *, responses: Responses, forms: Forms) -> None:
        self._host = host
        self._responses = responses
        self._forms = forms

    async def take(self, interaction: Payload, pressed: Pressed, press: AskPress) -> None:
        """Answer a press."""
        match press:
            case Decide():
                await self._decide(interaction, pressed, press)
            case About():
                await self._show_details(interaction, pressed, press.ask_id)
            case FormPress():
                await self._forms.take_press(interaction, pressed, press)
            case Malformed():
                log.warning("malformed_ask_button")
                await self._responses.say(interaction, NOT_VALID)
            case _:
                assert_never(press)

    async def _decide(self, interaction: Payload, pressed: Pressed, press: Decide) -> None:
        await self._responses.say_later(interaction)
        outcome = await self._host.decide(
            DecisionMade(
                conversation=pressed.conversation,
                event_key=pressed.event_key,
                author_id=pressed.user_id,
                author_name=pressed.user_name,
                ask_id=press.ask_id,
                choice=press.choice,
                digest=press.digest,
                standing=pressed.standing,
            )
        )
        await self._responses.fill_text(interaction, outcome_text(outcome))

    async def _show_details(self, interaction: Payload, pressed: Pressed, ask_id: int) -> None:
        await self._responses.say_later(interaction)
        outcome = await self._host.details(
            DetailsAsked(
                conversation=pressed.conversation,
                event_key=pressed.event_key,
                author_id=pressed.user_id,
                ask_id=ask_id,
                standing=pressed.standing,
            )
        )
        match outcome:
            case Details():
                await self._responses.fill(interaction, ask_details(outcome))
            case Refused():
                await self._responses.fill_text(interaction, outcome_text(outcome))
            case _:
                assert_never(outcome)
