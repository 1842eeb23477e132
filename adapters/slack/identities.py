"""Who the bot is in each workspace."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.shared.tasks import KeyedLock
from adapters.slack.api import SlackApi
from bot.text.counting import count


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The bot as one workspace knows it."""

    team: str
    team_name: str
    user: str
    user_name: str
    bot: str
    enterprise: str = ""


class Identities:
    """Asks Slack once for each workspace. https://docs.slack.dev/reference/methods/auth.test"""

    def __init__(self, api: SlackApi) -> None:
        self._api = api
        self._known: dict[str, Identity] = {}
        self._asking: KeyedLock[str] = KeyedLock()  # by workspace

    @property
    def described(self) -> str:
        """Who the bot is and in how many workspaces, as far as it has asked; empty where it has asked for none."""
        known = {identity.team: identity for identity in self._known.values()}
        if not known:
            return ""
        names = " and ".join(sorted({f"@{identity.user_name}" for identity in known.values()})[:2])
        return f"as {names} in {count(len(known), 'workspace')}"

    async def of(self, team: str) -> Identity:
        """Return who the bot is there; an empty `team` means the workspace of the only token. Raises AdapterError."""
        if (known := self._known.get(team)) is not None:
            return known
        async with self._asking.hold(team):  # of many deliveries at once, only one asks
            return self._known.get(team) or await self._ask(team)

    async def _ask(self, team: str) -> Identity:
        answer = await self._api.call("auth.test", team=team, may_repeat=True, wait_s=30.0)
        identity = Identity(
            team=str(answer.get("team_id") or ""),  # none, where the app is installed for a whole organization
            team_name=str(answer.get("team", "")),
            user=str(answer.get("user_id", "")),
            user_name=str(answer.get("user", "")),
            bot=str(answer.get("bot_id", "")),
            enterprise=str(answer.get("enterprise_id") or ""),
        )
        self._known[team] = self._known[identity.team or team] = identity
        return identity

    def forget(self, team: str) -> None:
        """Ask Slack the next time: the app was removed, or installed again."""
        self._known.pop(team, None)
