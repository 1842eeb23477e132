"""The composition root: opens every part, puts them together, and closes them in reverse."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib import metadata

import structlog

from bot.database import open_database
from bot.domain.errors import SettingsError, StoreUnreachableError
from bot.intake.access import Access
from bot.intake.admission import Admission
from bot.intake.apps import AppGate
from bot.intake.asked import AskReader
from bot.intake.commands.table import Commands
from bot.intake.decisions import Decisions
from bot.intake.early import EarlyMessages
from bot.intake.forms import Forms
from bot.intake.inbox import Inbox
from bot.intake.rates import CommonCount
from bot.keeping.files import WORKSPACES, KeptFiles
from bot.keeping.folders import SavedFolders
from bot.keeping.retention import Retention
from bot.models.factory import describe_model, open_model
from bot.models.redacting import RedactingModel
from bot.observe.turn_log import TurnLog
from bot.ports.cluster import Cluster
from bot.ports.http import HttpListener, NoListener
from bot.ports.model import Model
from bot.ports.platform import Adapter, Host
from bot.ports.store import NoteStore, Store
from bot.rights.current import CurrentPolicy, open_policy
from bot.rights.guard import PolicyGuard
from bot.rights.people import PlatformPeople
from bot.rights.pinning import Pins
from bot.rights.tools import GuardedTools
from bot.settings import Settings
from bot.settings_digest import settings_digest
from bot.stores.reaching import open_when_reached
from bot.stores.secret_key import SecretKeys, secret_keys
from bot.stores.secret_notes import SecretNotes, lost_sentence, renew
from bot.stores.shared_secret import shared_secret
from bot.text.known_values import known
from bot.tools.config import ServerConfig
from bot.tools.configured import load_servers
from bot.tools.conversation_ids import (
    ConversationIds,
    key_to_share,
    open_conversation_ids,
    shared_conversation_ids,
)
from bot.tools.toolset import Toolset
from bot.turns.asking import AskDesk
from bot.turns.bell import Bell
from bot.turns.budgets import Budgets
from bot.turns.cluster import ProcessCluster, forgetting_rates
from bot.turns.context import SYSTEM_PROMPT, Window
from bot.turns.lease import WorkerLease
from bot.turns.limits import LEASE_S, Limits, Patience
from bot.turns.notices import NoticeDesk
from bot.turns.presence import Presence
from bot.turns.resources import Resources
from bot.turns.runner import Runner
from bot.turns.tokens import estimate_tokens, open_counter
from bot.turns.worker import new_worker_id

log = structlog.stdlib.get_logger(__name__)

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
) -> AsyncGenerator[App]:
    """Open everything and work on turns while the context is open; at its end running turns get `drain_s` seconds.

    Summaries that are being written then get `summary_s` more.

    Each adapter is opened with the host, and has to be run by the caller. `lease_s` is how long the process may be
    silent before others on the same database take its turns over; `patience`, how long a post may fail; `inputs`, the
    answers to what mcp.json asks for; `http`, what listens for platforms that are reached by it. With `waits`, a
    database that cannot be reached is waited for, and that is told why.

    Raises:
        SettingsError: A setting is wrong; nothing was started.
        StoreError: The database cannot be used.
    """
    system_prompt = read_system_prompt(settings)
    servers = load_servers(settings, answers=inputs)
    policy = open_policy(settings, servers={server.name for server in servers})
    keys = open_secret_keys(settings)
    limits = _limits(settings, drain_s=drain_s, summary_s=summary_s, lease_s=lease_s, patience=patience or Patience())
    async with AsyncExitStack() as stack:
        stack.enter_context(known.hiding(_secrets(settings, servers), mode=settings.redact))
        store = await stack.enter_async_context(_open_store(settings, waits=waits))
        await store.scrub_at_start()
        ids = await open_ids(settings, store, keys=keys)
        notes = await _open_notes(store, keys=keys)
        tools = await stack.enter_async_context(Toolset(servers, notes=notes, ids=ids))
        tools.warm_up()  # server processes start while the model is being opened
        worker = new_worker_id()
        lease = WorkerLease(store, worker, lease_s=lease_s)
        cluster = ProcessCluster(store=store, worker=worker, lease=lease)
        model, window = await stack.enter_async_context(_open_model(settings, cluster))
        core = _Core(
            worker=worker,
            lease=lease,
            cluster=cluster,
            bell=Bell(),
            store=store,
            notes=notes,
            files=_files(settings, store, ids),
            model=model,
            rights=_open_rights(policy, store=store, tools=tools),
        )
        host = _make_host(settings, core, http=http or NoListener())
        if host.early is not None:
            await stack.enter_async_context(host.early.working(host.decide_now))
        opened = [await stack.enter_async_context(open_adapter(host)) for open_adapter in adapters]
        for adapter in opened:
            core.rights.people.add(adapter.name, adapter)
        stack.push_async_callback(core.rights.people.close)
        resources = Resources(
            store=store,
            model=RedactingModel(model),
            tools=core.rights.tools,
            guard=core.rights.guard,
            policy=policy.now,
            budgets=core.rights.budgets,
            window=window,
            system_prompt=system_prompt,
            limits=limits,
            observers=(TurnLog(),),
        )
        presence = _presence(settings, core, adapters=opened)
        working = _working(core, resources, adapters=opened, kept_days=settings.kept_days)
        runner = await stack.enter_async_context(working)
        yield App(
            host=host,
            adapters=opened,
            store=store,
            model=model,
            tools=tools,
            policy=policy,
            presence=presence,
            runner=runner,
        )


def _open_store(
    settings: Settings, *, waits: Callable[[StoreUnreachableError], None] | None
) -> AbstractAsyncContextManager[Store]:
    if waits is None:
        return open_database(settings)
    return open_when_reached(lambda: open_database(settings), waits)


def _presence(settings: Settings, core: _Core, *, adapters: Sequence[Adapter]) -> Presence:
    return Presence(
        store=core.store,
        worker=core.worker,
        lease=core.lease,
        name=settings.process,
        version=metadata.version("toolbridge"),
        settings=settings_digest(settings),
        policy=lambda: core.rights.policy.now().digest,
        platforms=[adapter.name for adapter in adapters],
    )


@asynccontextmanager
async def _open_model(settings: Settings, cluster: Cluster) -> AsyncGenerator[tuple[Model, Window]]:
    """Open the model, and the window that it reads of conversations."""
    window = Window(
        max_messages=settings.max_conversation_length, max_tokens=settings.model_context_tokens, count=estimate_tokens
    )
    async with open_model(settings, learn=window.learn, cluster=cluster) as model:
        window.count = open_counter(model.name)
        yield model, window


@asynccontextmanager
async def _working(
    core: _Core, resources: Resources, *, adapters: Sequence[Adapter], kept_days: int | None
) -> AsyncGenerator[Runner]:
    """Work in the background while the context is open: on turns, what people are asked, old texts and notices."""
    store, bell, worker, policy = core.store, core.bell, core.worker, core.rights.policy
    store.listen(bell.hear)
    runner = Runner(worker=worker, resources=resources, adapters=adapters, bell=bell, lease=core.lease)
    async with (
        runner.working(),
        AskDesk(store=store, adapters=adapters, policy=policy.now, bell=bell, worker=worker).working(),
        Retention(store=store, files=core.files, days=kept_days, now=time.time).working(),
        NoticeDesk(store=store, adapters=adapters).working(),
        forgetting_rates(store),
    ):
        yield runner


def _secrets(settings: Settings, servers: Sequence[ServerConfig]) -> Sequence[str]:
    """Return what shows nowhere: the bot's own secrets, and those that it gives to tool servers."""
    endpoints = [endpoint for server in servers for endpoint in server.endpoints]
    return [*settings.secrets, *(value for endpoint in endpoints for value in endpoint.known_values)]


async def open_files(settings: Settings, store: Store) -> KeptFiles:
    """Return the files beside the store's texts. Raises SettingsError where the key of their names cannot be read."""
    ids = await open_ids(settings, store, keys=open_secret_keys(settings))
    return _files(settings, store, ids)


def _files(settings: Settings, store: Store, ids: ConversationIds) -> KeptFiles:
    home = settings.toolbridge_home
    in_folders = SavedFolders(home / WORKSPACES)  # also from before the database had them
    saved = (in_folders,) if store.saved_files is None else (store.saved_files, in_folders)
    return KeptFiles(home, id_of=ids.of, saved=saved)


async def open_ids(settings: Settings, store: Store, *, keys: SecretKeys) -> ConversationIds:
    """Return the ids of conversations: the same in all processes that share the database. Raises SettingsError."""
    home = settings.toolbridge_home
    if not settings.is_shared:
        return open_conversation_ids(home)
    return shared_conversation_ids(await shared_secret(store, keys, make=lambda: key_to_share(home)))


def open_secret_keys(settings: Settings) -> SecretKeys:
    """Return the keys of what is kept encrypted. Raises SettingsError."""
    return secret_keys(settings.secret_key, home=settings.toolbridge_home, is_local=not settings.is_shared)


async def _open_notes(store: Store, *, keys: SecretKeys) -> SecretNotes:
    """Return the notes, in which tokens are encrypted from here on; those that no key reads cost only themselves."""
    renewal = await renew(store, store, keys)
    if renewal.renewed:
        log.info("secrets_encrypted", notes=renewal.renewed)
    if renewal.lost:
        log.error("secrets_not_readable", cure=lost_sentence(renewal.lost))
    return SecretNotes(store, keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rights:
    """The parts that decide who may do what."""

    policy: CurrentPolicy
    people: PlatformPeople
    tools: GuardedTools
    guard: PolicyGuard
    access: Access
    budgets: Budgets


def _open_rights(policy: CurrentPolicy, *, store: Store, tools: Toolset) -> _Rights:
    people, pins = PlatformPeople(policy.now), Pins(store)
    guarded = GuardedTools(tools, policy=policy.now, people=people, pins=pins)
    guard = PolicyGuard(
        policy=policy.now,
        people=people,
        store=store,
        pins=pins,
        newest=guarded.newest,
        find=guarded.find,
        unknown=guarded.unknown,
    )
    access = Access(people=people, policy=policy.now, store=store, now=time.time)
    budgets = Budgets(store=store, policy=policy.now, people=people)
    return _Rights(policy=policy, people=people, tools=guarded, guard=guard, access=access, budgets=budgets)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Core:
    """The parts that answer events and work on turns."""

    worker: str
    lease: WorkerLease
    cluster: ProcessCluster
    bell: Bell
    store: Store
    notes: NoteStore
    files: KeptFiles
    model: Model
    rights: _Rights


def _make_host(settings: Settings, core: _Core, *, http: HttpListener) -> Inbox:
    store, bell, model, rights = core.store, core.bell, core.model, core.rights
    commands = Commands(
        store=store,
        files=core.files,
        tools=rights.tools,
        bell=bell,
        access=rights.access,
        budgets=rights.budgets,
        model_name=model.name,
        about=describe_model(settings),
        limits=describe_limits(settings),
        refused_tools=lambda: model.refused_tools,
        prospects=rights.tools.prospects,
    )
    reader = AskReader(store=store, guard=rights.guard, access=rights.access, now=time.time)
    return Inbox(
        worker=core.worker,
        store=store,
        kept_notes=core.notes,
        admission=Admission(
            max_input_chars=settings.max_input_chars,
            requests_per_minute=settings.requests_per_minute,
            common=CommonCount(cluster=core.cluster, store=store),
        ),
        answer=commands.answer,
        bell=bell,
        directory=rights.tools,
        access=rights.access,
        budgets=rights.budgets,
        decisions=Decisions(reader=reader, bell=bell),
        forms=Forms(reader=reader, tools=rights.tools, bell=bell),
        about=commands.introduction,
        http=http,
        cluster=core.cluster,
        early=EarlyMessages(store=store, cluster=core.cluster),
        apps=AppGate(settings.apps, also=lambda: rights.policy.now().apps),
        takes_follow_ups=settings.follow_ups == "always",
        shows_thoughts=settings.trace == "full",
    )


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


def describe_limits(settings: Settings) -> Sequence[str]:
    """Return the limits that a user can run into, a sentence each."""
    return (
        f"A message may have {settings.max_input_chars:,} characters, a file {settings.max_file_mb:g} MB.",
        f"One person may send {settings.requests_per_minute} messages a minute.",
        f"The model reads the last {settings.max_conversation_length} messages, tool calls and results among them; "
        f"older ones it knows by a summary.",
        f"A question may take {settings.max_tool_rounds} rounds of tools and {settings.turn_timeout_s:.0f} s.",
    )


def read_system_prompt(settings: Settings) -> str:
    """Return the operator's system prompt, or the built-in one. Raises SettingsError when the file cannot be read."""
    path = settings.system_prompt_file
    if path is None:
        return SYSTEM_PROMPT
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"SYSTEM_PROMPT_FILE {path} cannot be read as UTF-8 text. Correct the path or unset it."
        ) from error
