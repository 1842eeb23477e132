"""The work on turns, put together: the model, what attempts work with, and what runs in the background."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import replace
from importlib import metadata

from bot.composition.core import Core
from bot.domain.errors import SettingsError
from bot.keeping.retention import Retention
from bot.models.factory import open_model
from bot.models.redacting import RedactingModel
from bot.observe.content_log import ContentLog
from bot.observe.turn_log import TurnLog
from bot.ports.cluster import Cluster
from bot.ports.model import Model
from bot.ports.observer import Watchers
from bot.ports.platform import Adapter
from bot.ports.work_store import ClaimedTurn
from bot.settings import Settings
from bot.settings_digest import settings_digest
from bot.turns.asking import AskDesk
from bot.turns.cluster import forgetting_rates
from bot.turns.context import SYSTEM_PROMPT, Window
from bot.turns.limits import Limits
from bot.turns.loose_ends import LooseEnds
from bot.turns.notices import NoticeDesk
from bot.turns.presence import Presence
from bot.turns.resources import Resources
from bot.turns.runner import Runner
from bot.turns.tokens import estimate_tokens, open_counter


@asynccontextmanager
async def open_model_and_window(settings: Settings, cluster: Cluster) -> AsyncGenerator[tuple[Model, Window]]:
    """Open the model, and the window of each conversation that it reads. Raises SettingsError."""
    window = Window(
        max_messages=settings.max_conversation_length, max_tokens=settings.model_context_tokens, count=estimate_tokens
    )
    async with open_model(settings, learn=window.learn, cluster=cluster) as model:
        window.count = open_counter(model.name)
        yield model, window


def make_resources(
    core: Core, *, system_prompt: str, limits: Limits, watchers: Watchers, logs_content: bool = False
) -> Resources:
    """Return what attempts at turns work with; the watchers see their turns, as the log does.

    With `logs_content`, the log has people's words.
    """
    rights, ids, tracing = core.rights, core.ids.of, watchers.tracing
    resources = Resources(
        store=core.store,
        model=RedactingModel(core.model),
        tools=rights.tools,
        guard=rights.guard,
        policy=rights.policy.now,
        budgets=rights.budgets,
        window=core.window,
        system_prompt=system_prompt,
        limits=limits,
        observers=(TurnLog(), *([ContentLog()] if logs_content else []), *watchers.turns),
    )
    if tracing is None:
        return resources

    def enclose(turn: ClaimedTurn) -> AbstractContextManager[object]:
        return tracing.enclose(turn, conversation_id=ids(turn.event.conversation))

    return replace(resources, tools=tracing.enclosing(resources.tools), enclose=enclose)


def make_presence(settings: Settings, core: Core, *, adapters: Sequence[Adapter]) -> Presence:
    """Return what tells the other processes of this one."""
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
async def working(
    core: Core, resources: Resources, *, adapters: Sequence[Adapter], kept_days: int | None
) -> AsyncGenerator[Runner]:
    """Work in the background while the context is open: on turns, what people are asked, old texts and notices."""
    store, bell, worker, policy = core.store, core.bell, core.worker, core.rights.policy
    store.listen(bell.hear)
    runner = Runner(worker=worker, resources=resources, adapters=adapters, bell=bell, lease=core.lease)
    is_held = core.cluster.is_held
    async with (
        runner.working(),
        AskDesk(store=store, adapters=adapters, policy=policy.now, bell=bell, worker=worker, is_held=is_held).working(),
        Retention(store=store, files=core.files, days=kept_days, now=time.time).working(),
        NoticeDesk(store=store, adapters=adapters).working(),
        LooseEnds(store=store, cluster=core.cluster, adapters=adapters, policy=policy.now).working(),
        forgetting_rates(store),
    ):
        yield runner


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
