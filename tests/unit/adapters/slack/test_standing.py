"""What Slack says of the people who act."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.slack.identities import Identities
from adapters.slack.people import People
from adapters.slack.standing import GUEST, STRANGER, Standings
from bot.domain.events import ConversationKey, DecisionMade, DetailsAsked
from bot.domain.people import Standing
from tests.unit.adapters.slack.test_api import OK, TEAM, opened, refusal, serving

PLACE = ConversationKey(platform="slack", space=TEAM, channel="C1")
DETAILS = DetailsAsked(conversation=PLACE, event_key="k", author_id="U1", turn_id=1)
DECISION = DecisionMade(conversation=PLACE, event_key="k", author_id="U1", ask_id=7, choice="run")
SAYS_NOTHING = "the app lacks Slack's permission users:read"


def user(**details: Any) -> dict[str, Any]:
    return {"ok": True, "user": {"id": "U1", "team_id": TEAM, "is_bot": False, **details}}


def bot(enterprise: str = "") -> dict[str, Any]:
    return {**OK, "team_id": TEAM, "user_id": "UBOT", "enterprise_id": enterprise or None}


async def standing(*answers: Any, enterprise: str = "", says: dict[str, Any] | None = None) -> tuple[Standing, int]:
    """Return how U1 stands, and how often Slack was asked; `says` is what a message says of its author."""
    async with serving() as slack, opened(slack) as api, People(api, patience_s=60.0) as people:
        slack.script["auth.test"] = [bot(enterprise)]
        slack.script["users.info"] = list(answers)
        if says is not None:
            people.learn(TEAM, {"user": "U1", **says})
        standings = Standings(people, Identities(api))
        found = await standings.stamp(DETAILS)
        assert (await standings.stamp(DETAILS)).standing == found.standing  # remembered
        return found.standing, len([seen for seen in slack.seen if seen.method == "users.info"])


ELSEWHERE = {"user_team": "T2", "source_team": "T2", "user_profile": {"team": "T2", "name": "carla"}}
COLLEAGUE = {"team_id": "T2", "enterprise_user": {"enterprise_id": "E1"}}


@pytest.mark.parametrize(
    ("answer", "outsider"),
    [
        (user(), ""),
        (user(is_restricted=True), GUEST),
        (user(is_ultra_restricted=True), GUEST),
        (user(team_id="T2"), STRANGER),
        (user(is_stranger=True), STRANGER),
        (user(is_restricted="yes", is_stranger=[]), ""),
    ],
)
async def test_the_user_object_tells_guests_and_strangers(answer: dict[str, Any], outsider: str) -> None:
    assert await standing(answer) == (Standing(outsider=outsider), 1)


@pytest.mark.parametrize("says", [ELSEWHERE, {"team": "T2"}])
async def test_a_message_from_another_organization_says_so_by_itself(says: dict[str, Any]) -> None:
    assert await standing(says=says) == (Standing(outsider=STRANGER), 0)


async def test_other_workspaces_of_the_same_organization_are_no_strangers() -> None:
    assert await standing(user(**COLLEAGUE), enterprise="E1", says=ELSEWHERE) == (Standing(), 1)
    assert await standing(user(), enterprise="E1", says={"user_team": "E1"}) == (Standing(), 1)
    other = {**COLLEAGUE, "enterprise_user": {"enterprise_id": "E2"}}
    assert (await standing(user(**other), enterprise="E1", says=ELSEWHERE))[0].outsider == STRANGER


async def test_a_colleague_and_a_stranger_whom_slack_does_not_tell_apart_are_refused() -> None:
    found, _ = await standing(refusal("user_not_found"), enterprise="E1", says=ELSEWHERE)
    assert found.outsider == "from another workspace, as far as Slack says" and found.problem


async def test_where_slack_cannot_be_asked_the_reason_is_a_problem_and_nobody_is_called_an_outsider() -> None:
    found = await standing(refusal("missing_scope", needed="users:read"), says={"user_team": TEAM})
    assert found == (Standing(problem=SAYS_NOTHING), 1)


async def test_a_guest_whose_message_says_so_is_one_though_slack_cannot_be_asked() -> None:
    says = {"user_team": TEAM, "user_profile": {"team": TEAM, "name": "gus", "is_ultra_restricted": True}}
    found, _ = await standing(refusal("missing_scope", needed="users:read"), says=says)
    assert found.outsider == GUEST


async def test_who_decides_is_asked_for_again_after_a_minute_and_others_after_an_hour() -> None:
    clock = [0.0]
    async with serving() as slack, opened(slack) as api, People(api, patience_s=60.0, now=lambda: clock[0]) as people:
        slack.script["auth.test"] = [bot()]
        slack.script["users.info"] = [user(), user(is_restricted=True)]
        standings = Standings(people, Identities(api))
        assert (await standings.stamp(DECISION)).standing == Standing()
        clock[0] = 61.0
        assert (await standings.stamp(DETAILS)).standing == Standing()
        assert (await standings.stamp(DECISION)).standing == Standing(outsider=GUEST)


async def test_an_old_answer_does_not_let_anybody_decide_while_slack_cannot_be_asked() -> None:
    clock = [0.0]
    async with serving() as slack, opened(slack) as api, People(api, patience_s=60.0, now=lambda: clock[0]) as people:
        slack.script["auth.test"] = [bot()]
        slack.script["users.info"] = [user(), refusal("account_inactive")]
        standings = Standings(people, Identities(api))
        await standings.stamp(DECISION)
        clock[0] = 61.0
        assert (await standings.stamp(DECISION)).standing.problem
        assert (await standings.stamp(DECISION)).standing.problem  # also while Slack is not asked again
