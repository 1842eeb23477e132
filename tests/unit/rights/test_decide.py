"""What the policy says of a call: the first rule that matches, or the defaults."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from bot.domain.people import Actor, Standing
from bot.domain.rights import Tool
from bot.ports.rights import Memberships
from bot.rights.policy import FilePolicy
from tests.unit.rights.parts import ANN, BEN, DEPLOY, HERE, facts, policy_of

BUNDLED = Tool(server="toolbridge", tool="calculate", is_bundled=True)
READING = Tool(server="wiki", tool="read", is_read_only=True)


# --- the defaults ----------------------------------------------------------------------------------------------


def test_without_a_file_bundled_and_read_only_tools_are_allowed_and_all_others_ask_the_asker() -> None:
    policy = FilePolicy.default()
    assert policy.decide(facts(tool=BUNDLED)).verdict == "allow"
    assert policy.decide(facts(tool=READING)).verdict == "allow"
    ruling = policy.decide(facts())
    assert (ruling.verdict, ruling.terms.is_own, ruling.terms.expires_s) == ("ask", True, 3600)
    assert ruling.rule == "default: everything else asks"


def test_a_file_without_a_matching_rule_leaves_the_defaults() -> None:
    policy = policy_of('[[rule]]\ntools = ["other/*"]\nthen = "deny"')
    assert policy.decide(facts()) == FilePolicy.default().decide(facts())


def test_the_first_rule_that_matches_decides() -> None:
    policy = policy_of("""
[[rule]]
name = "one"
tools = ["deploys/deploy"]
people = ["slack:T1:U2"]
then = "deny"
[[rule]]
name = "two"
tools = ["deploys/*"]
then = "allow"
[[rule]]
name = "three"
tools = ["*/*"]
then = "ask"
reason = "Because."
""")
    assert [policy.decide(facts(person=who)).rule for who in (ANN, BEN)] == ["two", "one"]
    other = policy.decide(facts(tool=Tool(server="x", tool="y")))
    assert (other.verdict, other.rule, other.reason) == ("ask", "three", "Because.")


@pytest.mark.parametrize(
    ("pattern", "server", "tool", "matches"),
    [
        ("deploys/deploy*", "deploys", "deploy_now", True),
        ("deploys/deploy*", "deploys", "undeploy", False),
        ("deploys/Deploy", "deploys", "deploy", False),
        ("*/deploy", "other", "deploy", True),
        ("dep*/deploy", "dep", "loys/deploy", False),  # the star does not cross the slash
        ("*/*", "io.github/x", "a/b", True),
        ("io.github/x/*", "io.github/x", "y", True),
        ("a/b?c", "a", "bxc", False),
        ("a/[ab]", "a", "a", False),
        ("a/*x*y*", "a", "1x2y3", True),
        ("a/*x*x", "a", "x", False),
    ],
)
def test_patterns_of_tools(pattern: str, server: str, tool: str, matches: bool) -> None:
    policy = policy_of(f'[[rule]]\nname = "r"\ntools = ["{pattern}"]\nthen = "deny"')
    assert (policy.decide(facts(tool=Tool(server=server, tool=tool))).rule == "r") is matches


# --- people and places -----------------------------------------------------------------------------------------

DISCORD_ANN = Actor(platform="discord", space="G1", id="300")


@pytest.mark.parametrize(
    ("named", "actor", "is_in"),
    [
        ("slack:T1:U1", Actor(platform="slack", space="T1", id="U1"), True),
        ("slack:T1:U1", Actor(platform="slack", space="T2", id="U1"), False),
        ("discord:300", DISCORD_ANN, True),
        ("discord:G1:300", DISCORD_ANN, True),
        ("discord:G2:300", DISCORD_ANN, False),
        ("discord:G1:300", replace(DISCORD_ANN, space="@me"), False),
        ("discord:G1:*", DISCORD_ANN, True),
        ("discord:G1:role:7", DISCORD_ANN, True),
        ("discord:G1:role:8", DISCORD_ANN, False),
        ("discord:G1:role:G1", DISCORD_ANN, True),  # everybody in the server
        ("discord:G2:role:7", DISCORD_ANN, False),
        ("slack:*", DISCORD_ANN, False),
        ("console:ann", Actor(platform="console", space="", id="ann"), True),
        ("@team", DISCORD_ANN, True),
        ("@wider", DISCORD_ANN, True),
        ("*", DISCORD_ANN, True),
    ],
)
def test_people_are_named_by_accounts_roles_and_groups(named: str, actor: Actor, is_in: bool) -> None:
    policy = policy_of(f"""
[groups]
team = ["discord:300"]
wider = ["slack:T1:U9", "@team"]
[[rule]]
name = "r"
tools = ["*/*"]
people = ["{named}"]
then = "deny"
""")
    person = policy.person(actor, Standing(roles=("7",)), Memberships())
    assert (policy.decide(facts(person=person)).rule == "r") is is_in
    assert policy.includes([named], person).is_in is is_in


def test_accounts_of_one_person_are_one_person() -> None:
    policy = policy_of("""
[people]
jdoe = ["slack:T1:U1", "discord:300", "console:jdoe"]
[[rule]]
tools = ["*/*"]
people = ["slack:T1:U1"]
then = "deny"
""")
    people = [
        policy.person(actor, Standing(), Memberships())
        for actor in (
            DISCORD_ANN,
            Actor(platform="slack", space="T1", id="U1"),
            Actor(platform="console", space="", id="jdoe"),
        )
    ]
    assert {person.id for person in people} == {"jdoe"}
    assert {policy.decide(facts(person=person)).verdict for person in people} == {"deny"}


@pytest.mark.parametrize(
    ("named", "place", "is_in"),
    [
        ("slack:T1:C042", "slack:T1:C042", True),
        ("slack:T1:C042", "slack:T1:C042:1700.1", True),  # a thread belongs to its channel
        ("slack:T1:C04", "slack:T1:C042", False),
        ("slack:T1:dm", "slack:T1:dm", True),
        ("slack:T1:*", "slack:T1:dm", True),
        ("slack:T1:*", "slack:T12:C1", False),
        ("discord:*", "discord:dm", True),
        ("console", "console", True),
        ("*", "console", True),
    ],
)
def test_places(named: str, place: str, is_in: bool) -> None:
    policy = policy_of(f'[[rule]]\nname = "r"\ntools = ["*/*"]\nplaces = ["{named}"]\nthen = "deny"')
    assert (policy.decide(facts(place=place)).rule == "r") is is_in


@pytest.mark.parametrize("then", ["allow", "ask", "deny"])
def test_where_a_group_cannot_be_asked_for_the_answer_is_no(then: str) -> None:
    policy = policy_of(f"""
[groups]
oncall = ["slack:T1:usergroup:S0"]
[[rule]]
name = "r"
tools = ["deploys/*"]
people = ["@oncall"]
arguments = {{ "/env" = {{ equals = "prod" }} }}
then = "{then}"
[[rule]]
tools = ["*/*"]
then = "allow"
""")
    unsure = replace(ANN, unknown={"slack:T1:usergroup:S0": "Slack does not answer"})
    ruling = policy.decide(facts(person=unsure, arguments={"env": "prod"}))
    assert (ruling.verdict, ruling.rule) == ("deny", "r")
    assert "Slack does not answer" in ruling.reason
    assert policy.decide(facts(person=unsure, arguments={"env": "dev"})).verdict == "allow"  # nothing hangs on it
    assert policy.includes(["@oncall"], unsure).problem == "Slack does not answer"
    assert policy.prospect(unsure, HERE, DEPLOY) == "depends"


def test_a_place_may_leave_tools_out_whatever_the_rules_say() -> None:
    policy = policy_of(f"""
[places."{HERE}"]
tools = ["wiki/*"]
dry_run = true
[[rule]]
tools = ["*/*"]
then = "allow"
""")
    ruling = policy.decide(facts())
    assert (ruling.verdict, ruling.rule) == ("deny", f"places.{HERE}")
    assert policy.decide(facts(tool=READING)).verdict == policy.decide(facts(place="console")).verdict == "allow"
    assert policy.place(f"{HERE}:1700.1").dry_run and not policy.place("console").dry_run
    assert policy.prospect(ANN, HERE, DEPLOY) == "deny"


# --- a tool whose definition has changed -----------------------------------------------------------------------

CHANGED = replace(DEPLOY, change="its description was changed")
OPERATORS = '[access]\noperators = ["slack:T1:U9"]\n'


@pytest.mark.parametrize(
    ("then", "operators", "verdict", "approvers"),
    [("allow", OPERATORS, "ask", ("slack:T1:U9",)), ("allow", "", "ask", ()), ("deny", OPERATORS, "deny", ())],
)
def test_a_changed_tool_asks_an_operator_and_where_there_is_none_the_asker(
    then: str, operators: str, verdict: str, approvers: tuple[str, ...]
) -> None:
    policy = policy_of(f'{operators}[[rule]]\ntools = ["*/*"]\nthen = "{then}"')
    ruling = policy.decide(facts(tool=CHANGED))
    assert (ruling.verdict, ruling.terms.approvers) == (verdict, approvers)
    assert policy.prospect(ANN, HERE, CHANGED) == verdict


def test_a_changed_tool_needs_no_fewer_people_than_its_rule_wants() -> None:
    policy = policy_of("""
[[rule]]
tools = ["*/*"]
then = "ask"
approvers = ["*"]
approvals = 2
asker_may_approve = false
""")
    ruling = policy.decide(facts(tool=CHANGED))
    assert (ruling.terms.approvers, ruling.terms.approvals, ruling.terms.asker_may_approve) == (("*",), 2, False)
    assert ruling.rule_key != policy.decide(facts()).rule_key  # no grant for the rule is one for the changed tool


def test_the_bundled_server_may_change() -> None:
    assert FilePolicy.default().decide(facts(tool=replace(BUNDLED, change="x"))).verdict == "allow"


# --- hours -----------------------------------------------------------------------------------------------------

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("hours", "at", "holds"),
    [
        ("Mon-Thu 08:00-17:00 Europe/Berlin", datetime(2026, 11, 26, 8, 0, tzinfo=BERLIN), True),
        ("Mon-Thu 08:00-17:00 Europe/Berlin", datetime(2026, 11, 26, 17, 0, tzinfo=BERLIN), False),
        ("Mon-Thu 08:00-17:00 Europe/Berlin", datetime(2026, 11, 27, 12, 0, tzinfo=BERLIN), False),
        ("Mon-Thu 08:00-17:00 Europe/Berlin", datetime(2026, 7, 1, 6, 0, tzinfo=ZoneInfo("UTC")), True),  # summer
        ("Mon-Thu 08:00-17:00 Europe/Berlin", datetime(2026, 12, 2, 6, 30, tzinfo=ZoneInfo("UTC")), False),  # winter
        ("Fri 22:00-06:00 Europe/Berlin", datetime(2026, 11, 28, 5, 59, tzinfo=BERLIN), True),
        ("Fri 22:00-06:00 Europe/Berlin", datetime(2026, 11, 27, 5, 59, tzinfo=BERLIN), False),
        ("Sun 22:00-06:00 UTC", datetime(2026, 11, 30, 3, 0, tzinfo=ZoneInfo("UTC")), True),
        ("Fri-Mon 00:00-24:00 UTC", datetime(2026, 11, 29, 23, 59, tzinfo=ZoneInfo("UTC")), True),
        ("Fri-Mon 00:00-24:00 UTC", datetime(2026, 12, 1, 0, 0, tzinfo=ZoneInfo("UTC")), False),
        ("Mon 08:00-09:00 UTC, Wed 08:00-09:00 UTC", datetime(2026, 11, 25, 8, 30, tzinfo=ZoneInfo("UTC")), True),
        ("08:00-09:00 UTC", datetime(2026, 11, 25, 8, 30, tzinfo=ZoneInfo("UTC")), True),
        # the hour that the night of the change has twice, and the one that it leaves out
        ("Sun 02:00-03:00 Europe/Berlin", datetime(2026, 10, 25, 0, 30, tzinfo=ZoneInfo("UTC")), True),
        ("Sun 02:00-03:00 Europe/Berlin", datetime(2026, 10, 25, 1, 30, tzinfo=ZoneInfo("UTC")), True),
        ("Sun 02:00-03:00 Europe/Berlin", datetime(2026, 3, 29, 1, 0, tzinfo=ZoneInfo("UTC")), False),
    ],
)
def test_hours_are_those_of_the_clocks_in_the_zone(hours: str, at: datetime, holds: bool) -> None:
    policy = policy_of(f'[[rule]]\nname = "r"\ntools = ["*/*"]\nhours = "{hours}"\nthen = "deny"')
    assert (policy.decide(facts(at=at)).rule == "r") is holds


# --- what would happen -----------------------------------------------------------------------------------------


def test_the_prospect_depends_only_where_arguments_or_time_can_change_the_verdict() -> None:
    policy = policy_of("""
[[rule]]
tools = ["a/*"]
arguments = { "/env" = { equals = "prod" } }
then = "deny"
[[rule]]
tools = ["b/*"]
hours = "08:00-09:00 UTC"
then = "ask"
[[rule]]
tools = ["c/*"]
people = ["slack:T1:U2"]
then = "deny"
""")
    tools = [Tool(server=name, tool="x") for name in "abc"]
    assert [policy.prospect(ANN, HERE, tool) for tool in tools] == ["depends", "ask", "ask"]
    assert policy.prospect(BEN, HERE, tools[2]) == "deny"


# --- keys ------------------------------------------------------------------------------------------------------

RULE = '[[rule]]\nname = "r"\ntools = ["*/*"]\nthen = "ask"\n'


def test_the_key_of_a_rule_is_the_same_as_long_as_the_rule_is() -> None:
    def key(text: str) -> str:
        return policy_of(text).rules[-1].ruling.rule_key

    assert key(RULE) == key('[[rule]]\ntools = ["a/b"]\nthen = "deny"\n' + RULE)
    others = ['expires = "2h"', 'reason = "x"', 'people = ["slack:T1:U1"]', 'arguments = { "/a" = { equals = 1 } }']
    keys = [key(RULE), key(RULE.replace("ask", "allow")), *(key(RULE + other) for other in others)]
    assert len(set(keys)) == len(keys)


# --- groups ----------------------------------------------------------------------------------------------------


def test_only_groups_that_may_hold_one_of_the_persons_accounts_are_of_interest() -> None:
    policy = policy_of("""
[groups]
unused = ["slack:T1:usergroup:S7"]
oncall = ["slack:T1:usergroup:S0", "slack:T2:usergroup:S1", "discord:G1:role:7"]
[people]
jdoe = ["slack:T1:U1", "discord:300"]
[[rule]]
tools = ["*/*"]
then = "ask"
approvers = ["@oncall"]
""")
    slack, discord, console = (
        "slack:T1:usergroup:S0",
        "discord:G1:role:7",
        Actor(platform="console", space="", id="x@y"),
    )
    assert policy.groups_of_interest(Actor(platform="slack", space="T1", id="U1")) == {slack, discord}
    assert policy.groups_of_interest(Actor(platform="slack", space="T1", id="U2")) == {slack}
    assert policy.groups_of_interest(DISCORD_ANN) == {slack, discord}
    assert policy.groups_of_interest(console) == frozenset()


def test_a_user_of_the_operating_system_may_have_any_name() -> None:
    for name in ("jdoe", "j.doe@corp.example", "CORP\\\\jdoe", "J Doe"):
        policy = policy_of(f'[[rule]]\nname = "r"\ntools = ["*/*"]\npeople = ["console:{name}"]\nthen = "deny"')
        actor = Actor(platform="console", space="", id=name.replace("\\\\", "\\"))
        assert policy.decide(facts(person=policy.person(actor, Standing(), Memberships()))).rule == "r"
