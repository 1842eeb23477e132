"""The command line: arguments, exit codes and signals. The module of a command is imported when the command runs."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress

from adapters.registry import PLATFORMS, PlatformCommand
from bot.cli.completion import add_completion_arguments, complete
from bot.cli.footprint import start_lean
from bot.cli.keeping_arguments import (
    add_backup_arguments,
    add_deletion_arguments,
    add_export_arguments,
    add_purge_arguments,
    add_restore_arguments,
)
from bot.cli.output import add_chat_arguments, add_output_arguments
from bot.cli.policy_arguments import add_policy_arguments
from bot.cli.setup.arguments import add_setup_arguments
from bot.domain.errors import BotError, SettingsError
from bot.text.terminal import visible

OK, FAILED, BAD_USAGE = 0, 1, 2
ENDING_SIGNALS = (signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
PIPE_CLOSED = 141  # what a shell reports for SIGPIPE, 128 + 13
INTERRUPTED = 128 + signal.SIGINT  # what a shell reports for Ctrl-C

Run = Callable[[argparse.Namespace], Coroutine[object, object, int]]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 bad usage or settings."""
    parser = command_parser()
    complete(parser)
    arguments = parser.parse_args(argv)
    run: Run | None = getattr(arguments, "run", None)
    if run is None:
        _say_what_it_is(parser, says_version=arguments.version)
        return OK
    try:
        if run is _chat and arguments.message is None and not sys.stdin.isatty():
            arguments.message = sys.stdin.read()  # before there are signal handlers: this wait has no other end
        return asyncio.run(until_terminated(run(arguments)))
    except SettingsError as error:
        _print_error(error)
        return BAD_USAGE
    except BotError as error:
        _print_error(error)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader has what it wants: `doctor | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python's own flush fails at the end
        return PIPE_CLOSED


def _say_what_it_is(parser: argparse.ArgumentParser, *, says_version: bool) -> None:
    if not says_version:
        parser.print_help()
        return
    from importlib import metadata

    print(f"toolbridge {metadata.version('toolbridge')}")


def _print_error(error: BotError) -> None:
    print(f"toolbridge: {visible(str(error))}", file=sys.stderr)


async def until_terminated(work: Coroutine[object, object, int]) -> int:
    """Return what the command returns; a signal to end cancels it, so that everything it opened is closed.

    Those are SIGTERM, Ctrl-C, and the SIGHUP of a terminal that was closed, unless `nohup` made the process ignore it.
    `run` handles SIGHUP by itself.
    """
    task = asyncio.create_task(work)
    received = signal.SIGTERM

    def end(number: signal.Signals) -> None:
        nonlocal received
        received = number
        task.cancel()

    for number in ENDING_SIGNALS:
        with suppress(NotImplementedError):  # Windows has no signal handlers on its event loop
            if signal.getsignal(number) is not signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(number, end, number)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:  # Ctrl-C: without this, the parts would be cancelled before what closes them
        task.cancel()
        await asyncio.wait([task])
        raise
    return 128 + received if task.cancelled() else task.result()


# --- the commands ----------------------------------------------------------------------------------------------


async def _chat(arguments: argparse.Namespace) -> int:
    from bot.cli.chat import chat

    return await chat(arguments)


async def _run(arguments: argparse.Namespace) -> int:
    if arguments.drain is not None:
        from bot.cli.draining import drain

        return await drain(arguments)
    start_lean()
    from bot.cli.run import run

    return await run(arguments)


async def _health(arguments: argparse.Namespace) -> int:
    from bot.cli.health import health

    return await health(arguments)


async def _setup(arguments: argparse.Namespace) -> int:
    from bot.cli.setup.command import setup

    return await setup(arguments)


async def _doctor(arguments: argparse.Namespace) -> int:
    from bot.cli.doctor import doctor

    return await doctor(arguments)


async def _tools(arguments: argparse.Namespace) -> int:
    from bot.cli.tools import tools

    return await tools(arguments)


async def _history(arguments: argparse.Namespace) -> int:
    from bot.cli.history import history

    return await history(arguments)


async def _export(arguments: argparse.Namespace) -> int:
    from bot.cli.export import export

    return await export(arguments)


async def _purge(arguments: argparse.Namespace) -> int:
    from bot.cli.purge import purge

    return await purge(arguments)


async def _audit(arguments: argparse.Namespace) -> int:
    from bot.cli.audit import audit

    return await audit(arguments)


async def _usage(arguments: argparse.Namespace) -> int:
    from bot.cli.usage import usage

    return await usage(arguments)


async def _migrate(arguments: argparse.Namespace) -> int:
    from bot.cli.migrate import migrate

    return await migrate(arguments)


async def _backup(arguments: argparse.Namespace) -> int:
    from bot.cli.backup import backup

    return await backup(arguments)


async def _restore(arguments: argparse.Namespace) -> int:
    from bot.cli.restore import restore

    return await restore(arguments)


async def _completion(arguments: argparse.Namespace) -> int:
    from bot.cli.completion import completion

    return await completion(arguments)


def _of_platform(command: PlatformCommand) -> Run:
    async def run(arguments: argparse.Namespace) -> int:
        from bot.cli.start import start

        print(visible(await command.text(start(arguments, logs_to_file=True), arguments)))
        return OK

    return run


# --- their arguments -------------------------------------------------------------------------------------------


def command_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; what it parses has the command as `run`."""
    parser = argparse.ArgumentParser(
        prog="toolbridge",
        description="Your team's own tools (any MCP server) in its own chat, on its own model.",
        epilog="Settings come from the environment and .env; .env.example lists them all.",
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(metavar="COMMAND")

    _add_chat(commands.add_parser("chat", help="chat in the terminal, or ask one question with -m"))
    _add_run(commands.add_parser("run", help="serve every chat platform whose tokens are set"))
    setup = commands.add_parser("setup", help="set up model, chat platforms and tool servers, by questions or by flags")
    add_setup_arguments(setup)
    setup.set_defaults(run=_setup)
    _add_doctor(commands.add_parser("doctor", help="check settings, database, model, tool servers and chat platforms"))
    _add_health(commands.add_parser("health", help="ask the running process whether it is ready: exit code 0 or 1"))
    for command in (command for platform in PLATFORMS for command in platform.commands):
        of_platform = commands.add_parser(command.name, help=command.help)
        command.add_arguments(of_platform)
        of_platform.set_defaults(run=_of_platform(command))
    _add_tools(commands.add_parser("tools", help="list the tool servers and their tools"))
    add_policy_arguments(
        commands.add_parser("policy", help="check the rules of toolbridge.toml, explain a verdict, replay calls")
    )
    _add_history(commands.add_parser("history", help="list the conversations, print one of them, or delete it"))
    export = commands.add_parser("export", help="print a conversation as it happened: who, what ran, what was decided")
    add_export_arguments(export)
    export.set_defaults(run=_export)
    purge = commands.add_parser("purge", help="remove a person's words wherever they are kept")
    add_purge_arguments(purge)
    purge.set_defaults(run=_purge)
    _add_audit(
        commands.add_parser("audit", help="print what was decided and run, or check that nothing of it was changed")
    )
    _add_usage(
        commands.add_parser(
            "usage", help="print how much each person and place, and all of them, used in a month or on a day"
        )
    )
    _add_migrate(commands.add_parser("migrate", help="move everything from the SQLite database to PostgreSQL"))
    backup = commands.add_parser("backup", help="write the database, saved files and attachments to one archive")
    add_backup_arguments(backup)
    backup.set_defaults(run=_backup)
    restore = commands.add_parser("restore", help="put what a backup holds back into the home folder")
    add_restore_arguments(restore)
    restore.set_defaults(run=_restore)
    _add_trust(commands.choices)
    completion = commands.add_parser("completion", help="print what makes a shell complete the commands")
    add_completion_arguments(completion)
    completion.set_defaults(run=_completion)
    return parser


def _add_chat(chat: argparse.ArgumentParser) -> None:
    chat.add_argument("-m", "--message", metavar="TEXT", help="ask this, print the answer and leave")
    add_chat_arguments(chat)
    _add_model(chat)
    chat.add_argument("--yes", action="store_true", help="with -m: run calls that only I have to approve")
    chat.set_defaults(run=_chat)


def _add_run(run: argparse.ArgumentParser) -> None:
    _add_model(run)
    run.add_argument(
        "--drain",
        nargs="?",
        const="",
        metavar="NAME",
        help="have the process of that PROCESS_NAME, or all on this machine, hand over their work and end",
    )
    run.set_defaults(run=_run)


def _add_health(health: argparse.ArgumentParser) -> None:
    add_output_arguments(
        health, json_help="print what it says as JSON, part by part", quiet_help="print nothing but why it is not ready"
    )
    health.set_defaults(run=_health)


def _add_doctor(doctor: argparse.ArgumentParser) -> None:
    add_output_arguments(doctor, json_help="print the checks as JSON", quiet_help="print only the checks that failed")
    _add_model(doctor)
    doctor.set_defaults(run=_doctor)


def _add_tools(tools: argparse.ArgumentParser) -> None:
    tools.add_argument("word", nargs="?", default="", help="only tools that contain this word")
    tools.add_argument("--changes", action="store_true", help="show the tools that changed since they were accepted")
    tools.add_argument("--accept", default="", metavar="SERVER[/TOOL]", help="accept changed tools as they are now")
    add_output_arguments(
        tools, json_help="print all that is known of them as JSON", quiet_help="print only their names"
    )
    tools.set_defaults(run=_tools)


def _add_history(history: argparse.ArgumentParser) -> None:
    history.add_argument("conversation", nargs="?", help="a key from the list, or the name of a terminal conversation")
    history.add_argument("--limit", type=_at_least_one, default=50, metavar="N", help="how many at most (50)")
    add_output_arguments(history, json_help="print it as JSON", quiet_help="print only the keys of conversations")
    add_deletion_arguments(history)
    history.set_defaults(run=_history)


def _at_least_one(text: str) -> int:
    if not re.fullmatch(r"0*[1-9][0-9]{0,8}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def _add_audit(audit: argparse.ArgumentParser) -> None:
    audit.add_argument("act", nargs="?", choices=("verify",), help="check every line, and print the head of the chain")
    audit.add_argument("--since", default="", metavar="TIME", help="only what came later: 30d, 12h, 2026-11-01")
    audit.add_argument("--person", default="", metavar="PERSON", help="only this person, as the lines name them")
    audit.add_argument(
        "--tool", default="", metavar="SERVER/TOOL", help="only these tools; * is any text without a slash"
    )
    add_output_arguments(
        audit,
        json_help="print each line as a JSON object; with verify: one object",
        quiet_help="with verify: print nothing where all fits",
    )
    audit.add_argument(
        "--head", default="", metavar="HASH", help="with verify: this was the head once, so it must be there"
    )
    audit.set_defaults(run=_audit)


def _add_usage(usage: argparse.ArgumentParser) -> None:
    usage.add_argument("--period", default="", metavar="PERIOD", help="2026-11 or 2026-11-29 (this month)")
    usage.add_argument("--limit", type=_at_least_one, default=50, metavar="N", help="how many at most (50)")
    add_output_arguments(
        usage, json_help="print them as JSON; money in millionths of a dollar", quiet_help="print only their names"
    )
    usage.set_defaults(run=_usage)


def _add_migrate(migrate: argparse.ArgumentParser) -> None:
    migrate.add_argument("--to", required=True, metavar="URL", help="postgresql://user@host:5432/database")
    add_output_arguments(
        migrate, json_help="print as JSON how many rows each table has now", quiet_help="print nothing but errors"
    )
    migrate.set_defaults(run=_migrate)


def _add_trust(commands: Mapping[str, argparse.ArgumentParser]) -> None:
    """Have each command ask for trust in the working folder; an operator starts `run` on purpose, so that trusts it.

    `health` reads where to ask as `run` does where to listen, and does nothing else with the folder's settings.
    """
    for name, parser in commands.items():
        if name in ("run", "health"):
            parser.set_defaults(trust=True)
        else:
            parser.add_argument(
                "--trust", action="store_true", help="use the .env, mcp.json and toolbridge.toml of this folder unasked"
            )


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        choices=("azure", "openai", "rehearsal"),
        help="which of the configured models answers; rehearsal is the built-in one, which is no AI",
    )
