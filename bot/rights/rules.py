"""One rule of the file, ready to be applied."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from bot.domain.rights import Facts, Person, Ruling, Terms, Tool, Verdict
from bot.rights.conditions import Condition
from bot.rights.globs import ToolPattern
from bot.rights.hours import Hours
from bot.rights.notation import Crowd, Places


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One `[[rule]]`."""

    name: str
    key: str  # a digest of all that it says
    tools: tuple[ToolPattern, ...]
    people: Crowd
    places: Places
    conditions: tuple[Condition, ...] = ()
    hours: Hours | None = None
    then: Verdict
    reason: str = ""
    terms: Terms = field(default_factory=Terms)
    named: tuple[str, ...] = ("*",)  # the people as the file names them
    line: int = 0
    ruling: Ruling = field(init=False)
    is_for_all: bool = field(init=False)

    def __post_init__(self) -> None:
        """Make once what is wanted at every decision: a policy is asked far more often than it is read."""
        ruling = Ruling(
            verdict=self.then,
            rule=self.name,
            rule_key=self.key,
            reason=self.reason or f"The rule {self.name!r} {_ACTS[self.then]}.",
            terms=self.terms,
        )
        object.__setattr__(self, "ruling", ruling)
        object.__setattr__(self, "is_for_all", self.people.is_everybody)

    @property
    def is_unconditional(self) -> bool:
        """Whether neither arguments nor the time matter."""
        return not self.conditions and self.hours is None

    def concerns_tool(self, tool: Tool) -> bool:
        """Return whether the rule is about the tool."""
        return any(pattern.matches(tool.server, tool.tool) for pattern in self.tools)

    def fits_call(self, facts: Facts) -> bool:
        """Return whether time and arguments are as the rule wants them."""
        if self.hours is not None and not self.hours.hold(facts.at):
            return False
        in_doubt, arguments = self.then != "allow", facts.arguments
        for condition in self.conditions:  # noqa: SIM110  (a generator would take twice as long)
            if not condition.holds(arguments, in_doubt):
                return False
        return True

    def denial(self, person: Person) -> Ruling | None:
        """Return the ruling where it cannot be known whether the rule is about the person: the answer is no."""
        doubt = self.people.doubt(person) if person.unknown else ""
        if not doubt:
            return None
        reason = f"The rule {self.name!r} is for certain people, and I cannot find out who they are: {doubt}."
        return Ruling(verdict="deny", rule=self.name, rule_key=self.key, reason=reason)

    def covers(self, other: Rule) -> bool:
        """Return whether this rule decides every call that the other one, which is behind it, could match."""
        return (
            self.is_unconditional
            and all(any(mine.covers(theirs) for mine in self.tools) for theirs in other.tools)
            and self.people.covers(other.people)
            and self.places.cover(other.places)
        )


_ACTS = {"allow": "allows it", "ask": "asks for an approval", "deny": "denies it"}


def digest(value: object) -> str:
    """Return a short digest of a JSON value."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def first_of(rules: Sequence[Rule], facts: Facts) -> Ruling | None:
    """Return what the first rule says that matches; the rules concern the tool and the place."""
    person = facts.person
    for rule in rules:
        if rule.is_for_all or rule.people.holds(person):
            if rule.fits_call(facts):
                return rule.ruling
        elif person.unknown and (denial := rule.denial(person)) is not None and rule.fits_call(facts):
            return denial
    return None
