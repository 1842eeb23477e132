"""The core: the parts that both answer events and work on turns."""

from __future__ import annotations

from dataclasses import dataclass

from bot.intake.access import Access
from bot.keeping.files import KeptFiles
from bot.ports.model import Model
from bot.ports.store import NoteStore, Store
from bot.rights.current import CurrentPolicy
from bot.rights.guard import PolicyGuard
from bot.rights.people import PlatformPeople
from bot.rights.pinning import Pins
from bot.rights.tools import GuardedTools
from bot.tools.conversation_ids import ConversationIds
from bot.tools.toolset import Toolset
from bot.turns.bell import Bell
from bot.turns.budgets import Budgets
from bot.turns.cluster import ProcessCluster
from bot.turns.context import Window
from bot.turns.lease import WorkerLease


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """The parts that decide who may do what."""

    policy: CurrentPolicy
    people: PlatformPeople
    tools: GuardedTools
    guard: PolicyGuard
    access: Access
    budgets: Budgets


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """The parts that answer events and work on turns, as the process `worker`."""

    worker: str
    lease: WorkerLease
    cluster: ProcessCluster
    bell: Bell
    store: Store
    notes: NoteStore
    ids: ConversationIds
    files: KeptFiles
    model: Model
    window: Window
    tools: Toolset
    rights: Rights


def make_rights(policy: CurrentPolicy, *, store: Store, tools: Toolset) -> Rights:
    """Return the parts that decide by the policy."""
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
    access = Access(people=people, policy=policy.now, store=store, now=store.now)
    budgets = Budgets(store=store, policy=policy.now, people=people)
    return Rights(policy=policy, people=people, tools=guarded, guard=guard, access=access, budgets=budgets)
