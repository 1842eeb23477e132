"""Commands, buttons, shortcuts and the Home tab: what people use besides writing."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import aiohttp
import structlog
from slack_sdk.errors import SlackClientError
from slack_sdk.webhook.async_client import AsyncWebhookClient

from adapters.shared.tasks import Recent
from adapters.slack import render
from adapters.slack.api import Web
from adapters.slack.errors import SlackRefusedError
from adapters.slack.files import upload
from adapters.slack.manifest import SHORTCUT
from adapters.slack.own_messages import notice_mark
from adapters.slack.parse import HomeOpened, Pressed, SlashInvoked, conversation_key, event_key, json_value
from adapters.slack.people import People
from bot.domain.answers import CommandAnswer, Receipt
from bot.domain.commands import COMMANDS, HOW_TO_INVOKE
from bot.domain.errors import BotError
from bot.domain.events import CommandInvoked, ConversationKey, DetailsAsked, FeedbackGiven, MessageReceived
from bot.domain.messages import Attachment
from bot.domain.turns import TraceLine
from bot.ports.platform import Receive

log = structlog.stdlib.get_logger(__name__)

MAX_KEYS = 2_000  # of presses and commands; remembered, to tell a second delivery from a second press
RESPONSE_TIMEOUT_S = 30.0
NOTHING = CommandAnswer(text="")
Take = Callable[[MessageReceived], Awaitable[None]]


class Interactions:
    """Answers what people press and invoke, each for its asker alone; `take` starts a question."""

    def __init__(self, *, web: Web, people: People, receive: Receive, take: Take, prefix: str, bot_name: str) -> None:
        self._web = web
        self._people = people
        self._receive = receive
        self._take = take
        self._prefix = prefix
        self._bot_name = bot_name
        self._done = Recent[str, None](MAX_KEYS)

    # --- commands ---

    async def slash(self, invoked: SlashInvoked) -> None:
        """Answer a slash command at its response URL."""
        await self._show_answer(invoked.command, invoked.response_url, replaces=False)

    async def command(self, invoked: CommandInvoked) -> None:
        """Answer a command that was written as a message; a mention is delivered twice."""
        if self._is_known(invoked.event_key):
            return
        receipt = await self._ask(invoked)
        if not receipt.is_ignored:
            blocks, text = self._blocks_of(invoked, receipt, page=0)
            await self.tell(invoked.conversation, invoked.author_id, text, blocks=blocks)

    async def tell(
        self, conversation: ConversationKey, user: str, text: str, *, blocks: list[dict[str, Any]] | None = None
    ) -> None:
        """Say something to one person alone, in the thread."""
        try:
            await self._web.call(
                "chat.postEphemeral",
                team=conversation.space,
                is_patient=True,
                channel=conversation.channel,
                user=user,
                thread_ts=conversation.thread or None,
                text=text,
                blocks=blocks or [{"type": "section", "text": {"type": "mrkdwn", "text": render.to_mrkdwn(text)}}],
            )
        except BotError as error:
            log.warning("not_told", error=str(error))

    async def _ask(self, event: CommandInvoked | FeedbackGiven | DetailsAsked) -> Receipt:
        try:
            return await self._receive(event)
        except BotError as error:
            return Receipt(turn_id=None, notice=str(error))

    async def _show_answer(self, invoked: CommandInvoked, url: str, *, replaces: bool, page: int = 0) -> None:
        """Answer at the response URL, or in the channel where Slack does not take it there."""
        blocks, text = self._blocks_of(invoked, await self._ask(invoked), page=page)
        if not await self._respond(url, blocks, text, replaces=replaces):
            await self.tell(invoked.conversation, invoked.author_id, text, blocks=blocks)

    def _blocks_of(self, invoked: CommandInvoked, receipt: Receipt, *, page: int) -> tuple[list[dict[str, Any]], str]:
        answer = receipt.answer or CommandAnswer(text=receipt.notice)
        if invoked.name == "help":
            general = answer.text.replace(HOW_TO_INVOKE, HOW_TO_INVOKE.replace("/", f"/{self._prefix}"))
            answer = replace(answer, text=f"{general}\n\n{self._help()}")
        return render.command_blocks(
            answer,
            command=invoked.name,
            argument=invoked.argument,
            page=page,
            place=invoked.conversation.thread,
        )

    def _help(self) -> str:
        commands = ", ".join(f"`/{self._prefix}{command.name}`" for command in COMMANDS)
        return (
            f"**In Slack**\n\n- Mention me in a channel; in a thread where I take part, and in a direct message, just "
            f"write.\n- {commands} are about the channel. Slack runs no command inside a thread: there write the word "
            f"to me, as in `@{self._bot_name} history`, or choose *Tools and history* in the menu of a message.\n"
            f"- `stop` alone in a thread stops the answer, and so does Slack's own Stop button."
        )

    # --- the Home tab ---

    async def home(self, opened: HomeOpened) -> None:
        """Draw the Home tab anew. https://docs.slack.dev/reference/methods/views.publish"""
        receipt = await self._ask(_command("home", conversation_key(opened.team, "", ""), opened.user))
        view = render.home_view(receipt.answer or CommandAnswer(text=receipt.notice))
        await self._web.call("views.publish", team=opened.team, may_repeat=True, user_id=opened.user, view=view)

    # --- buttons ---

    async def press(self, pressed: Pressed) -> None:
        """Do what the button says; a second delivery of the same press does nothing."""
        if self._is_known(pressed.key):
            return
        match pressed.action.removeprefix("tb:").split(":"):
            case ["details"]:
                await self._open_details(pressed)
            case ["feedback"]:
                await self._take_feedback(pressed)
            case ["example", *_]:
                await self._start_example(pressed)
            case ["pick"]:
                value = json_value(pressed.value)
                await self._show_command(pressed, str(value.get("c", "")), thread=str(value.get("t", "")))
            case ["page", *_]:
                value = json_value(pressed.value)
                await self._show_command(
                    pressed,
                    str(value.get("command", "")),
                    thread=str(value.get("thread", "")),
                    argument=str(value.get("argument", "")),
                    page=int(value.get("page", 0)),
                )
            case ["run", name]:
                await self._run_in_view(pressed, name)
            case ["whole", *_]:
                await self._post_whole(pressed)
            case [name] if name == SHORTCUT:
                await self._open_shortcut(pressed)
            case _:
                log.warning("unknown_action", action=pressed.action)

    def _is_known(self, key: str) -> bool:
        """Tell whether this was delivered before, and remember it."""
        is_known = key in self._done
        self._done.put(key, None)
        return is_known

    async def _show_command(
        self, pressed: Pressed, name: str, *, thread: str, argument: str = "", page: int = 0
    ) -> None:
        invoked = CommandInvoked(
            conversation=conversation_key(pressed.team, pressed.channel, thread),
            event_key=f"slack:{pressed.key}",
            author_id=pressed.user,
            name=name,
            argument=argument,
            is_channel_wide=not thread,
        )
        await self._show_answer(invoked, pressed.response_url, replaces=True, page=page)

    async def _take_feedback(self, pressed: Pressed) -> None:
        rating, _, turn = pressed.value.partition(":")
        if rating not in ("good", "bad") or not turn.isdecimal():
            return
        conversation = _conversation(pressed)
        receipt = await self._ask(
            FeedbackGiven(
                conversation=conversation,
                event_key=f"slack:{pressed.key}",
                author_id=pressed.user,
                turn_id=int(turn),
                rating=rating,
            )
        )
        await self.tell(conversation, pressed.user, receipt.notice)

    async def _details(self, pressed: Pressed, turn: int, conversation: ConversationKey) -> Receipt:
        return await self._ask(
            DetailsAsked(
                conversation=conversation, event_key=f"slack:{pressed.key}", author_id=pressed.user, turn_id=turn
            )
        )

    async def _open_details(self, pressed: Pressed) -> None:
        turn = int(pressed.value) if pressed.value.isdecimal() else 0
        receipt = await self._details(pressed, turn, _conversation(pressed))
        view = render.details_view(receipt.details or (), turn_id=turn, note=receipt.notice)
        await self._open(pressed, view)

    async def _post_whole(self, pressed: Pressed) -> None:
        """Post all of one result into the thread, where a window has no room for it."""
        value, conversation = json_value(pressed.value), _noted_conversation(pressed)
        turn, call = int(value.get("turn", 0)), int(value.get("call", 0))
        receipt = await self._details(pressed, turn, conversation)
        lines = receipt.details or ()
        if not 0 < call <= len(lines):
            await self.tell(conversation, pressed.user, receipt.notice or "That result is not kept any more.")
            return
        try:
            await self._upload(conversation, _result_file(lines[call - 1]))
        except BotError as error:
            await self.tell(conversation, pressed.user, str(error))

    async def _upload(self, conversation: ConversationKey, attachment: Attachment) -> None:
        await upload(
            self._web,
            team=conversation.space,
            channel=conversation.channel,
            thread_ts=conversation.thread,
            attachment=attachment,
        )

    # --- the message shortcut: commands inside a thread ---

    async def _open_shortcut(self, pressed: Pressed) -> None:
        # The window comes first: what it shows may take longer than the three seconds that a trigger is good for.
        view_id = await self._open(pressed, render.notice_view("Tools and history", "One moment…"))
        if view_id:
            await self._fill_view(pressed, view_id, _conversation(pressed), note=_note(pressed))

    async def _run_in_view(self, pressed: Pressed, name: str) -> None:
        conversation = _noted_conversation(pressed)
        told = await self._answer(name, conversation, pressed.user)
        await self._fill_view(pressed, pressed.view_id, conversation, note=pressed.view_note, told=told)

    async def _fill_view(
        self, pressed: Pressed, view_id: str, conversation: ConversationKey, *, note: str, told: CommandAnswer = NOTHING
    ) -> None:
        history, tools = await asyncio.gather(
            *(self._answer(name, conversation, pressed.user) for name in ("history", "tools"))
        )
        view = render.shortcut_view(history=history, tools=tools, told=told)
        await self._web.call(
            "views.update",
            team=pressed.team,
            may_repeat=True,
            view_id=view_id,
            view=view | {"private_metadata": note},
        )

    async def _answer(self, name: str, conversation: ConversationKey, user: str) -> CommandAnswer:
        receipt = await self._ask(_command(name, conversation, user))
        return receipt.answer or CommandAnswer(text=receipt.notice)

    async def _open(self, pressed: Pressed, view: Mapping[str, Any]) -> str:
        """Open a window and return its id; where Slack does not open it, say why and return no id."""
        try:
            opened = await self._web.call(
                "views.open",
                team=pressed.team,
                is_patient=True,
                wait_s=2.0,  # the trigger is good for three seconds
                trigger_id=pressed.trigger_id,
                view={**view, "private_metadata": _note(pressed)},
            )
        except BotError as error:
            await self._explain(pressed, error, thread=pressed.thread)
            return ""
        return str(opened["view"]["id"])

    # --- examples ---

    async def _start_example(self, pressed: Pressed) -> None:
        """Ask the example in the person's name: in the thread it was chosen in, otherwise in a new one."""
        value = json_value(pressed.value)
        text, thread = str(value.get("text", "")), str(value.get("thread", ""))
        channel = pressed.channel
        try:
            if not channel:  # chosen in the Home tab
                opened = await self._web.call(
                    "conversations.open", team=pressed.team, may_repeat=True, users=pressed.user
                )
                channel = str(opened["channel"]["id"])
            ts = await self._post_question(pressed, text, channel=channel, thread=thread)
        except BotError as error:
            await self._explain(pressed, error, thread=thread)
            return
        await self._take(
            MessageReceived(
                conversation=conversation_key(pressed.team, channel, thread or ts),
                event_key=event_key(pressed.team, channel, ts),
                author_id=pressed.user,
                author_name=await self._people.name(pressed.team, pressed.user),
                text=text,
                sent_at=datetime.now(UTC),
                is_shared=not channel.startswith("D"),
            )
        )

    async def _post_question(self, pressed: Pressed, text: str, *, channel: str, thread: str) -> str:
        """Say in the channel who asks what, and return the message's timestamp. Raises AdapterError."""
        posted = await self._web.call(
            "chat.postMessage",
            team=pressed.team,
            is_patient=True,
            channel=channel,
            thread_ts=thread or None,
            text=f"<@{pressed.user}> asks: {render.notification(render.neutralize(text))}",
            metadata=notice_mark("example"),
            unfurl_links=False,
            unfurl_media=False,
        )
        return str(posted["ts"])

    async def _explain(self, pressed: Pressed, error: BotError, *, thread: str) -> None:
        """Tell whoever pressed why nothing came of it: at the place of the press, or in a window."""
        code = error.code if isinstance(error, SlackRefusedError) else ""
        log.warning("press_failed", action=pressed.action, code=code)
        told = str(error)
        if not pressed.channel:
            view = render.notice_view("Not possible", told)
            await self._web.call("views.open", team=pressed.team, wait_s=2.0, trigger_id=pressed.trigger_id, view=view)
            return
        blocks = [{"type": "section", "text": {"type": "plain_text", "text": told}}]
        if not await self._respond(pressed.response_url, blocks, told, replaces=False, thread=thread):
            await self.tell(conversation_key(pressed.team, pressed.channel, thread), pressed.user, told)

    # --- answers ---

    async def _respond(
        self, url: str, blocks: list[dict[str, Any]], text: str, *, replaces: bool, thread: str = ""
    ) -> bool:
        """Answer at a response URL and tell whether Slack took it: five times within half an hour it does.

        https://docs.slack.dev/interactivity/handling-user-interaction#message_responses
        """
        quiet = logging.getLogger(f"{__name__}.sdk")
        quiet.setLevel(logging.WARNING)  # below that it tells what it sends
        client = AsyncWebhookClient(url, session=self._web.session, retry_handlers=[], logger=quiet)
        body: dict[str, Any] = {
            "response_type": "ephemeral",
            "replace_original": replaces,
            "text": text,
            "blocks": blocks,
            **({"thread_ts": thread} if thread else {}),
        }
        try:
            async with asyncio.timeout(RESPONSE_TIMEOUT_S):  # the session has no timeout of its own
                response = await client.send_dict(body)
        except (SlackClientError, aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            log.warning("not_responded", error=type(error).__name__)
            return False
        if response.status_code != 200:
            log.warning("not_responded", status=response.status_code, answer=response.body[:100])
        return response.status_code == 200


def _command(name: str, conversation: ConversationKey, user: str) -> CommandInvoked:
    return CommandInvoked(conversation=conversation, event_key=f"slack:{name}", author_id=user, name=name)


def _note(pressed: Pressed) -> str:
    return json.dumps({"channel": pressed.channel, "thread": pressed.thread})


def _conversation(pressed: Pressed) -> ConversationKey:
    return conversation_key(pressed.team, pressed.channel, pressed.thread)


def _noted_conversation(pressed: Pressed) -> ConversationKey:
    note = json_value(pressed.view_note)
    return conversation_key(pressed.team, str(note.get("channel", "")), str(note.get("thread", "")))


def _result_file(line: TraceLine) -> Attachment:
    return Attachment(name=f"{line.tool}.txt", mime_type="text/plain", data=line.result.encode())
