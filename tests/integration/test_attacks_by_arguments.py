"""Attacks by arguments, and the property they are all about: nothing reaches a server that was not let through."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bot.domain.asks import ApprovalAsk, AskRecord, Vote
from bot.domain.events import Choice
from bot.domain.messages import AssistantMessage, ModelAnswer, ToolCall
from bot.domain.turns import CallAsked, CallFinished
from bot.rights.facts import digest_of, tool_of
from bot.rights.findings import PolicyFileError
from bot.tools.resources import parse_reading, read_resource_spec
from bot.tools.toolset import Toolset
from bot.turns.ask_view import ask_view
from tests.fakes.mcp_servers.processes import QUICK, lines, process, until
from tests.fakes.ports import calls
from tests.integration.attacking import ADA, DEPLOY, EVE, Site, said, site, spec
from tests.unit.rights.parts import facts, policy_of

NO_PROD = """
[[rule]]
name = "no production"
tools = ["deploys/deploy"]
arguments = { "/env" = { equals = "prod" } }
then = "deny"
[[rule]]
name = "the rest"
tools = ["deploys/deploy"]
then = "allow"
"""
ONLY_DEV = """
[[rule]]
name = "development"
tools = ["deploys/deploy"]
arguments = { "/env" = { equals = "dev" }, "/replicas" = { at_most = 10 } }
then = "allow"
[[rule]]
name = "nothing else"
tools = ["*/*"]
then = "deny"
"""


NOTHING: dict[str, Any] = {}


def nested(**properties: object) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


# --- what rules see is what the server gets ---


@pytest.mark.parametrize(
    ("arguments", "got"),
    [
        ('{"env": "dev", "env": "prod"}', None),
        ('{"env": "prod", "env": "dev"}', {"env": "dev"}),
        ('{"env": {"x": 1}, "env": "prod"}', None),
        ('{"\\u0065nv": "prod"}', None),
        ('{"env": "pr\\u006fd"}', None),
        ('  {"env":\n"prod"}\n', None),
        ('{"env": ["prod"]}', None),  # it cannot be compared: a rule that denies holds
        ('{"env": null}', None),
        ('{"env": true}', None),
        ('{"env": "dev"} {"env": "prod"}', None),
        ('[{"env": "prod"}]', None),
        ('"{\\"env\\": \\"prod\\"}"', None),
        ('{"env": NaN}', None),
        ('{"env": 1e999}', None),
        ('{"env": "\\ud800"}', None),
        ('{"env": ' + "9" * 5_000 + "}", None),
        ("[" * 5_000, None),
        ('{"a":' * 5_000 + "1" + "}" * 5_000, None),
        ('{"env": "prоd"}', {"env": "prоd"}),  # noqa: RUF001  (a Cyrillic letter: another text, for both)
        ('{"Env": "prod"}', {"Env": "prod"}),
        ('{"env": "prod\\u0000"}', {"env": "prod\x00"}),
    ],
)
async def test_a_rule_judges_exactly_what_the_server_would_get(
    tmp_path: Path, arguments: str, got: dict[str, Any] | None
) -> None:
    async with site(tmp_path, calls(DEPLOY.name, arguments=arguments), text=NO_PROD) as at:
        await at.answered()
    assert [sent for _, _, sent in at.servers.got] == ([] if got is None else [got])


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"env": "dev"},
        {"env": "DEV", "replicas": 1},
        {"env": "dev ", "replicas": 1},
        {"env": "ｄｅｖ", "replicas": 1},  # noqa: RUF001  (letters that look alike)
        {"env": "dev", "replicas": 10.5},
        {"env": "dev", "replicas": 10**400},
        {"env": "dev", "replicas": True},
        {"env": "dev", "replicas": "1"},
        {"env": "dev", "replicas": None},
        {"env": "dev", "replicas": [1]},
        {"env": "dev", "replicas": {"0": 1}},
        {"/env": "dev", "/replicas": 1},
    ],
)
async def test_what_a_rule_that_allows_does_not_name_exactly_is_not_allowed(
    tmp_path: Path, arguments: dict[str, Any]
) -> None:
    async with site(tmp_path, calls(DEPLOY.name, arguments=json.dumps(arguments)), text=ONLY_DEV) as at:
        await at.answered()
    assert at.servers.got == []


async def test_one_and_one_point_zero_are_the_same_number_and_true_is_none(tmp_path: Path) -> None:
    same = calls(DEPLOY.name, arguments='{"env": "dev", "replicas": 1.0}')
    async with site(tmp_path, same, text=ONLY_DEV) as at:
        await at.answered()
    assert at.servers.got == [("deploys", "deploy", {"env": "dev", "replicas": 1})]
    assert digest_of("s", "t", '{"n": 1}') != digest_of("s", "t", '{"n": true}')
    assert digest_of("s", "t", '{"a": 1, "b": [2]}') == digest_of("s", "t", ' {"b":[2],"a":1}')
    assert len({digest_of(*call) for call in [("a", "b/c", "{}"), ("a/b", "c", "{}"), ("a", "b", '{"/c":1}')]}) == 3


@pytest.mark.parametrize(
    ("pointer", "arguments"),
    [
        ("/a~1b", {"a/b": "prod"}),
        ("/a~0b", {"a~b": "prod"}),
        ("/a~01", {"a~1": "prod"}),
        ("/targets/*/env", {"targets": [{"env": "dev"}, {"env": "prod"}]}),
        ("/targets/*/env", {"targets": {"x": {"env": "prod"}}}),
        ("/targets/1/env", {"targets": [{}, {"env": "prod"}]}),
        ("/targets/0/env", {"targets": "prod"}),  # the way is blocked: nobody can say what the server makes of it
        ("/", {"": "prod"}),
    ],
)
async def test_a_pointer_of_any_depth_finds_what_it_forbids(
    tmp_path: Path, pointer: str, arguments: dict[str, Any]
) -> None:
    text = NO_PROD.replace('"/env"', json.dumps(pointer))
    async with site(tmp_path, calls(DEPLOY.name, arguments=json.dumps(arguments)), text=text) as at:
        await at.answered()
    assert at.servers.got == []


@pytest.mark.parametrize(
    ("pointer", "schema", "arguments"),
    [
        ("/env", nested(env={"type": "string", "default": "prod"}), NOTHING),
        ("/env", nested(env={"$ref": "#/$defs/Env"}) | {"$defs": {"Env": {"default": "prod"}}}, NOTHING),
        ("/env", {"allOf": [nested(env={"default": "prod"})]}, NOTHING),
        ("/to/env", nested(to=nested(env={"default": "prod"})), {"to": NOTHING}),
        ("/to/env", nested(to={**nested(env={"default": "prod"}), "default": NOTHING}), NOTHING),
        ("/to/*/env", nested(to={"default": [NOTHING], "items": nested(env={"default": "prod"})}), NOTHING),
        ("/to/*/env", nested(to={"items": nested(env={"default": "prod"})}), {"to": [NOTHING]}),
    ],
)
async def test_what_is_left_out_counts_with_the_default_of_the_schema(
    tmp_path: Path, pointer: str, schema: Mapping[str, Any], arguments: dict[str, Any]
) -> None:
    text = NO_PROD.replace('"/env"', json.dumps(pointer))
    call = calls(DEPLOY.name, arguments=json.dumps(arguments))
    async with site(tmp_path, call, text=text, specs=[spec("deploys", "deploy", schema)]) as at:
        await at.answered()
    assert at.servers.got == []


@pytest.mark.parametrize("uri", ["file:///secret/key", " file:///secret/key", "file:///secret/key\n"])
def test_the_address_of_a_resource_is_sent_as_rules_have_seen_it(uri: str) -> None:
    assert parse_reading({"server": "docs", "uri": uri}, servers=["docs"]) == ("docs", uri)


async def test_reading_resources_is_judged_by_the_server_that_is_named_last(tmp_path: Path) -> None:
    text = '[[rule]]\nname = "secret"\ntools = ["vault/*"]\nthen = "deny"\n'
    call = calls("read_resource", arguments='{"server": "docs", "server": "vault", "uri": "x:y"}')
    async with site(tmp_path, call, text=text, specs=[read_resource_spec(["docs", "vault"])]) as at:
        await at.answered()
    assert at.servers.got == []


# --- the property ---

TOOLS = [
    spec("deploys", "deploy"),
    spec("deploys", "look", is_read_only=True),
    spec("other", "deploy"),
    spec("own", "add", is_bundled=True),
]
NAMES = [*(one.name for one in TOOLS), "deploys__gone"]
VALUES = st.sampled_from(["dev", "prod", 1, True, None, ["prod"], {"x": 1}])
ARGUMENTS = st.one_of(
    st.dictionaries(st.sampled_from(["env", "n"]), VALUES, max_size=2).map(json.dumps),
    st.sampled_from(["[]", "no JSON", '{"env": "dev", "env": "prod"}', '{"n": NaN}']),
)
RULES = st.fixed_dictionaries(
    {
        "tools": st.sampled_from(["deploys/*", "*/deploy", "other/deploy", "own/*", "deploys/look"]),
        "people": st.sampled_from(["*", "slack:T1:U1", "slack:T1:U2"]),
        "arguments": st.sampled_from(["", '{ "/env" = { equals = "prod" } }', '{ "/env" = { in = ["dev"] } }']),
        "then": st.sampled_from(["allow", "ask", "deny"]),
        "approvers": st.sampled_from(["", '["slack:T1:U2"]']),
    }
)
PRESSES = st.lists(st.tuples(st.sampled_from(["U1", "U2", "U9"]), st.sampled_from(["run", "decline"])), max_size=3)


def rule_text(number: int, rule: Mapping[str, str]) -> str:
    lines = [f'[[rule]]\nname = "r{number}"\ntools = ["{rule["tools"]}"]\npeople = ["{rule["people"]}"]']
    lines += [f"arguments = {rule['arguments']}"] if rule["arguments"] else []
    lines += [f"approvers = {rule['approvers']}"] if rule["approvers"] and rule["then"] == "ask" else []
    return "\n".join([*lines, f'then = "{rule["then"]}"', ""])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(
    rules=st.lists(RULES, max_size=3),
    wanted=st.lists(st.tuples(st.sampled_from(NAMES), ARGUMENTS), min_size=1, max_size=3),
    presses=PRESSES,
)
def test_no_call_reaches_a_server_without_a_ruling_that_allows_it_or_an_approval(
    rules: list[dict[str, str]], wanted: list[tuple[str, str]], presses: list[tuple[str, Choice]]
) -> None:
    text = "\n".join(rule_text(number, rule) for number, rule in enumerate(rules))
    try:
        policy_of(text)
    except PolicyFileError:  # a rule that can never match
        assume(False)
    asyncio.run(one_life(text, wanted, presses))


async def one_life(text: str, wanted: list[tuple[str, str]], presses: list[tuple[str, Choice]]) -> None:
    tool_calls = tuple(ToolCall(id=f"c{at}", name=name, arguments=given) for at, (name, given) in enumerate(wanted))
    answer = ModelAnswer(message=AssistantMessage(text="", tool_calls=tool_calls))
    with tempfile.TemporaryDirectory() as folder:
        async with site(Path(folder), answer, text=text, specs=TOOLS) as at:
            turn_id = await at.bot.say(said("go on"))
            await settled(at, turn_id)
            for ask in await at.store.asks(turn_id=turn_id):
                for by, choice in presses:
                    await at.press(ask_view(ask), by, choice)
            await settled(at, turn_id)
            asks = await at.store.asks(turn_id=turn_id, is_pending=False)
    assert_lawful(at, asks)


async def settled(at: Site, turn_id: int) -> None:
    """Return once the turn has ended, or each of its calls that has no result waits for someone."""
    async with asyncio.timeout(60):
        while not at.adapter.posts:
            steps = await at.store.steps(turn_id)
            asked = {step.call.id for step in steps if isinstance(step, CallAsked)}
            done = {step.result.call_id for step in steps if isinstance(step, CallFinished)}
            waiting = {ask.call_id for ask in await at.store.asks(turn_id=turn_id)}
            if waiting and asked == done | waiting:
                return
            await asyncio.sleep(0.005)


def assert_lawful(at: Site, asks: Sequence[AskRecord]) -> None:
    """Fail where a server got a call that neither the rules allow nor an approval covers; each covers one."""
    approved = Counter(
        ask.ask.digest
        for ask in asks
        if isinstance(ask.ask, ApprovalAsk) and ask.state == "approved" and may_approve(ask.ask, ask.votes)
    )
    for server, tool, arguments in at.servers.got:
        called = next(one for one in TOOLS if (one.server, one.tool) == (server, tool))
        ruling = at.file.now.decide(
            facts(tool=tool_of(called, arguments), arguments=arguments)  # by Ann, who is Ada's account
        )
        digest = digest_of(server, tool, json.dumps(arguments))
        if ruling.verdict != "allow":
            assert ruling.verdict == "ask" and approved[digest] > 0, (server, tool, arguments)
            approved[digest] -= 1


def may_approve(ask: ApprovalAsk, votes: Sequence[Vote]) -> bool:
    allowed = {"slack:T1:U2"} if ask.terms.approvers else {"slack:T1:U1"}
    return {vote.by for vote in votes} <= allowed


# --- a real server ---


async def test_a_real_server_process_sees_only_the_calls_that_were_let_through(tmp_path: Path) -> None:
    log = tmp_path / "calls.txt"
    text = (
        '[[rule]]\nname = "counts"\ntools = ["old/count"]\nthen = "allow"\n'
        '[[rule]]\nname = "never"\ntools = ["old/put"]\nthen = "deny"\n'
    )
    answer = calls("old__count", "old__act", "old__put", "old__gone", "old__learn")
    config = process("old", "oldtimer", env={"CALLS_FILE": str(log)})
    async with (
        Toolset([config], timing=QUICK, offer_wait_s=20) as toolset,
        site(tmp_path, answer, text=text, tools=toolset) as at,
    ):
        first = await at.ask()
        second = await at.adapter.wait_for_ask(lambda view: view.ask_id not in (0, first.ask_id))
        await until(lambda: lines(log) == ["count"])
        by_name = {view.title: view for view in (first, second)}
        await at.press(by_name["Run old/learn?"], ADA, "decline")
        await at.press(by_name["Run old/act?"], EVE)
        assert lines(log) == ["count"]
        await at.press(by_name["Run old/act?"], ADA)
        await at.press(by_name["Run old/act?"], ADA)
        await at.adapter.wait_for_posts(1)
    assert lines(log) == ["count", "act"]
