"""What commands print for scripts instead of people: JSON, or one name a line; the arguments of a chat."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable

from bot.text.terminal import flat, visible, visible_json


def add_output_arguments(parser: ArgumentParser, *, json_help: str, quiet_help: str) -> None:
    """Add `--json` and `--quiet`, of which a command takes one."""
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--json", action="store_true", help=json_help)
    either.add_argument("-q", "--quiet", action="store_true", help=quiet_help)


def add_chat_arguments(chat: ArgumentParser) -> None:
    """Add which conversation a chat goes on with, and what belongs to one question."""
    which = chat.add_mutually_exclusive_group()
    which.add_argument("--conversation", metavar="NAME", default="main", help="which conversation to go on with (main)")
    which.add_argument(
        "--resume",
        nargs="?",
        const="",
        metavar="KEY",
        help="go on with the one of that key or name, or choose one from a list; with -m, the last one",
    )
    which.add_argument("--last", action="store_true", help="go on with the one that was used last")
    chat.add_argument(
        "--attach", action="append", default=[], metavar="FILE", help="with -m: a file that goes with the question"
    )
    add_output_arguments(
        chat,
        json_help="with -m: print answer, calls and files as JSON",
        quiet_help="with -m: print the answer only; on standard error why there is none",
    )


def report(arguments: Namespace, value: object, lines: Iterable[str], *, notes: Iterable[str] = ()) -> None:
    """Print what a command did: the lines and notes for people, the value with `--json`, nothing with `--quiet`.

    With `--json` the notes, which say what is left to do, are on standard error.
    """
    if arguments.json:
        print_json(value)
    for line in () if arguments.quiet or arguments.json else lines:
        print(visible(line).rstrip())
    for note in () if arguments.quiet else notes:
        print(visible(note).rstrip(), file=sys.stderr if arguments.json else sys.stdout)


def print_json(value: object) -> None:
    """Print the value as JSON in which nothing steers a terminal."""
    print(visible_json(json.dumps(value, indent=2, ensure_ascii=False)))


def print_lines(names: Iterable[str]) -> None:
    """Print each name on a line of its own; nothing where there are none."""
    for name in names:
        print(flat(name))
