"""The process under test: the real core between a scripted model, a platform in a file and a real tool server."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import json
import os
import signal
import sys
import traceback
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from typing import cast

from bot.domain.answers import CommandAnswer
from bot.domain.events import CommandInvoked
from bot.domain.rights import Facts, Ruling, Terms
from bot.intake.admission import Admission
from bot.intake.inbox import Inbox
from bot.models.redacting import RedactingModel
from bot.observe.logs import configure_logs
from bot.observe.turn_log import TurnLog
from bot.ports.store import Store
from bot.stores.store import EngineStore
from bot.tools.config import ServerConfig, StdioEndpoint
from bot.tools.toolset import Toolset
from bot.turns.asking import AskDesk
from bot.turns.bell import Bell
from bot.turns.context import Window
from bot.turns.lease import WorkerLease
from bot.turns.limits import LEASE_S, Limits
from bot.turns.resources import Resources
from bot.turns.runner import Runner
from bot.turns.worker import new_worker_id
from tests.fakes.mcp_servers.processes import FOLDER
from tests.fakes.rights import Rights, ScriptedPolicy, allows, asks, guarded
from tests.kills.fate import BROKEN, LEFT, OVER, Fate
from tests.kills.platform import ALONE, APPROVERS, FilePlatform, Seat
from tests.kills.script import SERVER, Script, ScriptedModel
from tests.kills.watched import WatchedStore, WatchedTools, watch_commits
from tests.kills.world import World

# anyio imports its backend when it is first used: done here it is done once, not in each life.
import_module("anyio._backends._asyncio")

_TERMS = Terms(approvers=tuple(f"fake:{person}" for person in APPROVERS), approvals=2, asker_may_approve=False)
MAX_MESSAGES = 6  # in the model's window: what leaves it is summed up
LOOK_S = 0.02  # how often a process looks whether others have ended the last turn


def _rules(facts: Facts) -> Ruling:
    return asks(_TERMS)(facts) if (facts.arguments or {}).get("waits") else allows(facts)


POLICY = ScriptedPolicy(rules=_rules)


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What a process is to live: its world, what is asked in it, and when it dies."""

    world: World
    script: Script
    fate: Fate
    seat: Seat = ALONE
    lease_s: float = LEASE_S
    drain_s: float = 10.0


def start(life: Life) -> int:
    """Start a life in a process of its own and return its id; it holds what the caller has open until it is dead."""
    gc.freeze()
    if pid := os.fork():
        return pid
    try:
        log = os.open(life.world.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, sys.stderr.fileno())
        faulthandler.register(signal.SIGALRM, chain=True)  # whoever is held up says where
        configure_logs(log_format="console", level="INFO", file=life.world.log_file)
        status = asyncio.run(_until_told(life))
        life.world.census_file.write_text(json.dumps(life.fate.reached), encoding="utf-8")
        os._exit(status)
    except BaseException:  # noqa: BLE001  (nothing of the parent may run in the child)
        os.write(2, traceback.format_exc().encode())
        os._exit(BROKEN)


async def _until_told(life: Life) -> int:
    """Live until nothing is open, or until SIGTERM."""
    living = asyncio.create_task(_live(life))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, living.cancel)
    try:
        await living
    except asyncio.CancelledError:
        return LEFT
    return OVER


async def _live(life: Life) -> None:
    """Take what the platform delivers, and work until nothing is open."""
    world, script, ended = life.world, life.script, asyncio.Event()
    async with world.database.open() as real:
        watch_commits(real, life.fate)
        store = cast("Store", WatchedStore(real, world, life.fate.reach, ended))
        platform = FilePlatform(world, script, life.fate.reach, seat=life.seat)
        async with _working(life, store, platform) as inbox, asyncio.TaskGroup() as group:
            beside = [group.create_task(platform.approve_all(inbox))]
            if life.seat.of > 1:
                beside.append(group.create_task(platform.look()))
            clearing = group.create_task(platform.clear_each(store))
            await platform.take_all(inbox)
            await _nothing_open(real, platform, ended, look_s=LOOK_S if life.seat.of > 1 else None)
            await clearing
            if script.clears:
                await platform.clear_all(store)
            for task in beside:
                task.cancel()


async def _nothing_open(
    store: EngineStore, platform: FilePlatform, ended: asyncio.Event, *, look_s: float | None
) -> None:
    """Wait until no turn is open, and each message of an ask is a record."""
    while True:
        ended.clear()
        (open_,) = await store.engine.read(lambda db: db.execute(_OPEN))
        if not open_["turns"] and not await store.due_ask_posts(serves=[platform.serves]):
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(look_s):
                await ended.wait()


_OPEN = "SELECT count(*) AS turns FROM turn WHERE ended_at IS NULL"


@asynccontextmanager
async def _working(life: Life, store: Store, platform: FilePlatform) -> AsyncGenerator[Inbox]:
    """Work as the core does, and yield what takes messages."""
    world, script, fate = life.world, life.script, life.fate
    async with Toolset([_server(world)], offer_wait_s=20) as toolset:
        toolset.warm_up()
        bell = Bell()
        core = guarded(store, WatchedTools(toolset, fate, world), bell, rights=Rights(POLICY))
        worker = new_worker_id()
        lease = WorkerLease(store, worker, lease_s=life.lease_s)
        runner = Runner(
            worker=worker,
            resources=Resources(
                store=store,
                model=RedactingModel(
                    ScriptedModel(
                        script=script,
                        asked=lambda line: world.note("asked", line),
                        reach=fate.reach,
                        seen=platform.seen,
                    )
                ),
                tools=core.tools,
                guard=core.guard,
                policy=core.policy,
                budgets=core.budgets,
                window=Window(max_messages=MAX_MESSAGES, max_tokens=1_000_000, count=len),
                system_prompt="Be brief.",
                limits=Limits(turn_timeout_s=60, lease_s=life.lease_s, drain_s=life.drain_s, summary_s=life.drain_s),
                observers=(TurnLog(),),
            ),
            adapters=[platform],
            bell=bell,
            lease=lease,
        )
        inbox = Inbox(
            worker=worker,
            store=store,
            admission=Admission(max_input_chars=1000, requests_per_minute=100_000),
            answer=_no_command,
            bell=bell,
            directory=core.tools,
            access=core.access,
            budgets=core.budgets,
            decisions=core.decisions,
            forms=core.forms,
        )
        desk = AskDesk(
            store=store, adapters=[platform], policy=core.policy, bell=bell, worker=worker, is_held=lease.is_held
        )
        async with runner.working(), desk.working():
            yield inbox


async def _no_command(event: CommandInvoked) -> CommandAnswer:
    return CommandAnswer(text=f"no {event.name}")


def _server(world: World) -> ServerConfig:
    command = StdioEndpoint(
        program=sys.executable,
        # It uses the standard library alone, and starts in half the time. Its last argument is for the process table.
        args=("-I", "-S", str(FOLDER / "oldtimer.py"), str(world.folder)),
        env={"CALLS_FILE": str(world.calls_file)},
        label="oldtimer",
    )
    return ServerConfig(name=SERVER, endpoints=(command,), trusted=True)
