"""What is wrong with a `toolbridge.toml`: the file, the line, the rule, and the cure; all of it at once."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.rights import Person
from bot.rights.findings import PolicyFileError
from bot.rights.policy import FilePolicy
from bot.rights.reading import read_policy
from tests.unit.rights.parts import ANN, HERE, facts, policy_of
from tests.unit.rights.toml import dumps


def errors_of(text: str | bytes) -> list[str]:
    with pytest.raises(PolicyFileError) as caught:
        read_policy(text.encode() if isinstance(text, str) else text, file="t.toml")
    assert all(str(finding) in str(caught.value) for finding in caught.value.findings)
    return [str(finding) for finding in caught.value.findings]


EXAMPLE = """
[groups]                                  # names for people; used as "@oncall" below
oncall = ["slack:T1:U0A", "slack:T1:usergroup:S0ONCALL", "discord:G1:role:123"]

[people]
jdoe = ["slack:T1:U1", "discord:300200100", "console:jdoe"]

[access]
people   = ["*"]
places   = ["*"]
outsiders = false
operators = ["@oncall"]
apps     = []
blocked_patterns = []

[[rule]]
name = "production deploys"
tools = ["deploys/deploy*"]
people = ["*"]
places = ["*"]
arguments = { "/env" = { equals = "prod" }, "/replicas" = { at_most = 10 } }
hours = "Mon-Thu 08:00-17:00 Europe/Berlin"
then = "ask"
approvers = ["@oncall"]
approvals = 2
asker_may_approve = false
expires = "1h"
ask_in = "thread"
reason = "Production changes need two people on call."

[places."slack:T1:C042"]
prompt = "..."
model = "..."
tools = ["deploys/*"]
trace = "full"
dry_run = true

[budgets]
person = { turns_per_day = 200, tokens_per_day = 500_000, usd_per_day = 5 }
"""


def test_the_example_of_the_documents_is_valid_and_says_what_it_says() -> None:
    policy = policy_of(EXAMPLE)
    [rule] = policy.rules
    assert (rule.line, rule.name, rule.ruling.terms.approvals, rule.ruling.terms.expires_s) == (
        16,
        policy.rules[0].name,
        2,
        3600,
    )
    assert policy.operators == ("@oncall",)
    assert policy.people_of(["@oncall"]) == ["slack:T1:U0A", "slack:T1:usergroup:S0ONCALL", "discord:G1:role:123"]
    settings_ = policy.place("slack:T1:C042")
    assert (settings_.prompt, settings_.trace, settings_.dry_run, settings_.tools) == (
        "...",
        "full",
        True,
        ("deploys/*",),
    )
    assert [(one.scope, one.measure, one.period, one.amount) for one in policy.budgets.limits] == [
        ("person", "turns", "day", 200),
        ("person", "tokens", "day", 500_000),
        ("person", "usd", "day", 5_000_000),
    ]
    assert policy.warnings == ()


RULE = '[[rule]]\nname = "r"\ntools = ["a/b"]\nthen = "ask"\n'


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("[acess]\n", 1, "Did you mean 'access'?"),
        ("[access]\npeopel = []\n", 2, "Did you mean 'people'?"),
        (f"{RULE}approver = []\n", 5, "rule 'r': there is no key 'approver'. Did you mean 'approvers'?"),
        (f"{RULE}{RULE.replace('[[rule]]', '').replace('r', 'x', 1)}", 6, "it is not TOML"),
        ('[rule]\nname = "x"\n', 1, "[[rule]] in double brackets"),
        ('[[rule]]\nname = "r"\nthen = "ask"\n', 1, "the key 'tools' is missing"),
        ('[[rule]]\ntools = ["a/b"]\n', 1, "the key 'then' is missing"),
        ('[[rule]]\ntools = ["a/b"]\nthen = "maybe"\n', 3, "'allow', 'ask' or 'deny'"),
        (f'{RULE}people = ["@oncall"]\n', 5, "there is no group @oncall"),
        (f'[groups]\non-call = ["*"]\n{RULE}people = [\n  "*",\n  "@oncall",\n]\n', 9, "Did you mean @on-call?"),
        (f'{RULE}people = ["U1"]\n', 5, "'U1' names no people. Write slack:TEAM:USER"),
        (f"{RULE}people = []\n", 5, "it names nobody, so it can never match"),
        (f'[groups]\nnone = []\n{RULE}people = ["@none"]\n', 7, "it names nobody, so it can never match"),
        (f"{RULE}places = []\n", 5, "it names no place, so it can never match"),
        (f'{RULE}places = ["slack:T1:D0123"]\n', 5, "Write slack:T1:dm"),
        (f'{RULE}places = ["C042"]\n', 5, "'C042' is no place"),
        ('[[rule]]\ntools = []\nthen = "ask"\n', 2, "it names no tool, so it can never match"),
        ('[[rule]]\ntools = ["deploy"]\nthen = "ask"\n', 2, "'deploy' names no tool. Write \"server/tool\""),
        ('[groups]\na = ["@b"]\nb = ["@c"]\nc = ["@b"]\n', 3, "the group holds itself: @b > @c > @b"),
        ('[groups]\na = "x"\n', 2, "should be a valid list"),
        (f"{RULE}approvals = 2\n", 5, "only the one who asked may approve"),
        (f"{RULE}asker_may_approve = false\n", 5, "nobody else may approve"),
        (f'{RULE}approvers = ["slack:T1:U1"]\napprovals = 2\n', 5, "the approvers are 1"),
        (f"{RULE}approvals = true\n", 5, "approvals"),
        (f'{RULE}approvals = "2"\n', 5, "approvals"),
        (f'{RULE}expires = "soon"\n', 5, "'soon' is no time in which to approve"),
        (f'{RULE}expires = "0s"\n', 5, "is no time in which to approve"),
        (f'{RULE}ask_in = "console"\n', 5, "'console' is no place to ask in"),
        (f'{RULE}ask_in = "slack:T1:dm"\n', 5, "is no place to ask in"),
        (f'{RULE}hours = "Mon-Thu 08:00-17:00"\n', 5, "is no span of hours in a time zone"),
        (f'{RULE}hours = "Mon-Thu 08:00-17:00 Europe/Berln"\n', 5, "'Europe/Berln' is no time zone"),
        (f'{RULE}hours = "Mon-Thu 08:00-17:00 Europe"\n', 5, "'Europe' is no time zone"),
        (f'{RULE}hours = "Mon-Thu 08:00-17:00 ../../etc/passwd"\n', 5, "is no time zone"),
        (f'{RULE}hours = "Mon-Thu 08:60-17:00 UTC"\n', 5, "08:60 is no time of a day"),
        (f'{RULE}hours = "Mo-Th 08:00-17:00 UTC"\n', 5, "these are no hours"),
        (f'{RULE}hours = "Foo 08:00-17:00 UTC"\n', 5, "'Foo' is no day"),
        (f'{RULE}hours = "08:00-08:00 UTC"\n', 5, "begins when it ends"),
        (f'{RULE}arguments = {{ "env" = {{ equals = "x" }} }}\n', 5, "it does not begin with a slash"),
        (f'{RULE}[rule.arguments]\n"/a" = {{ equals = "x" }}\n"/b~2" = {{ equals = "x" }}\n', 7, "is no JSON pointer"),
        (f'{RULE}arguments = {{ "/n" = {{ at_least = 3, at_most = 2 }} }}\n', 5, "at_least is more than at_most"),
        (f'{RULE}arguments = {{ "/n" = {{ equals = 1, in = [2, 3] }} }}\n', 5, "no value passes all of it"),
        (f'{RULE}arguments = {{ "/n" = {{ equals = true, in = [1] }} }}\n', 5, "no value passes all of it"),
        (f'{RULE}arguments = {{ "/n" = {{ in = [] }} }}\n', 5, "in is empty"),
        (f'{RULE}arguments = {{ "/n" = {{ glob = "a*", equals = "b" }} }}\n', 5, "no value passes all of it"),
        (f'{RULE}arguments = {{ "/n" = {{ glob = "a*", at_most = 2 }} }}\n', 5, "no value is a text and a number"),
        (f'{RULE}arguments = {{ "/n" = {{ exists = false, equals = "b" }} }}\n', 5, "has no value to compare"),
        (f'{RULE}arguments = {{ "/n" = {{ }} }}\n', 5, "it compares with nothing"),
        (
            f'{RULE}arguments = {{ "/n" = {{ exists = true, ignore_case = true }} }}\n',
            5,
            "ignore_case compares nothing",
        ),
        (f'{RULE}arguments = {{ "/n" = {{ equals = 1979-05-27 }} }}\n', 5, "is no value that JSON has"),
        (f'{RULE}arguments = {{ "/n" = {{ at_most = inf }} }}\n', 5, "finite number"),
        (f'{RULE}arguments = {{ "/n" = {{ at_most = true }} }}\n', 5, "at_most"),
        (f'{RULE}arguments = {{ "/n" = {{ equal = 1 }} }}\n', 5, "Did you mean 'equals'?"),
        (f"{RULE}{RULE}", 6, "another rule has this name"),
        (
            f'{RULE}[[rule]]\nname = "s"\ntools = ["a/b"]\nthen = "deny"\n',
            5,
            "the rule 'r' before it decides every such call",
        ),
        ('[places."slack:T1:*"]\ndry_run = true\n', 1, "Write one table for each place"),
        ('[places."C1"]\ndry_run = true\n', 1, "'C1' is no place"),
        ('[places."console"]\ntools = []\n', 2, "it names no tool"),
        ('[people]\nann = ["slack:T1:U1"]\nben = ["slack:T1:U1"]\n', 3, "an account of ann too"),
        ('[people]\nann = ["discord:G1:300"]\n', 2, "is no account"),
        ('[people]\n"slack:T1:U9" = ["slack:T1:U1"]\n', 2, "'slack:T1:U9' is no name of the file's own"),
        ('[groups]\n"@a" = []\n', 2, "'@a' is no name of the file's own"),
        ('[access]\napps = ["B1"]\n', 2, "'B1' is no app"),
        ('[access]\nblocked_patterns = ["(a"]\n', 2, "'(a' is no pattern"),
        ("[budgets]\nperson = { turns_per_day = 0 }\n", 2, "greater than 0"),
        ("[budgets]\nperson = { turns_per_week = 1 }\n", 2, "turns_per_week"),
        ("[budgets.team]\nturns_per_day = 1\n", 1, "there is no key 'team'"),
        ('[budgets]\ntimezone = "Mars/Base"\n', 2, "'Mars/Base' is no time zone"),
        ('[budgets]\ntimezone = "../../etc/passwd"\n', 2, "is no time zone"),
        ('[budgets]\nwarn_in = "slack:T1:dm"\n', 2, "is no place to warn in"),
        ("[budgets]\nall = { usd_per_day = 1e300 }\n", 2, "less than or equal"),
        ('[budgets]\nperson = { usd_per_day = "5" }\n', 2, "usd_per_day: input should be a valid number"),
        ("[[budgets.override]]\nturns_per_day = 1\n", 1, "an override is for people or for places"),
        ('[[budgets.override]]\npeople = ["@x"]\nturns_per_day = 1\n', 2, "there is no group @x"),
        ('[[budgets.override]]\npeople = ["*"]\nturns_a_day = 1\n', 3, "turns_per_day"),
        ("x = 'a\n", 1, "it is not TOML"),
        ("\n\nx = 1\nx = 2\n", 4, "it is not TOML"),
    ],
)
def test_an_error_names_the_file_the_line_and_the_cure(text: str, line: int, said: str) -> None:
    found = errors_of(text)
    assert [error for error in found if said in error and error.startswith(f"t.toml:{line}: ")], found


def test_all_errors_are_reported_together_in_their_order() -> None:
    found = errors_of(
        f'[access]\npeople = ["@x"]\n{RULE}hours = "never"\nwhen = 1\n[[rule]]\ntools = ["b"]\nthen = "deny"\n'
    )
    assert [error.split(":")[1] for error in found] == ["2", "7", "8", "10"]


def test_there_is_a_bound_for_rules() -> None:
    text = "".join(f'[[rule]]\ntools = ["a/b{number}"]\nthen = "ask"\n' for number in range(1_001))
    assert errors_of(text)[0].startswith("t.toml:3001: rule 1001: there are more than 1,000 rules")


def test_one_mistake_is_one_error_and_hides_none_behind_it() -> None:
    shadowed = (
        '[[rule]]\nname = "s"\ntools = ["*/*"]\nthen = "allow"\n[[rule]]\nname = "t"\ntools = ["c/d"]\nthen = "deny"\n'
    )
    found = errors_of(f'{RULE}approvers = ["@oncal"]\napprovals = 2\n{shadowed}')
    assert [error.split(": ")[1] for error in found] == ["rule 'r'", "rule 't'"]


def test_the_digest_of_a_policy_is_of_what_it_says_not_of_how_it_is_written() -> None:
    one, two = "[budgets]\nall = { turns_per_day = 5 }\n", "[access]\noutsiders = true\n"
    first = policy_of(f"{one}{two}").digest
    assert policy_of(f"# rules\n{two}\n{one}").digest == first
    assert len({first, policy_of(one).digest, policy_of(two).digest, FilePolicy.default().digest}) == 4


def test_bytes_that_are_no_text_are_an_error_with_their_line() -> None:
    assert errors_of(b"[groups]\n# ok\na = ['\xff']\n")[0].startswith("t.toml:3: it is not UTF-8 text")
    assert "is too large or too deep" in errors_of("a = " + "9" * 5_000)[0]
    assert errors_of("a = " + "[" * 10_000)[0].startswith("t.toml:1: it is not TOML")


def test_a_mark_at_the_beginning_is_no_error() -> None:
    assert read_policy(b"\xef\xbb\xbf[groups]\na = []\n", file="t").groups.names == ("a",)


# --- rules that leave nothing to others ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "is_shadowed"),
    [
        ('tools = ["*/*"]', 'tools = ["a/b"]', True),
        ('tools = ["a/*"]', 'tools = ["a/b*", "a/c"]', True),
        ('tools = ["a/*"]', 'tools = ["a/b", "c/d"]', False),
        ('tools = ["a/b*"]', 'tools = ["a/*"]', False),
        ('tools = ["*/*"]\npeople = ["@team"]', 'tools = ["a/b"]\npeople = ["slack:T1:U1"]', True),
        ('tools = ["*/*"]\npeople = ["@team"]', 'tools = ["a/b"]', False),
        ('tools = ["*/*"]\npeople = ["slack:T1:*"]', 'tools = ["a/b"]\npeople = ["slack:T1:U7"]', True),
        ('tools = ["*/*"]\npeople = ["discord:300"]', 'tools = ["a/b"]\npeople = ["discord:G1:300"]', True),
        ('tools = ["*/*"]\nplaces = ["slack:*"]', 'tools = ["a/b"]\nplaces = ["slack:T1:C1", "slack:T2:*"]', True),
        ('tools = ["*/*"]\nplaces = ["slack:T1:*"]', 'tools = ["a/b"]\nplaces = ["*"]', False),
        ('tools = ["*/*"]\nhours = "08:00-09:00 UTC"', 'tools = ["a/b"]', False),
        ('tools = ["*/*"]\narguments = { "/a" = { exists = true } }', 'tools = ["a/b"]', False),
        ('tools = ["a/b"]', 'tools = ["*/*"]\narguments = { "/a" = { exists = true } }', False),
        ('tools = ["*/*"]', 'tools = ["a/b"]\narguments = { "/a" = { exists = true } }', True),
    ],
)
def test_a_rule_behind_a_wider_one_can_never_match(first: str, second: str, is_shadowed: bool) -> None:
    text = f'[groups]\nteam = ["slack:T1:U1"]\n[[rule]]\n{first}\nthen = "ask"\n[[rule]]\n{second}\nthen = "deny"\n'
    if is_shadowed:
        assert "can never match" in errors_of(text)[0]
    else:
        policy_of(text)


# --- warnings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (RULE, "no server 'a' is configured. There are: wiki"),
        ('[places."console"]\ntools = ["x/*"]\n', "no server 'x' is configured"),
        ('[[rule]]\ntools = ["wiki/*"]\nthen = "deny"\nexpires = "2h"\n', "expires has no effect"),
        ('[[rule]]\ntools = ["wiki/*"]\nthen = "allow"\narguments = { "/a/*" = { equals = 1 } }\n', "one element"),
        ("[access]\npeople = []\n", "nobody can use the bot"),
    ],
)
def test_what_is_odd_and_can_be_used_is_a_warning(text: str, said: str) -> None:
    policy = read_policy(text.encode(), file="t.toml", servers=["wiki"])
    assert [warning for warning in policy.warnings if said in str(warning)]


def test_a_pattern_of_servers_that_one_server_matches_is_no_warning() -> None:
    for tool in ("w*/x", "*/x"):
        text = f'[[rule]]\ntools = ["{tool}"]\nthen = "ask"'
        assert read_policy(text.encode(), file="t", servers=["wiki"]).warnings == ()
    text = '[[rule]]\ntools = ["io.github/x/*"]\nthen = "ask"'
    assert read_policy(text.encode(), file="t", servers=["io.github/x"]).warnings == ()


# --- access ----------------------------------------------------------------------------------------------------


def test_by_default_everybody_may_write_but_for_outsiders() -> None:
    policy = FilePolicy.default()
    assert policy.may_write(ANN, HERE) == ""
    assert "you are a guest of this workspace" in policy.may_write(_changed(outsider="a guest of this workspace"), HERE)
    assert policy.may_write(_changed(problem="Slack is down"), HERE) == ""


def test_access_names_people_and_places() -> None:
    policy = policy_of(f"""
[groups]
team = ["slack:T1:U1", "slack:T1:usergroup:S0"]
[access]
people = ["@team"]
places = ["{HERE}"]
outsiders = true
blocked_patterns = ['AKIA[0-9A-Z]{{16}}', '(?i)confidential']
""")
    assert policy.may_write(_changed(outsider="a guest"), HERE) == ""
    assert policy.may_write(ANN, f"{HERE}:1.2") == ""
    assert "in this place" in policy.may_write(ANN, "console")
    stranger = _changed(id="slack:T1:U9", names=frozenset({"slack:T1:U9"}))
    assert "not among the people" in policy.may_write(stranger, HERE)
    unsure = _changed(id="x", names=frozenset({"x"}), unknown={"slack:T1:usergroup:S0": "Slack is down"})
    assert "cannot find out" in policy.may_write(unsure, HERE) and "Slack is down" in policy.may_write(unsure, HERE)
    assert policy.may_write(_changed(problem="Slack is down"), HERE) != ""
    assert policy.blocked("it is CONFIDENTIAL \ud800") and not policy.blocked("hello")


def _changed(**others: Any) -> Person:
    return replace(ANN, **others)


# --- any file --------------------------------------------------------------------------------------------------

_WORDS = st.sampled_from(
    ["groups", "people", "access", "rule", "places", "budgets", "name", "tools", "then", "arguments", "hours", "equals",
     "in", "approvers", "expires", "ask_in", "*", "@a", "slack:T1:U1", "allow", "ask", "a/b", "/env", "/a~", "1h", "x",
     "person", "blocked_patterns", "operators", "at_least", "glob", "[", "Mon 08:00-09:00 UTC"]
)  # fmt: skip
_VALUES = st.recursive(
    st.one_of(
        _WORDS,
        st.text(max_size=5),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.just(datetime(2026, 1, 1, tzinfo=UTC)),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(_WORDS, st.text(max_size=3)), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(_WORDS, _VALUES, max_size=5))
@settings(max_examples=100, deadline=None)
def test_a_file_of_any_shape_is_a_policy_or_a_policy_file_error(document: dict[str, Any]) -> None:
    _read_or_refuse(dumps(document).encode("utf-8", "surrogatepass"))


_RULES = st.fixed_dictionaries(
    {
        "tools": st.lists(st.sampled_from(["a/b", "*/*", "a", ""]), max_size=2),
        "then": st.sampled_from(["allow", "ask", "deny"]),
    },
    optional={
        "arguments": st.dictionaries(_WORDS, st.dictionaries(_WORDS, _VALUES, max_size=3), max_size=2),
        "hours": _VALUES, "expires": _VALUES, "people": _VALUES, "approvals": _VALUES, "name": _VALUES,
    },
)  # fmt: skip


@given(st.lists(_RULES, max_size=3))
@settings(max_examples=100, deadline=None)
def test_rules_of_any_shape_are_a_policy_or_a_policy_file_error(rules: list[dict[str, Any]]) -> None:
    _read_or_refuse(dumps({"rule": rules}).encode("utf-8", "surrogatepass"))


@given(st.one_of(st.binary(max_size=200), st.text(alphabet="[]\"=\n{}.,#ar'1é", max_size=60).map(str.encode)))
@settings(max_examples=100, deadline=None)
def test_bytes_of_any_kind_are_a_policy_or_a_policy_file_error(content: bytes) -> None:
    _read_or_refuse(content)


def _read_or_refuse(content: bytes) -> None:
    try:
        policy = read_policy(content, file="t.toml", servers=["a"])
    except PolicyFileError as error:
        findings = error.findings
    else:
        assert policy.decide(facts(arguments={"env": math.nan})).verdict in ("allow", "ask", "deny")
        return
    assert findings
    last = content.count(b"\n") + 1
    assert all(1 <= finding.line <= last and finding.what and finding.cure for finding in findings)
