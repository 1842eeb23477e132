"""Bolt, which authorises and acknowledges deliveries; each is handled before it is acknowledged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.authorization.async_authorize import AsyncAuthorize
from slack_bolt.context.async_context import AsyncBoltContext
from slack_bolt.oauth.async_oauth_settings import AsyncOAuthSettings
from slack_bolt.response import BoltResponse

from adapters.slack.api import SlackApi
from adapters.slack.identities import Identities
from adapters.slack.installs import Installations, InstalledTokens
from adapters.slack.manifest import BOT_SCOPES
from adapters.slack.oauth_states import NoteStates
from adapters.slack.parse import team_of
from bot.domain.errors import AdapterError, BotError

log = structlog.stdlib.get_logger(__name__)

DRAIN_S = 5.0

Body = Mapping[str, Any]
# (body, the bot's user id) -> what Slack gets with the acknowledgement, which is made once it returns
Handle = Callable[[Body, str], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth:
    """What it takes for workspaces to install the app themselves."""

    client_id: str
    client_secret: str
    installations: Installations
    tokens: InstalledTokens
    states: NoteStates


class BoltApp:
    """Passes deliveries to `handle`, which has stored what must not be lost when it returns.

    What comes while this process may not take it (`may_take`) is not acknowledged.
    """

    def __init__(
        self,
        api: SlackApi,
        *,
        identities: Identities,
        handle: Handle,
        may_take: Callable[[], bool],
        oauth: OAuth | None,
    ) -> None:
        self._api = api
        self._identities = identities
        self._handle = handle
        self._may_take = may_take
        self._oauth = oauth
        self._handling = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._is_closing = False
        self.app = self._make_app()

    async def drain(self) -> None:
        """Take nothing new; wait until what is being handled is acknowledged."""
        self._is_closing = True
        await self.settle(timeout_s=DRAIN_S)

    async def settle(self, *, timeout_s: float) -> None:
        """Wait until nothing is being handled and all that was is acknowledged, at most for so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._is_idle.wait()
                await asyncio.sleep(0)  # the acknowledgement is sent right after

    def _make_app(self) -> AsyncApp:
        quiet = logging.getLogger(f"{__name__}.bolt")
        quiet.setLevel(logging.ERROR)  # it warns about intended settings, and below that logs what people wrote
        oauth = self._oauth
        app = AsyncApp(
            name="toolbridge",
            logger=quiet,
            client=self._api.client,
            request_verification_enabled=False,  # done in `http_body`, before anything is parsed
            process_before_response=True,  # deliveries are handled before they are acknowledged
            authorize=_Authorize(self._api, self._identities),
            before_authorize=self._refuse_strangers,
            installation_store=oauth.installations if oauth else None,
            oauth_settings=AsyncOAuthSettings(
                client_id=oauth.client_id,
                client_secret=oauth.client_secret,
                scopes=list(BOT_SCOPES),
                installation_store=oauth.installations,
                state_store=oauth.states,
                logger=silent(),
            )
            if oauth
            else None,
        )
        app.error(_failed)
        app.middleware(self._receive)  # pyright: ignore[reportUnknownMemberType]  (Bolt's own is not typed)
        if oauth:
            app.enable_token_revocation_listeners()
        return app

    async def _refuse_strangers(
        self, body: dict[str, Any], context: AsyncBoltContext, next_: Callable[[], Awaitable[object]]
    ) -> BoltResponse | None:
        """Acknowledge deliveries from workspaces that have removed the bot: nobody can be answered there."""
        team = team_of(body)
        context["team_id"] = team or None  # Bolt knows none where the app is installed for a whole organization
        if self._oauth is not None and team:
            try:
                await self._oauth.tokens.remember(team, context.enterprise_id)
                await self._oauth.tokens.bot_token(team)
            except BotError as error:
                is_stranger = isinstance(error, AdapterError) and error.is_permanent
                log.info("delivery_not_taken", team=team, error=str(error))
                return BoltResponse(status=200 if is_stranger else 503, body="")
        await next_()
        return None

    async def _receive(
        self, body: dict[str, Any], context: AsyncBoltContext, next_: Callable[[], Awaitable[object]]
    ) -> BoltResponse | None:
        if self._is_closing or not self._may_take():
            return BoltResponse(status=503)  # not acknowledged: Slack delivers it to another connection, or later
        self._handling += 1
        self._is_idle.clear()
        try:
            answer = await self._handle(body, context.bot_user_id or "")
        except BotError as error:
            log.warning("delivery_not_taken", error=str(error))
            return BoltResponse(status=503)  # Slack delivers it again
        finally:
            self._handling -= 1
            if not self._handling:
                self._is_idle.set()
        event: Mapping[str, Any] = body.get("event") or {}
        if self._oauth and event.get("type") in ("tokens_revoked", "app_uninstalled"):
            self._identities.forget(context.team_id or "")
            if context.is_enterprise_install:
                context["team_id"] = None  # the organization's installation ends, and is stored under no workspace
            await next_()
            return None
        return BoltResponse(status=200, body=answer or "")


async def _failed(error: Exception) -> BoltResponse:
    """Return what Slack gets where Bolt failed: it reads parts of a delivery without looking whether they are there."""
    if isinstance(error, BotError):
        log.warning("delivery_not_taken", error=str(error))
        return BoltResponse(status=503)  # Slack delivers it again
    log.warning("delivery_not_valid", error=type(error).__name__)
    return BoltResponse(status=400, body="This is not valid.")


class _Authorize(AsyncAuthorize):
    """Tells Bolt who the bot is. Where that is unknown it raises, and Slack delivers again."""

    def __init__(self, api: SlackApi, identities: Identities) -> None:
        self._api = api
        self._identities = identities

    async def __call__(
        self,
        *,
        context: AsyncBoltContext,
        enterprise_id: str | None,
        team_id: str | None,
        user_id: str | None,
        actor_enterprise_id: str | None = None,
        actor_team_id: str | None = None,
        actor_user_id: str | None = None,
    ) -> AuthorizeResult:
        team = team_id or ""
        identity = await self._identities.of(team)
        return AuthorizeResult(
            enterprise_id=enterprise_id,
            team_id=team_id,
            bot_user_id=identity.user,
            bot_id=identity.bot,
            bot_token=await self._api.tokens.bot_token(team),
        )


def silent() -> logging.Logger:
    """Return a logger for libraries that write codes, addresses and whole answers into their warnings."""
    silent = logging.getLogger(f"{__name__}.silent")
    silent.setLevel(logging.CRITICAL)
    return silent
