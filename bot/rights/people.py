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
from bot.ports.tasks import end_all
from bot.rights.notation import acting_in
from bot.rights.policy import FilePolicy, roles_of

log = structlog.stdlib.get_logger(__name__)

KEPT_S = 60.0
ANSWER_S = 10.0  # a platform that takes longer has not answered
# How long a message waits for that: Slack takes acknowledgements for three seconds, in which its name is looked up too.
# https://docs.slack.dev/apis/events-api/#responding
WRITER_S = 0.75
_MAX_KEPT = 10_000
_NAMES = {"slack": "Slack", "discord": "Discord"}

_Question = tuple[str, frozenset[str]]  # an account, and the groups that may hold it


class PlatformPeople:
    """Satisfies `People`. A platform is added as its adapter opens; of one that is not there, nothing is known."""

    def __init__(
        self, policy: Callable[[], FilePolicy], *, answer_s: float = ANSWER_S, writer_s: float = WRITER_S
    ) -> None:
        self._policy = policy
        self._answer_s = answer_s
        self._writer_s = writer_s
        self._sources: dict[str, GroupSource] = {}
        self._kept = TTLCache[tuple[str, str], bool](maxsize=_MAX_KEPT, ttl=KEPT_S)  # whether a group holds an account
        self._asking: dict[_Question, asyncio.Task[Memberships]] = {}  # under way; several may wait for one

    def add(self, platform: str, source: GroupSource) -> None:
        """Ask this source for the groups of the platform from now on."""
        self._sources[platform] = source

    async def close(self) -> None:
        """End what is still being asked, before the platforms close."""
        await end_all(self._asking.values())

    async def person(self, asker: Asker, *, is_fresh: bool = False) -> Person:
        """As of `People`: what cannot be found out is `unknown`."""
        # What came with the event is as old as the event, which may have waited for an approval.
        standing = replace(asker.standing, roles=()) if is_fresh else asker.standing
        return await self._known(replace(asker, standing=standing), is_fresh=is_fresh)

    async def writer(self, asker: Asker) -> Person:
        """As of `People`."""
        return await self._known(asker, for_access=True)

    async def _known(self, asker: Asker, *, is_fresh: bool = False, for_access: bool = False) -> Person:
        policy = self._policy()
        found = await self._seen(policy, asker, is_fresh=is_fresh, for_access=for_access)
        if policy is not (now := self._policy()):  # it was read again meanwhile, and may name other groups
            found = await self._seen(now, asker, is_fresh=is_fresh, for_access=for_access)
        return found

    async def _seen(self, policy: FilePolicy, asker: Asker, *, is_fresh: bool, for_access: bool) -> Person:
        actor, standing = acting_in(asker.actor, asker.place), asker.standing
        wanted = policy.groups_of_interest(actor)
        if for_access:
            wanted &= policy.groups_of_access
        open_ = wanted - _said_by_the_event(standing, actor, wanted)
        within_s = self._writer_s if for_access else None
        answers = await asyncio.gather(
            *(
                self._memberships(each, open_, is_fresh=is_fresh, within_s=within_s)
                for each in policy.accounts_of(actor)
            )
        )
        return policy.person(actor, standing, _joined(answers))

    async def _memberships(
        self, actor: Actor, wanted: frozenset[str], *, is_fresh: bool, within_s: float | None
    ) -> Memberships:
        """Return which of the groups hold this one account; those that are not of its platform do not."""
        mine = frozenset(group for group in wanted if _may_hold(group, actor))
        known = (
            {}
            if is_fresh
            else {group: held for group in mine if (held := self._kept.get((str(actor), group))) is not None}
        )
        asked = frozenset(mine - known.keys())
        found = await self._answer(actor, asked, is_fresh=is_fresh, within_s=within_s) if asked else Memberships()
        return Memberships(
            groups=found.groups | {group for group, held in known.items() if held}, unknown=found.unknown
        )

    async def _answer(
        self, actor: Actor, groups: frozenset[str], *, is_fresh: bool, within_s: float | None
    ) -> Memberships:
        """Return what the platform answers in time; an answer that comes later is kept for the next one who asks."""
        if is_fresh:
            return await self._asked(actor, groups, is_fresh=True)
        done, _ = await asyncio.wait({self._asking_for(actor, groups)}, timeout=within_s)
        for answered in done:
            if not answered.cancelled():
                return answered.result()
        return Memberships(unknown=dict.fromkeys(groups, _too_late(actor)))

    def _asking_for(self, actor: Actor, groups: frozenset[str]) -> asyncio.Task[Memberships]:
        question = str(actor), groups
        asking = self._asking.get(question)
        if asking is None:
            asking = asyncio.create_task(self._asked(actor, groups, is_fresh=False), name="memberships")
            self._asking[question] = asking
            asking.add_done_callback(lambda _: self._asking.pop(question))
        return asking

    async def _asked(self, actor: Actor, groups: frozenset[str], *, is_fresh: bool) -> Memberships:
        """Ask the platform, and keep what it says; whatever goes wrong there, the groups are unknown."""
        found = await self._said(actor, groups, is_fresh=is_fresh)
        for group in groups - found.unknown.keys():
            self._kept[str(actor), group] = group in found.groups
        return found

    async def _said(self, actor: Actor, groups: frozenset[str], *, is_fresh: bool) -> Memberships:
        name = _NAMES.get(actor.platform, actor.platform)
        source = self._sources.get(actor.platform)
        if source is None:
            return Memberships(unknown=dict.fromkeys(groups, f"{name} is not connected here"))
        try:
            async with asyncio.timeout(self._answer_s):
                found = await source.memberships(actor, groups, is_fresh=is_fresh)
        except TimeoutError:
            return Memberships(unknown=dict.fromkeys(groups, _too_late(actor)))
        except Exception:  # a source that fails makes its groups unknown, and ends no question
            log.exception("memberships_failed", platform=actor.platform)
            return Memberships(unknown=dict.fromkeys(groups, f"{name} could not be asked"))
        return Memberships(
            groups=found.groups & groups,
            unknown={group: why for group, why in found.unknown.items() if group in groups},
        )


def _too_late(actor: Actor) -> str:
    return f"{_NAMES.get(actor.platform, actor.platform)} did not answer in time"


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
