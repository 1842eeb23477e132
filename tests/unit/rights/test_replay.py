"""Which calls of the past other rules would have decided otherwise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bot.domain.events import ConversationKey, MessageReceived
from bot.domain.people import Standing
from bot.ports.rights_store import PastCall
from bot.rights.policy import FilePolicy
from bot.rights.replay import Change, KnownTools, Replayed, replay, table
from tests.unit.rights.parts import policy_of

THREAD = ConversationKey(platform="slack", space="T1", channel="C042", thread="1.2")
EVENT = MessageReceived(
    conversation=THREAD,
    event_key="e",
    author_id="U1",
    author_name="Ann",
    text="deploy",
    sent_at=datetime(2026, 11, 1, tzinfo=UTC),
)
NOTHING_KNOWN = KnownTools({}, bundled=frozenset(), trusted=frozenset())


@dataclass
class Journal:
    """The part of the store that is asked, with its pages: of a turn all calls or none."""

    calls: Sequence[PastCall]

    async def past_calls(self, *, since: float, after: int = 0, limit: int = 1_000) -> Sequence[PastCall]:
        due = [call for call in self.calls if call.turn_id > after and call.at >= since]
        return [call for call in due if call.turn_id == due[0].turn_id]


def call(
    turn: int, *, tool: str = "deploy", arguments: str = '{"env": "prod"}', event: MessageReceived = EVENT
) -> PastCall:
    return PastCall(turn_id=turn, event=event, server="deploys", tool=tool, arguments=arguments, at=1_000.0 + turn)


async def replayed(calls: Sequence[PastCall], then: FilePolicy, tools: KnownTools = NOTHING_KNOWN) -> Replayed:
    return await replay(Journal(calls), tools, today=FilePolicy.default(), then=then, since=1_001.0)  # type: ignore[arg-type]


DENY_PROD = (
    '[[rule]]\nname = "no prod"\ntools = ["deploys/*"]\narguments = { "/env" = { equals = "prod" } }\nthen = "deny"'
)


async def test_calls_that_would_be_decided_otherwise_are_counted_by_tool_and_rule() -> None:
    calls = [
        call(0),
        call(1),
        call(1),
        call(2, arguments='{"env": "dev"}'),
        call(3, tool="undo"),
        call(4, arguments="no"),
    ]
    found = await replayed(calls, policy_of(DENY_PROD))
    assert found.calls == 5  # the first is too old
    assert found.changes == {
        Change(tool="deploys/deploy", today="ask", then="deny", rule="no prod"): 3,
        Change(tool="deploys/undo", today="ask", then="deny", rule="no prod"): 1,
    }
    assert (dict(found.today), dict(found.then)) == ({"ask": 5}, {"ask": 1, "deny": 4})
    assert table(found) == [
        "calls  tool            today  then  by",
        "    3  deploys/deploy  ask    deny  no prod",
        "    1  deploys/undo    ask    deny  no prod",
    ]


async def test_what_was_accepted_of_a_tool_gives_its_defaults_and_a_trusted_servers_hint() -> None:
    said = {"parameters": {"properties": {"env": {"default": "prod"}}}, "hints": {"readOnlyHint": True}}
    known = {("deploys", "deploy"): json.dumps(said)}
    calls = [call(1, arguments="{}")]
    trusted = KnownTools(known, bundled=frozenset(), trusted=frozenset({"deploys"}))
    found = await replayed(calls, policy_of(DENY_PROD), trusted)
    assert list(found.changes) == [Change(tool="deploys/deploy", today="allow", then="deny", rule="no prod")]
    untrusted = KnownTools(known, bundled=frozenset(), trusted=frozenset())
    assert (await replayed(calls, policy_of(DENY_PROD), untrusted)).today == {"ask": 1}
    bundled = KnownTools({("deploys", "deploy"): "not JSON"}, bundled=frozenset({"deploys"}), trusted=frozenset())
    assert (await replayed(calls, policy_of(""), bundled)).then == {"allow": 1}


async def test_who_could_not_write_any_more_would_have_called_nothing() -> None:
    found = await replayed([call(1)], policy_of('[access]\npeople = ["slack:T1:U2"]'))
    assert list(found.changes) == [Change(tool="deploys/deploy", today="ask", then="deny", rule="[access]")]
    found = await replayed([call(1)], policy_of('[access]\nblocked_patterns = ["dep.*y"]'))
    assert list(found.changes) == [Change(tool="deploys/deploy", today="ask", then="deny", rule="[access]")]


async def test_calls_that_hang_on_a_group_of_slack_are_counted_and_roles_are_known() -> None:
    rule = '[[rule]]\ntools = ["*/*"]\npeople = ["slack:T1:usergroup:S0", "discord:G1:role:7"]\nthen = "allow"'
    on_discord = replace(
        EVENT,
        conversation=ConversationKey(platform="discord", space="G1", channel="77"),
        standing=Standing(roles=("7",)),
    )
    found = await replayed([call(1), call(2, event=on_discord)], policy_of(rule))
    assert (found.open_calls, found.then) == (1, {"ask": 1, "allow": 1})
