"""Commands, buttons, menus and forms: what people use besides writing. Each is answered for its asker alone.

A button's id says all that is to be known of it, so it works after any restart.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from enum import IntEnum
from typing import Any, cast

import structlog

from adapters.discord.api import Identity, Rest
from adapters.discord.errors import ALREADY_ANSWERED, DiscordRefusedError, DiscordUnreachableError
from adapters.discord.manifest import ASK_ABOUT
from adapters.discord.own_messages import NOBODY, SUPPRESS_EMBEDS, send_message
from adapters.discord.parse import (
    DIRECT,
    AskedAbout,
    DirectRefused,
    Pressed,
    asked_about,
    event_key,
    parse_component,
    parse_context_menu,
    parse_mark,
    parse_slash,
    sent_at,
)
from adapters.discord.render import (
    Shown,
    command_message,
    details_message,
    escape,
    find_example,
    notice_text,
    parse_turned,
)
from adapters.shared.tasks import Recent
from bot.domain.answers import CommandAnswer, Receipt
from bot.domain.errors import BotError
from bot.domain.events import CommandInvoked, ConversationKey, DetailsAsked, FeedbackGiven, MessageReceived
from bot.ports.platform import Receive

log = structlog.stdlib.get_logger(__name__)

Payload = Mapping[str, Any]
Take = Callable[[MessageReceived], Awaitable[None]]
AuthorOf = Callable[[int], str | None]  # who asked the question of a running turn

MAX_KEYS = 2_000  # remembered, to tell a second delivery from a second press
MAX_QUOTES = 500
EPHEMERAL = 1 << 6
MANAGE_MESSAGES = 1 << 13
NO_DIRECT = (
    "Direct messages are switched off here. Ask me in a channel; the operator can allow them (DISCORD_ALLOW_DMS)."
)
OLD_COMMAND = "That command is from an older version of me. `/help` shows those that there are."
OLD_BUTTON = "That button is from an older version of me and does nothing any more."
OLD_FORM = "I do not know any more which message that was about. Please choose it in the menu again."
OLD_STOP = "That answer is not being worked on any more. `/stop` stops the one that is."
NOT_YOURS = "Only the one who asked, or a moderator, can stop this answer."
# https://discord.com/developers/docs/interactions/receiving-and-responding#interaction-response-object-interaction-callback-type
MESSAGE, LATER, LATER_UPDATE, CHOICES, FORM = 4, 5, 6, 8, 9
_TEXT_INPUT, _PARAGRAPH = 4, 2
MAX_CHOICES = 25
CHOICE_CHARS = 100
SUGGEST_S = 2.0  # Discord takes suggestions for three seconds, and shows none where none come
QUESTION_CHARS = 2_000


class Kind(IntEnum):
    """https://discord.com/developers/docs/interactions/receiving-and-responding#interaction-object-interaction-type"""

    COMMAND = 2
    COMPONENT = 3
    AUTOCOMPLETE = 4
    FORM_SENT = 5


class Interactions:
    """Answers the interactions of INTERACTION_CREATE. `receive` is the core, `take` starts a question."""

    def __init__(
        self,
        *,
        rest: Rest,
        me: Identity,
        receive: Receive,
        take: Take,
        author_of: AuthorOf,
        allow_dms: bool,
        reads_content: Callable[[], bool],
    ) -> None:
        self._rest = rest
        self._me = me
        self._receive = receive
        self._take = take
        self._author_of = author_of
        self._allow_dms = allow_dms
        self._reads_content = reads_content
        self._done: Recent[str, None] = Recent(MAX_KEYS)
        self._asked_about: Recent[str, AskedAbout] = Recent(MAX_QUOTES)  # by the id of the form

    async def handle(self, interaction: Payload) -> None:
        """Answer an interaction: Discord is told within its three seconds, whatever the answer takes."""
        if self._is_known(str(interaction.get("id", ""))):
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

    # --- commands ---

    async def _take_command(self, interaction: Payload) -> None:
        menu = parse_context_menu(interaction, bot_user=self._me.user, allow_dms=self._allow_dms)
        if isinstance(menu, AskedAbout):
            await self._open_form(interaction, menu)
            return
        command = parse_slash(interaction, allow_dms=self._allow_dms)
        if isinstance(command, CommandInvoked):
            await self._respond(interaction, LATER, {"flags": EPHEMERAL})
            await self._show_command(interaction, command)
        elif isinstance(command, DirectRefused) or isinstance(menu, DirectRefused):
            await self._say(interaction, NO_DIRECT)
        else:
            log.warning("unknown_command")
            await self._say(interaction, OLD_COMMAND)

    async def _show_command(self, interaction: Payload, command: CommandInvoked, *, page: int = 0) -> None:
        receipt = await self._ask(command)
        answer = self.with_ways(command.name, receipt.answer or CommandAnswer(text=receipt.notice))
        shown = command_message(answer, command=command.name, argument=command.argument, page=page)
        await self._fill(interaction, shown)

    def with_ways(self, command: str, answer: CommandAnswer) -> CommandAnswer:
        """Return what `help` answered with how things are done in Discord; any other answer as it is."""
        return replace(answer, text=f"{answer.text}\n\n{self._ways()}") if command == "help" else answer

    def _ways(self) -> str:
        is_read = self._reads_content()
        threads = "in a thread where I take part, just write" if is_read else "in a thread as well"
        direct = "Direct messages need no mention." if self._allow_dms else "Direct messages are switched off here."
        return (
            f"**In Discord**\n\n- Mention me in a channel, or reply to me; {threads}. {direct}\n"
            f"- The commands are about the channel, inside a thread about that thread. Only you see their answers; "
            f"written to me as a word, as in `@{self._me.name} history`, they are answered for everybody.\n"
            f"- *Apps*, *{ASK_ABOUT}* in the menu of a message asks about that message.\n"
            f"- The Stop button stops an answer{', and so does `stop` alone in a thread' if is_read else ''}."
        )

    async def _suggest(self, interaction: Payload) -> None:
        """Offer the names of tools that match what was typed so far, as far as they are known in time."""
        command = parse_slash({**interaction, "type": Kind.COMMAND}, allow_dms=self._allow_dms)
        names: list[str] = []
        if isinstance(command, CommandInvoked):
            names = await self._tool_names(replace(command, name="tool_names"))
        choices = [{"name": name, "value": name} for name in names[:MAX_CHOICES]]
        await self._respond(interaction, CHOICES, {"choices": choices})

    async def _tool_names(self, asked: CommandInvoked) -> list[str]:
        try:
            async with asyncio.timeout(SUGGEST_S):
                answer = (await self._ask(asked)).answer
        except TimeoutError:  # tool servers are starting
            return []
        return [choice.title[:CHOICE_CHARS] for choice in answer.choices] if answer else []

    async def _ask(self, event: CommandInvoked | FeedbackGiven | DetailsAsked) -> Receipt:
        try:
            return await self._receive(event)
        except BotError as error:
            return Receipt(turn_id=None, notice=str(error))

    # --- buttons and selects ---

    async def _take_component(self, interaction: Payload) -> None:
        pressed = parse_component(interaction, allow_dms=self._allow_dms)
        if not isinstance(pressed, Pressed):
            await self._say(interaction, NO_DIRECT)
            return
        if (mark := parse_mark(pressed.action)) is not None:
            match mark.kind:
                case "stop":
                    await self._stop(interaction, pressed, mark.turn)
                case "details":
                    await self._show_details(interaction, pressed, mark.turn)
                case _:
                    await self._rate(interaction, pressed, mark.turn, is_good=mark.kind == "good")
        elif (turned := parse_turned(pressed.action)) is not None:
            await self._respond(interaction, LATER_UPDATE, None)
            command = _command(turned.command, pressed, argument=turned.argument)
            await self._show_command(interaction, command, page=turned.page)
        elif pressed.values and pressed.action.startswith("tb:example:"):
            await self._start_example(interaction, pressed)
        else:
            log.warning("unknown_action", action=pressed.action)
            await self._say(interaction, OLD_BUTTON)

    async def _stop(self, interaction: Payload, pressed: Pressed, turn: int) -> None:
        """Let the one who asked, or a moderator, stop the answer."""
        author = self._author_of(turn)
        member: Mapping[str, Any] = interaction.get("member") or {}
        permissions = int(str(member.get("permissions") or 0))
        if author is None:  # another one may run here by now
            await self._say(interaction, OLD_STOP)
        elif author != pressed.user_id and not permissions & MANAGE_MESSAGES:
            await self._say(interaction, NOT_YOURS)
        else:
            await self._respond(interaction, LATER, {"flags": EPHEMERAL})
            receipt = await self._ask(_command("stop", pressed))
            await self._fill(interaction, _told(receipt.answer.text if receipt.answer else receipt.notice))

    async def _rate(self, interaction: Payload, pressed: Pressed, turn: int, *, is_good: bool) -> None:
        await self._respond(interaction, LATER, {"flags": EPHEMERAL})
        receipt = await self._ask(
            FeedbackGiven(
                conversation=pressed.conversation,
                event_key=pressed.event_key,
                author_id=pressed.user_id,
                turn_id=turn,
                rating="good" if is_good else "bad",
            )
        )
        await self._fill(interaction, _told(receipt.notice))

    async def _show_details(self, interaction: Payload, pressed: Pressed, turn: int) -> None:
        await self._respond(interaction, LATER, {"flags": EPHEMERAL})
        # A trace in a thread of its own belongs to the channel; where the thread is the conversation, it is a reply.
        message: Mapping[str, Any] = interaction.get("message") or {}
        likely = pressed.conversation if message.get("message_reference") else pressed.channel_conversation
        receipts: list[Receipt] = []
        for conversation in dict.fromkeys([likely, pressed.channel_conversation, pressed.conversation]):
            asked = DetailsAsked(
                conversation=conversation, event_key=pressed.event_key, author_id=pressed.user_id, turn_id=turn
            )
            receipts.append(await self._ask(asked))
            if receipts[-1].details:
                break
        shown = next((receipt for receipt in receipts if receipt.details), receipts[0])
        await self._fill(interaction, details_message(shown.details or (), note=shown.notice))

    # --- questions that are asked in somebody's name ---

    async def _start_example(self, interaction: Payload, pressed: Pressed) -> None:
        await self._respond(interaction, LATER, {"flags": EPHEMERAL})
        answer = (await self._ask(_command("examples", pressed))).answer
        example = find_example(pressed.values[0], answer.choices if answer else ())
        if example is None:
            await self._fill(interaction, _told("That example is not offered any more. `/examples` shows the others."))
            return
        question = await self._post_question(interaction, pressed.conversation, pressed.user_name, example.text)
        if question is not None:
            await self._take(
                MessageReceived(
                    conversation=pressed.conversation,
                    event_key=question,
                    author_id=pressed.user_id,
                    author_name=pressed.user_name,
                    text=example.text,
                    sent_at=sent_at(str(interaction["id"])),
                    is_shared=pressed.conversation.space != "@me",
                )
            )

    async def _open_form(self, interaction: Payload, menu: AskedAbout) -> None:
        form = f"tb:ask:{menu.message_id}:{menu.user_id}"  # says what it is about also after a restart
        self._asked_about.put(form, menu)
        field = {
            "type": _TEXT_INPUT,
            "custom_id": "question",
            "style": _PARAGRAPH,
            "label": "What do you want to know?",
            "max_length": QUESTION_CHARS,
            "required": True,
        }
        data = {"custom_id": form, "title": ASK_ABOUT, "components": [{"type": 1, "components": [field]}]}
        await self._respond(interaction, FORM, data)

    async def _take_form(self, interaction: Payload) -> None:
        data: Mapping[str, Any] = interaction.get("data") or {}
        await self._respond(interaction, LATER, {"flags": EPHEMERAL})
        form = str(data.get("custom_id", ""))
        try:
            menu = await self._asked_with(interaction, form)
        except BotError as error:
            await self._fill(interaction, _told(str(error)))
            return
        if menu is None:
            log.warning("unknown_form")
            await self._fill(interaction, _told(OLD_FORM))
            return
        text = _typed(data).strip()
        question = await self._post_question(
            interaction, menu.conversation, menu.user_name, text, about=menu.message_id
        )
        if question is not None:
            await self._take(menu.question(text, event_key=question))

    async def _asked_with(self, interaction: Payload, form: str) -> AskedAbout | None:
        """Return what the form is about, looked up where it was opened before a restart; None: it is not known."""
        found = re.fullmatch(r"tb:ask:(\d{1,20}):(\d{1,20})", form, re.ASCII)
        if found is None:
            return None
        sent = asked_about(interaction, {}, target=found[1], bot_user=self._me.user)
        is_refused = sent.conversation.space == DIRECT and not self._allow_dms
        if is_refused or sent.user_id != found[2]:  # a form is for the one who opened it
            return None
        if (menu := self._asked_about.get(form)) is not None:
            return menu
        message = await self._rest.call(
            "GET",
            "/channels/{channel_id}/messages/{message_id}",
            channel_id=sent.conversation.thread or sent.conversation.channel,
            message_id=found[1],
        )
        menu = asked_about(interaction, message, target=found[1], bot_user=self._me.user)
        return menu if menu.quote or menu.files else None  # without the intent, others' messages come without text

    async def _post_question(
        self, interaction: Payload, conversation: ConversationKey, name: str, text: str, *, about: str = ""
    ) -> str | None:
        """Show the question in the channel; return its event key, or None where that is refused, which is told."""
        channel = conversation.thread or conversation.channel
        shown = notice_text(f"**{escape(name)}** asks: {text}")
        try:
            posted = await send_message(self._rest, channel, text=shown, reply_to=about, nonce=str(interaction["id"]))
        except BotError as error:
            await self._fill(interaction, _told(str(error)))
            return None
        await self._fill(interaction, _told("Asked below."))
        return event_key(channel, posted)

    # --- answers ---

    async def _say(self, interaction: Payload, text: str) -> None:
        data: dict[str, Any] = {
            "content": notice_text(text or "Done."),
            "flags": EPHEMERAL | SUPPRESS_EMBEDS,
            "allowed_mentions": NOBODY,
        }
        await self._respond(interaction, MESSAGE, data)

    async def _respond(self, interaction: Payload, kind: int, data: Mapping[str, Any] | None) -> None:
        await self._try(
            "POST",
            "/interactions/{interaction_id}/{interaction_token}/callback",
            json={"type": kind, **({"data": data} if data is not None else {})},
            interaction_id=str(interaction["id"]),
            interaction_token=str(interaction["token"]),
        )

    async def _fill(self, interaction: Payload, shown: Shown) -> None:
        """Put the answer where Discord shows that one is coming. A token is good for 15 minutes."""
        body: dict[str, Any] = {
            "content": shown.text,
            "components": list(shown.rows),
            "flags": SUPPRESS_EMBEDS,
            "allowed_mentions": NOBODY,
        }
        await self._try(
            "PATCH",
            "/webhooks/{webhook_id}/{webhook_token}/messages/@original",
            json=body,
            files=[shown.file] if shown.file else (),
            webhook_id=self._me.application,
            webhook_token=str(interaction["token"]),
        )

    async def _try(self, method: str, path: str, **arguments: Any) -> None:
        """Call Discord, once more where it is not known whether the first call came through: twice does no harm."""
        for is_last in (False, True):
            try:
                await self._rest.call(method, path, **arguments)
            except DiscordUnreachableError as error:
                if is_last:
                    log.warning("interaction_not_answered", error=str(error))
            except BotError as error:
                if not (isinstance(error, DiscordRefusedError) and error.code == ALREADY_ANSWERED):
                    log.warning("interaction_not_answered", error=str(error))
                return
            else:
                return

    def _is_known(self, key: str) -> bool:
        is_known = key in self._done
        self._done.put(key, None)
        return is_known


def _command(name: str, pressed: Pressed, *, argument: str = "") -> CommandInvoked:
    return CommandInvoked(
        conversation=pressed.conversation,
        event_key=pressed.event_key,
        author_id=pressed.user_id,
        name=name,
        argument=argument,
    )


def _told(text: str) -> Shown:
    return Shown(text=notice_text(text or "Done."))


def _typed(data: Mapping[str, Any]) -> str:
    """Return what stands in the only field of a form."""
    rows = cast("list[dict[str, Any]]", data.get("components") or [])
    fields = [field for row in rows for field in cast("list[dict[str, Any]]", row.get("components") or [])]
    return str(fields[0].get("value", "")) if fields else ""
