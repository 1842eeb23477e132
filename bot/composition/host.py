"""The host of the adapters, put together: what takes every event."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bot.composition.core import Core
from bot.domain.asks import AskState
from bot.intake.admission import Admission
from bot.intake.apps import AppGate
from bot.intake.asked import AskReader
from bot.intake.commands.phrases import count
from bot.intake.commands.table import Commands
from bot.intake.decisions import Decisions
from bot.intake.early import EarlyMessages
from bot.intake.forms import Forms
from bot.intake.inbox import Inbox
from bot.intake.rates import CommonCount
from bot.models.factory import describe_model
from bot.ports.http import HttpListener
from bot.settings import Settings


def make_host(
    settings: Settings, core: Core, *, http: HttpListener, settled: Callable[[AskState], None] = lambda _: None
) -> Inbox:
    """Return the host that every adapter is opened with; `settled` is called as each approval is ended by people."""
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
    reader = AskReader(store=store, guard=rights.guard, access=rights.access, now=store.now)
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
        decisions=Decisions(reader=reader, bell=bell, settled=settled),
        forms=Forms(reader=reader, tools=rights.tools, bell=bell),
        about=commands.introduction,
        http=http,
        cluster=core.cluster,
        early=EarlyMessages(store=store, cluster=core.cluster),
        apps=AppGate(settings.apps, also=lambda: rights.policy.now().apps),
        takes_follow_ups=settings.follow_ups == "always",
        shows_thoughts=settings.trace == "full",
    )


def describe_limits(settings: Settings) -> Sequence[str]:
    """Return the limits that a user can run into, a sentence each."""
    return (
        f"A message may have {settings.max_input_chars:,} characters, a file {settings.max_file_mb:g} MB.",
        f"One person may send {count(settings.requests_per_minute, 'message')} a minute.",
        f"The model reads the last {settings.max_conversation_length} messages, tool calls and results among them; "
        f"older ones it knows by a summary.",
        f"A question may take {count(settings.max_tool_rounds, 'round')} of tools and {settings.turn_timeout_s:.0f} s.",
    )
