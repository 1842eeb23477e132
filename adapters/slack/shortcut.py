"""The message shortcut: commands inside a thread, in a window."""

from __future__ import annotations

import asyncio

from adapters.slack import render
from adapters.slack.commands import Commands
from adapters.slack.presses import Pressed
from adapters.slack.windows import Windows, conversation_of, noted_conversation, place_note
from bot.domain.answers import CommandAnswer
from bot.domain.events import ConversationKey
from bot.text.apart import apart

NO_ANSWER = CommandAnswer(text="")


class Shortcut:
    """Opens its window and fills it."""

    def __init__(self, *, windows: Windows, commands: Commands) -> None:
        self._windows = windows
        self._commands = commands

    async def open(self, pressed: Pressed) -> None:
        """Open the window, with the history and the tools of the conversation."""
        # It opens before it is filled: what it shows may take longer than the three seconds that a trigger is valid.
        view_id = await self._windows.open(pressed, render.notice_view("Tools and history", "One moment…"))
        if view_id:
            await self._fill(pressed, view_id, conversation_of(pressed), note=place_note(pressed))

    async def run_command(self, pressed: Pressed, name: str) -> None:
        """Run the command of a button in that window, and show its answer there."""
        conversation = noted_conversation(pressed)
        answer = await self._commands.answer(name, conversation, pressed.user, is_confirmed=name == "clear")
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
        view = await apart(
            lambda: render.shortcut_view(history=history, tools=tools, answer=answer),
            size=len(history.text) + len(tools.text) + len(answer.text),
        )
        await self._windows.change(pressed.team, view_id, view | {"private_metadata": note})
