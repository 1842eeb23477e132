"""The chat platforms: one row each, and the terminal. To add a platform, add its folder and a row to `PLATFORMS`.

Nothing of a platform is imported before it is used, so that the command line starts fast.
"""

from __future__ import annotations

import asyncio
import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Generic, TypeVar

from bot.domain.errors import SettingsError
from bot.domain.events import ConversationKey

if TYPE_CHECKING:
    from pydantic import SecretStr

    from adapters.console.adapter import ConsoleAdapter
    from adapters.discord.adapter import DiscordOptions
    from adapters.slack.options import SlackOptions
    from bot.ports.platform import Adapter, Host, SetUp
    from bot.settings import Settings

_Options = TypeVar("_Options")


def _no_arguments(_parser: ArgumentParser) -> None:
    """Add nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformCommand:
    """A command of `toolbridge` that only one platform needs."""

    name: str
    help: str
    text: Callable[[Settings, Namespace], Awaitable[str]]  # what the command prints; raises BotError
    add_arguments: Callable[[ArgumentParser], None] = _no_arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A secret that a platform gives its operators, and that `toolbridge setup` takes."""

    setting: str
    where: str  # where it is found, as it follows "It is"


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """A setting of true or false that `toolbridge setup` asks for."""

    setting: str
    question: str
    default: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """How `toolbridge setup` leads to a platform."""

    title: str
    text: Callable[[Settings, Namespace], Awaitable[str]]  # what to do there first; raises BotError
    tokens: tuple[Token, ...]
    switches: tuple[Switch, ...] = ()
    then: Callable[[Settings], str] | None = None  # what to do once the tokens are there; raises BotError


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform(Generic[_Options]):
    """One chat platform, as the command line sees it."""

    name: str
    needs: str  # the settings that switch it on, and where they come from: what follows "Set"
    is_set_up: Callable[[Settings], bool]  # raises SettingsError where only half set up
    options: Callable[[Settings], _Options]  # of a platform that is set up
    module: str  # what `open` imports
    open: Callable[[_Options, Host], AbstractAsyncContextManager[Adapter]]
    # With the groups of the platforms that rules name; raises BotError.
    diagnose: Callable[[_Options, Collection[str]], Awaitable[SetUp]]
    guide: Guide
    commands: tuple[PlatformCommand, ...] = ()

    def opener(self, settings: Settings) -> Callable[[Host], AbstractAsyncContextManager[Adapter]] | None:
        """Return how to open the platform with these settings; None where it is not set up.

        Raises:
            SettingsError: It is only half set up.
        """
        return partial(self._opened, settings) if self.is_set_up(settings) else None

    @asynccontextmanager
    async def _opened(self, settings: Settings, host: Host) -> AsyncGenerator[Adapter]:
        """Open the platform. Its import takes a third of a second, in which tool servers start: so, in a thread."""
        await asyncio.to_thread(import_module, self.module)
        async with self.open(self.options(settings), host) as adapter:
            yield adapter

    async def check(self, settings: Settings, *, groups: Collection[str] = ()) -> SetUp | None:
        """Return how the platform is set up; None where it is not. Raises BotError.

        `groups` are those of the platforms that rules name, in the notation of rules.
        """
        return await self.diagnose(self.options(settings), groups) if self.is_set_up(settings) else None


# --- Slack -----------------------------------------------------------------------------------------------------


def _is_slack_set_up(settings: Settings) -> bool:
    bot, app, signing = settings.slack_bot_token, settings.slack_app_token, settings.slack_signing_secret
    client_id, client_secret = settings.slack_client_id, settings.slack_client_secret
    if not any((bot, app, signing, client_id, client_secret)):
        return False
    if bool(client_id) != bool(client_secret):
        raise SettingsError("Several Slack workspaces need both SLACK_CLIENT_ID and SLACK_CLIENT_SECRET. Set both.")
    if bool(bot) == bool(client_id):
        raise SettingsError(
            "Slack needs SLACK_BOT_TOKEN for one workspace, or SLACK_CLIENT_ID and SLACK_CLIENT_SECRET for several. "
            "Set one of the two."
        )
    if not app and not signing:
        raise SettingsError(
            "Slack needs SLACK_APP_TOKEN (Socket Mode, no public address) or SLACK_SIGNING_SECRET (HTTP). Set one."
        )
    if not app and settings.http_port is None:
        raise SettingsError(
            "Slack delivers over HTTP without SLACK_APP_TOKEN, and HTTP_PORT=off switches off what listens for it. Set "
            "HTTP_PORT to a port, or SLACK_APP_TOKEN (Socket Mode)."
        )
    return True


def _slack_options(settings: Settings) -> SlackOptions:
    from adapters.slack.options import SlackOptions

    return SlackOptions(
        bot_token=_secret(settings.slack_bot_token),
        app_token=_secret(settings.slack_app_token),
        signing_secret=_secret(settings.slack_signing_secret),
        client_id=settings.slack_client_id or "",
        client_secret=_secret(settings.slack_client_secret),
        api_url=settings.slack_api_url,
        http_address=f"{settings.http_host}:{settings.http_port}",
        command_prefix=settings.slack_command_prefix,
        backfill_minutes=settings.slack_backfill_minutes,
        trace=settings.trace,
    )


def _open_slack(options: SlackOptions, host: Host) -> AbstractAsyncContextManager[Adapter]:
    from adapters.slack.opening import open_slack

    return open_slack(options, host)


async def _diagnose_slack(options: SlackOptions, groups: Collection[str]) -> SetUp:
    from adapters.slack.diagnose import diagnose

    return await diagnose(options, uses_groups=any(group.startswith("slack:") for group in groups))


def _add_manifest_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--url", default="", help="the bot's public address, for HTTP instead of Socket Mode")
    parser.add_argument("--org", action="store_true", help="for installing once in all workspaces of an organization")


async def _slack_manifest(settings: Settings, arguments: Namespace) -> str:
    from adapters.slack.manifest import manifest
    from bot.tools.configured import load_servers
    from bot.tools.toolset import Toolset

    async with Toolset(load_servers(settings, uses_folder=arguments.folder.is_used)) as tools:
        await tools.settle(timeout_s=60.0, tell=lambda _: None)  # the servers' prompts are the examples
        examples = await tools.examples()
    app = manifest(
        examples=examples,
        prefix=settings.slack_command_prefix,
        uses_socket_mode=not arguments.url,
        url=arguments.url.rstrip("/"),
        is_org_wide=arguments.org,
    )
    return json.dumps(app, indent=2, ensure_ascii=False)


async def _guide_to_slack(settings: Settings, arguments: Namespace) -> str:
    app = await _slack_manifest(settings, Namespace(url="", org=False, folder=arguments.folder))
    return (
        f"{app}\n\n"
        "1. Open https://api.slack.com/apps?new_app=1, choose From a manifest and your workspace, and paste the "
        "manifest above.\n"
        "2. Basic Information, App-Level Tokens, Generate: add the scope connections:write.\n"
        "3. Install App, Install to Workspace."
    )


# --- Discord ---------------------------------------------------------------------------------------------------


def _is_discord_set_up(settings: Settings) -> bool:
    return settings.discord_bot_token is not None


def _discord_options(settings: Settings) -> DiscordOptions:
    from adapters.discord.adapter import DiscordOptions

    return DiscordOptions(
        bot_token=_secret(settings.discord_bot_token),
        api_url=settings.discord_api_url,
        gateway_url=settings.discord_gateway_url,
        allow_dms=settings.discord_allow_dms,
        message_content=settings.discord_message_content,
        dev_guild=str(settings.discord_dev_guild or ""),
        backfill_minutes=settings.discord_backfill_minutes,
        trace=settings.trace,
    )


def _open_discord(options: DiscordOptions, host: Host) -> AbstractAsyncContextManager[Adapter]:
    from adapters.discord.adapter import open_discord

    return open_discord(options, host)


async def _diagnose_discord(options: DiscordOptions, _groups: Collection[str]) -> SetUp:
    from adapters.discord.diagnose import diagnose

    return await diagnose(options)


async def _discord_invite(settings: Settings, _arguments: Namespace) -> str:
    return _invite(settings)


async def _guide_to_discord(_settings: Settings, _arguments: Namespace) -> str:
    return (
        "1. Open https://discord.com/developers/applications and choose New Application.\n"
        "2. On its Bot page, switch Public Bot off and Message Content Intent on, and choose Reset Token."
    )


def _ask_to_invite(settings: Settings) -> str:
    return f"3. Open this link to add the bot to your server:\n{_invite(settings)}"


def _invite(settings: Settings) -> str:
    from adapters.discord.invite import application_id_of, invite_url

    if settings.discord_bot_token is None:
        raise SettingsError(
            "The invite link needs DISCORD_BOT_TOKEN: make a bot at https://discord.com/developers/applications and "
            "set its token."
        )
    return invite_url(application_id_of(_secret(settings.discord_bot_token)))


def _secret(value: SecretStr | None) -> str:
    return value.get_secret_value() if value else ""


# --- the rows --------------------------------------------------------------------------------------------------

PLATFORMS = (
    Platform(
        name="slack",
        needs="SLACK_BOT_TOKEN and SLACK_APP_TOKEN for Slack (`toolbridge slack-manifest` prints the app to make)",
        is_set_up=_is_slack_set_up,
        options=_slack_options,
        module="adapters.slack.opening",
        open=_open_slack,
        diagnose=_diagnose_slack,
        guide=Guide(
            title="Slack",
            text=_guide_to_slack,
            tokens=(
                Token(setting="SLACK_APP_TOKEN", where="the app-level token (xapp-...) with connections:write"),
                Token(setting="SLACK_BOT_TOKEN", where="the Bot User OAuth Token (xoxb-...) under Install App"),
            ),
        ),
        commands=(
            PlatformCommand(
                name="slack-manifest",
                help="print the Slack app to paste at api.slack.com/apps",
                text=_slack_manifest,
                add_arguments=_add_manifest_arguments,
            ),
        ),
    ),
    Platform(
        name="discord",
        needs="DISCORD_BOT_TOKEN for Discord (`toolbridge discord-invite` prints the link)",
        is_set_up=_is_discord_set_up,
        options=_discord_options,
        module="adapters.discord.adapter",
        open=_open_discord,
        diagnose=_diagnose_discord,
        guide=Guide(
            title="Discord",
            text=_guide_to_discord,
            tokens=(Token(setting="DISCORD_BOT_TOKEN", where="what Reset Token shows"),),
            switches=(
                Switch(
                    setting="DISCORD_MESSAGE_CONTENT",
                    question="Is Message Content Intent on? Without it, follow-ups in threads need a mention.",
                    default=True,
                ),
            ),
            then=_ask_to_invite,
        ),
        commands=(
            PlatformCommand(
                name="discord-invite",
                help="print the link that brings the bot into a Discord server",
                text=_discord_invite,
            ),
        ),
    ),
)

# --- the terminal ----------------------------------------------------------------------------------------------


def terminal(conversation: str, *, host: Host, settings: Settings, banner: str) -> ConsoleAdapter:
    """Return the platform of `toolbridge chat`: one conversation with one person."""
    from adapters.console.adapter import ConsoleAdapter

    return ConsoleAdapter(
        conversation,
        host=host,
        banner=banner,
        trace=settings.trace,
        history_file=settings.toolbridge_home / "console-history",
        attachments=settings.toolbridge_home / "attachments",
    )


def print_markdown(text: str) -> None:
    """Draw Markdown on standard output where that is a terminal; otherwise print it as it is."""
    from adapters.console.plain import print_markdown

    print_markdown(text, sys.stdout)


def terminal_user() -> str:
    """Return the name of the person at the terminal, as the operating system has it."""
    from adapters.console.speaker import user_name

    return user_name()


def terminal_conversation(name: str) -> ConversationKey:
    """Return the key of the terminal's conversation of that name."""
    return ConversationKey(platform="console", space="local", channel=name)
