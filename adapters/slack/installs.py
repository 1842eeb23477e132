"""Where the bot is installed: one token from the settings, or many workspaces in the notes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote

import aiohttp
import structlog
from slack_sdk.errors import SlackClientError, SlackTokenRotationError
from slack_sdk.oauth.installation_store import Bot, Installation
from slack_sdk.oauth.installation_store.async_installation_store import AsyncInstallationStore
from slack_sdk.oauth.token_rotation.async_rotator import AsyncTokenRotator

from adapters.shared.exclusive import exclusive
from adapters.slack.errors import error_code
from bot.domain.errors import AdapterError
from bot.ports.cluster import Cluster, LoneCluster
from bot.ports.store import NoteStore

log = structlog.stdlib.get_logger(__name__)

INSTALLS = "slack/install/"
TEAMS = "slack/team/"
NONE = "-"
# Tokens that expire do so after 12 hours: https://docs.slack.dev/authentication/using-token-rotation
ROTATE_BEFORE_MIN = 120
ROTATION_TIMEOUT_S = 30.0
ROTATION_PAUSE_S = 60.0  # after a failure

NOT_INSTALLED = (
    "I am not installed in this Slack workspace any more. An administrator installs me again at /slack/install on the "
    "bot's own address."
)


@dataclass(frozen=True, slots=True)
class OneToken:
    """The single workspace's token, SLACK_BOT_TOKEN. Satisfies `Tokens`."""

    token: str = field(repr=False)

    async def bot_token(self, team: str) -> str:
        return self.token

    async def forget(self, team: str) -> None:
        """Do nothing: only the operator can change it."""


class Installations(AsyncInstallationStore):
    """Installations as notes "slack/install/ENTERPRISE/TEAM"; "-" means none: an org-wide installation has no team.

    Only the newest installation of a workspace is kept. With a `rotator`, a token that is found is valid for at least
    two more hours: it is renewed by one request at a time over all processes of the bot, and returned unchanged where
    that fails, for it may still be valid. Belongs to one event loop.
    """

    def __init__(
        self,
        notes: NoteStore,
        *,
        rotator: AsyncTokenRotator | None = None,
        cluster: Cluster | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._notes = notes
        self._cluster = cluster or LoneCluster()
        self._rotator = rotator
        self._now = now
        self._texts: Mapping[str, str] | None = None  # the notes as they are
        self._version = 0
        self._renewing: dict[str, asyncio.Task[Installation]] = {}
        self._renew_from: dict[str, float] = {}  # after a failure

    async def async_save(self, installation: Installation) -> None:
        """Keep it in place of the one before."""
        name = _name(installation.enterprise_id, installation.team_id, is_org=installation.is_enterprise_install)
        await self._put(name, json.dumps(installation.to_dict_for_copying(), default=_plain))

    async def async_save_bot(self, bot: Bot) -> None:
        """Keep the bot's half; the rest of a stored installation stays."""
        name = _name(bot.enterprise_id, bot.team_id, is_org=bot.is_enterprise_install)
        stored = _parsed((await self._all()).get(name, "")) or Installation(user_id="")
        await self._put(name, json.dumps({**stored.to_dict_for_copying(), **bot.to_dict_for_copying()}, default=_plain))

    async def async_find_installation(
        self,
        *,
        enterprise_id: str | None,
        team_id: str | None,
        user_id: str | None = None,
        is_enterprise_install: bool | None = False,
    ) -> Installation | None:
        """Return the workspace's installation, otherwise its organisation's; with a user, only one by that user."""
        names = _candidates(enterprise_id, team_id, is_org=bool(is_enterprise_install))
        may_be_old = self._texts is not None
        found = await self._first(names)
        if found is None and may_be_old:  # it may have been installed at another process
            self.reread()
            found = await self._first(names)
        return found if found and user_id in (None, found.user_id) else None

    async def _first(self, names: Sequence[str]) -> Installation | None:
        for name in names:
            if found := await self._renewed(name):
                return found
        return None

    async def async_find_bot(
        self, *, enterprise_id: str | None, team_id: str | None, is_enterprise_install: bool | None = False
    ) -> Bot | None:
        """Return the bot's half of it."""
        found = await self.async_find_installation(
            enterprise_id=enterprise_id, team_id=team_id, is_enterprise_install=is_enterprise_install
        )
        return found.to_bot() if found and found.bot_token else None

    async def async_delete_installation(
        self, *, enterprise_id: str | None, team_id: str | None, user_id: str | None = None
    ) -> None:
        """Forget the installation; with a user, only what that user granted for themselves."""
        name = _name(enterprise_id, team_id)
        if user_id is None:
            await self._put(name, None)
            return
        stored = _parsed((await self._all()).get(name, ""))
        if stored and stored.user_id == user_id:
            stored.user_token = stored.user_refresh_token = stored.user_token_expires_at = None
            stored.user_scopes = []
            await self.async_save(stored)

    async def async_delete_bot(self, *, enterprise_id: str | None, team_id: str | None) -> None:
        """Forget the installation: without its bot it is of no use here."""
        await self._put(_name(enterprise_id, team_id), None)

    async def async_delete_all(self, *, enterprise_id: str | None, team_id: str | None) -> None:
        """Forget all of it."""
        await self._put(_name(enterprise_id, team_id), None)

    async def enterprise_of(self, team: str) -> str | None:
        """Return the organisation of a workspace, if it was ever seen."""
        return (await self._notes.notes(f"{TEAMS}{_quoted(team)}")).get(f"{TEAMS}{_quoted(team)}")

    async def put_enterprise(self, team: str, enterprise: str | None) -> None:
        """Remember the organisation of a workspace over restarts."""
        await self._notes.put_note(f"{TEAMS}{_quoted(team)}", enterprise)

    def reread(self) -> None:
        """Read the notes again the next time: another process may have changed them."""
        self._version += 1
        self._texts = None

    async def _renewed(self, name: str) -> Installation | None:
        found = _parsed((await self._all()).get(name, ""))
        if found is None or self._rotator is None or not self._is_due(name, found):
            return found
        task = self._renewing.get(name)
        if task is None:
            task = asyncio.create_task(self._rotate(name, found, self._rotator), name="slack:token-rotation")
            self._renewing[name] = task
            task.add_done_callback(lambda _: self._renewing.pop(name, None))
        # A refresh token can be used once: the new token is kept even if this caller is cancelled meanwhile.
        return await asyncio.shield(task)

    async def _rotate(self, name: str, stored: Installation, rotator: AsyncTokenRotator) -> Installation:
        """Renew only the bot's token: user tokens are not used here.

        Of two processes that exchange one refresh token at once, both may get a token, of which one is not valid:
        https://github.com/slackapi/node-slack-sdk/issues/2504.
        """
        async with exclusive(self._cluster, f"slack/renewal/{name.removeprefix(INSTALLS)}") as is_alone:
            self.reread()
            stored = _parsed((await self._all()).get(name, "")) or stored
            return await self._exchange(name, stored, rotator) if is_alone and self._is_due(name, stored) else stored

    async def _exchange(self, name: str, stored: Installation, rotator: AsyncTokenRotator) -> Installation:
        try:
            async with asyncio.timeout(ROTATION_TIMEOUT_S):
                bot = await rotator.perform_bot_token_rotation(
                    bot=stored.to_bot(), minutes_before_expiration=ROTATE_BEFORE_MIN
                )
        except (SlackClientError, aiohttp.ClientError, OSError) as error:  # TimeoutError is one
            log.warning("slack_token_not_renewed", team=stored.team_id, error=_cause(error))
            self._renew_from[name] = self._now() + ROTATION_PAUSE_S
            return stored
        if bot is None:
            return stored
        await self.async_save_bot(bot)
        log.info("slack_token_renewed", team=stored.team_id)
        return _parsed((await self._all()).get(name, "")) or stored

    def _is_due(self, name: str, found: Installation) -> bool:
        if found.bot_token_expires_at is None or self._now() < self._renew_from.get(name, 0.0):
            return False
        return found.bot_token_expires_at <= self._now() + ROTATE_BEFORE_MIN * 60

    async def _all(self) -> Mapping[str, str]:
        if self._texts is not None:
            return self._texts
        version = self._version
        texts = await self._notes.notes(INSTALLS)
        if version == self._version:  # otherwise they changed while they were being read
            self._texts = texts
        return texts

    async def _put(self, name: str, text: str | None) -> None:
        await self._notes.put_note(name, text)
        self.reread()


class InstalledTokens:
    """The tokens of all workspaces. Satisfies `Tokens`."""

    def __init__(self, installations: Installations) -> None:
        self._installations = installations
        self._enterprises: dict[str, str | None] = {}

    async def remember(self, team: str, enterprise: str | None) -> None:
        """Note which organisation a workspace belongs to, as each delivery says: an org-wide token then serves it."""
        if await self._enterprise(team) != enterprise and enterprise:
            await self._installations.put_enterprise(team, enterprise)
            self._enterprises[team] = enterprise

    async def bot_token(self, team: str) -> str:
        """Return a token that is valid now. Raises AdapterError where the bot is not installed."""
        bot = await self._find(team)
        if bot is None and self._enterprises.pop(team, None) is None:  # another process may know it by now
            bot = await self._find(team)
        if bot is None:
            raise AdapterError(NOT_INSTALLED, is_permanent=True)
        return bot.bot_token

    async def _find(self, team: str) -> Bot | None:
        return await self._installations.async_find_bot(enterprise_id=await self._enterprise(team), team_id=team)

    async def forget(self, team: str) -> None:
        """Read the notes again the next time: the token may have been revoked or renewed there."""
        self._enterprises.pop(team, None)
        self._installations.reread()

    async def _enterprise(self, team: str) -> str | None:
        if team not in self._enterprises:
            self._enterprises[team] = await self._installations.enterprise_of(team)
        return self._enterprises[team]


def _candidates(enterprise: str | None, team: str | None, *, is_org: bool) -> list[str]:
    """Return the names to look under: the workspace's, also from before it joined an organisation, then that one's."""
    names: list[str] = []
    if team and not is_org:
        names += [_name(enterprise, team), _name(None, team)]
    if enterprise:
        names.append(_name(enterprise, None))
    return list(dict.fromkeys(names))


def _name(enterprise: str | None, team: str | None, *, is_org: bool | None = False) -> str:
    return f"{INSTALLS}{_quoted(enterprise)}/{NONE if is_org else _quoted(team)}"


def _quoted(part: str | None) -> str:
    return quote(part, safe="") if part else NONE


def _parsed(text: str) -> Installation | None:
    return Installation(**json.loads(text)) if text else None


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(type(value).__name__)


def _cause(error: Exception) -> str:
    """Return Slack's error code or the exception's name: its text may contain the whole answer."""
    code = error_code(error.api_error) if isinstance(error, SlackTokenRotationError) else ""
    return code or type(error).__name__
