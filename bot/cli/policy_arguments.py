"""The arguments of `toolbridge policy`; what a command needs is imported when it runs."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, Namespace
from datetime import datetime
from pathlib import Path

from bot.cli.output import add_output_arguments

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def add_policy_arguments(parser: ArgumentParser) -> None:
    """Add `check`, `explain` and `replay` to the command's parser."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    checking = commands.add_parser("check", help="say what is wrong with a toolbridge.toml")
    checking.add_argument("file", nargs="?", type=Path, metavar="FILE", help="which (the one that is used)")
    add_output_arguments(
        checking,
        json_help="print as JSON whether it is valid, with errors and warnings",
        quiet_help="print only errors",
    )
    checking.set_defaults(run=_check)

    explaining = commands.add_parser("explain", help="say how a call would be decided, and by which rule")
    explaining.add_argument("--as", dest="person", required=True, metavar="PERSON", help="who asks, as rules name them")
    explaining.add_argument("--in", dest="place", required=True, metavar="PLACE", help="where, as rules name it")
    explaining.add_argument("tool", metavar="SERVER/TOOL")
    explaining.add_argument("arguments", nargs="?", default="{}", metavar="JSON", help="the call's arguments ({})")
    explaining.add_argument("--group", action="append", default=[], metavar="ID", help="a user group they are in")
    explaining.add_argument("--role", action="append", default=[], metavar="ID", help="a role they have")
    explaining.add_argument("--outsider", action="store_true", help="they are a guest, or of another organisation")
    explaining.add_argument("--read-only", action="store_true", help="a trusted server says that the tool only reads")
    explaining.add_argument("--at", type=_time, metavar="TIME", help="when, as 2026-11-29T14:00+01:00 (now)")
    explaining.add_argument("--policy", type=Path, metavar="FILE", help="by this file (the one that is used)")
    add_output_arguments(
        explaining, json_help="print the explanation as JSON", quiet_help="print only the verdict: allow, ask or deny"
    )
    explaining.set_defaults(run=_explain)

    replaying = commands.add_parser("replay", help="say which past calls another file would decide otherwise")
    replaying.add_argument("file", type=Path, metavar="NEW.toml")
    replaying.add_argument("--since", type=_seconds, default="30d", metavar="TIME", help="how far back, as 12h (30d)")
    replaying.add_argument("--fail-on-change", action="store_true", help="end with 1 where there is one")
    add_output_arguments(
        replaying,
        json_help="print the figures and changes as JSON",
        quiet_help="print only what changes, nothing where nothing does",
    )
    replaying.set_defaults(run=_replay)

    for each in (checking, explaining, replaying):
        # Behind the command's own name too; without it there, what was said before it stays.
        each.add_argument("--trust", action="store_true", default=SUPPRESS, help=SUPPRESS)


async def _check(arguments: Namespace) -> int:
    from bot.cli.policy import check

    return await check(arguments)


async def _explain(arguments: Namespace) -> int:
    from bot.cli.policy import explain_call

    return await explain_call(arguments)


async def _replay(arguments: Namespace) -> int:
    from bot.cli.policy import replay_calls

    return await replay_calls(arguments)


def _seconds(text: str) -> float:
    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdigit() and len(number) < 8 and unit in _UNITS_S):
        raise ArgumentTypeError(f"{text!r} is no time: write a number and s, m, h or d")
    return float(int(number) * _UNITS_S[unit])


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no time: write 2026-11-29T14:00+01:00") from None
    if not 1970 < at.year < 9999:
        raise ArgumentTypeError(f"the year {at.year} is no year of this bot")
    return at if at.tzinfo else at.astimezone()
