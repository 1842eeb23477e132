"""`toolbridge run`: serves every chat platform that is set up."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from argparse import Namespace
from collections.abc import Sequence

from adapters.registry import PLATFORMS
from bot.app import open_app
from bot.cli.start import start
from bot.domain.errors import BotError, SettingsError
from bot.ports.platform import Adapter
from bot.rights.current import CurrentPolicy

DRAIN_S = 10.0


async def run(arguments: Namespace) -> int:
    """Serve until a signal comes, or until no platform can be served any more.

    Raises:
        SettingsError: A setting is wrong, or no platform or no model is set up.
        AdapterError: The last platform cannot be served any more.
    """
    settings = start(arguments)
    if settings.provider == "rehearsal" and settings.model_provider != "rehearsal":
        raise SettingsError(
            "No model is configured, and `toolbridge run` does not serve a team with the rehearsal model unless asked "
            "to. Set AZURE_OPENAI_* or OPENAI_* (see .env.example), or give --model rehearsal."
        )
    openers = [opener for platform in PLATFORMS if (opener := platform.opener(settings)) is not None]
    if not openers:
        ways = ", or ".join(platform.needs for platform in PLATFORMS)
        raise SettingsError(f"No chat platform is configured. Set {ways}; `toolbridge chat` needs neither.")
    async with open_app(settings, openers, drain_s=DRAIN_S) as app:
        _reload_on_hangup(app.policy)
        await _serve(app.adapters)
    return 0


def _reload_on_hangup(policy: CurrentPolicy) -> None:
    """Have SIGHUP read toolbridge.toml again; that of a terminal that was closed still ends the process."""
    had_terminal = _has_terminal()

    def hung_up() -> None:
        if had_terminal and not _has_terminal():
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            policy.reload()

    if hasattr(signal, "SIGHUP"):
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hung_up)


def _has_terminal() -> bool:
    return any(map(os.isatty, (0, 1, 2)))  # no more, once it was closed


async def _serve(adapters: Sequence[Adapter]) -> None:
    """Run every adapter. One that cannot go on stops no other; the error of the last one is raised."""
    failures: list[BotError] = []

    async def serve(adapter: Adapter) -> None:
        try:
            await adapter.run()
        except BotError as error:
            failures.append(error)
            if len(failures) < len(adapters):
                print(f"toolbridge: {adapter.name} is not served any more. {error}", file=sys.stderr)

    async with asyncio.TaskGroup() as group:
        for adapter in adapters:
            group.create_task(serve(adapter), name=f"run:{adapter.name}")
    if failures:
        raise failures[-1]
