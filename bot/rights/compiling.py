"""Makes rules of what the file says, and finds what is wrong with them one by one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bot.domain.budgets import Scope
from bot.domain.rights import Terms
from bot.rights import conditions
from bot.rights.arguments import Pointer
from bot.rights.budgets import UTC_ZONE, BudgetRules, Override, limits_from
from bot.rights.conditions import Condition, Test
from bot.rights.document import BudgetsTable, BudgetTable, ConditionTable, OverrideTable, RuleTable
from bot.rights.findings import Findings, Path
from bot.rights.globs import ToolPattern
from bot.rights.hours import HOURS_CURE, Hours, parse_hours
from bot.rights.notation import (
    PEOPLE_CURE,
    PLACES_CURE,
    Crowd,
    Groups,
    Places,
    is_channel,
    is_direct_message,
    is_people,
    is_places,
)
from bot.rights.rules import Rule, digest

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_MAX_EXPIRES_S = 30 * 86_400


class Compiler:
    """Reads names, patterns and conditions; what is wrong is added to the findings, and left out."""

    def __init__(self, groups: Groups, findings: Findings) -> None:
        self._groups = groups
        self._findings = findings

    def rule(self, table: RuleTable, path: Path, *, number: int, line: int) -> Rule:
        """Return the rule."""
        return Rule(
            name=table.name or f"rule {number}",
            key=digest(table.model_dump(by_alias=True)),
            tools=self.tools(table.tools, (*path, "tools")),
            people=self.crowd(table.people, (*path, "people"), must_name=True),
            places=self.places(table.places, (*path, "places"), must_name=True),
            conditions=self._conditions(table.arguments, (*path, "arguments")),
            hours=self._hours(table.hours, (*path, "hours")),
            then=table.then,
            reason=" ".join(table.reason.split()),
            terms=self._terms(table, path) if table.then == "ask" else Terms(),
            named=tuple(table.people),
            line=line,
        )

    def tools(self, names: Sequence[str], path: Path) -> tuple[ToolPattern, ...]:
        """Return the patterns of tools."""
        if not names:
            self._findings.wrong(path, "it names no tool, so it can never match", 'Write tools = ["server/tool"].')
        patterns = [ToolPattern(name) for name in names]
        for pattern in patterns:
            if not pattern.is_valid:
                self._findings.wrong(
                    path, f"{pattern.text!r} names no tool", 'Write "server/tool"; "*/*" is all.', text=pattern.text
                )
        return tuple(patterns)

    def crowd(self, names: Sequence[str], path: Path, *, must_name: bool = False) -> Crowd:
        """Return the people of these names, the groups resolved."""
        crowd = Crowd.of(self._groups.resolve(names))
        is_sound = self.check_people(names, path)
        if must_name and is_sound and crowd.is_empty:
            self._findings.wrong(path, "it names nobody, so it can never match", PEOPLE_CURE)
        return crowd

    def check_people(self, names: Sequence[str], path: Path) -> bool:
        """Return whether all the names are people or groups; those that are not are reported."""
        wrong = [name for name in names if not (name[1:] in self._groups if name[:1] == "@" else is_people(name))]
        for name in wrong:
            if name.startswith("@"):
                self._findings.wrong(path, f"there is no group {name}", self._near_group(name), text=name)
            else:
                self._findings.wrong(path, f"{name!r} names no people", PEOPLE_CURE, text=name)
        return not wrong

    def _near_group(self, name: str) -> str:
        near = difflib.get_close_matches(name[1:], self._groups.names, n=1)
        return f"Did you mean @{near[0]}?" if near else f"Add {name[1:]} = [...] to [groups], or correct the name."

    def places(self, names: Sequence[str], path: Path, *, must_name: bool = False) -> Places:
        """Return the places of these names."""
        if must_name and not names:
            self._findings.wrong(path, "it names no place, so it can never match", PLACES_CURE)
        for name in names:
            if is_direct_message(name):
                cure = f"Write {name.rpartition(':')[0]}:dm for all direct messages of the workspace."
                self._findings.wrong(path, f"{name!r} is a direct message", cure, text=name)
            elif not is_places(name):
                self._findings.wrong(path, f"{name!r} is no place", PLACES_CURE, text=name)
        return Places.of(names)

    def _hours(self, text: str | None, path: Path) -> Hours | None:
        if text is None:
            return None
        try:
            return parse_hours(text)
        except ValueError as error:
            self._findings.wrong(path, f"these are no hours: {error}", HOURS_CURE)
            return None

    # --- budgets -----------------------------------------------------------------------------------------------

    def budgets(self, table: BudgetsTable, path: Path) -> BudgetRules:
        """Return who may use how much."""
        overrides = [self._override(one, (*path, "override", index)) for index, one in enumerate(table.override)]
        tables: Mapping[Scope, BudgetTable] = {"person": table.person, "place": table.place, "all": table.all}
        if table.warn_in and not is_channel(table.warn_in):
            cure = "Write slack:TEAM:CHANNEL or discord:SERVER:CHANNEL."
            self._findings.wrong((*path, "warn_in"), f"{table.warn_in!r} is no place to warn in", cure)
        return BudgetRules(
            zone=self._zone(table.timezone, (*path, "timezone")),
            warn_in=table.warn_in,
            exempts_operators=table.operators_exempt,
            limits=tuple(limit for scope, one in tables.items() for limit in limits_from(one.model_dump(), scope)),
            for_people=tuple(one for one in overrides if not one.people.is_empty),
            for_places=tuple(one for one in overrides if one.people.is_empty),
        )

    def _override(self, table: OverrideTable, path: Path) -> Override:
        if bool(table.people) == bool(table.places):
            cure = 'Write people = ["@group"] or places = ["slack:TEAM:CHANNEL"].'
            self._findings.wrong(path, "an override is for people or for places", cure)
        scope = "person" if table.people else "place"
        return Override(
            people=self.crowd(table.people, (*path, "people")),
            places=self.places(table.places, (*path, "places")),
            limits=limits_from(table.model_dump(), scope),
        )

    def _zone(self, name: str, path: Path) -> ZoneInfo:
        try:
            return ZoneInfo(name)
        except (ValueError, OSError, ZoneInfoNotFoundError):
            self._findings.wrong(path, f"{name!r} is no time zone", 'Write one like "Europe/Berlin", or "UTC".')
            return UTC_ZONE

    # --- terms -------------------------------------------------------------------------------------------------

    def _terms(self, table: RuleTable, path: Path) -> Terms:
        self.check_people(table.approvers, (*path, "approvers"))
        return Terms(
            approvers=tuple(table.approvers),
            approvals=table.approvals,
            asker_may_approve=table.asker_may_approve,
            expires_s=self._expires_s(table.expires, (*path, "expires")),
            ask_in=self._ask_in(table.ask_in, (*path, "ask_in")),
        )

    def _expires_s(self, text: str, path: Path) -> float:
        found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
        seconds = int(found[1]) * _UNITS_S[found[2]] if found else 0
        if not 0 < seconds <= _MAX_EXPIRES_S:
            cure = 'Write a number and s, m, h or d: "30m", "1h"; at most "30d".'
            self._findings.wrong(path, f"{text!r} is no time in which to approve", cure)
        return float(seconds)

    def _ask_in(self, text: str, path: Path) -> str:
        if text not in ("thread", "dm") and not is_channel(text):
            cure = 'Write "thread", "dm", slack:TEAM:CHANNEL or discord:SERVER:CHANNEL.'
            self._findings.wrong(path, f"{text!r} is no place to ask in", cure)
        return text

    # --- conditions --------------------------------------------------------------------------------------------

    def _conditions(self, tables: Mapping[str, ConditionTable], path: Path) -> tuple[Condition, ...]:
        return tuple(self._condition(text, table, (*path, text)) for text, table in tables.items())

    def _condition(self, text: str, table: ConditionTable, path: Path) -> Condition:
        self._check_values(table, path)
        return Condition(self._pointer(text, path), _test(table), table.exists, described(text, table))

    def _pointer(self, text: str, path: Path) -> Pointer:
        try:
            return Pointer.parse(text)
        except ValueError as error:
            self._findings.wrong(path, f"{text!r} is no JSON pointer: {error}", 'Write "/env" or "/targets/*/env".')
            return Pointer(text, (text,))

    def _check_values(self, table: ConditionTable, path: Path) -> None:
        said = table.model_fields_set - {"ignore_case"}
        if not said:
            self._findings.wrong(path, "it compares with nothing", f"Write one of {COMPARISONS}.")
        if table.ignore_case and not said & {"equals", "one_of", "glob"}:
            self._findings.wrong(path, "ignore_case compares nothing", "Write it beside equals, in or glob.")
        for value in conditions.not_json([table.equals if "equals" in said else "", table.one_of or ""]):
            self._findings.wrong(path, f"{value} is no value that JSON has", "Write a text in quotes.")
        if (why := never(table)) is not None:
            self._findings.wrong(path, f"it can never hold: {why}", "Correct the bounds, or remove the rule.")


COMPARISONS = "equals, in, glob, at_least, at_most, exists"


def _test(table: ConditionTable) -> Test:
    return conditions.absent if table.exists is False else conditions.all_of(_tests(table))


def _tests(table: ConditionTable) -> tuple[Test, ...]:
    said, fold = table.model_fields_set, table.ignore_case
    tests: list[Test] = []
    if "equals" in said:
        tests.append(conditions.equals(table.equals, ignore_case=fold))
    if table.one_of is not None:
        tests.append(conditions.one_of(table.one_of, ignore_case=fold))
    if table.glob is not None:
        tests.append(conditions.glob(table.glob, ignore_case=fold))
    if table.at_least is not None:
        tests.append(conditions.at_least(table.at_least))
    if table.at_most is not None:
        tests.append(conditions.at_most(table.at_most))
    return tuple(tests)


def never(table: ConditionTable) -> str | None:
    """Return why no value can pass all that the condition wants, as a phrase."""
    if table.one_of == []:
        return "in is empty"
    tests = _tests(table)
    if table.exists is False and tests:
        return "an argument that does not exist has no value to compare"
    if "equals" in table.model_fields_set or table.one_of is not None:
        values = [table.equals] if "equals" in table.model_fields_set else table.one_of or []
        return None if any(all(test(value) for test in tests) for value in values) else "no value passes all of it"
    if table.at_least is not None and table.at_most is not None and table.at_least > table.at_most:
        return "at_least is more than at_most"
    if table.glob is not None and (table.at_least is not None or table.at_most is not None):
        return "no value is a text and a number"
    return None


def described(pointer: str, table: ConditionTable) -> str:
    """Return the condition in words, for people: `/env equals "prod"`."""
    said = table.model_dump(by_alias=True, exclude_unset=True, exclude={"ignore_case"})
    parts = [f"{name} {_toml(value)}" for name, value in said.items() if value is not None]
    return f"{pointer} {' and '.join(parts)}{', in any case' if table.ignore_case else ''}"


def _toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case list():
            return f"[{', '.join(map(_toml, cast('list[object]', value)))}]"
        case _:
            return str(value)
