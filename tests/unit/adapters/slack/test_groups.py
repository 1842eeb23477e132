"""Slack's user groups."""

from __future__ import annotations

import asyncio

import pytest

from adapters.slack.groups import Groups
from bot.domain.errors import AdapterError
from bot.domain.people import Actor
from tests.fakes.slack import FakeSlack
from tests.unit.adapters.slack.test_api import opened_fake

ADA = Actor(platform="slack", space="T1", id="U1")
ONCALL, LEADS = "slack:T1:usergroup:S1", "slack:T1:usergroup:S2"


def asked(slack: FakeSlack) -> int:
    return len(slack.calls_of("usergroups.users.list"))


async def test_people_are_in_the_groups_that_slack_says() -> None:
    async with opened_fake() as (slack, api):
        slack.add_user_group("S1", "U1", "U2")
        slack.add_user_group("S2", "U2")
        groups = Groups(api)
        found = await groups.memberships(ADA, frozenset({ONCALL, LEADS}), is_fresh=False)
        assert (found.groups, found.unknown) == ({ONCALL}, {})
        assert await groups.members(ONCALL) == ("U1", "U2")
        assert asked(slack) == 2  # each group once


async def test_an_answer_counts_for_a_minute_unless_it_has_to_be_fresh() -> None:
    clock = [0.0]
    async with opened_fake() as (slack, api):
        group = slack.add_user_group("S1", "U1")
        groups = Groups(api, now=lambda: clock[0])

        async def holds(*, is_fresh: bool = False) -> bool:
            return bool((await groups.memberships(ADA, frozenset({ONCALL}), is_fresh=is_fresh)).groups)

        assert await holds()
        group.users.clear()
        clock[0] = 59.0
        assert await holds() and not await holds(is_fresh=True) and not await holds()
        group.users.append("U1")
        clock[0] = 59.0 + 61.0
        assert await holds()
        assert asked(slack) == 3


async def test_those_who_ask_at_once_share_an_answer() -> None:
    async with opened_fake() as (slack, api):
        slack.add_user_group("S1", "U1")
        groups = Groups(api)
        await asyncio.gather(*(groups.memberships(ADA, frozenset({ONCALL}), is_fresh=False) for _ in range(10)))
        assert asked(slack) == 1


@pytest.mark.parametrize(
    ("group", "reason"),
    [
        (ONCALL, "the Slack app lacks the permission usergroups:read"),
        (LEADS, "the Slack app lacks the permission usergroups:read"),
        ("slack:T1:usergroup:", "it is no user group of Slack's"),
    ],
)
async def test_what_slack_does_not_say_is_unknown_with_the_reason(group: str, reason: str) -> None:
    async with opened_fake() as (slack, api):
        slack.tokens["xoxb-test"].scopes = ("users:read",)
        groups = Groups(api)
        found = await groups.memberships(ADA, frozenset({group}), is_fresh=True)
        assert (found.groups, found.unknown) == (frozenset(), {group: reason})
        with pytest.raises(AdapterError):
            await groups.members(group)


async def test_a_slack_that_fails_is_said_to_give_no_answer() -> None:
    async with opened_fake() as (slack, api):
        slack.add_user_group("S1", "U1")
        slack.fail_next("usergroups.users.list", status=500, times=9)
        found = await Groups(api).memberships(ADA, frozenset({ONCALL}), is_fresh=False)
        assert found.unknown == {ONCALL: "Slack does not answer"}


async def test_a_group_that_is_gone_holds_nobody_that_is_known_of() -> None:
    async with opened_fake() as (_, api):
        found = await Groups(api).memberships(ADA, frozenset({ONCALL}), is_fresh=False)
        assert found.unknown == {ONCALL: "Slack knows no such user group"}


async def test_a_group_that_slack_does_not_know_is_asked_for_once_a_minute() -> None:
    clock = [0.0]
    async with opened_fake() as (slack, api):
        groups = Groups(api, now=lambda: clock[0])
        for _ in range(3):
            found = await groups.memberships(ADA, frozenset({ONCALL}), is_fresh=False)
            assert found.unknown == {ONCALL: "Slack knows no such user group"}
        assert asked(slack) == 1
        slack.add_user_group("S1", "U1")
        clock[0] = 61.0
        assert (await groups.memberships(ADA, frozenset({ONCALL}), is_fresh=False)).groups == {ONCALL}
