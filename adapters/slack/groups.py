"""Slack's user groups: who is in them. https://docs.slack.dev/reference/methods/usergroups.users.list"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cachetools import LRUCache

from adapters.shared.payloads import list_of
from adapters.shared.tasks import KeyedLock
from adapters.slack.api import SlackApi
from adapters.slack.errors import SlackRefusedError
from bot.domain.errors import AdapterError
from bot.domain.people import Actor
from bot.ports.rights import Memberships

SCOPE = "usergroups:read"
FRESH_S = 60.0
WAIT_S = 10.0  # for Slack, which answers 20 times a minute and workspace
MAX_GROUPS = 1_000
MAX_USERS = 100_000  # of one group
MAX_MEMBERS = 50


@dataclass(frozen=True, slots=True)
class _Group:
    users: tuple[str, ...]
    until: float  # seconds of the clock
    refusal: AdapterError | None = None  # Slack does not say: no such group, no permission


class Groups:
    """Asks Slack who is in a group (`slack:TEAM:usergroup:ID`), and remembers it for a minute."""

    def __init__(self, api: SlackApi, *, now: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._now = now
        self._known: LRUCache[str, _Group] = LRUCache(MAX_GROUPS)
        self._asking: KeyedLock[str] = KeyedLock()

    async def memberships(self, actor: Actor, groups: frozenset[str], *, is_fresh: bool) -> Memberships:
        """Return which of the groups hold the actor; see `bot.ports.rights.GroupSource`."""
        asked = sorted(groups)
        answers = await asyncio.gather(*(self._holds(actor, group, is_fresh=is_fresh) for group in asked))
        found = list(zip(asked, answers, strict=True))
        return Memberships(
            groups=frozenset(group for group, answer in found if answer is True),
            unknown={group: answer for group, answer in found if isinstance(answer, str)},
        )

    async def members(self, group: str) -> Sequence[str]:
        """Return the ids of the group's users, of very many the first. Raises AdapterError."""
        return (await self._users(group, is_fresh=False))[:MAX_MEMBERS]

    async def _holds(self, actor: Actor, group: str, *, is_fresh: bool) -> bool | str:
        """Return whether the group holds the actor, or why that cannot be found out."""
        try:
            return actor.id in await self._users(group, is_fresh=is_fresh)
        except AdapterError as error:
            return why_unknown(error)

    async def _users(self, group: str, *, is_fresh: bool) -> tuple[str, ...]:
        since = self._now()
        async with self._asking.hold(group):  # of many at once, only one asks
            known = self._known.get(group)
            if known is not None and (known.until - FRESH_S >= since or (not is_fresh and known.until > since)):
                return _said(known)
            self._known[group] = known = await self._look(group)
            return _said(known)

    async def _look(self, group: str) -> _Group:
        users, refusal = (), None
        try:
            users = await self._ask(group)
        except AdapterError as error:
            if not error.is_permanent:
                raise
            refusal = error  # asked again for each question, it would use up the calls for all groups
        return _Group(users, self._now() + FRESH_S, refusal)

    async def _ask(self, group: str) -> tuple[str, ...]:
        team, group_id = _named(group)
        # `team_id` counts where the app is installed for a whole organization.
        answer = await self._api.call(
            "usergroups.users.list", team=team, may_repeat=True, wait_s=WAIT_S, usergroup=group_id, team_id=team
        )
        return tuple(user for user in list_of(answer.get("users"), at_most=MAX_USERS) if isinstance(user, str))


def _said(known: _Group) -> tuple[str, ...]:
    if known.refusal is not None:
        raise known.refusal.with_traceback(None)
    return known.users


def _named(group: str) -> tuple[str, str]:
    """Return the workspace and the id of a group in the notation of rules. Raises AdapterError."""
    named = re.fullmatch(r"slack:([^:]+):usergroup:([^:]+)", group)
    if named is None:
        raise AdapterError("it is no user group of Slack's", is_permanent=True)
    return named[1], named[2]


def why_unknown(error: AdapterError) -> str:
    """Return why Slack does not say who is in a group, as a phrase."""
    if not isinstance(error, SlackRefusedError):
        return str(error).rstrip(".") if error.is_permanent else "Slack does not answer"
    match error.code:
        case "missing_scope":
            return f"the Slack app lacks the permission {error.needed or SCOPE}"
        case "no_such_subteam":
            return "Slack knows no such user group"
        case code:
            return f"Slack does not say who is in it ({code})"
