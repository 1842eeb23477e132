"""What a typed line means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from adapters.console.speaker import Speaker
from bot.domain.answers import Example
from bot.domain.commands import COMMANDS, Command, nearest_command
from bot.domain.events import CommandInvoked, MessageReceived

LOCAL_COMMANDS = (  # of the terminal itself
    Command(name="attach", argument="FILE ...", description="take files along with the next message"),
    Command(name="detach", argument="", description="take none along"),
    Command(name="exit", argument="", description="leave"),
)
NAMES = tuple(command.name for command in (*COMMANDS, *LOCAL_COMMANDS))

_COMMAND = re.compile(r"/(\w+)(?:\s+(.*))?", re.DOTALL)  # /etc/hosts is not a command


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """The user leaves the chat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attach:
    """The next message is to take along the files that `names` says; none: what it takes along is to be said."""

    names: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Detach:
    """The next message is to take along no files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownCommand:
    """A slash and an unknown word; `nearest` is the command that was probably meant."""

    name: str
    nearest: str | None


Entry = MessageReceived | CommandInvoked | Attach | Detach | UnknownCommand | Leave


def parse_line(line: str, *, speaker: Speaker, choices: Sequence[Example] = ()) -> Entry | None:
    """Return what the line asks for, None for an empty one; a number selects one of `choices`."""
    text = line.strip()
    if not text:
        return None
    if command := _COMMAND.fullmatch(text):
        return _parse_command(command[1], command[2] or "", speaker=speaker)
    return speaker.message(_choose(text, choices))


def _parse_command(word: str, argument: str, *, speaker: Speaker) -> Entry:
    name = word.lower()
    match name:
        case "exit":
            return Leave()
        case "attach":
            return Attach(names=argument)
        case "detach":
            return Detach()
        case _ if name in NAMES:
            return speaker.command(name, argument)
        case _:
            return UnknownCommand(name=word, nearest=nearest_command(name, among=NAMES))


def _choose(text: str, choices: Sequence[Example]) -> str:
    is_choice = re.fullmatch(r"[1-9][0-9]{0,3}", text) and int(text) <= len(choices)
    return choices[int(text) - 1].text if is_choice else text
