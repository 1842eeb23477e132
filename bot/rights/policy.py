"""One `toolbridge.toml`, validated, or the defaults without one: the Policy port."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from cachetools import LRUCache

from bot.domain.people import Actor, Standing
from bot.domain.rights import Facts, Person, PlaceSettings, Ruling, Tool, Verdict
from bot.ports.rights import Inclusion, Memberships
from bot.rights.access import AccessTable
from bot.rights.budgets import NO_BUDGETS, BudgetRules
from bot.rights.findings import Finding
from bot.rights.globs import ToolPattern
from bot.rights.notation import PERSON, PLATFORM_GROUP, Crowd, Groups, Places, account, channel_of, names_of
from bot.rights.rules import Rule, digest, first_of
from bot.rights.suggesting import rule_for

_MAX_KEPT = 4_096  # pairs of tool and place of which it is known which rules concern them


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceRights:
    """`[places."..."]`"""

    settings: PlaceSettings
    tools: tuple[ToolPattern, ...] = ()  # empty: all

    def offers(self, tool: Tool) -> bool:
        """Return whether the tool may be used there at all."""
        return not self.tools or any(pattern.matches(tool.server, tool.tool) for pattern in self.tools)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePolicy:
    """What one file says. Never changes, and does no I/O."""

    file: str = ""  # empty: the defaults
    digest: str = "defaults"  # 12 hexadecimal digits that differ where what a file says does, whatever its comments
    groups: Groups = field(default_factory=lambda: Groups({}))
    accounts: Mapping[str, str] = field(default_factory=dict[str, str])  # the person of `[people]` by account
    access: AccessTable = field(default_factory=lambda: AccessTable(people=Crowd.of(["*"]), places=Places.of(["*"])))
    rules: tuple[Rule, ...] = ()
    places: Mapping[str, PlaceRights] = field(default_factory=dict[str, PlaceRights])
    budgets: BudgetRules = NO_BUDGETS
    warnings: tuple[Finding, ...] = ()
    interesting: frozenset[str] = frozenset()  # the platforms' groups that the file names
    _concerned: LRUCache[Any, tuple[Rule, ...]] = field(
        default_factory=lambda: LRUCache[Any, tuple[Rule, ...]](_MAX_KEPT), repr=False, compare=False
    )

    @classmethod
    def default(cls) -> FilePolicy:
        """Return what holds without a file."""
        return cls()

    @property
    def operators(self) -> Sequence[str]:
        """As of `Policy`."""
        return self.access.operators

    @property
    def apps(self) -> Sequence[str]:
        """As of `Policy`."""
        return self.access.apps

    # --- calls -------------------------------------------------------------------------------------------------

    def decide(self, facts: Facts) -> Ruling:
        """Return what the first rule that matches says, or else the defaults; a changed tool asks an operator."""
        return self._guarded(self.ruled(facts), facts.tool)

    def ruled(self, facts: Facts) -> Ruling:
        """Return the same, as if the tool's definition had not changed."""
        place = channel_of(facts.place)
        if (outside := self.outside(facts.tool, place)) is not None:
            return outside
        return first_of(self.concerned(facts.tool, place), facts) or default_ruling(facts.tool)

    def outside(self, tool: Tool, place: str) -> Ruling | None:
        """Return the ruling where the settings of the place leave the tool out."""
        rights = self.places.get(place)
        if rights is None or rights.offers(tool):
            return None
        name = f"places.{place}"
        key = digest([name, *(pattern.text for pattern in rights.tools)])
        return Ruling(verdict="deny", rule=name, rule_key=key, reason="This tool is not for use in this place.")

    def concerned(self, tool: Tool, place: str) -> tuple[Rule, ...]:
        """Return the rules that are about the tool and the place, in order."""
        key = (tool.server, tool.tool, place)
        found = self._concerned.get(key)
        if found is None:
            found = tuple(rule for rule in self.rules if rule.places.hold(place) and rule.concerns_tool(tool))
            self._concerned[key] = found
        return found

    def _guarded(self, ruling: Ruling, tool: Tool) -> Ruling:
        """Return the ruling, of a tool that has changed: that an operator decides, or the asker where there is none."""
        if not tool.change or tool.is_bundled or ruling.verdict == "deny":
            return ruling
        terms = replace(ruling.terms, approvers=tuple(self.operators) or ruling.terms.approvers)
        return Ruling(
            verdict="ask",
            rule="default: a changed tool asks an operator",
            rule_key=digest(["changed", ruling.rule_key, tool.change, *self.operators]),
            reason="The definition of this tool has changed since it was accepted.",
            terms=terms,
        )

    def prospect(self, person: Person, place: str, tool: Tool) -> Verdict | Literal["depends"]:
        """Return what a call of the tool would be met with; "depends" where that hangs on arguments or the time."""
        rulings = self._prospects(person, channel_of(place), tool)
        verdicts: list[Verdict] = [self._guarded(ruling, tool).verdict for ruling in rulings]
        return verdicts[0] if len(set(verdicts)) == 1 else "depends"

    def _prospects(self, person: Person, place: str, tool: Tool) -> Sequence[Ruling]:
        if (outside := self.outside(tool, place)) is not None:
            return [outside]
        found: list[Ruling] = []
        for rule in self.concerned(tool, place):
            ruling = rule.ruling if rule.people.holds(person) else rule.denial(person)
            if ruling is not None:
                found.append(ruling)
                if rule.is_unconditional:
                    return found
        return [*found, default_ruling(tool)]

    def suggest_rule(self, facts: Facts) -> str:
        """Return the TOML of a rule that would allow this call."""
        return rule_for(facts, before=self.decide(facts))

    # --- people and places -------------------------------------------------------------------------------------

    def may_write(self, person: Person, place: str) -> str:
        """As of `Policy`."""
        return self.access.may_write(person, place)

    def blocked(self, text: str) -> str:
        """As of `Policy`."""
        return self.access.refuses(text)

    def place(self, place: str) -> PlaceSettings:
        """Return the settings of the place; a thread has those of its channel."""
        rights = self.places.get(channel_of(place))
        return rights.settings if rights is not None else _PLAIN

    def accounts_of(self, actor: Actor) -> Sequence[Actor]:
        """Return the actor and the other accounts of the same person."""
        person = self.accounts.get(str(actor))
        if person is None:
            return [actor]
        linked = [name for name, owner in self.accounts.items() if owner == person and name != str(actor)]
        return [actor, *(other for name in linked if (other := account(name)) is not None)]

    def groups_of_interest(self, actor: Actor) -> frozenset[str]:
        """As of `Policy`."""
        if not self.interesting:
            return self.interesting
        mine = {group_space(each) for each in self.accounts_of(actor)}
        return frozenset(group for group in self.interesting if group.startswith(tuple(mine)))

    @property
    def groups_of_access(self) -> frozenset[str]:
        """The platforms' groups that decide who may write at all, and with which budget."""
        people = self.access.people
        groups = frozenset[str]() if people.is_everybody else people.groups
        return groups.union(*(one.people.groups for one in self.budgets.for_people), self._groups_of_exempt)

    @property
    def _groups_of_exempt(self) -> frozenset[str]:
        if not self.budgets.exempts_operators:
            return frozenset()
        return Crowd.of(self.groups.resolve(self.access.operators)).groups

    def person(self, actor: Actor, standing: Standing, memberships: Memberships) -> Person:
        """As of `Policy`. The roles that came with the event are among the groups."""
        names = names_of(actor).union(*(names_of(other) for other in self.accounts_of(actor)[1:]))
        groups = memberships.groups | roles_of(actor, standing)
        return Person(
            id=self.accounts.get(str(actor), str(actor)),
            names=names,
            groups=groups,
            unknown={group: why for group, why in memberships.unknown.items() if group not in groups},
            outsider=standing.outsider,
            problem=standing.problem,
        )

    def includes(self, named: Sequence[str], person: Person) -> Inclusion:
        """As of `Policy`."""
        crowd = Crowd.of(self.groups.resolve(named))
        is_in = crowd.holds(person)
        return Inclusion(is_in=is_in, problem="" if is_in else crowd.doubt(person))

    def people_of(self, named: Sequence[str]) -> Sequence[str]:
        """As of `Policy`."""
        return [name for name in self.groups.resolve(named) if PERSON.fullmatch(name) or PLATFORM_GROUP.fullmatch(name)]


_PLAIN = PlaceSettings()


def default_ruling(tool: Tool) -> Ruling:
    """Return what holds for a tool that no rule is about."""
    if tool.is_bundled:
        return _BUNDLED
    return _READ_ONLY if tool.is_read_only else _ASKS


def _default(verdict: Verdict, name: str, reason: str) -> Ruling:
    return Ruling(verdict=verdict, rule=f"default: {name}", rule_key=digest(["default", name]), reason=reason)


_BUNDLED = _default("allow", "the bundled server's tools are allowed", "It is a tool of the bundled server.")
_READ_ONLY = _default(
    "allow", "read-only tools of trusted servers are allowed", "A trusted server says that it only reads."
)
_ASKS = _default("ask", "everything else asks", "No rule allows it, so the one who asked decides.")


def group_space(actor: Actor) -> str:
    """Return how the platform's groups begin that may hold the actor."""
    return f"slack:{actor.space}:usergroup:" if actor.platform == "slack" else f"{actor.platform}:"


def roles_of(actor: Actor, standing: Standing) -> frozenset[str]:
    """Return the roles in Discord that came with an event; every member has the one with the server's own id."""
    if actor.platform != "discord" or actor.space in ("", "@me"):
        return frozenset()
    return frozenset(f"discord:{actor.space}:role:{role}" for role in (*standing.roles, actor.space))
