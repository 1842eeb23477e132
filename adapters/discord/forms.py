"""Forms that people open by a button or a command, fill in and send. All that they need is in custom ids.

What was filled in wrongly is kept in memory for a while, as Discord's forms cannot show errors; the rest of a form
survives a restart, because the host makes the same form again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Literal, assert_never

from cachetools import TTLCache

from adapters.discord.ask_marks import FormPress, form_id, parse_modal
from adapters.discord.components import PRIMARY, button, row
from adapters.discord.markdown import escape, visible
from adapters.discord.modals import MAX_FIELDS, Filled, fits, is_of, modal, values_of
from adapters.discord.phrases import BIG_FORM, CHANGED_FORM, LOST_FORM, NOT_VALID, SLOW_FORM
from adapters.discord.presses import Pressed
from adapters.discord.render import Shown, notice_text
from adapters.discord.responses import Responses, outcome_text
from adapters.shared.asks import CHOICE_LABELS, FILL_IN
from adapters.shared.payloads import Payload, dict_of
from bot.domain.answers import Done, Formed, Ready, Refused
from bot.domain.events import FormAsked, FormSubmitted
from bot.domain.forms import Form, Invalid
from bot.forms.folding import fold
from bot.ports.platform import Host

OPEN_S = 2.0  # Discord takes a form for three seconds, and the way there takes a part of them
KEPT_S = 900.0
MAX_KEPT = 500
AGAIN = "Open again"

Run = Callable[[Payload, Pressed, Ready], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """A form as it was shown to someone, with what they filled in last."""

    form: Form
    filled: Filled = field(default_factory=Filled)


class Forms:
    """Shows forms and takes what people fill in; `run` goes on with a call that can be made."""

    def __init__(self, host: Host, *, responses: Responses, run: Run) -> None:
        self._host = host
        self._responses = responses
        self._run = run
        self._drafts = TTLCache[tuple[str, str], _Draft](MAX_KEPT, ttl=KEPT_S)  # by person and target

    async def take_press(self, interaction: Payload, pressed: Pressed, press: FormPress) -> None:
        """Answer the press of a form's button."""
        match press.step:
            case "open":
                await self._open(interaction, pressed, press.target)
            case "again":
                await self._open_again(interaction, pressed, press.target)
            case "decline":
                await self._send(interaction, pressed, press.target, action="decline")
            case "send":
                await self._send(interaction, pressed, press.target, action="accept")
            case _:
                assert_never(press.step)

    async def show(self, interaction: Payload, user_id: str, form: Form) -> None:
        """Show the form as the first response; one without fields is a message with a button."""
        draft = _Draft(form=fold(form, MAX_FIELDS))
        if draft.form.fields:
            await self._show(interaction, user_id, draft)
        else:
            await self._responses.show(interaction, _without_fields(form))

    async def take(self, interaction: Payload, pressed: Pressed) -> None:
        """Take a form that was sent."""
        await self._responses.say_later(interaction)
        target = parse_modal(pressed.action)
        if not target:
            await self._responses.fill_text(interaction, NOT_VALID)
            return
        form = await self._form_of(pressed, target)
        data = dict_of(interaction.get("data"))
        if isinstance(form, Refused):
            await self._responses.fill_text(interaction, outcome_text(form))
        elif not is_of(data, form):
            await self._responses.fill(interaction, _with_button(CHANGED_FORM, FILL_IN, form_id("open", target)))
        else:
            values = values_of(data, form)
            await self._submit(interaction, _submitted(pressed, target, values=values), pressed, form)

    # --- showing ---

    async def _open(self, interaction: Payload, pressed: Pressed, target: str) -> None:
        asking = asyncio.ensure_future(self._host.form(_asked(pressed, target)))
        try:
            await asyncio.wait([asking], timeout=OPEN_S)
            if asking.done():
                await self._open_formed(interaction, pressed, asking.result())
            else:
                await self._responses.say_later(interaction)
                await self._offer(interaction, pressed, await asking)
        finally:
            asking.cancel()

    async def _open_formed(self, interaction: Payload, pressed: Pressed, formed: Formed) -> None:
        if isinstance(formed, Refused):
            await self._responses.say(interaction, outcome_text(formed))
        else:
            await self.show(interaction, pressed.user_id, formed)

    async def _offer(self, interaction: Payload, pressed: Pressed, formed: Formed) -> None:
        """Show a button for a form that came too late to be opened."""
        if isinstance(formed, Refused):
            await self._responses.fill_text(interaction, outcome_text(formed))
            return
        draft = _Draft(form=fold(formed, MAX_FIELDS))
        if not draft.form.fields:
            await self._responses.fill(interaction, _without_fields(formed))
            return
        self._drafts[pressed.user_id, formed.target] = draft
        await self._responses.fill(interaction, _with_button(SLOW_FORM, FILL_IN, form_id("again", formed.target)))

    async def _open_again(self, interaction: Payload, pressed: Pressed, target: str) -> None:
        draft = self._drafts.get((pressed.user_id, target))
        if draft is None:
            await self._responses.show(interaction, _with_button(LOST_FORM, FILL_IN, form_id("open", target)))
        else:
            await self._show(interaction, pressed.user_id, draft)

    async def _show(self, interaction: Payload, user_id: str, draft: _Draft) -> None:
        if not fits(draft.form):
            await self._responses.say(interaction, BIG_FORM)
            return
        self._drafts[user_id, draft.form.target] = draft
        await self._responses.open_form(interaction, modal(draft.form, draft.filled))

    # --- taking ---

    async def _form_of(self, pressed: Pressed, target: str) -> Form | Refused:
        """Return the form that was sent, as it was shown; made again where it was shown before a restart."""
        if (draft := self._drafts.get((pressed.user_id, target))) is not None:
            return draft.form
        formed = await self._host.form(_asked(pressed, target))
        return formed if isinstance(formed, Refused) else fold(formed, MAX_FIELDS)

    async def _send(
        self, interaction: Payload, pressed: Pressed, target: str, *, action: Literal["accept", "decline"]
    ) -> None:
        await self._responses.say_later(interaction)
        await self._submit(interaction, _submitted(pressed, target, action=action), pressed)

    async def _submit(
        self, interaction: Payload, submitted: FormSubmitted, pressed: Pressed, form: Form | None = None
    ) -> None:
        outcome = await self._host.submit(submitted)
        if not isinstance(outcome, Invalid):
            self._drafts.pop((pressed.user_id, submitted.target), None)
        match outcome:
            case Done() | Refused():
                await self._responses.fill_text(interaction, outcome_text(outcome))
            case Ready():
                await self._run(interaction, pressed, outcome)
            case Invalid():
                await self._show_errors(interaction, submitted, pressed, outcome, form)
            case _:
                assert_never(outcome)

    async def _show_errors(
        self, interaction: Payload, submitted: FormSubmitted, pressed: Pressed, invalid: Invalid, form: Form | None
    ) -> None:
        """Say what is wrong, with a button that opens the form as it was filled in."""
        if form is None:
            await self._responses.fill_text(interaction, _errors(invalid, {}))
            return
        filled = Filled(values=submitted.values, errors=invalid.errors)
        self._drafts[pressed.user_id, submitted.target] = _Draft(form=form, filled=filled)
        text = _errors(invalid, {each.name: each.label for each in form.fields})
        await self._responses.fill(interaction, _with_button(text, AGAIN, form_id("again", submitted.target)))


def _asked(pressed: Pressed, target: str) -> FormAsked:
    return FormAsked(
        conversation=pressed.conversation,
        event_key=pressed.event_key,
        author_id=pressed.user_id,
        target=target,
        standing=pressed.standing,
    )


def _submitted(
    pressed: Pressed,
    target: str,
    *,
    values: dict[str, str] | None = None,
    action: Literal["accept", "decline"] = "accept",
) -> FormSubmitted:
    return FormSubmitted(
        conversation=pressed.conversation,
        event_key=pressed.event_key,
        author_id=pressed.user_id,
        author_name=pressed.user_name,
        target=target,
        values=values or {},
        action=action,
        standing=pressed.standing,
    )


def _errors(invalid: Invalid, labels: dict[str, str]) -> str:
    named = [f"- **{_plain(labels.get(name, name))}**: {_plain(text)}" for name, text in invalid.errors.items()]
    return notice_text("\n".join(filter(None, [_plain(invalid.notice), *named])))


def _plain(text: str) -> str:
    return escape(visible(text)[:300])


def _without_fields(form: Form) -> Shown:
    """Return a form that only has to be confirmed: Discord's forms have one field at least."""
    text = "\n".join(filter(None, [f"**{_plain(form.title)}**", _plain(form.message)]))
    send = button(visible(form.submit)[:80] or "Send", custom_id=form_id("send", form.target), style=PRIMARY)
    decline = button(CHOICE_LABELS["decline"], custom_id=form_id("decline", form.target))
    buttons = [send, *([decline] if form.may_decline else [])]
    return Shown(text=notice_text(text), rows=(row(*buttons),))


def _with_button(text: str, label: str, custom_id: str) -> Shown:
    return replace(Shown(text=text), rows=(row(button(label, custom_id=custom_id, style=PRIMARY)),))
