"""Rights by script: a policy of one function, and people as they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from bot.domain.asks import AskState
from bot.domain.people import Actor, Asker, Standing
from bot.domain.rights import Facts, Person, PlaceSettings, Ruling, Terms, Tool, Verdict
from bot.intake.access import Access
from bot.intake.asked import AskReader
from bot.intake.decisions import Decisions
from bot.intake.forms import Forms
from bot.ports.budget_store import BudgetStore
from bot.ports.rights import Inclusion, Memberships, People, Policy
from bot.ports.rights_store import RightsStore
from bot.ports.store import Store
from bot.ports.tools import Tools
from bot.rights.budgets import NO_BUDGETS, BudgetRules
from bot.rights.guard import PolicyGuard
from bot.rights.pinning import Pins
from bot.rights.tools import GuardedTools
from bot.turns.bell import Bell
from bot.turns.budgets import Budgets

ALLOW_ALL = '[[rule]]\nname = "tests"\ntools = ["*/*"]\nthen = "allow"\n'


def allow_all(home: Path) -> None:
    """Allow everyone to run every tool of this home, unless it has rules of its own already."""
    file = home / "toolbridge.toml"
    if not file.exists():
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.write_text(ALLOW_ALL, encoding="utf-8")


def allows(_facts: Facts) -> Ruling:
    return Ruling(verdict="allow", rule="tests", rule_key="tests", reason="Everything is allowed in this test.")


def asks(terms: Terms | None = None, *, rule: str = "ask first", only: str = "*") -> Callable[[Facts], Ruling]:
    """A policy that asks before each call, or only before those of one tool."""

    def rules(facts: Facts) -> Ruling:
        if only not in ("*", facts.tool.tool):
            return allows(facts)
        return Ruling(verdict="ask", rule=rule, rule_key=rule, reason="It acts.", terms=terms or Terms())

    return rules


def denies(_facts: Facts) -> Ruling:
    return Ruling(verdict="deny", rule="never", rule_key="never", reason="Nobody may do that.")


@dataclass
class ScriptedPolicy:
    """Satisfies `Policy`; people are named as `str(Actor)`, and `groups` holds the people of each @group."""

    rules: Callable[[Facts], Ruling] = allows
    operators: Sequence[str] = ()
    apps: Sequence[str] = ()
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    settings: PlaceSettings = field(default_factory=PlaceSettings)
    denied_tools: frozenset[str] = frozenset()
    budgets: BudgetRules = NO_BUDGETS

    def decide(self, facts: Facts) -> Ruling:
        ruling = self.rules(facts)
        if facts.tool.change and ruling.verdict == "allow":
            reason = "The tool has changed."
            return Ruling(verdict="ask", rule="changed tool", rule_key="changed", reason=reason)
        return ruling

    def prospect(self, person: Person, place: str, tool: Tool) -> Verdict | Literal["depends"]:
        return "deny" if tool.tool in self.denied_tools else "depends"

    def may_write(self, person: Person, place: str) -> str:
        return person.outsider

    def blocked(self, text: str) -> str:
        return ""

    def place(self, place: str) -> PlaceSettings:
        return self.settings

    def groups_of_interest(self, actor: Actor) -> frozenset[str]:
        return frozenset()

    def accounts_of(self, actor: Actor) -> Sequence[Actor]:
        return [actor]

    def person(self, actor: Actor, standing: Standing, memberships: Memberships) -> Person:
        return Person(id=str(actor), names=frozenset({str(actor)}), outsider=standing.outsider)

    def includes(self, named: Sequence[str], person: Person) -> Inclusion:
        return Inclusion(is_in="*" in named or bool(person.names & set(self.people_of(named))))

    def people_of(self, named: Sequence[str]) -> Sequence[str]:
        return [one for name in named for one in self.groups.get(name, (name,))]

    def suggest_rule(self, facts: Facts) -> str:
        return f'[[rule]]\nname = "suggested"\ntools = ["{facts.tool.server}/{facts.tool.tool}"]\nthen = "allow"\n'


@dataclass
class ScriptedPeople:
    """Satisfies `People`: everyone is who they are; `policies` counts no one's groups."""

    policy: Callable[[], Policy]
    fresh: list[str] = field(default_factory=list)  # of whom the groups were read again

    async def person(self, asker: Asker, *, is_fresh: bool = False) -> Person:
        if is_fresh:
            self.fresh.append(str(asker.actor))
        return self.policy().person(asker.actor, asker.standing, Memberships())

    async def writer(self, asker: Asker) -> Person:
        return await self.person(asker)


@dataclass
class Rights:
    """The policy of a test, which can be exchanged while its bots work."""

    now: ScriptedPolicy = field(default_factory=ScriptedPolicy)

    def __call__(self) -> ScriptedPolicy:
        return self.now

    def change(self, rules: Callable[[Facts], Ruling]) -> None:
        self.now = replace(self.now, rules=rules)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """The parts of a core that look at rights, as the composition puts them together."""

    store: Store
    policy: Callable[[], Policy]
    tools: GuardedTools
    guard: PolicyGuard
    access: Access
    budgets: Budgets
    decisions: Decisions
    forms: Forms


def open_access(store: RightsStore, rights: Callable[[], Policy] | None = None, people: People | None = None) -> Access:
    """Access by this policy; without one, everyone but outsiders may do everything."""
    policy = rights or Rights()
    return Access(people=people or ScriptedPeople(policy), policy=policy, store=store, now=time.time)


def open_budgets(
    store: BudgetStore, rights: Callable[[], Policy] | None = None, people: People | None = None
) -> Budgets:
    """Budgets by this policy; without one, nobody has any."""
    policy = rights or Rights()
    return Budgets(store=store, policy=policy, people=people or ScriptedPeople(policy))


def guarded(
    store: Store,
    tools: Tools,
    bell: Bell,
    *,
    rights: Callable[[], Policy] | None = None,
    people: People | None = None,
    settled: Callable[[AskState], None] = lambda _: None,
) -> Guarded:
    """Put them together; without `rights`, every call is allowed; without `people`, everyone is who they are."""
    policy = rights or Rights()
    people, pins = people or ScriptedPeople(policy), Pins(store)
    behind = GuardedTools(tools, policy=policy, people=people, pins=pins)
    guard = PolicyGuard(
        policy=policy,
        people=people,
        store=store,
        pins=pins,
        newest=behind.newest,
        find=behind.find,
        unknown=behind.unknown,
    )
    access = open_access(store, policy, people)
    reader = AskReader(store=store, guard=guard, access=access, now=time.time)
    return Guarded(
        store=store,
        policy=policy,
        tools=behind,
        guard=guard,
        access=access,
        budgets=open_budgets(store, policy, people),
        decisions=Decisions(reader=reader, bell=bell, settled=settled),
        forms=Forms(reader=reader, tools=behind, bell=bell),
    )


def open_asks(
    store: Store, tools: Tools, bell: Bell, rights: Callable[[], Policy] | None = None
) -> tuple[Decisions, Forms]:
    """What takes decisions and forms, by this policy."""
    core = guarded(store, tools, bell, rights=rights)
    return core.decisions, core.forms
