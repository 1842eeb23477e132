"""The host of the adapters, put together: what takes every event."""

from __future__ import annotations

from collections.abc import Sequence

from bot.composition.core import Core
from bot.intake.admission import Admission
from bot.intake.apps import AppGate
from bot.intake.asked import AskReader
from bot.intake.commands.table import Commands
from bot.intake.decisions import Decisions
from bot.intake.early import EarlyMessages
from bot.intake.forms import Forms
from bot.intake.inbox import Inbox
from bot.intake.rates import CommonCount
from bot.models.factory import describe_model
from bot.ports.http import HttpListener
from bot.ports.observer import Watchers
from bot.settings import Settings
from bot.text.counting import count


def make_host(settings: Settings, core: Core, *, http: HttpListener, watchers: Watchers) -> Inbox:
    """Return the host that every adapter is opened with; the `watchers` see what people end in it."""
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
        decisions=Decisions(reader=reader, bell=bell, settled=watchers.settled),
        forms=Forms(reader=reader, tools=rights.tools, bell=bell),
        about=commands.introduction,
        http=http,
        cluster=core.cluster,
        early=EarlyMessages(store=store, cluster=core.cluster),
        withdrew=watchers.withdrew,
        apps=AppGate(settings.apps, also=lambda: rights.policy.now().apps),
        takes_follow_ups=settings.follow_ups == "always",
        shows_thoughts=settings.trace == "full",
    )


def describe_limits(settings: Settings) -> Sequence[str]:
    """Return the limits that a user can run into, a sentence each."""
    return (
        f"A message may have {settings.max_input_chars:,} characters, a file {settings.max_file_mb:g} MB.",
        f"One person may send {count(settings.requests_per_minute, 'message')} a minute.",
        f"The model reads the last {count(settings.max_conversation_length, 'message')}, tool calls and results among "
        f"them; "
        f"older ones it knows by a summary.",
        f"A question may take {count(settings.max_tool_rounds, 'round')} of tools and {settings.turn_timeout_s:.0f} s.",
    )
