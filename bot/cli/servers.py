"""What commands of an operator do with tool servers first: ask for their inputs, and wait for those that start."""

from __future__ import annotations

import signal
import sys
from argparse import Namespace
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from getpass import getpass
from typing import TYPE_CHECKING

from bot.cli.trust import folder_of
from bot.ports.tools import ServerStatus
from bot.settings import Settings
from bot.text.terminal import flat, visible
from bot.tools.config import ServerConfig
from bot.tools.configured import load_servers, open_inputs
from bot.tools.placeholders import Input

if TYPE_CHECKING:
    from bot.tools.toolset import Toolset  # takes long to import: the chat asks before it is needed

START_WAIT_S = 120.0  # for packages that are being downloaded
TELL_AFTER_S = 3.0
_MAX_CHARS = 160


async def wait_for_servers(tools: Toolset) -> None:
    """Wait until each tool server is ready or has failed, for a bounded time; standard error shows the wait."""
    await tools.settle(timeout_s=START_WAIT_S, tell=_tell, every_s=TELL_AFTER_S)


def _tell(starting: Sequence[ServerStatus]) -> None:
    for status in starting:
        about = flat(f"{status.server} is starting {status.detail}")[:_MAX_CHARS]
        print(f"toolbridge: waiting, {about}", file=sys.stderr, flush=True)


def servers_of(settings: Settings, arguments: Namespace) -> Sequence[ServerConfig]:
    """Return the configured servers, with the person's answers; those of a folder that was not trusted are left out.

    Raises:
        SettingsError: The file is not valid.
    """
    uses_folder = folder_of(arguments).is_used
    answers = ask_inputs(settings, uses_folder=uses_folder)
    return load_servers(settings, answers=answers, uses_folder=uses_folder)


def ask_inputs(settings: Settings, *, uses_folder: bool = True) -> Mapping[str, str]:
    """Return the answers to what mcp.json wants to be asked for; none without a terminal.

    Raises:
        SettingsError: The file is not valid.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return {}
    with interruptible():
        wanted = open_inputs(settings, uses_folder=uses_folder)
        answers = {asked.id: _ask(asked) for asked in wanted if asked.kind == "text"}
    return {name: answer for name, answer in answers.items() if answer}


@contextmanager
def interruptible() -> Generator[None]:
    """Have signals end the process: the event loop, which handles them otherwise, is blocked by the question."""
    ways = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, way) for number, way in ways.items()}
    try:
        yield
    finally:
        for number, way in before.items():
            signal.signal(number, way)


def _ask(asked: Input) -> str:
    choices = f" ({', '.join(asked.options)})" if asked.options else ""
    default = f" [{asked.default}]" if asked.default else ""
    question = visible(f"mcp.json asks: {asked.description or asked.id}{choices}{default}").strip()
    hint = f" (or set {asked.variable})"
    try:
        if asked.is_password:
            return getpass(f"{question}{hint}: ").strip()
        print(f"{question}{hint}: ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip()
    except EOFError:
        return ""
