"""`toolbridge run`: serves every chat platform that is set up."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Coroutine, Sequence, Set

import structlog

from adapters.registry import PLATFORMS, terminal_user
from bot.app import App, OpenAdapter, open_app
from bot.cli.footprint import exempt_what_stays
from bot.cli.ready import announce
from bot.cli.settings_looks import check_settings, looks_at_parts
from bot.cli.start import start
from bot.composition.tracing import check_traces
from bot.composition.watching import Watching, open_watching
from bot.domain.audit import AuditEntry
from bot.domain.errors import BotError, SettingsError, StoreError, StoreUnreachableError, settings_error
from bot.http.listener import open_listener
from bot.ports.platform import Adapter
from bot.rights.current import Reloaded
from bot.settings import Settings
from bot.text.terminal import visible

log = structlog.stdlib.get_logger(__name__)

Drain = Callable[[], Coroutine[object, object, None]]


async def run(arguments: Namespace) -> int:
    """Serve until a signal comes, or until no platform can be served any more.

    A database that cannot be reached is waited for. At the signal the work is handed over; at a second one it is left.

    Raises:
        SettingsError: Settings are wrong, or no platform or no model is set up; all of that is in it.
        AdapterError: The last platform cannot be served any more.
    """
    settings = start(
        arguments,
        looks=(_require_real_model, _openers, Settings.check_metrics, check_traces),
        more_looks=looks_at_parts,
    )
    check_settings(settings, looks_at_parts())
    openers = _openers(settings)
    async with (
        open_listener(settings.http_host, settings.http_port, proxies=settings.proxies) as http,
        open_watching(settings, http) as watching,
        open_app(
            settings,
            openers,
            drain_s=settings.drain_s,
            http=http,
            waits=lambda error: _tell_of_wait(watching, error),
            watchers=watching.watchers,
        ) as app,
    ):
        exempt_what_stays()
        watching.started(app)
        noting = _reload_on_hangup(app)
        announcing = asyncio.create_task(announce(app), name="ready")
        try:
            await serve(app.adapters, app.drain)
        finally:
            announcing.cancel()
            await asyncio.wait([announcing])
            await asyncio.gather(*noting)
    return 0


def _require_real_model(settings: Settings) -> None:
    if settings.provider == "rehearsal" and settings.model_provider != "rehearsal":
        raise SettingsError(
            "No model is configured, and `toolbridge run` does not serve a team with the rehearsal model unless asked "
            "to. Set AZURE_OPENAI_* or OPENAI_* (see .env.example), or give --model rehearsal."
        )


def _openers(settings: Settings) -> Sequence[OpenAdapter]:
    """Return how the platforms are opened that are set up. Raises SettingsError where that is none, or one is half."""
    openers: list[OpenAdapter] = []
    problems: list[str] = []
    for platform in PLATFORMS:
        try:
            opener = platform.opener(settings)
        except SettingsError as error:
            problems.append(str(error))
        else:
            openers += [opener] if opener is not None else []
    if not openers and not problems:
        ways = ", or ".join(platform.needs for platform in PLATFORMS)
        problems.append(f"No chat platform is configured. Set {ways}; `toolbridge chat` needs neither.")
    if problems:
        raise settings_error(problems)
    return openers


def _reload_on_hangup(app: App) -> Set[asyncio.Task[None]]:
    """Have SIGHUP read toolbridge.toml again; that of a terminal that was closed still ends the process.

    Returns the tasks, also later ones, that write it into the audit.
    """
    noting: set[asyncio.Task[None]] = set()
    had_terminal = _has_terminal()

    def hung_up() -> None:
        if had_terminal and not _has_terminal():
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            task = asyncio.create_task(_note_reload(app, app.policy.reload()), name="audit:reload")
            noting.add(task)
            task.add_done_callback(noting.discard)

    if hasattr(signal, "SIGHUP"):
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hung_up)
    return noting


async def _note_reload(app: App, reloaded: Reloaded) -> None:
    """Append what became of the policy to the audit, and tell the other processes; the log has the details."""
    await app.presence.say()
    outcome = f"policy reloaded: {reloaded.detail}" if reloaded.is_new else "policy kept: the new file is not usable"
    person = f"console:{terminal_user()}"  # the system does not say who sent the signal
    try:
        await app.store.audit([AuditEntry(kind="act", at=time.time(), person=person, place="console", outcome=outcome)])
    except StoreError as error:
        log.warning("reload_not_audited", error=str(error))


def _has_terminal() -> bool:
    return any(map(os.isatty, (0, 1, 2)))  # no more, once it was closed


async def serve(adapters: Sequence[Adapter], drain: Drain) -> None:
    """Run every adapter until cancelled; then let go of the platforms, while `drain` runs.

    A second cancellation cuts both short. One adapter that cannot go on stops no other; the error of the last one is
    raised.
    """
    serving = asyncio.create_task(_serve(adapters), name="serve")
    try:
        await asyncio.wait([serving])
    except asyncio.CancelledError:
        log.info("handing_over")
        await _hand_over(serving, asyncio.create_task(drain(), name="drain"))
        raise
    serving.result()


async def _hand_over(serving: asyncio.Task[None], draining: asyncio.Task[None]) -> None:
    serving.cancel()
    try:
        await asyncio.wait([serving, draining])
    finally:
        for task in (serving, draining):
            task.cancel()
        await asyncio.gather(serving, draining, return_exceptions=True)


def _tell_of_wait(watching: Watching, error: StoreUnreachableError) -> None:
    gc.enable()  # this may go on for hours
    watching.waits_for_store()
    log.warning("waiting_for_database", error=str(error))


async def _serve(adapters: Sequence[Adapter]) -> None:
    """Run every adapter. One that cannot go on stops no other; the error of the last one is raised."""
    failures: list[BotError] = []

    async def serve(adapter: Adapter) -> None:
        try:
            await adapter.run()
        except BotError as error:
            failures.append(error)
            if len(failures) < len(adapters):
                print(f"toolbridge: {adapter.name} is not served any more. {visible(str(error))}", file=sys.stderr)

    async with asyncio.TaskGroup() as group:
        for adapter in adapters:
            group.create_task(serve(adapter), name=f"run:{adapter.name}")
    if failures:
        raise failures[-1]
