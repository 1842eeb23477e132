"""Where what is asked is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest

from bot.domain.asks import ApprovalAsk
from bot.domain.errors import AdapterError
from bot.domain.rights import Terms
from bot.ports.platform import Adapter
from bot.turns.ask_places import ask_places
from tests.fakes.ports import RecordingAdapter
from tests.fakes.rights import ScriptedPolicy
from tests.unit.turns.test_ask_view import ASK, RECORD

THREAD = (str(RECORD.conversation), "")
POLICY = ScriptedPolicy(
    groups={"@oncall": ["slack:T1:U1", "slack:T1:U2", "slack:T1:usergroup:S1", "discord:300", "discord:G1:301"]}
)


class Platform(RecordingAdapter):
    """A platform of another name, whose groups have these members."""

    def __init__(self, name: str, *, members: Sequence[str] | None = None) -> None:
        super().__init__()
        self.name = name
        self.serves = f"{name}/"
        self._members = members

    async def members(self, group: str) -> Sequence[str]:
        if self._members is None:
            raise AdapterError("the platform does not say it")
        return self._members


async def places(terms: Terms, *adapters: Platform) -> list[tuple[str, str]]:
    record = replace(RECORD, ask=replace(ASK, terms=terms))
    found = await ask_places(record, policy=POLICY, adapters=cast("Sequence[Adapter]", adapters))
    return [(str(place), person) for place, person in found]


async def test_in_the_thread_of_the_question_where_nothing_else_is_said() -> None:
    assert await places(Terms(), Platform("slack")) == [THREAD]


async def test_in_a_place_of_the_other_platform() -> None:
    terms = Terms(ask_in="discord:G1:77")
    assert await places(terms, Platform("slack"), Platform("discord")) == [("discord/G1/77/", "")]


async def test_in_the_thread_too_where_this_process_does_not_serve_the_place() -> None:
    assert await places(Terms(ask_in="discord:G1:77"), Platform("slack")) == [("discord/G1/77/", ""), THREAD]


async def test_by_a_direct_message_to_each_of_those_who_decide_but_the_asker_who_may_not() -> None:
    terms = Terms(approvers=("@oncall",), asker_may_approve=False, ask_in="dm")
    assert await places(terms, Platform("slack", members=["U2", "U3"]), Platform("discord")) == [
        ("slack/T1/dm/", "U2"),
        ("slack/T1/dm/", "U3"),
        ("discord/%40me/dm/", "300"),
        ("discord/%40me/dm/", "301"),
    ]


async def test_by_a_direct_message_to_the_asker_where_nobody_else_decides() -> None:
    assert await places(Terms(ask_in="dm"), Platform("slack")) == [("slack/T1/dm/", "U1")]


@pytest.mark.parametrize("terms", [Terms(approvers=("slack:T1:usergroup:S1",), ask_in="dm")])
async def test_a_group_that_the_platform_does_not_show_has_no_members(terms: Terms) -> None:
    assert await places(terms, Platform("slack")) == []


def test_the_ask_of_these_tests_is_an_approval() -> None:
    assert isinstance(ASK, ApprovalAsk)
