"""Why a call is decided as it is: the deciding rule, and of each rule before it why it did not match."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bot.domain.rights import Facts, Person, Ruling, Terms
from bot.rights.conditions import Condition
from bot.rights.notation import channel_of
from bot.rights.policy import FilePolicy
from bot.rights.rules import Rule
from bot.text.redaction import redact
from bot.text.split import cut

_VALUE_CHARS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The verdict on one call, and how it came about. `not_known` are sentences: what may be otherwise in truth."""

    ruling: Ruling
    source: str  # where the deciding rule is: file and line
    terms: str = ""  # who approves it, where it asks
    before: tuple[tuple[str, str], ...] = ()  # a rule, and why it did not match
    not_known: tuple[str, ...] = ()


def explain(policy: FilePolicy, facts: Facts, *, assumed: frozenset[str] = frozenset()) -> Explanation:
    """Return how the call is decided. `assumed` are groups of which it is not known whether they hold the person.

    Who may not write in the place is denied before any rule.
    """
    if refusal := policy.may_write(facts.person, facts.place):
        ruling = Ruling(verdict="deny", rule="[access]", rule_key="", reason=refusal)
        return Explanation(ruling=ruling, source=policy.file or "the defaults")
    ruling = policy.decide(facts)
    seen, decided_by = _walk(policy, facts)
    return Explanation(
        ruling=ruling,
        source=_source(policy, decided_by),
        terms=_terms(policy, ruling.terms) if ruling.verdict == "ask" else "",
        before=tuple((rule.name, _why_not(rule, facts)) for rule in seen),
        not_known=tuple(_not_known([*seen, *([decided_by] if decided_by else [])], facts, assumed)),
    )


def _walk(policy: FilePolicy, facts: Facts) -> tuple[list[Rule], Rule | None]:
    """Return the rules that did not match, and the one behind them that did."""
    seen: list[Rule] = []
    if policy.outside(facts.tool, channel_of(facts.place)) is not None:
        return seen, None
    for rule in policy.rules:
        if not _why_not(rule, facts):
            return seen, rule
        seen.append(rule)
    return seen, None


def _source(policy: FilePolicy, rule: Rule | None) -> str:
    if rule is not None:
        return f"{policy.file}:{rule.line}"
    return policy.file or "there is no toolbridge.toml"


def _why_not(rule: Rule, facts: Facts) -> str:
    """Return why the rule does not decide the call, as a sentence; empty where it does."""
    if not rule.concerns_tool(facts.tool):
        return f"It is about {', '.join(pattern.text for pattern in rule.tools)}."
    if not rule.places.hold(channel_of(facts.place)):
        return f"It holds in {rule.places}."
    if not rule.people.holds(facts.person) and rule.denial(facts.person) is None:
        return f"It is for {', '.join(rule.named)}, and {_named(facts.person)} is not among them."
    if rule.hours is not None and not rule.hours.hold(facts.at):
        return f"It holds {rule.hours.text}; it is {rule.hours.clocks(facts.at)}."
    in_doubt = rule.then != "allow"
    failing = (each for each in rule.conditions if not each.holds(facts.arguments, in_doubt))
    return next((_unmet(condition, facts.arguments) for condition in failing), "")


def _named(person: Person) -> str:
    return person.id if person.id in person.names else f"{person.id} ({', '.join(sorted(person.names))})"


def _unmet(condition: Condition, arguments: Mapping[str, Any] | None) -> str:
    if arguments is None:
        return f"It wants {condition.text}, and the arguments are not one JSON object."
    found = condition.pointer.find(arguments)
    values = ", ".join(map(_shown, found.values))
    is_odd = found.is_blocked or any(condition.test(value) is None for value in found.values)
    odd = " That cannot be compared, and a rule that allows does not match then." if is_odd else ""
    return f"It wants {condition.text}; {condition.pointer.text} is {values or 'not given'}.{odd}"


def _shown(value: object) -> str:
    try:
        return cut(redact(json.dumps(value, ensure_ascii=True)), _VALUE_CHARS)
    except (ValueError, RecursionError):
        return "too large to show"


def _terms(policy: FilePolicy, terms: Terms) -> str:
    who = "the one who asks"
    if terms.approvers:
        behind = [name for name in policy.people_of(terms.approvers) if name not in terms.approvers]
        who = ", ".join(terms.approvers) + (f" ({', '.join(behind)})" if behind else "")
        who = who if terms.asker_may_approve else f"{who}, but not the one who asks"
    count = "" if terms.approvals == 1 else f"{terms.approvals} of "
    where = {"thread": "in the thread", "dm": "in direct messages"}.get(terms.ask_in, f"in {terms.ask_in}")
    return f"Approved by {count}{who}, {where}, within {terms.expires_s / 60:,.0f} min."


def _not_known(rules: list[Rule], facts: Facts, assumed: frozenset[str]) -> Iterator[str]:
    concerned = [rule for rule in rules if rule.concerns_tool(facts.tool)]
    named = {group for rule in concerned for group in rule.people.groups & assumed}
    for group in sorted(named):
        flag = "--role" if ":role:" in group else "--group"
        yield f"whether {_named(facts.person)} is in {group}: taken as no ({flag} {group.rpartition(':')[2]} says yes)"
    pointers = {one.pointer for rule in concerned for one in rule.conditions}
    if facts.arguments is not None and any(not pointer.find(facts.arguments).values for pointer in pointers):
        yield "the defaults in the tool's schema for arguments that are left out"
