"""Persons with the groups that the platforms say."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from bot.domain.people import Actor, Asker, Standing
from bot.ports.rights import GroupSource, Memberships
from bot.rights.people import PlatformPeople
from tests.unit.rights.parts import HERE, policy_of

POLICY = policy_of("""
[groups]
oncall = ["slack:T1:usergroup:S0", "slack:T2:usergroup:S9", "discord:G1:role:7"]
[people]
jdoe = ["slack:T1:U1", "discord:300"]
[access]
operators = ["@oncall"]
""")
SLACK_GROUP, ROLE = "slack:T1:usergroup:S0", "discord:G1:role:7"
JDOE = Asker(actor=Actor(platform="slack", space="T1", id="U1"), place=HERE)
ANN = Asker(actor=Actor(platform="slack", space="T1", id="U2"), place=HERE)
BEN = Actor(platform="discord", space="G1", id="400")


@dataclass
class Groups(GroupSource):
    """A platform's groups, by account."""

    holds: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    problem: Exception | None = None
    unknown: str = ""
    asked: list[str] = field(default_factory=list[str])
    gate: asyncio.Event | None = None
    began: asyncio.Event = field(default_factory=asyncio.Event)

    async def memberships(self, actor: Actor, groups: frozenset[str], *, is_fresh: bool) -> Memberships:
        self.asked.append(str(actor))
        self.began.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.problem is not None:
            raise self.problem
        if self.unknown:
            return Memberships(unknown=dict.fromkeys(groups, self.unknown))
        return Memberships(groups=frozenset(group for group in groups if (str(actor), group) in self.holds))

    async def members(self, group: str) -> Sequence[str]:
        return []


def people(slack: Groups | None = None, discord: Groups | None = None, answer_s: float = 10) -> PlatformPeople:
    found = PlatformPeople(lambda: POLICY, answer_s=answer_s)
    for platform, source in (("slack", slack), ("discord", discord)):
        if source is not None:
            found.add(platform, source)
    return found


async def test_a_platform_is_asked_once_a_minute_for_one_person_and_again_at_a_click() -> None:
    slack = Groups(holds={("slack:T1:U2", SLACK_GROUP)})
    known = people(slack)
    for _ in range(3):
        assert (await known.person(ANN)).groups == {SLACK_GROUP}
    assert slack.asked == ["slack:T1:U2"]
    slack.holds.clear()
    assert not (await known.person(ANN, is_fresh=True)).groups
    assert not (await known.person(ANN)).groups
    assert len(slack.asked) == 2


async def test_a_person_is_in_the_groups_of_all_linked_accounts() -> None:
    slack, discord = Groups(), Groups(holds={("discord:300", ROLE)})
    person = await people(slack, discord).person(JDOE)
    assert person.groups == {ROLE} and not person.unknown
    assert POLICY.includes(["@oncall"], person).is_in


async def test_roles_that_came_with_the_event_are_not_asked_for() -> None:
    discord = Groups()
    asker = Asker(actor=BEN, place="discord:G1:77", standing=Standing(roles=("7", "8")))
    assert ROLE in (await people(discord=discord).person(asker)).groups
    assert discord.asked == []


async def test_at_a_click_roles_that_an_old_event_brought_do_not_count() -> None:
    asker = Asker(actor=BEN, place="discord:G1:77", standing=Standing(roles=("7",)))
    assert ROLE not in (await people(discord=Groups()).person(asker, is_fresh=True)).groups


async def test_an_event_without_roles_leaves_the_question_to_the_platform() -> None:
    discord = Groups(holds={("discord:400", ROLE)})
    asker = Asker(actor=Actor(platform="discord", space="", id="400"), place="discord:G1:77")
    person = await people(discord=discord).person(asker)
    assert ROLE in person.groups and "discord:G1:400" in person.names


@pytest.mark.parametrize("source", [Groups(problem=ValueError("x")), Groups(unknown="Slack is down"), None])
async def test_what_cannot_be_found_out_is_unknown_and_is_asked_for_again(source: Groups | None) -> None:
    known = people(source)
    assert set((await known.person(ANN)).unknown) == {SLACK_GROUP}
    if source is not None:
        source.problem, source.unknown = None, ""
        assert not (await known.person(ANN)).unknown


async def test_a_platform_that_does_not_answer_holds_nobody_up() -> None:
    person = await people(Groups(gate=asyncio.Event()), answer_s=0.01).person(ANN)
    assert "in time" in person.unknown[SLACK_GROUP]


async def test_a_message_waits_a_moment_for_the_platform_and_what_it_says_later_is_known_to_the_next_one() -> None:
    policy = policy_of(f'[access]\npeople = ["{SLACK_GROUP}"]')
    slack = Groups(holds={("slack:T1:U2", SLACK_GROUP)}, gate=asyncio.Event())
    known = PlatformPeople(lambda: policy, writer_s=0.01)
    known.add("slack", slack)
    first, second = await asyncio.gather(known.writer(ANN), known.writer(ANN))
    assert first == second and "Slack did not answer in time" in policy.may_write(first, HERE)
    assert slack.gate is not None
    slack.gate.set()
    assert (await known.person(ANN)).groups == {SLACK_GROUP}
    assert policy.may_write(await known.writer(ANN), HERE) == ""
    assert slack.asked == ["slack:T1:U2"]


async def test_no_message_waits_for_groups_on_which_it_does_not_hang_who_may_write() -> None:
    slack = Groups(gate=asyncio.Event())
    known = people(slack)
    assert POLICY.may_write(await known.writer(ANN), HERE) == ""
    assert slack.asked == []


async def test_a_policy_that_is_read_again_while_a_platform_answers_has_its_own_groups_asked_for() -> None:
    now = [POLICY]
    slack = Groups(holds={("slack:T1:U2", "slack:T1:usergroup:S7")}, gate=asyncio.Event())
    known = PlatformPeople(lambda: now[-1])
    known.add("slack", slack)
    asking = asyncio.create_task(known.person(ANN))
    await slack.began.wait()
    now.append(policy_of('[access]\npeople = ["slack:T1:usergroup:S7"]'))
    assert slack.gate is not None
    slack.gate.set()
    assert (await asking).groups == {"slack:T1:usergroup:S7"}


async def test_what_is_still_asked_ends_with_the_app() -> None:
    policy = policy_of(f'[access]\npeople = ["{SLACK_GROUP}"]')
    known = PlatformPeople(lambda: policy, writer_s=0.01)
    known.add("slack", Groups(gate=asyncio.Event()))
    await known.writer(ANN)
    await known.close()
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "memberships"]


async def test_without_groups_in_the_file_nobody_is_asked() -> None:
    slack = Groups()
    known = PlatformPeople(lambda: policy_of(""))
    known.add("slack", slack)
    person = await known.person(Asker(actor=ANN.actor, place=HERE, standing=Standing(outsider="a guest")))
    assert (person.id, person.outsider, slack.asked) == ("slack:T1:U2", "a guest", [])
