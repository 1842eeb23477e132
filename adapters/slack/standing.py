"""What Slack says of the people who act: whether they belong to the workspace, are guests, or come from elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from adapters.slack.identities import Identities
from adapters.slack.people import People, Profile
from bot.domain.errors import AdapterError
from bot.domain.events import (
    CommandInvoked,
    DecisionMade,
    DetailsAsked,
    FeedbackGiven,
    FormAsked,
    FormSubmitted,
    MessageReceived,
)
from bot.domain.people import Standing

GUEST, STRANGER = "a guest of this workspace", "from another organization"
FROM_ELSEWHERE = "from another workspace, as far as Slack says"
MAX_AGE_S = 3_600.0
DECIDING_AGE_S = 60.0  # of what is known of a person who decides something

Acting = TypeVar(
    "Acting", MessageReceived, CommandInvoked, FeedbackGiven, DetailsAsked, DecisionMade, FormAsked, FormSubmitted
)


class Standings:
    """Finds out who acts. https://docs.slack.dev/reference/methods/users.info, asked once an hour for each person."""

    def __init__(self, people: People, identities: Identities) -> None:
        self._people = people
        self._identities = identities

    async def stamp(self, event: Acting) -> Acting:
        """Return the event with what Slack says of the person who acts; never raises an AdapterError.

        Of those who decide something, an answer of the last minute counts; elsewhere one of the last hour.
        """
        if isinstance(event, MessageReceived) and event.author_kind != "person":
            return event
        is_deciding = isinstance(event, DecisionMade | FormSubmitted)
        standing = await self._of(event.conversation.space, event.author_id, is_deciding=is_deciding)
        return replace(event, standing=standing)

    async def _of(self, team: str, user: str, *, is_deciding: bool) -> Standing:
        if not user:
            return Standing(problem="Slack does not say who it was")
        enterprise = await self._enterprise(team)
        home = self._people.home(team, user)
        if home not in (team, enterprise) and not enterprise:
            return Standing(outsider=STRANGER)  # no need to ask: Slack may refuse to say more of them
        max_age_s = DECIDING_AGE_S if is_deciding else MAX_AGE_S
        profile = await self._people.profile(team, user, max_age_s=max_age_s, is_patient=is_deciding)
        return standing_of(profile, team=team, enterprise=enterprise)

    async def _enterprise(self, team: str) -> str:
        try:
            return (await self._identities.of(team)).enterprise
        except AdapterError:
            return ""


def standing_of(profile: Profile, *, team: str, enterprise: str) -> Standing:
    """Return how a user stands in a workspace; `enterprise` is the organization that the workspace is part of, or "".

    The other workspaces of the organization are no strangers: https://docs.slack.dev/enterprise
    """
    is_colleague = bool(enterprise) and enterprise in (profile.enterprise, profile.home)
    if profile.is_stranger and not is_colleague:
        return Standing(outsider=STRANGER)
    if profile.is_guest:
        return Standing(outsider=GUEST, problem=profile.problem)
    if profile.home in ("", team) or is_colleague:
        return Standing(problem=profile.problem)
    # Whether the other workspace is one of the organization, only a full answer tells.
    return Standing(outsider=FROM_ELSEWHERE if profile.problem else STRANGER, problem=profile.problem)
