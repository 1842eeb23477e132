"""The command line: `toolbridge`, also `python -m bot`. Each command imports what it needs when it runs."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import gc
import json
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from importlib import import_module
from typing import TYPE_CHECKING

from bot.domain.errors import BotError, SettingsError

if TYPE_CHECKING:
    from pydantic import SecretStr

    from adapters.console.adapter import ConsoleAdapter
    from adapters.discord.adapter import DiscordOptions
    from adapters.slack.adapter import SlackOptions
    from bot.app import App
    from bot.cli.doctor import Check
    from bot.domain.answers import Receipt
    from bot.domain.events import Event
    from bot.ports.platform import Adapter, Receive, SetUp
    from bot.settings import Settings

OK, FAILED, BAD_USAGE = 0, 1, 2
RUN_DRAIN_S = 10.0
CHAT_DRAIN_S = 0.2  # whoever leaves a chat does not wait for its turn: the next start takes it up
ENDING_SIGNALS = (signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
INTERRUPTED = 128 + signal.SIGINT  # what a shell reports for Ctrl-C

Command = Callable[[argparse.Namespace], Coroutine[object, object, int]]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 bad usage or settings."""
    arguments = _parser().parse_args(argv)
    command: Command = arguments.command
    try:
        if command is _chat and arguments.message is None and not sys.stdin.isatty():
            arguments.message = sys.stdin.read()
        return asyncio.run(until_terminated(command(arguments)))
    except SettingsError as error:
        _complain(error)
        return BAD_USAGE
    except BotError as error:
        _complain(error)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def _complain(error: BotError) -> None:
    print(f"toolbridge: {error}", file=sys.stderr)


async def until_terminated(work: Coroutine[object, object, int]) -> int:
    """Return what the command returns; a signal to end cancels it, so that everything it opened is closed.

    Those are SIGTERM, Ctrl-C, and the SIGHUP of a terminal that was closed, unless `nohup` had it ignored.
    """
    task = asyncio.create_task(work)
    received = signal.SIGTERM

    def end(number: signal.Signals) -> None:
        nonlocal received
        received = number
        task.cancel()

    for number in ENDING_SIGNALS:
        with suppress(NotImplementedError):  # Windows has no signal handlers on its event loop
            if signal.getsignal(number) is not signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(number, end, number)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:  # Ctrl-C: without this, the parts would be cancelled before what closes them
        task.cancel()
        await asyncio.wait([task])
        raise
    return 128 + received if task.cancelled() else task.result()


# --- the commands ---


async def _chat(arguments: argparse.Namespace) -> int:
    gc.disable()  # imports make objects that all stay: looking through them meanwhile takes a fifth of the start
    from adapters.console.adapter import ConsoleAdapter
    from bot.models.factory import describe_model

    settings = _settings(arguments, logs_to_file=True)
    is_conversing = arguments.message is None
    banner = describe_model(settings) if is_conversing or settings.provider == "rehearsal" else ""
    if is_conversing:
        banner += f"\nConversation {arguments.conversation}. /help shows what can be done here."
    adapter = ConsoleAdapter(
        arguments.conversation,
        banner=banner,
        trace=settings.trace,
        history_file=settings.toolbridge_home / "console-history",
        attachments=settings.toolbridge_home / "attachments",
    )
    if is_conversing:
        return await _converse(settings, adapter)
    from bot.app import open_app

    async with open_app(settings, [adapter], drain_s=CHAT_DRAIN_S) as app:
        _collect_from_here()
        return await adapter.ask_once(app.receive, arguments.message)


def _collect_from_here() -> None:
    """Collect garbage again, but leave alone what the start has made."""
    gc.freeze()
    gc.enable()


async def _converse(settings: Settings, adapter: ConsoleAdapter) -> int:
    """Show the prompt at once; what stands behind it is opened while the user reads and types."""
    opened: asyncio.Future[App] = asyncio.get_running_loop().create_future()
    has_left = asyncio.Event()

    async def serve() -> None:
        open_app = (await asyncio.to_thread(import_module, "bot.app")).open_app
        async with open_app(settings, [adapter], drain_s=CHAT_DRAIN_S) as app:
            _collect_from_here()
            opened.set_result(app)
            await has_left.wait()

    async def receive(event: Event) -> Receipt:
        app = await asyncio.shield(opened)
        return await app.receive(event)

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(serve())
            await adapter.run(receive)
            has_left.set()
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return OK


async def _run(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    if settings.provider == "rehearsal" and settings.model_provider != "rehearsal":
        raise SettingsError(
            "No model is configured, and `toolbridge run` does not serve a team with the rehearsal model unless asked "
            "to. Set AZURE_OPENAI_* or OPENAI_* (see .env.example), or give --model rehearsal."
        )
    slack, discord = _slack_options(settings), _discord_options(settings)
    if slack is None and discord is None:
        raise SettingsError(
            "No chat platform is configured. Set SLACK_BOT_TOKEN and SLACK_APP_TOKEN for Slack (`toolbridge "
            "slack-manifest` prints the app to make), or DISCORD_BOT_TOKEN for Discord (`toolbridge discord-invite` "
            "prints the link); `toolbridge chat` needs neither."
        )
    from bot.app import open_app

    async with AsyncExitStack() as stack:
        adapters: list[Adapter] = []
        if slack is not None:
            from adapters.slack.adapter import open_slack

            adapters.append(await stack.enter_async_context(open_slack(slack)))
        if discord is not None:
            from adapters.discord.adapter import open_discord

            adapters.append(await stack.enter_async_context(open_discord(discord)))
        app = await stack.enter_async_context(open_app(settings, adapters, drain_s=RUN_DRAIN_S))
        await _serve(adapters, app.receive)
    return OK


async def _serve(adapters: Sequence[Adapter], receive: Receive) -> None:
    """Let every adapter receive. One that cannot go on takes no other with it; the last one's error is raised."""
    failures: list[BotError] = []

    async def run(adapter: Adapter) -> None:
        try:
            await adapter.run(receive)
        except BotError as error:
            failures.append(error)
            if len(failures) < len(adapters):
                print(f"toolbridge: {adapter.name} is not served any more. {error}", file=sys.stderr)

    async with asyncio.TaskGroup() as group:
        for adapter in adapters:
            group.create_task(run(adapter), name=f"run:{adapter.name}")
    if failures:
        raise failures[-1]


def _slack_options(settings: Settings) -> SlackOptions | None:
    """Return how to reach Slack, None where it is not set up. Raises SettingsError where it is so by half."""
    bot, app, signing = settings.slack_bot_token, settings.slack_app_token, settings.slack_signing_secret
    client_id, client_secret = settings.slack_client_id, settings.slack_client_secret
    if not any((bot, app, signing, client_id, client_secret)):
        return None
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
    from adapters.slack.adapter import SlackOptions

    return SlackOptions(
        bot_token=_secret(bot),
        app_token=_secret(app),
        signing_secret=_secret(signing),
        client_id=client_id or "",
        client_secret=_secret(client_secret),
        api_url=settings.slack_api_url,
        http_host=settings.http_host,
        http_port=settings.http_port,
        command_prefix=settings.slack_command_prefix,
        backfill_minutes=settings.slack_backfill_minutes,
        trace=settings.trace,
    )


def _discord_options(settings: Settings) -> DiscordOptions | None:
    """Return how to reach Discord, None where it is not set up."""
    if settings.discord_bot_token is None:
        return None
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


def _secret(value: SecretStr | None) -> str:
    return value.get_secret_value() if value else ""


async def _doctor(arguments: argparse.Namespace) -> int:
    from bot.cli.doctor import examine

    checks: list[Check] = []
    async for check in examine(
        lambda: _settings(arguments, logs_to_file=True), platforms={"slack": _check_slack, "discord": _check_discord}
    ):
        checks.append(check)
        if not arguments.json:
            cure = f" {check.cure}" if check.cure else ""
            print(f"{check.state:6} {check.part}: {check.detail}{cure}", flush=True)
    if arguments.json:
        print(json.dumps([dataclasses.asdict(check) for check in checks], indent=2))
    return FAILED if any(check.state == "failed" for check in checks) else OK


async def _check_slack(settings: Settings) -> SetUp | None:
    if (options := _slack_options(settings)) is None:
        return None
    from adapters.slack.diagnose import check_up

    return await check_up(options)


async def _check_discord(settings: Settings) -> SetUp | None:
    if (options := _discord_options(settings)) is None:
        return None
    from adapters.discord.diagnose import check_up

    return await check_up(options)


async def _slack_manifest(arguments: argparse.Namespace) -> int:
    from adapters.slack.manifest import manifest
    from bot.tools.config import load_servers
    from bot.tools.toolset import Toolset

    settings = _settings(arguments, logs_to_file=True)
    async with Toolset(load_servers(settings)) as tools:
        await tools.offer()  # waits for the servers, whose prompts are the examples
        examples = await tools.examples()
    app = manifest(
        examples=examples,
        prefix=settings.slack_command_prefix,
        uses_socket_mode=not arguments.url,
        url=arguments.url.rstrip("/"),
    )
    print(json.dumps(app, indent=2, ensure_ascii=False))
    return OK


async def _discord_invite(arguments: argparse.Namespace) -> int:
    from adapters.discord.invite import application_id_of, invite_url

    settings = _settings(arguments)
    if settings.discord_bot_token is None:
        raise SettingsError(
            "The invite link needs DISCORD_BOT_TOKEN: make a bot at https://discord.com/developers/applications and "
            "set its token."
        )
    print(invite_url(application_id_of(_secret(settings.discord_bot_token))))
    return OK


async def _tools(arguments: argparse.Namespace) -> int:
    from bot.intake.commands import describe_tools
    from bot.tools.config import load_servers
    from bot.tools.toolset import Toolset

    async with Toolset(load_servers(_settings(arguments, logs_to_file=True))) as tools:
        print(await describe_tools(tools, arguments.word))
    return OK


async def _history(arguments: argparse.Namespace) -> int:
    from bot.cli.history import conversation_lines, transcript_lines
    from bot.stores.factory import open_store

    async with open_store(_settings(arguments).database_url_or_default) as store:
        if arguments.conversation is None:
            lines = await conversation_lines(store, limit=arguments.limit)
        else:
            lines = await transcript_lines(store, arguments.conversation, limit=arguments.limit)
    print("\n".join(lines))
    return OK


def _settings(arguments: argparse.Namespace, *, logs_to_file: bool = False) -> Settings:
    from bot.observe.logs import configure_logs
    from bot.settings import load_settings

    settings = load_settings(model_provider=getattr(arguments, "model", None))
    _ = settings.provider  # a model that is only half set up is said before anything starts
    if settings.toolbridge_config is not None:
        raise SettingsError(
            "TOOLBRIDGE_CONFIG is set, but this version does not read it: no rule in it would hold. Unset it."
        )
    file = settings.toolbridge_home / "logs" / "toolbridge.log" if logs_to_file else None
    configure_logs(log_format=settings.log_format, level=settings.log_level, file=file)
    return settings


# --- its arguments ---


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="toolbridge",
        description="Your team's own tools (any MCP server) in its own chat, on its own model.",
        epilog="Settings come from the environment and .env; .env.example lists them all.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    chat = commands.add_parser("chat", help="chat in the terminal, or ask one question with -m")
    chat.add_argument("-m", "--message", metavar="TEXT", help="ask this, print the answer and leave")
    chat.add_argument("--conversation", metavar="NAME", default="main", help="which conversation to go on with (main)")
    _add_model(chat)
    chat.set_defaults(command=_chat)

    run = commands.add_parser("run", help="serve every chat platform whose tokens are set")
    _add_model(run)
    run.set_defaults(command=_run)

    doctor = commands.add_parser("doctor", help="check settings, database, model, tool servers and chat platforms")
    doctor.add_argument("--json", action="store_true", help="print the checks as JSON")
    _add_model(doctor)
    doctor.set_defaults(command=_doctor)

    manifest = commands.add_parser("slack-manifest", help="print the Slack app to paste at api.slack.com/apps")
    manifest.add_argument("--url", default="", help="the bot's public address, for HTTP instead of Socket Mode")
    manifest.set_defaults(command=_slack_manifest)

    invite = commands.add_parser("discord-invite", help="print the link that brings the bot into a Discord server")
    invite.set_defaults(command=_discord_invite)

    tools = commands.add_parser("tools", help="list the tool servers and their tools")
    tools.add_argument("word", nargs="?", default="", help="only tools that contain this word")
    tools.set_defaults(command=_tools)

    history = commands.add_parser("history", help="list the conversations, or print one of them")
    history.add_argument("conversation", nargs="?", help="a key from the list, or the name of a terminal conversation")
    history.add_argument("--limit", type=int, default=50, metavar="N", help="at most so many (50)")
    history.set_defaults(command=_history)
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        choices=("azure", "openai", "rehearsal"),
        help="which of the configured models answers; rehearsal is the built-in one, which is no AI",
    )


if __name__ == "__main__":
    sys.exit(main())
