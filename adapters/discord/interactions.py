"""Slash commands, buttons, menus and forms: whatever people use besides writing.

The id of a button contains all that its press needs, so it works after a restart.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from enum import IntEnum
from typing import assert_never

import structlog

from adapters.discord.ask_marks import FormPress, parse_ask_press, parse_modal
from adapters.discord.ask_presses import AskPresses
from adapters.discord.asking import Asking
from adapters.discord.carriers import has_flag
from adapters.discord.channels import Channels
from adapters.discord.commands import Commands
from adapters.discord.forms import OPEN_S, Forms
from adapters.discord.manifest import RUN
from adapters.discord.parse import DIRECT, DirectRefused, Mark, parse_mark
from adapters.discord.payloads import text_at
from adapters.discord.phrases import NO_DIRECT, OLD_BUTTON, OLD_COMMAND, TOO_OFTEN
from adapters.discord.presses import (
    AskedAbout,
    Pressed,
    parse_component,
    parse_context_menu,
    parse_slash,
    pressed_in,
)
from adapters.discord.readable import Reader
from adapters.discord.render import command_message, details_message, parse_confirmation, parse_page_request
from adapters.discord.responses import EPHEMERAL, Responses, outcome_text
from adapters.shared.payloads import Payload, dict_of, dicts_of
from adapters.shared.tasks import RecentKeys
from bot.domain.answers import CommandAnswer, Details, Explained, Refused
from bot.domain.events import CommandInvoked, DetailsAsked, FeedbackGiven
from bot.ports.platform import Host

log = structlog.stdlib.get_logger(__name__)

DECIDING = ("tb:decide:", "tb:about:", "tb:fill:", "tb:form:", "tb:stop:")  # below what is asked, or an answer
OWN_FORM = "tb:form:run:"
LEARN_S = 1.0  # Discord waits for three seconds
MAX_KEYS = 2_000  # remembered to tell a second delivery from a second press


class Kind(IntEnum):
    """https://discord.com/developers/docs/interactions/receiving-and-responding#interaction-object-interaction-type"""

    COMMAND = 2
    COMPONENT = 3
    AUTOCOMPLETE = 4
    FORM_SENT = 5


class Interactions:
    """Answers each interaction."""

    def __init__(
        self,
        host: Host,
        *,
        channels: Channels,
        responses: Responses,
        commands: Commands,
        asking: Asking,
        forms: Forms,
        asks: AskPresses,
        allow_dms: bool,
    ) -> None:
        self._host = host
        self._channels = channels
        self._responses = responses
        self._commands = commands
        self._asking = asking
        self._forms = forms
        self._asks = asks
        self._allow_dms = allow_dms
        # By this process: Discord gives an interaction to the one session of its shard, and waits three seconds.
        self._handled: RecentKeys[str] = RecentKeys(MAX_KEYS)

    async def handle(self, interaction: Payload) -> None:
        """Answer the interaction; Discord gets a response within its three seconds, however long the answer takes."""
        if not self._handled.add(text_at(interaction, "id")):
            return
        await self._learn_of(interaction)
        interaction = self._channels.with_owner(interaction)
        if self._is_muted(interaction):  # unanswered, Discord would show that the bot has failed
            await self._responses.say(interaction, TOO_OFTEN)
            return
        match interaction.get("type"):
            case Kind.COMMAND:
                await self._take_command(interaction)
            case Kind.COMPONENT:
                await self._take_component(interaction)
            case Kind.AUTOCOMPLETE:
                await self._suggest(interaction)
            case Kind.FORM_SENT:
                await self._take_form(interaction)
            case kind:
                log.warning("unknown_interaction", type=kind)

    async def _learn_of(self, interaction: Payload) -> None:
        """Learn of the server, as far as the time for a response allows."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LEARN_S):
                await self._channels.learn(text_at(interaction, "guild_id"))

    def _is_muted(self, interaction: Payload) -> bool:
        if interaction.get("type") == Kind.AUTOCOMPLETE:
            return False  # it is counted by itself
        pressed = pressed_in(interaction, self._reader(interaction))
        return self._host.is_muted(pressed.conversation.person(pressed.user_id), decides=_decides(interaction))

    def _reader(self, interaction: Payload) -> Reader:
        return self._channels.reader({}, text_at(interaction, "guild_id"))

    # --- commands ---

    async def _take_command(self, interaction: Payload) -> None:
        reader = self._reader(interaction)
        chosen = parse_context_menu(interaction, reader=reader, allow_dms=self._allow_dms)
        command = parse_slash(interaction, reader=reader, allow_dms=self._allow_dms)
        asked = chosen or command
        match asked:
            case AskedAbout():
                await self._asking.open_form(interaction, asked)
            case CommandInvoked(name=name) if name == RUN:
                await self._open_run(interaction, asked)
            case CommandInvoked():
                await self._responses.say_later(interaction)
                await self._show_answer(interaction, asked)
            case DirectRefused():
                await self._responses.say(interaction, NO_DIRECT)
            case None:
                log.warning("unknown_command")
                await self._responses.say(interaction, OLD_COMMAND)
            case _:
                assert_never(asked)

    async def _open_run(self, interaction: Payload, command: CommandInvoked) -> None:
        """Open the command's form at once where the host is quick enough, and show its answer otherwise."""
        answering = asyncio.ensure_future(self._commands.answer(command))
        try:
            await asyncio.wait([answering], timeout=OPEN_S)
            answer = answering.result() if answering.done() else None
            if answer is not None and answer.form is not None:
                await self._forms.show(interaction, command.author_id, answer.form)
            else:
                await self._responses.say_later(interaction)
                await self._fill(interaction, command, await answering)
        finally:
            answering.cancel()

    async def _show_answer(self, interaction: Payload, command: CommandInvoked, *, page: int = 0) -> None:
        await self._fill(interaction, command, await self._commands.answer(command), page=page)

    async def _fill(
        self, interaction: Payload, command: CommandInvoked, answer: CommandAnswer | None, *, page: int = 0
    ) -> None:
        answer = answer or CommandAnswer(text=TOO_OFTEN)
        if answer.ready is not None:
            await self._asking.start_run(interaction, pressed_in(interaction, self._reader(interaction)), answer.ready)
            return
        shown = command_message(answer, command=command.name, argument=command.argument, page=page)
        await self._responses.fill(interaction, shown)

    async def _suggest(self, interaction: Payload) -> None:
        data = dict_of(interaction.get("data"))
        focused = [option for option in dicts_of(data.get("options")) if option.get("focused") is True]
        command = {**interaction, "type": Kind.COMMAND, "data": {**data, "options": focused}}
        typed = parse_slash(command, reader=self._reader(interaction), allow_dms=self._allow_dms)
        is_taken = isinstance(typed, CommandInvoked) and self._host.may_look_up(typed)
        names = await self._commands.suggest(typed) if isinstance(typed, CommandInvoked) and is_taken else []
        await self._responses.offer(interaction, names)

    # --- buttons and selects ---

    async def _take_component(self, interaction: Payload) -> None:
        if await self._took_ask_press(interaction):
            return
        pressed = parse_component(interaction, reader=self._reader(interaction), allow_dms=self._allow_dms)
        if not isinstance(pressed, Pressed):
            await self._responses.say(interaction, NO_DIRECT)
        elif (mark := parse_mark(pressed.action)) is not None:
            await self._take_mark(interaction, pressed, mark)
        elif (request := parse_page_request(pressed.action)) is not None:
            await self._responses.update_later(interaction)
            command = _command(request.command, pressed, argument=request.argument)
            await self._show_answer(interaction, command, page=request.page)
        elif (confirmed := parse_confirmation(pressed.action)) is not None:
            await self._confirm(interaction, pressed, *confirmed)
        elif pressed.values and pressed.action.startswith("tb:example:"):
            await self._asking.start_example(interaction, pressed)
        else:
            log.warning("unknown_action", action=pressed.action)
            await self._responses.say(interaction, OLD_BUTTON)

    async def _took_ask_press(self, interaction: Payload) -> bool:
        """Answer a press below something that is asked, also in direct messages: what is asked may be sent there."""
        pressed = pressed_in(interaction, self._reader(interaction))
        press = parse_ask_press(pressed.action)
        if press is None:
            return False
        if isinstance(press, FormPress) and self._is_closed_run(pressed, press.target):
            await self._responses.say(interaction, NO_DIRECT)
        else:
            await self._asks.take(interaction, pressed, press)
        return True

    async def _take_form(self, interaction: Payload) -> None:
        pressed = pressed_in(interaction, self._reader(interaction))
        target = parse_modal(pressed.action)
        if target is None:
            await self._asking.take_form(interaction)
        elif self._is_closed_run(pressed, target):
            await self._responses.say(interaction, NO_DIRECT)
        else:
            await self._forms.take(interaction, pressed)

    def _is_closed_run(self, pressed: Pressed, target: str) -> bool:
        """Return whether it would begin a turn in direct messages, which are switched off."""
        return target.startswith("run:") and pressed.conversation.space == DIRECT and not self._allow_dms

    async def _confirm(self, interaction: Payload, pressed: Pressed, name: str, argument: str) -> None:
        """Invoke the command again; the answer takes the place of the question where only one person sees that."""
        if has_flag(dict_of(interaction.get("message")), EPHEMERAL):
            await self._responses.update_later(interaction)
        else:
            await self._responses.say_later(interaction)
        command = replace(_command(name, pressed, argument=argument), is_confirmed=True)
        await self._show_answer(interaction, command)

    async def _take_mark(self, interaction: Payload, pressed: Pressed, mark: Mark) -> None:
        match mark.kind:
            case "stop":
                await self._stop(interaction, pressed, mark.turn)
            case "details":
                await self._show_details(interaction, pressed, mark.turn)
            case _:
                await self._rate(interaction, pressed, mark.turn, is_good=mark.kind == "good")

    async def _stop(self, interaction: Payload, pressed: Pressed, turn: int) -> None:
        """Stop the answer for those who may; the host knows them, and whether it is being worked on."""
        await self._responses.say_later(interaction)
        answer = await self._commands.answer(replace(_command("stop", pressed), turn_id=turn))
        await self._responses.fill_text(interaction, answer.text if answer else TOO_OFTEN)

    async def _rate(self, interaction: Payload, pressed: Pressed, turn: int, *, is_good: bool) -> None:
        await self._responses.say_later(interaction)
        rated = await self._host.rate(
            FeedbackGiven(
                conversation=pressed.conversation,
                event_key=pressed.event_key,
                author_id=pressed.user_id,
                turn_id=turn,
                rating="good" if is_good else "bad",
                standing=pressed.standing,
            )
        )
        await self._responses.fill_text(interaction, outcome_text(rated))

    async def _show_details(self, interaction: Payload, pressed: Pressed, turn: int) -> None:
        await self._responses.say_later(interaction)
        outcome = await self._details(interaction, pressed, turn)
        match outcome:
            case Details():
                shown = details_message(outcome.lines, note=outcome.notice)
            case Refused():
                shown = details_message((), note=outcome_text(outcome))
            case _:
                assert_never(outcome)
        await self._responses.fill(interaction, shown)

    async def _details(self, interaction: Payload, pressed: Pressed, turn: int) -> Explained:
        """Return the details of the turn, in whichever conversation it is.

        The thread of a trace belongs to the channel's conversation; where a thread is a conversation, its traces are
        replies.
        """
        message = dict_of(interaction.get("message"))
        likely = pressed.conversation if message.get("message_reference") else pressed.channel_conversation
        outcomes: list[Explained] = []
        for conversation in dict.fromkeys([likely, pressed.channel_conversation, pressed.conversation]):
            asked = DetailsAsked(
                conversation=conversation,
                event_key=pressed.event_key,
                author_id=pressed.user_id,
                turn_id=turn,
                standing=pressed.standing,
            )
            outcome = await self._host.details(asked)
            if isinstance(outcome, Details) and outcome.lines:
                return outcome
            outcomes.append(outcome)
        return outcomes[0]


def _decides(interaction: Payload) -> bool:
    """Return whether it decides something that is asked, or stops an answer; see `Host.is_muted`."""
    data = dict_of(interaction.get("data"))
    action = text_at(data, "custom_id")
    is_stop = interaction.get("type") == Kind.COMMAND and text_at(data, "name") == "stop"
    return is_stop or (action.startswith(DECIDING) and not action.startswith(OWN_FORM))


def _command(name: str, pressed: Pressed, *, argument: str = "") -> CommandInvoked:
    return CommandInvoked(
        conversation=pressed.conversation,
        event_key=pressed.event_key,
        author_id=pressed.user_id,
        name=name,
        argument=argument,
        standing=pressed.standing,
    )
