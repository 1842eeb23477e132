"""What a typed line means. Pure: the caller brings the clock and the event's key."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bot.domain.answers import Example
from bot.domain.commands import COMMANDS, nearest_command
from bot.domain.events import CommandInvoked, ConversationKey, MessageReceived

AUTHOR_ID = "console"  # the person at the terminal
EXIT = "exit"
NAMES = (*(command.name for command in COMMANDS), EXIT)

_COMMAND = re.compile(r"/(\w+)(?:\s+(.*))?", re.DOTALL)  # /etc/hosts is not a command


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """The user leaves the chat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownCommand:
    """A slash and an unknown word; `nearest` is the command that was probably meant."""

    name: str
    nearest: str | None


Entry = MessageReceived | CommandInvoked | UnknownCommand | Leave


def parse_line(
    line: str, *, conversation: ConversationKey, event_key: str, at: datetime, choices: Sequence[Example] = ()
) -> Entry | None:
    """Return what the line asks for, None for an empty one; a number selects one of `choices`."""
    text = line.strip()
    if not text:
        return None
    if command := _COMMAND.fullmatch(text):
        return _parse_command(command[1], command[2] or "", conversation=conversation, event_key=event_key)
    return MessageReceived(
        conversation=conversation,
        event_key=event_key,
        author_id=AUTHOR_ID,
        author_name="you",
        text=_choose(text, choices),
        sent_at=at,
    )


def _parse_command(word: str, argument: str, *, conversation: ConversationKey, event_key: str) -> Entry:
    name = word.lower()
    if name == EXIT:
        return Leave()
    if name not in NAMES:
        return UnknownCommand(name=word, nearest=nearest_command(name, among=NAMES))
    return CommandInvoked(
        conversation=conversation, event_key=event_key, author_id=AUTHOR_ID, name=name, argument=argument
    )


def _choose(text: str, choices: Sequence[Example]) -> str:
    is_choice = re.fullmatch(r"[1-9][0-9]{0,3}", text) and int(text) <= len(choices)
    return choices[int(text) - 1].text if is_choice else text
