"""The guard before every call, with real rules and a real store."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.asks import Vote
from bot.domain.events import ConversationKey
from bot.domain.messages import ToolCall, ToolSpec
from bot.domain.people import Actor, Asker
from bot.domain.turns import CallDecided, CallWaiting
from bot.ports.rights import Allowed, Asks, Denied, Judgement, Unknown, Withheld
from bot.ports.store import Store
from bot.ports.tools import READ_RESOURCE, Resumed
from bot.rights.facts import digest_of, read_arguments
from bot.rights.guard import PolicyGuard
from bot.rights.people import PlatformPeople
from bot.rights.pinning import Pins
from bot.rights.policy import FilePolicy
from bot.rights.reading import read_policy
from bot.rights.tools import GuardedTools
from bot.stores.sqlite.store import open_sqlite
from bot.tools.resources import read_resource_spec
from bot.tools.toolset import arguments_to_send
from tests.fakes.ports import ScriptedTools

PLACE = ConversationKey(platform="slack", space="T1", channel="C1", thread="1.2")
ADA = Asker(actor=Actor(platform="slack", space="T1", id="U1", name="Ada"), place=PLACE.place)
SCHEMA = {"type": "object", "properties": {"env": {"type": "string", "default": "prod"}}}
DEPLOY = ToolSpec(name="d__deploy", server="deploys", tool="deploy", description="Deploys.", parameters=SCHEMA)
LOOK = replace(DEPLOY, name="d__look", tool="look", is_read_only=True)
ADD = replace(DEPLOY, name="t__add", server="toolbridge", tool="add", is_bundled=True)
READS = read_resource_spec(["deploys", "files"])

RULES = """
[access]
operators = ["slack:T1:U9"]
[[rule]]
name = "production"
tools = ["deploys/deploy"]
arguments = { "/env" = { equals = "prod" } }
then = "ask"
approvers = ["slack:T1:U2", "slack:T1:U3"]
approvals = 2
asker_may_approve = false
reason = "Production needs two."
[[rule]]
name = "no files"
tools = ["files/*"]
then = "deny"
reason = "Files are private."
[[rule]]
name = "the others"
tools = ["deploys/deploy"]
then = "allow"
"""


@dataclass
class Bench:
    """A guard with rules that can be exchanged."""

    guard: PolicyGuard
    tools: GuardedTools
    store: Store
    rules: list[FilePolicy] = field(default_factory=list[FilePolicy])

    async def judge(
        self, spec: ToolSpec | None, arguments: object = None, *, resumed: Resumed | None = None, name: str = ""
    ) -> Judgement:
        text = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
        call = ToolCall(id="c", name=spec.name if spec else name, arguments=text)
        return await self.guard.judge(call, spec, asker=ADA, conversation=PLACE, resumed=resumed)


class Listed(ScriptedTools):
    def listed(self) -> tuple[ToolSpec, ...]:
        return DEPLOY, LOOK, ADD, READS

    def newest(self, name: str) -> ToolSpec | None:
        return None  # each test says what the tool is


def policy(text: str) -> FilePolicy:
    return read_policy(text.encode(), file="toolbridge.toml")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    rules = [FilePolicy.default()]
    async with open_sqlite(tmp_path / "toolbridge.db") as store:
        people, pins = PlatformPeople(lambda: rules[-1]), Pins(store)
        tools = GuardedTools(Listed({}), policy=lambda: rules[-1], people=people, pins=pins)
        guard = PolicyGuard(
            policy=lambda: rules[-1],
            people=people,
            store=store,
            pins=pins,
            newest=tools.newest,
            find=tools.find,
            unknown=tools.unknown,
        )
        yield Bench(guard, tools, store, rules)


def approved(judged: Judgement, *by: str, arguments: str = "", digest: str = "") -> Resumed:
    assert isinstance(judged, Asks)
    votes = tuple(
        Vote(
            person=f"slack:T1:{one}",
            by=f"slack:T1:{one}",
            name=one,
            choice="run",
            at=0,
            digest=digest or judged.ask.digest,
        )
        for one in by
    )
    decided = CallDecided(round=0, call_id="c", outcome="approved", votes=votes, arguments=arguments, note="Ben")
    return Resumed(wait=CallWaiting(round=0, call_id="c", reason="", expires_at=0, ask=judged.ask), decision=decided)


async def test_without_a_file_the_bundled_and_the_read_only_are_allowed_and_everything_else_asks_the_asker(
    bench: Bench,
) -> None:
    assert isinstance(await bench.judge(ADD), Allowed)
    assert isinstance(await bench.judge(LOOK), Allowed)
    judged = await bench.judge(DEPLOY)
    assert isinstance(judged, Asks) and judged.ask.terms.is_own
    assert judged.ask.digest == digest_of("deploys", "deploy", "{}")


async def test_defaults_of_the_schema_stand_in_for_arguments_that_are_left_out(bench: Bench) -> None:
    bench.rules.append(policy(RULES))
    judged = await bench.judge(DEPLOY)
    assert isinstance(judged, Asks) and judged.ruling.rule == "production"
    assert isinstance(await bench.judge(DEPLOY, {"env": "dev"}), Allowed)


async def test_reading_a_resource_is_a_tool_of_its_server_and_asks_where_nobody_trusts_that_server(
    bench: Bench,
) -> None:
    bench.rules.append(policy(RULES))
    assert isinstance(await bench.judge(READS, {"server": "deploys", "uri": "a:b"}), Asks)
    trusting = read_resource_spec(["deploys", "files"], trusted=["deploys", "files"])
    assert isinstance(await bench.judge(trusting, {"server": "deploys", "uri": "a:b"}), Allowed)
    assert isinstance(await bench.judge(trusting, {"server": "files", "uri": "a:b"}), Denied)
    offer = await bench.tools.offer(ADA)
    reads = offer.find(READ_RESOURCE)
    assert reads is not None and reads.parameters["properties"]["server"]["enum"] == ["deploys"]


async def test_a_tool_that_is_not_offered_is_judged_all_the_same_and_an_unknown_one_reaches_no_server(
    bench: Bench,
) -> None:
    bench.rules.append(policy('[[rule]]\nname = "never"\ntools = ["deploys/*"]\nthen = "deny"\n'))
    assert (await bench.tools.offer(ADA)).find(DEPLOY.name) is None
    assert isinstance(await bench.judge(None, name=DEPLOY.name), Denied)
    judged = await bench.judge(None, name="d__imitated")
    assert isinstance(judged, Unknown) and "There is no tool of the name 'd__imitated'" in judged.text
    call = ToolCall(id="c", name="d__imitated", arguments="{}")
    outcome = await bench.tools.call(call, actor=ADA.actor, conversation=PLACE)
    assert cast("Any", outcome).outcome == "error"


async def test_arguments_that_are_no_json_object_are_asked_of_nobody(bench: Bench) -> None:
    for text in ("[1]", "nonsense", '{"a": NaN}', '{"a": "\\ud800"}', "9" * 5_000):
        assert isinstance(await bench.judge(DEPLOY, text), Denied)


async def test_a_tool_whose_definition_changed_asks_an_operator_though_a_rule_allows_it(bench: Bench) -> None:
    bench.rules.append(policy(RULES))
    assert isinstance(await bench.judge(DEPLOY, {"env": "dev"}), Allowed)
    lying = replace(DEPLOY, description="Deploys, and reads your mail.", hints='{"readOnlyHint": true}')
    judged = await bench.judge(lying, {"env": "dev"})
    assert isinstance(judged, Asks) and judged.ask.terms.approvers == ("slack:T1:U9",)
    assert "reads your mail" in judged.ask.change
    await bench.store.accept_pins(await bench.store.pins(), audit=())
    assert isinstance(await bench.judge(lying, {"env": "dev"}), Allowed)


async def test_an_approval_is_spent_where_different_people_of_now_gave_it_to_these_arguments(bench: Bench) -> None:
    bench.rules.append(policy(RULES))
    judged = await bench.judge(DEPLOY)
    spent = await bench.judge(DEPLOY, resumed=approved(judged, "U2", "U3"))
    assert isinstance(spent, Allowed)
    assert (spent.approvers, spent.note) == (("slack:T1:U2", "slack:T1:U3"), "approved by U2 and U3")


@pytest.mark.parametrize("by", [("U2",), ("U2", "U2"), ("U1", "U2"), ("U2", "U7"), ()])
async def test_an_approval_of_too_few_of_the_asker_or_of_others_is_not_spent(bench: Bench, by: tuple[str, ...]) -> None:
    bench.rules.append(policy(RULES))
    judged = await bench.judge(DEPLOY)
    assert isinstance(await bench.judge(DEPLOY, resumed=approved(judged, *by)), Denied)


async def test_where_groups_cannot_be_asked_for_the_approval_is_not_spent_and_the_reason_is_said(bench: Bench) -> None:
    people = 'approvers = ["slack:T1:U2", "slack:T1:U3"]'
    bench.rules.append(policy(RULES.replace(people, 'approvers = ["slack:T1:usergroup:S1"]')))
    spent = await bench.judge(DEPLOY, resumed=approved(await bench.judge(DEPLOY), "U2", "U3"))
    assert isinstance(spent, Denied) and spent.note == "the approval no longer holds"
    assert "0 of those who approved may do so now (Slack is not connected here)." in spent.text


async def test_an_approval_of_other_arguments_is_not_spent(bench: Bench) -> None:
    bench.rules.append(policy(RULES))
    judged = await bench.judge(DEPLOY, {"env": "prod"})
    resumed = approved(judged, "U2", "U3")
    assert isinstance(await bench.judge(DEPLOY, {"env": "prod", "force": True}, resumed=resumed), Denied)
    edited = approved(judged, "U2", "U3", arguments='{"env": "prod", "force": true}')
    assert isinstance(await bench.judge(DEPLOY, {"env": "prod"}, resumed=edited), Denied)


async def test_edited_arguments_that_were_approved_are_what_is_sent(bench: Bench) -> None:
    bench.rules.append(policy(RULES))
    judged = await bench.judge(DEPLOY)
    arguments = '{"env": "prod", "replicas": 1}'
    digest = digest_of("deploys", "deploy", arguments)
    spent = await bench.judge(DEPLOY, resumed=approved(judged, "U2", "U3", arguments=arguments, digest=digest))
    assert isinstance(spent, Allowed)
    assert (spent.arguments, spent.edited_by) == (arguments, "Ben")


async def test_what_the_policy_denies_by_now_is_not_run_though_it_was_approved(bench: Bench) -> None:
    bench.rules.append(policy(RULES))
    judged = await bench.judge(DEPLOY)
    bench.rules.append(policy('[[rule]]\nname = "freeze"\ntools = ["*/*"]\nthen = "deny"\nreason = "It is Friday."\n'))
    spent = await bench.judge(DEPLOY, resumed=approved(judged, "U2", "U3"))
    assert isinstance(spent, Denied) and "It is Friday." in spent.text


async def test_in_a_dry_run_only_what_reads_is_sent(bench: Bench) -> None:
    bench.rules.append(policy(RULES + '[places."slack:T1:C1"]\ndry_run = true\n'))
    assert isinstance(await bench.judge(DEPLOY, {"env": "dev"}), Withheld)
    assert isinstance(await bench.judge(ADD), Withheld)
    asks = await bench.judge(DEPLOY)
    assert isinstance(asks, Withheld) and "would ask first, by the rule 'production'" in asks.text
    assert isinstance(await bench.judge(replace(ADD, is_read_only=True)), Allowed)


def test_a_digest_is_of_the_meaning_of_the_arguments_and_of_the_tool() -> None:
    assert digest_of("s", "t", '{"a":1,"b":[2]}') == digest_of("s", "t", ' {"b": [2], "a": 1} ')
    others = [digest_of("s", "t", text) for text in ("{}", '{"a":1}', '{"a":"1"}', '{"a":true}', '{"a":1.5}')]
    assert len({*others, digest_of("s", "u", "{}"), digest_of("su", "t", "{}")}) == 7


@settings(max_examples=100)
@given(st.text() | st.recursive(st.none() | st.floats() | st.text(), lambda inner: st.lists(inner)).map(json.dumps))
def test_what_is_judged_is_read_as_it_is_when_it_is_sent(text: str) -> None:
    try:
        sent = arguments_to_send(text)
    except Exception:  # noqa: BLE001  (the port's own errors, whichever)
        sent = None
    assert read_arguments(text) == sent
