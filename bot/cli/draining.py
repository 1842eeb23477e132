"""`toolbridge run --drain`: has running processes of this machine hand their work over, and end."""

from __future__ import annotations

import asyncio
import os
import signal
from argparse import Namespace
from collections.abc import Sequence

from bot.cli.start import start
from bot.database import open_database
from bot.domain.errors import SettingsError
from bot.ports.cluster import Member
from bot.ports.store import Store
from bot.text.terminal import visible
from bot.turns.worker import LocalProcess, process_of

LOOK_S = 0.1


async def drain(arguments: Namespace) -> int:
    """Send SIGTERM to the processes of that name, all of this machine without one; return once they have ended.

    Raises:
        SettingsError: No such process runs here.
        StoreError: The database cannot be used.
    """
    settings = start(arguments, needs_model=False)
    async with open_database(settings) as store:
        members = [member for member in await store.members() if _serves_a_team(member)]
        chosen = _chosen(members, arguments.drain)
        for member, process in chosen:
            os.kill(process.pid, signal.SIGTERM)
            print(f"{_named(member)}: asked to hand over.", flush=True)
        await asyncio.gather(*(_follow(store, member, process) for member, process in chosen))
    return 0


def _serves_a_team(member: Member) -> bool:
    return any(platform != "console" for platform in member.about.platforms)


def _chosen(members: Sequence[Member], name: str) -> Sequence[tuple[Member, LocalProcess]]:
    here = [(member, process) for member in members if (process := process_of(member.worker)) and process.is_alive]
    chosen = [(member, process) for member, process in here if name in ("", member.about.name)]
    if chosen:
        return chosen
    away = [member for member in members if process_of(member.worker) is None and name in ("", member.about.name)]
    raise SettingsError(_nobody(name, here=[member for member, _ in here], away=away))


def _nobody(name: str, *, here: Sequence[Member], away: Sequence[Member]) -> str:
    """Return the sentence for a process that is not here, with what to do."""
    if away:
        names = ", ".join(map(_named, away))
        return f"{names}: it runs on another machine or in another container. Run this command there, or send SIGTERM."
    if here:
        names = ", ".join(map(_named, here))
        return (
            f"No process of this database is called {visible(name)}. Running here: {names}. Name one of them, or none."
        )
    return "No `toolbridge run` of this database is running. Check DATABASE_URL and TOOLBRIDGE_HOME if one should be."


async def _follow(store: Store, member: Member, process: LocalProcess) -> None:
    """Report on the process until it has ended."""
    has_said = False
    while process.is_alive:
        if not has_said and any(now.worker == member.worker and now.about.is_draining for now in await store.members()):
            has_said = True
            print(f"{_named(member)}: takes nothing new, and finishes what cannot be handed over.", flush=True)
        await asyncio.sleep(LOOK_S)
    print(f"{_named(member)}: has ended.", flush=True)


def _named(member: Member) -> str:
    return visible(member.about.name or member.worker.partition("|")[2])
