"""Questions that the bot posts in someone's name: an example that they chose, or what they ask about a message."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog
from cachetools import LRUCache

from adapters.discord.api import DiscordApi
from adapters.discord.channels import Channels
from adapters.discord.commands import Commands
from adapters.discord.manifest import ASK_ABOUT
from adapters.discord.markdown import escape, visible
from adapters.discord.own_messages import MESSAGE, send_message
from adapters.discord.parse import DIRECT, event_key, interaction_key, sent_at
from adapters.discord.payloads import text_at
from adapters.discord.phrases import ASKED_BELOW, OLD_EXAMPLE, OLD_FORM
from adapters.discord.presses import AskedAbout, Pressed, asked_about
from adapters.discord.render import find_example, notice_text
from adapters.discord.responses import Responses, outcome_text
from adapters.discord.words import NO_INTENT
from adapters.shared.payloads import Payload, dict_of, dicts_of
from bot.domain.answers import Ready
from bot.domain.errors import BotError
from bot.domain.events import CommandInvoked, MessageReceived
from bot.ports.platform import Host
from bot.text.redaction import redact
from bot.text.split import cut

log = structlog.stdlib.get_logger(__name__)

MAX_FORMS = 500
QUESTION_CHARS = 2_000
SHOWN_CHARS = 700  # of a call and its arguments, before escaping
_TEXT_INPUT, _PARAGRAPH = 4, 2


class Asking:
    """Posts such questions, and gives them to `ask`."""

    def __init__(
        self,
        api: DiscordApi,
        host: Host,
        *,
        channels: Channels,
        responses: Responses,
        commands: Commands,
        ask: Callable[[MessageReceived], Awaitable[None]],
        allow_dms: bool,
    ) -> None:
        self._api = api
        self._host = host
        self._channels = channels
        self._responses = responses
        self._commands = commands
        self._ask = ask
        self._allow_dms = allow_dms
        self._forms: LRUCache[str, AskedAbout] = LRUCache(MAX_FORMS)  # by the form's id

    async def start_example(self, interaction: Payload, pressed: Pressed) -> None:
        """Ask the example that was chosen."""
        await self._responses.say_later(interaction)
        asked = CommandInvoked(
            conversation=pressed.conversation,
            event_key=pressed.event_key,
            author_id=pressed.user_id,
            name="examples",
            standing=pressed.standing,
        )
        answer = await self._commands.answer(asked)
        example = find_example(pressed.values[0], answer.choices if answer else ())
        if example is None:
            await self._responses.fill_text(interaction, OLD_EXAMPLE)
            return
        said = f"**{escape(pressed.user_name)}** asks: {example.text}"
        message = pressed.question(example.text, event_key=pressed.event_key, at=sent_at(text_at(interaction, "id")))
        has_earlier = pressed.channel != pressed.conversation.channel
        await self._begin(interaction, replace(message, has_earlier=has_earlier), pressed.channel, said)

    async def start_run(self, interaction: Payload, pressed: Pressed, ready: Ready) -> None:
        """Make a call that someone asked for without a model; Discord shows already that a response follows."""
        # The arguments are no Markdown, and everyone there reads them; the trace has all of them.
        call = redact(ready.text.removeprefix("/run "))
        said = f"**{escape(pressed.user_name)}** runs: {escape(cut(visible(call), SHOWN_CHARS))}"
        message = pressed.question(ready.text, event_key=pressed.event_key, at=sent_at(text_at(interaction, "id")))
        await self._begin(interaction, replace(message, run=ready.run), pressed.channel, said)

    async def open_form(self, interaction: Payload, chosen: AskedAbout) -> None:
        """Show a form for a question about the message that was chosen."""
        form = f"tb:ask:{chosen.message_id}:{chosen.user_id}"  # enough to find the message after a restart
        self._forms[form] = chosen
        field = {
            "type": _TEXT_INPUT,
            "custom_id": "question",
            "style": _PARAGRAPH,
            "label": "What do you want to know?",
            "max_length": QUESTION_CHARS,
            "required": True,
        }
        rows = [{"type": 1, "components": [field]}]
        await self._responses.open_form(interaction, {"custom_id": form, "title": ASK_ABOUT, "components": rows})

    async def take_form(self, interaction: Payload) -> None:
        """Ask what was typed into the form."""
        await self._responses.say_later(interaction)
        data = dict_of(interaction.get("data"))
        try:
            chosen = await self._chosen_for(interaction, text_at(data, "custom_id"))
        except BotError as error:
            await self._responses.fill_text(interaction, str(error))
            return
        if chosen is None:
            log.warning("unknown_form")
            await self._responses.fill_text(interaction, OLD_FORM)
            return
        text = _typed(data).strip()
        said = f"**{escape(chosen.user_name)}** asks: {text}"
        message = chosen.question(text, event_key=interaction_key(text_at(interaction, "id")))
        await self._begin(interaction, message, chosen.channel, said, about=chosen.message_id)

    async def _chosen_for(self, interaction: Payload, form: str) -> AskedAbout | None:
        """Return what the form is about, fetched where it was opened before a restart; None where it is not known.

        Raises:
            AdapterError: The message cannot be fetched.
        """
        found = re.fullmatch(r"tb:ask:(\d{1,20}):(\d{1,20})", form, re.ASCII)
        if found is None:
            return None
        reader = self._channels.reader({}, text_at(interaction, "guild_id"))
        sent = asked_about(interaction, {}, target=found[1], reader=reader)
        is_refused = sent.conversation.space == DIRECT and not self._allow_dms
        if is_refused or sent.user_id != found[2]:  # only the person who opened a form can send it
            return None
        if (chosen := self._forms.get(form)) is not None:
            return replace(chosen, standing=sent.standing)
        message = await self._api.call("GET", MESSAGE, channel_id=sent.channel, message_id=found[1])
        chosen = asked_about(interaction, message, target=found[1], reader=reader)
        return None if chosen.chosen.unread == (NO_INTENT,) else chosen

    async def _begin(
        self, interaction: Payload, message: MessageReceived, channel: str, said: str, *, about: str = ""
    ) -> None:
        """Post the question and ask it, if the host takes it: one that is refused must not fill a channel.

        `message` has the key of the interaction.
        """
        if (refused := await self._host.may_ask(message)) is not None:
            await self._responses.fill_text(interaction, outcome_text(refused))
            return
        question = await self._post(interaction, channel, said, about=about)
        if question is not None:
            await self._ask(replace(message, event_key=question, admitted_as=message.event_key))

    async def _post(self, interaction: Payload, channel: str, said: str, *, about: str = "") -> str | None:
        """Show the question in the channel and return its event key; None where Discord refuses it."""
        shown = notice_text(said)
        try:
            posted = await send_message(
                self._api, channel, text=shown, reply_to=about, key=text_at(interaction, "id"), is_repeatable=True
            )
        except BotError as error:
            await self._responses.fill_text(interaction, str(error))
            return None
        await self._responses.fill_text(interaction, ASKED_BELOW)
        return event_key(channel, posted)


def _typed(data: Payload) -> str:
    """Return the text in the only field of a form."""
    fields = [field for row in dicts_of(data.get("components")) for field in dicts_of(row.get("components"))]
    return text_at(fields[0], "value") if fields else ""
