"""`toolbridge doctor`: checks each part that is configured, one line each, with the cure for what is wrong."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Awaitable, Collection, Sequence
from typing import Any

import structlog

from adapters.registry import PLATFORMS, Platform
from bot.cli.checks import (
    Check,
    check_home,
    check_http,
    check_logs,
    check_redaction,
    check_secrets,
    check_traces,
    warning_place_problem,
)
from bot.cli.database_checks import check_server
from bot.cli.output import print_json
from bot.cli.policy import money_warnings
from bot.cli.processes import check_processes
from bot.cli.servers import servers_of, wait_for_servers
from bot.cli.settings_looks import problems_of
from bot.cli.start import LOOKS_AT_MODEL, start
from bot.cli.trust import folder_of, left_out
from bot.composition.work import read_system_prompt
from bot.database import describe_database, open_database
from bot.domain.errors import BotError, SettingsError
from bot.domain.events import ConversationKey
from bot.domain.messages import ToolSpec, UserMessage
from bot.domain.rights import Tool
from bot.models.factory import describe_model, open_model
from bot.models.prices import own_price
from bot.ports.conversation_store import ToolMemory
from bot.ports.model import ModelRequest
from bot.ports.tools import READ_RESOURCE, Offer, ServerStatus
from bot.rights.current import FILE_NAME, describe_policy, load_policy, policy_file, policy_of
from bot.rights.findings import PolicyFileError
from bot.rights.policy import FilePolicy, default_ruling
from bot.settings import Settings
from bot.text.cleaning import clean, clean_name
from bot.text.counting import count
from bot.text.terminal import visible
from bot.tools.configured import load_servers
from bot.tools.toolset import Toolset
from bot.turns.context import Window
from bot.turns.selection import Selection
from bot.turns.tokens import estimate_tokens

log = structlog.stdlib.get_logger(__name__)

MODEL_WAIT_S = 30.0
MAX_NAMED = 20  # tools, in one line
_CURE_OF_TOOLS = "Leave these tools out with deny patterns in mcp.json, or have their server's schemas corrected."
_ANY_CURE = "Start that server, or correct its entry in mcp.json or MCP_SERVER_URL."


async def doctor(arguments: Namespace) -> int:
    """Print the checks as they end, or those that failed, or all of them as JSON; return 1 where one failed."""
    checks: list[Check] = []
    async for check in _checks(arguments):
        checks.append(check)
        is_shown = not arguments.json and not (arguments.quiet and check.state != "failed")
        if is_shown:
            print(visible(f"{check.state:6} {check.part}: {check.text}"), flush=True)
            for line in check.output:
                print(f"         | {visible(line)}", flush=True)
    if arguments.json:
        print_json([dataclasses.asdict(check) for check in checks])
    return 1 if any(check.state == "failed" for check in checks) else 0


async def _checks(arguments: Namespace) -> AsyncIterator[Check]:
    """Yield the checks one by one; with values that are not valid that is the last."""
    try:
        if note := left_out(folder_of(arguments)):
            yield Check(part="folder", state="off", detail=note)
        settings = start(arguments, logs_to_file=True, tells_left_out=False, needs_model=False)
    except BotError as error:
        yield _failed("settings", error)
        return
    problems = problems_of(settings, (*LOOKS_AT_MODEL, read_system_prompt, own_price))
    for problem in problems:
        yield Check(part="settings", state="failed", detail=problem)
    if not problems:
        yield Check(part="settings", state="ok", detail=describe_model(settings))
    async for check in _checks_of_parts(arguments, settings):
        if check.detail not in problems:  # said above
            yield check


async def _checks_of_parts(arguments: Namespace, settings: Settings) -> AsyncIterator[Check]:
    for check in (check_home(settings), check_redaction(settings), *check_logs(settings), await check_http(settings)):
        yield check
    for check in await surviving("traces", check_traces(settings)):
        yield check
    for check in await surviving("store", _check_store(settings)):
        yield check
    offers: list[Offer] = []
    tools = await surviving("tools", _check_tools(settings, arguments, offers))
    for check in (*await surviving("model", _check_model(settings, offers)), *tools):
        yield check
    for check in await surviving("policy", check_policy(settings, [tool for offer in offers for tool in offer.tools])):
        yield check
    groups = _groups(settings)
    for platform in PLATFORMS:
        for check in await surviving(platform.name, _check_platform(platform, settings, groups)):
            yield check


async def surviving(part: str, checking: Awaitable[Sequence[Check]]) -> Sequence[Check]:
    """Return what the check returns; a fault of the check itself is a line like any other, and the rest goes on."""
    try:
        return await checking
    except BotError as error:
        return [_failed(part, error)]
    except Exception as error:
        log.exception("check_failed", part=part)
        detail = f"this check itself failed ({type(error).__name__})"
        return [Check(part=part, state="failed", detail=detail, cure="The log has the details. Please report them.")]


async def _check_store(settings: Settings) -> Sequence[Check]:
    where, server = describe_database(settings), list[Check]()
    try:
        server += await check_server(settings)
        if any(check.state == "failed" for check in server):
            return server
        async with open_database(settings) as store:
            await store.check()
            totals = await store.usage()
            secrets = await surviving("secrets", check_secrets(settings, store))
            served = {platform.name for platform in PLATFORMS}
            living = await surviving("processes", check_processes(store, served=served, now=time.time()))
    except BotError as error:
        return [*server, _failed("store", error, cure=f"It is {where}.")]
    return [
        Check(part="store", state="ok", detail=f"{where}, {count(totals.turns, 'turn')}"),
        *server,
        *secrets,
        *living,
    ]


async def _check_model(settings: Settings, offers: Sequence[Offer]) -> list[Check]:
    """Ask the model as the bot would, with the same tools; what its endpoint does not take of them is a failure."""
    system, tools = read_system_prompt(settings), tuple[ToolSpec, ...]()
    for offer in offers:
        tools = await _tools_of_a_turn(settings, offer)
    request = ModelRequest(system=system, messages=(UserMessage(text="Please answer with the word OK."),), tools=tools)
    started = asyncio.get_running_loop().time()
    async with open_model(settings) as model:
        answer = await model.complete(request, deadline=started + MODEL_WAIT_S, progress=lambda _: None)
        seconds = asyncio.get_running_loop().time() - started
        answered = f"{model.name} answered after {seconds:.1f} s"
        if answer.usage.unpriced_tokens:
            answered += f"; no price of {clean(answer.model or model.name)} is known"
    if not answer.notes:
        return [Check(part="model", state="ok", detail=answered)]
    detail = f"{answered}. {clean(' '.join(answer.notes))}"
    return [Check(part="model", state="failed", detail=detail, cure=_CURE_OF_TOOLS if model.refused_tools else "")]


async def _tools_of_a_turn(settings: Settings, offer: Offer) -> tuple[ToolSpec, ...]:
    """Return the tools with which a new conversation would begin: of many, only the most used ones."""
    window = Window(
        max_messages=settings.max_conversation_length, max_tokens=settings.model_context_tokens, count=estimate_tokens
    )
    selection = Selection(offer, window=window)
    if selection.is_part:
        selection.begin(await _tool_memory(settings))
    return selection.tools


async def _tool_memory(settings: Settings) -> ToolMemory:
    try:
        async with open_database(settings) as store:
            return await store.tool_memory(ConversationKey(platform="doctor", space="", channel=""))
    except BotError:  # which the store's own check says
        return ToolMemory()


async def _check_tools(settings: Settings, arguments: Namespace, offers: list[Offer]) -> Sequence[Check]:
    """Return the checks of the servers; add what the bot would offer to `offers`."""
    async with Toolset(servers_of(settings, arguments)) as tools:
        await wait_for_servers(tools)
        offer = await tools.offer(None)
        checks = [_check_server(status) for status in tools.status()]
    offers.append(offer)
    return checks + [
        Check(part="tools", state="failed", detail=note) for note in offer.notes if not _is_reported(note, checks)
    ]


def _is_reported(note: str, checks: list[Check]) -> bool:
    return any(check.state == "failed" and check.part.removeprefix("tools ") in note for check in checks)


def _check_server(status: ServerStatus) -> Check:
    part = f"tools {clean(status.server)}"
    if status.state == "ready":
        about = f"; {status.detail}" if status.detail else ""
        return Check(
            part=part, state="ok", detail=clean(f"{count(status.tool_count, 'tool')}, {status.replica}{about}")
        )
    where = f", {status.replica}" if status.replica else ""
    return Check(
        part=part,
        state="failed",
        detail=clean(f"{status.state}{where}: {status.detail}."),
        cure=status.cure or ("" if not status.replica else _ANY_CURE),
        output=tuple(map(clean, status.error_output)),
    )


async def check_policy(settings: Settings, offered: Sequence[ToolSpec]) -> Sequence[Check]:
    """Return what toolbridge.toml says, or without one, which of the offered tools ask by default."""
    file = policy_file(settings)
    if file is None:
        return [_default_policy(offered)]
    names = {server.name for server in load_servers(settings)}
    try:
        policy = load_policy(file, servers=names)
    except PolicyFileError as error:
        found = tuple(clean(str(finding)) for finding in error.findings)
        cure = "Correct these: the bot does not start with them, and one that runs keeps its old rules."
        return [Check(part="policy", state="failed", detail=f"{file} is not valid.", cure=cure, output=found)]
    found = [*map(str, policy.warnings), *money_warnings(settings, policy), _unread_warnings(settings, policy)]
    warnings = tuple(map(clean, filter(None, found)))
    return [Check(part="policy", state="ok", detail=describe_policy(policy), output=warnings)]


def _unread_warnings(settings: Settings, policy: FilePolicy) -> str:
    try:
        return warning_place_problem(policy, {each.name for each in PLATFORMS if each.is_set_up(settings)})
    except SettingsError:  # which the platform's own check says
        return ""


def _default_policy(offered: Sequence[ToolSpec]) -> Check:
    asking = [clean_name(f"{spec.server}/{spec.tool}") for spec in offered if _asks_by_default(spec)]
    detail = describe_policy(FilePolicy.default())
    if not asking:
        return Check(part="policy", state="ok", detail=f"{detail}; none of the tools asks")
    more = len(asking) - MAX_NAMED
    names = ", ".join(asking[:MAX_NAMED]) + (f" and {more:,} more" if more > 0 else "")
    these = "this tool now asks" if len(asking) == 1 else f"these {len(asking):,} tools now ask"
    cure = f"Mark a server that you trust as trusted in mcp.json, or write a rule in {FILE_NAME}."
    return Check(part="policy", state="ok", detail=f"{detail}; {these}: {names}.", cure=cure)


def _asks_by_default(spec: ToolSpec) -> bool:
    tool = Tool(server=spec.server, tool=spec.tool, is_bundled=spec.is_bundled, is_read_only=spec.is_read_only)
    return spec.name != READ_RESOURCE and default_ruling(tool).verdict == "ask"


def _groups(settings: Settings) -> Collection[str]:
    """Return the platforms' groups that rules name; none of a file that is not valid, which is said already."""
    try:
        return policy_of(settings).interesting
    except SettingsError:
        return ()


async def _check_platform(platform: Platform[Any], settings: Settings, groups: Collection[str]) -> Sequence[Check]:
    set_up = await platform.check(settings, groups=groups)
    if set_up is None:
        return [Check(part=platform.name, state="off", detail="no token is set")]
    state = "failed" if set_up.cure and not set_up.is_advice else "ok"
    return [Check(part=platform.name, state=state, detail=set_up.detail, cure=set_up.cure)]


def _failed(part: str, error: BotError, *, cure: str = "") -> Check:
    return Check(part=part, state="failed", detail=str(error), cure=cure)
