"""`toolbridge setup`: asks or reads flags, checks all at once, shows the difference, writes, and runs the doctor."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

from adapters.registry import PLATFORMS
from bot.cli.doctor import doctor
from bot.cli.setup.asking import Person, StoppedError, Terminal, is_at_terminal, say, unechoed
from bot.cli.setup.model import ask_for_model, missing_key, plan_model
from bot.cli.setup.plan import Files, Plan, read_files
from bot.cli.setup.platforms import ask_for_platforms, missing_tokens, plan_platforms
from bot.cli.setup.tool_servers import ask_for_servers, plan_servers
from bot.cli.start import start
from bot.cli.trust import ENV_FILE, look, require_trust, trusted
from bot.domain.errors import BotError, SettingsError, settings_error
from bot.tools.configured import DEFAULT_FILE

_UNCHANGED = "Nothing was changed."


async def setup(arguments: Namespace) -> int:
    """Set the bot up in this folder; return the doctor's exit code, or 1 or 130 where nothing was written.

    Raises:
        BotError: Something that was given is not right; nothing was written.
    """
    by_flags, can_ask = _has_flags(arguments), is_at_terminal()
    if not by_flags and not can_ask:
        raise SettingsError("setup asks questions at a terminal. In a script, say it by flags: see setup --help.")
    require_trust(arguments, may_ask=can_ask)
    person = Terminal() if can_ask and not (by_flags and arguments.yes) else None
    try:
        with unechoed():
            is_written = await _set_up(arguments, person, by_flags=by_flags)
    except StoppedError as stopped:
        say(_UNCHANGED)
        return stopped.code
    except (BotError, asyncio.CancelledError):
        say(_UNCHANGED)
        raise
    if not is_written:
        say(_UNCHANGED if person else f"{_UNCHANGED} Add --yes to write it.")
        return 1
    return await _finish()


async def _set_up(arguments: Namespace, person: Person | None, *, by_flags: bool) -> bool:
    """Return whether everything is written that was wanted."""
    plan = _begin(arguments)
    if person is None and (problems := [*missing_key(plan), *missing_tokens(plan)]):
        raise settings_error(problems)
    if by_flags or person is None:
        await plan_model(plan, person)
        await plan_platforms(plan, person)
        await plan_servers(plan)
    else:
        await _interview(plan, person)
    return await _agreed(plan, plan.after(), person)


def _has_flags(arguments: Namespace) -> bool:
    given = vars(arguments)
    names = ("model_url", "model_name", "openai", "azure_endpoint", "azure_deployment", "entra", "mcp_from", "yes")
    return any(given[name] for name in (*names, *(platform.name for platform in PLATFORMS)))


def _begin(arguments: Namespace) -> Plan:
    """Return the situation. Raises SettingsError where it is no place to begin."""
    settings = start(arguments, logs_to_file=True, needs_model=False)
    mcp_file = settings.mcp_config or DEFAULT_FILE
    return Plan(
        arguments=arguments,
        settings=settings,
        given={**os.environ, **_secrets(arguments.secrets)},
        env_file=ENV_FILE,
        mcp_file=mcp_file,
        before=read_files(ENV_FILE, mcp_file),
    )


def _secrets(name: str) -> Mapping[str, str]:
    """Return what the file of --secrets has. Raises SettingsError."""
    if not name:
        return {}
    try:
        text = sys.stdin.read() if name == "-" else Path(name).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"--secrets {name} cannot be read ({type(error).__name__}).") from error
    values = dotenv_values(stream=io.StringIO(text), interpolate=False)
    return {name: value for name, value in values.items() if value}


async def _interview(plan: Plan, person: Person) -> None:
    say("This sets Toolbridge up in this folder. Nothing is written before you have seen it. Ctrl-C leaves.\n")
    await ask_for_model(plan, person)
    say()
    await ask_for_platforms(plan, person)
    say()
    await ask_for_servers(plan, person)
    say()


async def _agreed(plan: Plan, files: Files, person: Person | None) -> bool:
    """Show the difference and write it where that is wanted; return False where it is not."""
    if files == plan.before:
        say("Nothing has to be written.")
        return True
    for line in plan.difference():
        say(line)
    for name in plan.overridden():
        say(f"{name} is set in your environment too, to something else, and that wins.")
    if not plan.arguments.yes and (person is None or not await person.agrees("Write this?", default=True)):
        return False
    plan.write(files)
    trusted(look(Path.cwd(), environ=os.environ))
    say("Written.")
    return True


async def _finish() -> int:
    say("\nDoctor:")
    code = await doctor(Namespace(json=False, quiet=False, trust=True))
    say("\n`toolbridge chat` talks to it here, `toolbridge run` serves the chat platforms.")
    return code
