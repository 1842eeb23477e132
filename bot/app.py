"""The composition root: opens every part, puts them together, and closes them in reverse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from bot.composition.core import Core, make_rights
from bot.composition.host import make_host
from bot.composition.storage import kept_files, open_ids, open_notes, open_secret_keys, open_store
from bot.composition.work import make_presence, make_resources, open_model_and_window, read_system_prompt, working
from bot.domain.errors import StoreUnreachableError
from bot.keeping.replacing import using
from bot.observe.model_watch import WatchedModel
from bot.ports.http import HttpListener, NoListener
from bot.ports.model import Model
from bot.ports.observer import Watchers
from bot.ports.platform import Adapter, Host
from bot.ports.store import Store
from bot.rights.current import CurrentPolicy, open_policy
from bot.settings import Settings
from bot.text.known_values import known
from bot.tools.config import ServerConfig
from bot.tools.configured import load_servers
from bot.tools.toolset import Toolset
from bot.turns.bell import Bell
from bot.turns.cluster import ProcessCluster
from bot.turns.lease import WorkerLease
from bot.turns.limits import LEASE_S, Limits, Patience
from bot.turns.presence import Presence
from bot.turns.runner import Runner
from bot.turns.worker import new_worker_id

OpenAdapter = Callable[[Host], AbstractAsyncContextManager[Adapter]]


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """The running product, as the command line sees it."""

    host: Host
    adapters: Sequence[Adapter]
    store: Store
    model: Model
    tools: Toolset
    policy: CurrentPolicy
    presence: Presence
    runner: Runner

    async def drain(self) -> None:
        """Hand over to the processes that share the database; see `Runner.drain`."""
        await asyncio.gather(self.presence.say_draining(), self.runner.drain())


@asynccontextmanager
async def open_app(
    settings: Settings,
    adapters: Sequence[OpenAdapter],
    *,
    drain_s: float,
    summary_s: float = 0.0,
    lease_s: float = LEASE_S,
    patience: Patience | None = None,
    inputs: Mapping[str, str] | None = None,
    http: HttpListener | None = None,
    waits: Callable[[StoreUnreachableError], None] | None = None,
    watchers: Watchers | None = None,
) -> AsyncGenerator[App]:
    """Open everything and work on turns while the context is open; at its end running turns get `drain_s` seconds.

    Summaries that are being written then get `summary_s` more.

    Each adapter is opened with the host, and has to be run by the caller. `lease_s` is how long the process may be
    silent before others on the same database take its turns over; `patience`, how long a post may fail; `inputs`, the
    answers to what mcp.json asks for; `http`, what listens for platforms that are reached by it. With `waits`, a
    database that cannot be reached is waited for, and `waits` gets the reason each time. `watchers` see what happens.

    Raises:
        SettingsError: A setting is wrong; nothing was started.
        StoreError: The database cannot be used.
    """
    system_prompt = read_system_prompt(settings)
    limits = _limits(settings, drain_s=drain_s, summary_s=summary_s, lease_s=lease_s, patience=patience or Patience())
    async with AsyncExitStack() as stack:
        watchers = watchers or Watchers()
        opening = _open_core(settings, lease_s=lease_s, inputs=inputs, waits=waits, watchers=watchers)
        core = await stack.enter_async_context(opening)
        host = make_host(settings, core, http=http or NoListener(), watchers=watchers)
        if host.early is not None:
            await stack.enter_async_context(host.early.working(host.decide_now))
        opened = [await stack.enter_async_context(open_adapter(host)) for open_adapter in adapters]
        for adapter in opened:
            core.rights.people.add(adapter.name, adapter)
        stack.push_async_callback(core.rights.people.close)
        resources = make_resources(
            core,
            system_prompt=system_prompt,
            limits=limits,
            watchers=watchers,
            logs_content=settings.log_content,
        )
        presence = make_presence(settings, core, adapters=opened)
        runner = await stack.enter_async_context(
            working(core, resources, adapters=opened, kept_days=settings.kept_days)
        )
        yield App(
            host=host,
            adapters=opened,
            store=core.store,
            model=core.model,
            tools=core.tools,
            policy=core.rights.policy,
            presence=presence,
            runner=runner,
        )


@asynccontextmanager
async def _open_core(
    settings: Settings,
    *,
    lease_s: float,
    inputs: Mapping[str, str] | None,
    waits: Callable[[StoreUnreachableError], None] | None,
    watchers: Watchers,
) -> AsyncGenerator[Core]:
    async with AsyncExitStack() as stack:
        stack.enter_context(using(settings.toolbridge_home))  # rules, keys and texts are all those of one moment
        servers = load_servers(settings, answers=inputs)
        policy = open_policy(settings, servers={server.name for server in servers})
        keys = open_secret_keys(settings)
        stack.enter_context(known.hiding(_secrets(settings, servers), mode=settings.redact))
        store = await stack.enter_async_context(open_store(settings, waits=waits))
        await store.scrub_at_start()
        ids = await open_ids(settings, store, keys=keys)
        notes = await open_notes(store, keys=keys)
        tools = await stack.enter_async_context(Toolset(servers, notes=notes, ids=ids))
        tools.warm_up()  # server processes start while the model is being opened
        worker = new_worker_id()
        lease = WorkerLease(store, worker, lease_s=lease_s)
        cluster = ProcessCluster(store=store, worker=worker, lease=lease)
        model, window = await stack.enter_async_context(open_model_and_window(settings, cluster))
        yield Core(
            worker=worker,
            lease=lease,
            cluster=cluster,
            bell=Bell(),
            store=store,
            notes=notes,
            ids=ids,
            files=kept_files(settings, store, ids),
            model=WatchedModel(model, watchers.models) if watchers.models else model,
            window=window,
            tools=tools,
            rights=make_rights(policy, store=store, tools=tools),
        )


def _secrets(settings: Settings, servers: Sequence[ServerConfig]) -> Sequence[str]:
    """Return what shows nowhere: the bot's own secrets, and those that it gives to tool servers."""
    endpoints = [endpoint for server in servers for endpoint in server.endpoints]
    return [*settings.secrets, *(value for endpoint in endpoints for value in endpoint.known_values)]


def _limits(settings: Settings, *, drain_s: float, summary_s: float, lease_s: float, patience: Patience) -> Limits:
    return Limits(
        max_tool_rounds=settings.max_tool_rounds,
        turn_timeout_s=settings.turn_timeout_s,
        max_file_bytes=int(settings.max_file_mb * 1_000_000),
        max_thread_messages=settings.max_thread_messages,
        patience=patience,
        drain_s=drain_s,
        summary_s=summary_s,
        lease_s=lease_s,
    )
