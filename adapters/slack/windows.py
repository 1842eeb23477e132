"""Windows (Slack's modals): opened by a press, explained where Slack does not open them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import structlog

from adapters.slack import render
from adapters.slack.api import SlackApi
from adapters.slack.commands import Commands
from adapters.slack.errors import SlackRefusedError
from adapters.slack.parse import conversation_key
from adapters.slack.presses import Pressed, json_value
from adapters.slack.replies import Replies
from bot.domain.answers import CommandAnswer
from bot.domain.errors import BotError
from bot.domain.events import ConversationKey

log = structlog.stdlib.get_logger(__name__)

TRIGGER_WAIT_S = 2.0  # a press may open a window for three seconds
NO_ANSWER = CommandAnswer(text="")


class Windows:
    """Opens and fills windows, among them that of the message shortcut: commands inside a thread."""

    def __init__(self, api: SlackApi, *, replies: Replies, commands: Commands) -> None:
        self._api = api
        self._replies = replies
        self._commands = commands

    async def open(self, pressed: Pressed, view: Mapping[str, Any]) -> str:
        """Open a window and return its id; where Slack does not open it, say why and return ""."""
        try:
            opened = await self._api.call(
                "views.open",
                team=pressed.team,
                wait_s=TRIGGER_WAIT_S,
                trigger_id=pressed.trigger_id,
                view={**view, "private_metadata": _note(pressed)},
            )
        except BotError as error:
            await self.explain(pressed, error, thread=pressed.thread)
            return ""
        return str(opened["view"]["id"])

    async def explain(self, pressed: Pressed, error: BotError, *, thread: str) -> None:
        """Say why nothing came of a press: where it was pressed, or in a window."""
        code = error.code if isinstance(error, SlackRefusedError) else ""
        log.warning("press_failed", action=pressed.action, code=code)
        reason = str(error)
        if not pressed.channel:
            view = render.notice_view("Not possible", reason)
            await self._api.call(
                "views.open", team=pressed.team, wait_s=TRIGGER_WAIT_S, trigger_id=pressed.trigger_id, view=view
            )
            return
        blocks = [{"type": "section", "text": {"type": "plain_text", "text": reason}}]
        if not await self._replies.respond(pressed.response_url, blocks, reason, replaces=False, thread=thread):
            await self._replies.tell(conversation_key(pressed.team, pressed.channel, thread), pressed.user, reason)

    async def open_shortcut(self, pressed: Pressed) -> None:
        """Open the window of the message shortcut, with the history and the tools of the conversation."""
        # It opens before it is filled: what it shows may take longer than the three seconds that a trigger is valid.
        view_id = await self.open(pressed, render.notice_view("Tools and history", "One moment…"))
        if view_id:
            await self._fill(pressed, view_id, conversation_of(pressed), note=_note(pressed))

    async def run_command(self, pressed: Pressed, name: str) -> None:
        """Run the command of a button in that window, and show its answer there."""
        conversation = noted_conversation(pressed)
        answer = await self._commands.answer(name, conversation, pressed.user)
        await self._fill(pressed, pressed.view_id, conversation, note=pressed.view_note, answer=answer)

    async def _fill(
        self,
        pressed: Pressed,
        view_id: str,
        conversation: ConversationKey,
        *,
        note: str,
        answer: CommandAnswer = NO_ANSWER,
    ) -> None:
        history, tools = await asyncio.gather(
            *(self._commands.answer(name, conversation, pressed.user) for name in ("history", "tools"))
        )
        view = render.shortcut_view(history=history, tools=tools, answer=answer)
        await self._api.call(
            "views.update",
            team=pressed.team,
            may_repeat=True,
            view_id=view_id,
            view=view | {"private_metadata": note},
        )


def conversation_of(pressed: Pressed) -> ConversationKey:
    """Return the conversation of the message with the button."""
    return conversation_key(pressed.team, pressed.channel, pressed.thread)


def noted_conversation(pressed: Pressed) -> ConversationKey:
    """Return the conversation that the window with the button was opened for."""
    note = json_value(pressed.view_note)
    return conversation_key(pressed.team, str(note.get("channel", "")), str(note.get("thread", "")))


def _note(pressed: Pressed) -> str:
    return json.dumps({"channel": pressed.channel, "thread": pressed.thread})
