"""The commands, as people see them and as they say them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

FILES = "files"  # the argument with which `clear` deletes saved files too
HOW_TO_INVOKE = "write `/` before the name"


class Command(NamedTuple):
    """A command as people see it; `argument` is a hint such as `[WORD]`, empty where it takes none."""

    name: str
    argument: str
    description: str


COMMANDS: tuple[Command, ...] = (
    Command(name="tools", argument="[WORD]", description="show the tools I can use, or those that match a word"),
    Command(name="history", argument="", description="show the last messages of this conversation"),
    Command(name="clear", argument="[files]", description="forget this conversation; `files`: its saved files as well"),
    Command(name="examples", argument="", description="show examples to try"),
    Command(name="stop", argument="", description="stop the answer I am working on"),
    Command(name="usage", argument="", description="show turns and tokens used"),
    Command(name="run", argument="[SERVER/TOOL]", description="run a tool yourself, without the model"),
    Command(name="approvals", argument="", description="show what waits for your approval, and what you wait for"),
    Command(name="help", argument="", description="show what I am and what I can do"),
)


_NAMES = frozenset(command.name for command in COMMANDS)


def spoken_command(words: Sequence[str], *, is_addressed: bool, text: str = "") -> tuple[str, str] | None:
    """Return the command, and its argument, that a message without a slash says; `words` are without the bot's mention.

    `stop the server` is a question: only a bare command is one, or `tools WORD`, `clear files`, or `run SERVER/TOOL`
    with nothing or a JSON object after it. To stop may be said politely or with emphasis (`please stop`, `STOP!`).
    Without a mention, `stop` is the only one: people who talk to each other say the other words too. `text` is the
    message as it was written, whose spaces a JSON object keeps.
    """
    if _asks_to_stop(words):
        return "stop", ""
    if is_addressed and (call := _spoken_call(words, text)):
        return "run", call
    if not words or len(words) > 2:
        return None
    name, argument = words[0].lower().removeprefix("/"), "".join(words[1:])
    if name not in _NAMES or not (is_addressed or name == "stop"):
        return None
    takes_it = not argument or name == "tools" or (name == "clear" and argument.lower() == FILES)
    return (name, argument) if takes_it else None


_CALL = re.compile(r"[^\s/]+/[^\s/]+")


def _spoken_call(words: Sequence[str], text: str) -> str:
    """Return the argument of a spoken `run`: a tool, and its arguments; "" where the words are none."""
    if len(words) < 2 or words[0].lower().removeprefix("/") != "run" or not _CALL.fullmatch(words[1]):
        return ""
    if len(words) > 2 and not words[2].startswith("{"):
        return ""
    at = text.find(words[1])
    return text[at:].strip() if at >= 0 else " ".join(words[1:])


_MARKS = "!.,;…*_~`"  # signs of emphasis, and those of bold and other text on chat platforms


def _asks_to_stop(words: Sequence[str]) -> bool:
    bare = [word for each in words if (word := each.lower().strip(_MARKS).removeprefix("/"))]
    return bare in (["stop"], ["please", "stop"], ["stop", "please"])


def nearest_command(name: str, *, among: Iterable[str]) -> str | None:
    """Return the command name that `name` was probably meant to be."""
    names = list(among)
    begun = [known for known in names if known.startswith(name.lower())]
    return next(iter(begun or difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)), None)
