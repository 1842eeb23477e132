"""`decide` equals a plain model of the rules, written for itself: for any rules, and any call."""

from __future__ import annotations

import fnmatch
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.rights import Facts, Person, Tool
from bot.rights.findings import PolicyFileError
from bot.rights.policy import FilePolicy
from tests.unit.rights.parts import policy_of
from tests.unit.rights.toml import dumps

GROUPS = {"oncall": ["slack:T1:U1", "slack:T1:usergroup:S0"], "all": ["@oncall", "discord:G1:role:7"]}
PEOPLE = ["*", "@oncall", "@all", "slack:T1:U1", "slack:T1:U2", "discord:300", "slack:T1:usergroup:S0"]
PLACES = ["*", "slack:T1:C1", "slack:T1:dm", "console"]
TOOLS = ["*/*", "a/*", "a/x", "*/x*", "b/xy"]
VALUES: list[Any] = ["prod", "PROD", "dev", 1, 2.0, True, None, [1], {"e": "prod"}]

conditions = st.one_of(
    st.fixed_dictionaries({"equals": st.sampled_from(["prod", 1, True])}),
    st.fixed_dictionaries({"in": st.sampled_from([["prod", 1], ["dev"], [2]])}),
    st.fixed_dictionaries({"glob": st.sampled_from(["p*", "*O*", "d?v"])}),
    st.fixed_dictionaries({"at_least": st.sampled_from([1, 1.5]), "at_most": st.sampled_from([2, 3])}),
    st.fixed_dictionaries({"exists": st.booleans()}),
)
rules = st.fixed_dictionaries(
    {
        "tools": st.lists(st.sampled_from(TOOLS), min_size=1, max_size=2),
        "people": st.lists(st.sampled_from(PEOPLE), min_size=1, max_size=2),
        "places": st.lists(st.sampled_from(PLACES), min_size=1, max_size=2),
        "then": st.sampled_from(["allow", "ask", "deny"]),
    },
    optional={
        "arguments": st.dictionaries(st.sampled_from(["/e", "/n/e", "/l/*"]), conditions, max_size=2),
        "hours": st.sampled_from(["Mon-Fri 08:00-17:00 UTC", "Sat 22:00-06:00 UTC"]),
    },
)
people = st.builds(
    lambda name, groups, unknown: Person(
        id=name,
        names=frozenset({name}),
        groups=frozenset(groups),
        unknown={group: "down" for group in unknown if group not in groups},
    ),
    st.sampled_from(["slack:T1:U1", "slack:T1:U2", "discord:300"]),
    st.sets(st.sampled_from(["slack:T1:usergroup:S0", "discord:G1:role:7"])),
    st.sets(st.sampled_from(["slack:T1:usergroup:S0", "discord:G1:role:7"])),
)
arguments = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {},
        optional={
            "e": st.sampled_from(VALUES),
            "n": st.sampled_from([*VALUES, {}]),
            "l": st.one_of(st.sampled_from(VALUES), st.lists(st.sampled_from(VALUES), max_size=2)),
        },
    ),
)
calls = st.builds(
    lambda person, place, server, tool, flags, given, hour: Facts(
        person=person,
        place=place,
        tool=Tool(
            server=server,
            tool=tool,
            is_bundled=flags == "bundled",
            is_read_only=flags == "reads",
            change="changed" if flags == "changed" else "",
        ),
        arguments=given,
        at=datetime(2026, 11, 23, 0, 30, tzinfo=UTC) + timedelta(hours=hour),
    ),
    people,
    st.sampled_from(["slack:T1:C1", "slack:T1:dm", "console", "discord:dm"]),
    st.sampled_from("ab"),
    st.sampled_from(["x", "xy", "z"]),
    st.sampled_from(["", "bundled", "reads", "changed"]),
    arguments,
    st.integers(0, 167),
)


@given(st.lists(rules, max_size=5), st.lists(calls, min_size=4, max_size=8))
@settings(max_examples=100, deadline=None)
def test_decide_says_what_a_plain_model_says(written: list[dict[str, Any]], facts: list[Facts]) -> None:
    named = [{"name": f"n{index}", **rule} for index, rule in enumerate(written)]
    policy, kept = policy_without_shadowed(named)
    for one in facts:
        assert model(kept, one) == model(named, one)  # a rule that is said to never match does not
        ruling = policy.decide(one)
        assert (ruling.verdict, ruling.rule.removeprefix("default").partition(":")[0]) == model(kept, one)


def policy_without_shadowed(written: list[dict[str, Any]]) -> tuple[FilePolicy, list[dict[str, Any]]]:
    """Return the policy without the rules that can never match, which are errors; one that can match is none."""
    try:
        return policy_of(dumps({"groups": GROUPS, "rule": written})), written
    except PolicyFileError as error:
        findings = error.findings
    assert all("can never match" in finding.what for finding in findings)
    shadowed = {finding.where for finding in findings}
    return policy_without_shadowed([rule for rule in written if f"rule {rule['name']!r}" not in shadowed])


def model(written: list[dict[str, Any]], facts: Facts) -> tuple[str, str]:
    verdict, name = first_match(written, facts)
    if facts.tool.change and verdict != "deny":
        return "ask", ""
    return verdict, name


def first_match(written: list[dict[str, Any]], facts: Facts) -> tuple[str, str]:
    for rule in written:
        membership = is_among(rule["people"], facts.person)
        if membership is not False and fits(rule, facts):
            return (rule["then"], rule["name"]) if membership else ("deny", rule["name"])
    allowed = facts.tool.is_bundled or facts.tool.is_read_only
    return ("allow" if allowed else "ask"), ""


def is_among(named: list[str], person: Person) -> bool | None:
    """None: it cannot be known."""
    behind = [name for name in named if not name.startswith("@")]
    if {"@oncall", "@all"} & set(named):
        behind += ["slack:T1:U1", "slack:T1:usergroup:S0"]
    if "@all" in named:
        behind += ["discord:G1:role:7"]
    if any(name == "*" or name in person.names or name in person.groups for name in behind):
        return True
    return None if any(name in person.unknown for name in behind) else False


def fits(rule: dict[str, Any], facts: Facts) -> bool:
    server_and_tool = [pattern.split("/") for pattern in rule["tools"]]
    return (
        any(
            fnmatch.fnmatchcase(facts.tool.server, s) and fnmatch.fnmatchcase(facts.tool.tool, t)
            for s, t in server_and_tool
        )
        and any(place in ("*", facts.place) for place in rule["places"])
        and is_open(rule.get("hours"), facts.at)
        and all(
            holds(pointer, wanted, facts.arguments, rule["then"])
            for pointer, wanted in rule.get("arguments", {}).items()
        )
    )


def is_open(hours: str | None, at: datetime) -> bool:
    if hours is None:
        return True
    if hours.startswith("Mon"):
        return at.weekday() < 5 and 8 <= at.hour < 17
    return (at.weekday() == 5 and at.hour >= 22) or (at.weekday() == 6 and at.hour < 6)


def holds(pointer: str, wanted: dict[str, Any], given: Any, then: str) -> bool:
    in_doubt = then != "allow"
    if given is None:
        return in_doubt
    values, is_odd = {"/e": direct, "/n/e": nested, "/l/*": elements}[pointer](given)
    if wanted.get("exists") is False:
        return not values and (in_doubt or not is_odd)
    results = [passes(value, wanted) for value in values]
    return any(result is True for result in results) or (in_doubt and (is_odd or None in results))


def direct(given: dict[str, Any]) -> tuple[list[Any], bool]:
    return ([given["e"]], False) if "e" in given else ([], False)


def nested(given: dict[str, Any]) -> tuple[list[Any], bool]:
    if "n" not in given:
        return [], False
    return direct(given["n"]) if isinstance(given["n"], dict) else ([], True)


def elements(given: dict[str, Any]) -> tuple[list[Any], bool]:
    if "l" not in given:
        return [], False
    value = given["l"]
    return (
        (list(value.values() if isinstance(value, dict) else value), False)
        if isinstance(value, dict | list)
        else ([], True)
    )


def passes(value: Any, wanted: dict[str, Any]) -> bool | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if "exists" in wanted:
        return True
    if "at_least" in wanted:
        return wanted["at_least"] <= value <= wanted["at_most"] if is_number else None
    if "glob" in wanted:
        return fnmatch.fnmatchcase(value, wanted["glob"]) if isinstance(value, str) else None
    options = wanted.get("in", [wanted.get("equals")])
    alike = [option for option in options if type_of(option) == type_of(value)]
    return value in alike if alike else None


def type_of(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number"
    return type(value).__name__
