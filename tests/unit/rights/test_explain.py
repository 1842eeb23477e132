"""Why a call is decided as it is, in words for an operator."""

from __future__ import annotations

from dataclasses import replace

from bot.domain.rights import Person, Tool
from bot.rights.explain import explain
from bot.rights.policy import FilePolicy
from tests.unit.rights.parts import ANN, HERE, facts, policy_of

POLICY = policy_of("""
[groups]
oncall = ["slack:T1:usergroup:S0"]
[[rule]]
name = "wiki"
tools = ["wiki/*"]
then = "allow"
[[rule]]
name = "elsewhere"
tools = ["deploys/*"]
places = ["slack:T1:C1", "discord:*"]
then = "deny"
[[rule]]
name = "on call"
tools = ["deploys/*"]
people = ["@oncall"]
then = "allow"
[[rule]]
name = "nights"
tools = ["deploys/*"]
hours = "22:00-06:00 Europe/Berlin"
then = "deny"
[[rule]]
name = "staging"
tools = ["deploys/*"]
arguments = { "/env" = { in = ["staging", "dev"] }, "/replicas" = { at_most = 10 } }
then = "allow"
[[rule]]
name = "production"
tools = ["deploys/*"]
then = "ask"
approvers = ["@oncall", "slack:T1:U9"]
approvals = 2
asker_may_approve = false
ask_in = "dm"
expires = "2h"
reason = "Two people."
""")
GROUP = frozenset({"slack:T1:usergroup:S0"})


def test_each_rule_before_the_deciding_one_says_why_it_did_not_match() -> None:
    explained = explain(POLICY, facts(arguments={"env": "prod", "replicas": 3}), assumed=GROUP)
    assert (explained.ruling.verdict, explained.ruling.rule, explained.source) == (
        "ask",
        "production",
        "toolbridge.toml:28",
    )
    assert dict(explained.before) == {
        "wiki": "It is about wiki/*.",
        "elsewhere": "It holds in slack:T1:C1, discord:*.",
        "on call": "It is for @oncall, and slack:T1:U1 is not among them.",
        "nights": "It holds 22:00-06:00 Europe/Berlin; it is Wed 13:00 in Europe/Berlin.",
        "staging": 'It wants /env in ["staging", "dev"]; /env is "prod".',
    }
    assert explained.terms == (
        "Approved by 2 of @oncall, slack:T1:U9 (slack:T1:usergroup:S0), but not the one who asks, in direct messages, "
        "within 120 min."
    )
    assert explained.not_known == (
        "whether slack:T1:U1 is in slack:T1:usergroup:S0: taken as no (--group S0 says yes)",
    )


def test_what_is_missing_or_cannot_be_compared_is_said() -> None:
    explained = explain(POLICY, facts(arguments={"env": "dev"}))
    assert dict(explained.before)["staging"] == "It wants /replicas at_most 10; /replicas is not given."
    assert "the defaults in the tool's schema" in explained.not_known[0]
    odd = dict(explain(POLICY, facts(arguments={"env": ["dev"], "replicas": 1})).before)["staging"]
    assert odd.endswith("That cannot be compared, and a rule that allows does not match then.")
    none = dict(explain(POLICY, facts(no_object=True)).before)["staging"]
    assert none.endswith("the arguments are not one JSON object.")


def test_who_may_not_write_there_is_denied_before_any_rule() -> None:
    explained = explain(POLICY, facts(person=replace(ANN, outsider="a guest")))
    assert (explained.ruling.verdict, explained.ruling.rule, explained.before) == ("deny", "[access]", ())


def test_what_it_explains_is_what_is_decided() -> None:
    for policy in (POLICY, FilePolicy.default(), policy_of(f'[places."{HERE}"]\ntools = ["wiki/*"]')):
        for tool in (Tool(server="wiki", tool="x"), Tool(server="deploys", tool="x", change="it has changed")):
            for groups in (frozenset[str](), GROUP):
                call = facts(person=replace(ANN, groups=groups), tool=tool, arguments={"env": "dev", "replicas": 1})
                assert explain(policy, call).ruling == policy.decide(call)


def test_a_rule_whose_group_cannot_be_asked_for_decides() -> None:
    unsure = Person(id="slack:T1:U1", names=ANN.names, unknown={"slack:T1:usergroup:S0": "Slack is down"})
    explained = explain(POLICY, facts(person=unsure))
    assert (explained.ruling.verdict, explained.ruling.rule, explained.source) == (
        "deny",
        "on call",
        "toolbridge.toml:13",
    )
