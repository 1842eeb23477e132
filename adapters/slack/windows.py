"""Windows (Slack's modals): opened by a press, changed afterwards, explained where Slack does not open them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import structlog

from adapters.slack import render
from adapters.slack.api import SlackApi
from adapters.slack.errors import SlackRefusedError
from adapters.slack.parse import conversation_key
from adapters.slack.payloads import text_at
from adapters.slack.presses import Pressed, json_value
from adapters.slack.replies import Replies
from bot.domain.errors import BotError
from bot.domain.events import ConversationKey

log = structlog.stdlib.get_logger(__name__)

TRIGGER_WAIT_S = 2.0  # a press may open a window for three seconds


class Windows:
    """Opens and changes windows."""

    def __init__(self, api: SlackApi, *, replies: Replies) -> None:
        self._api = api
        self._replies = replies

    async def open(self, pressed: Pressed, view: Mapping[str, Any]) -> str:
        """Open a window and return its id; where Slack does not open it, say why and return "".

        What the window notes (`private_metadata`) is where it was opened, unless the view says it.
        """
        try:
            opened = await self._api.call(
                "views.open",
                team=pressed.team,
                wait_s=TRIGGER_WAIT_S,
                trigger_id=pressed.trigger_id,
                view={"private_metadata": place_note(pressed), **view},
            )
        except BotError as error:
            await self.explain(pressed, error, thread=pressed.thread)
            return ""
        return str(opened["view"]["id"])

    async def change(self, team: str, view_id: str, view: Mapping[str, Any]) -> None:
        """Show something else in an open window. Raises AdapterError."""
        await self._api.call("views.update", team=team, may_repeat=True, view_id=view_id, view=dict(view))

    async def explain(self, pressed: Pressed, error: BotError, *, thread: str) -> None:
        """Say why nothing came of a press: where it was pressed, or in a window."""
        code = error.code if isinstance(error, SlackRefusedError) else ""
        log.warning("press_failed", action=pressed.action, code=code)
        await self.tell(pressed, str(error), thread=thread)

    async def tell(self, pressed: Pressed, text: str, *, thread: str) -> None:
        """Say something, in Markdown, to the person who pressed: where it was pressed, or in a window; "": nothing."""
        if not text:
            return  # it was said a moment ago
        if not pressed.channel:
            view = render.notice_view("Not possible", text)
            await self._api.call(
                "views.open", team=pressed.team, wait_s=TRIGGER_WAIT_S, trigger_id=pressed.trigger_id, view=view
            )
            return
        await self._replies.answer(pressed, render.notice_blocks(text), text, thread=thread)


def conversation_of(pressed: Pressed) -> ConversationKey:
    """Return the conversation of the message with the button."""
    return conversation_key(pressed.team, pressed.channel, pressed.thread)


def shown_thread(pressed: Pressed) -> str:
    """Return the thread in which people see the message with the button; "" where it is not in one."""
    return pressed.thread if pressed.thread != pressed.message_ts else ""


def noted_conversation(pressed: Pressed) -> ConversationKey:
    """Return the conversation that the window with the button was opened for."""
    note = json_value(pressed.view_note)
    return conversation_key(pressed.team, text_at(note, "channel"), text_at(note, "thread"))


def place_note(pressed: Pressed) -> str:
    """Return what a window notes of the place where it was opened."""
    return json.dumps({"channel": pressed.channel, "thread": pressed.thread})
