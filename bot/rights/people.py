"""Persons as the current policy sees them: the platforms say which groups hold them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import structlog
from cachetools import TTLCache

from bot.domain.people import Actor, Asker, Standing
from bot.domain.rights import Person
from bot.ports.rights import GroupSource, Memberships
from bot.rights.notation import acting_in
from bot.rights.policy import FilePolicy, roles_of

log = structlog.stdlib.get_logger(__name__)

KEPT_S = 60.0
ANSWER_S = 10.0  # a platform that takes longer has not answered
_MAX_KEPT = 10_000
_NAMES = {"slack": "Slack", "discord": "Discord"}


class PlatformPeople:
    """Satisfies `People`. A platform is added as its adapter opens; of one that is not there, nothing is known."""

    def __init__(self, policy: Callable[[], FilePolicy], *, answer_s: float = ANSWER_S) -> None:
        self._policy = policy
        self._answer_s = answer_s
        self._sources: dict[str, GroupSource] = {}
        self._kept = TTLCache[tuple[str, str], bool](maxsize=_MAX_KEPT, ttl=KEPT_S)  # whether a group holds an account

    def add(self, platform: str, source: GroupSource) -> None:
        """Ask this source for the groups of the platform from now on."""
        self._sources[platform] = source

    async def person(self, asker: Asker, *, is_fresh: bool = False) -> Person:
        """As of `People`: what cannot be found out is `unknown`."""
        actor, policy = acting_in(asker.actor, asker.place), self._policy()
        # What came with the event is as old as the event, which may have waited for an approval.
        standing = replace(asker.standing, roles=()) if is_fresh else asker.standing
        wanted = policy.groups_of_interest(actor)
        accounts = policy.accounts_of(actor)
        open_ = wanted - _said_by_the_event(standing, actor, wanted)
        answers = await asyncio.gather(*(self._memberships(each, open_, is_fresh=is_fresh) for each in accounts))
        return policy.person(actor, standing, _joined(answers))

    async def _memberships(self, actor: Actor, wanted: frozenset[str], *, is_fresh: bool) -> Memberships:
        """Return which of the groups hold this one account; those that are not of its platform do not."""
        mine = frozenset(group for group in wanted if _may_hold(group, actor))
        known = (
            {}
            if is_fresh
            else {group: held for group in mine if (held := self._kept.get((str(actor), group))) is not None}
        )
        asked = mine - known.keys()
        found = await self._asked(actor, asked, is_fresh=is_fresh) if asked else Memberships()
        for group in asked - found.unknown.keys():
            self._kept[str(actor), group] = group in found.groups
        return Memberships(
            groups=found.groups | {group for group, held in known.items() if held}, unknown=found.unknown
        )

    async def _asked(self, actor: Actor, groups: frozenset[str], *, is_fresh: bool) -> Memberships:
        """Ask the platform; whatever goes wrong there, the groups are unknown."""
        name = _NAMES.get(actor.platform, actor.platform)
        source = self._sources.get(actor.platform)
        if source is None:
            return Memberships(unknown=dict.fromkeys(groups, f"{name} is not connected here"))
        try:
            async with asyncio.timeout(self._answer_s):
                found = await source.memberships(actor, groups, is_fresh=is_fresh)
        except TimeoutError:
            return Memberships(unknown=dict.fromkeys(groups, f"{name} did not answer in time"))
        except Exception:
            log.exception("memberships_failed", platform=actor.platform)
            return Memberships(unknown=dict.fromkeys(groups, f"{name} could not be asked"))
        return Memberships(
            groups=found.groups & groups,
            unknown={group: why for group, why in found.unknown.items() if group in groups},
        )


def _may_hold(group: str, actor: Actor) -> bool:
    platform, space, *_ = group.split(":")
    return platform == actor.platform and (platform != "slack" or space == actor.space)


def _said_by_the_event(standing: Standing, actor: Actor, wanted: frozenset[str]) -> frozenset[str]:
    """Return the groups of which the event said already whether they hold the actor: the roles in their server.

    An event that brought no roles may be one that brings none.
    """
    if not standing.roles or standing.problem:
        return wanted & roles_of(actor, standing)
    return frozenset(group for group in wanted if group.startswith(f"discord:{actor.space}:role:"))


def _joined(answers: list[Memberships]) -> Memberships:
    groups = frozenset[str]().union(*(answer.groups for answer in answers))
    unknown: dict[str, str] = {}
    for answer in answers:
        unknown |= {group: why for group, why in answer.unknown.items() if group not in groups}
    return Memberships(groups=groups, unknown=unknown)
