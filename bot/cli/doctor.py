"""The doctor: checks each part that is configured, one line each, with the cure for what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from bot.app import open_configured_model, read_system_prompt
from bot.domain.errors import BotError
from bot.domain.messages import UserMessage
from bot.models.factory import describe_model
from bot.ports.model import ModelRequest
from bot.ports.platform import SetUp
from bot.ports.tools import ServerStatus
from bot.settings import Settings
from bot.stores.factory import open_store
from bot.text.cleaning import clean
from bot.tools.config import load_servers
from bot.tools.toolset import Toolset

MODEL_WAIT_S = 30.0

CheckPlatform = Callable[[Settings], Awaitable[SetUp | None]]  # raises BotError


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the doctor: what was looked at, how it is, and what to do about it."""

    part: str
    state: Literal["ok", "off", "failed"]
    detail: str
    cure: str = ""


async def examine(
    load_settings: Callable[[], Settings], *, platforms: Mapping[str, CheckPlatform]
) -> AsyncIterator[Check]:
    """Yield the checks one by one, as they end; without valid settings the first is the last.

    `platforms` are the chat platforms by name; of one that is not configured there is no set-up.
    """
    try:
        settings = load_settings()
        yield Check(part="settings", state="ok", detail=describe_model(settings))
    except BotError as error:
        yield _failed("settings", error)
        return
    yield await _check_store(settings)
    yield await _check_model(settings)
    for check in await _check_tools(settings):
        yield check
    for part, check_platform in platforms.items():
        yield await _check_platform(part, check_platform, settings)


async def _check_store(settings: Settings) -> Check:
    try:
        async with open_store(settings.database_url_or_default) as store:
            await store.check()
            totals = await store.usage()
    except BotError as error:
        return _failed("store", error, cure=f"The file is {settings.database_file}.")
    return Check(part="store", state="ok", detail=f"{settings.database_file}, {totals.turns} turns")


async def _check_model(settings: Settings) -> Check:
    request = ModelRequest(
        system=read_system_prompt(settings), messages=(UserMessage(text="Please answer with the word OK."),)
    )
    started = asyncio.get_running_loop().time()
    try:
        async with open_configured_model(settings) as model:
            await model.complete(request, deadline=started + MODEL_WAIT_S, progress=lambda _: None)
            seconds = asyncio.get_running_loop().time() - started
            return Check(part="model", state="ok", detail=f"{model.name} answered after {seconds:.1f} s")
    except BotError as error:
        return _failed("model", error)


async def _check_tools(settings: Settings) -> list[Check]:
    try:
        servers = load_servers(settings)
    except BotError as error:
        return [_failed("tools", error)]
    async with Toolset(servers) as tools:
        offer = await tools.offer()
        checks = [_check_server(status) for status in tools.status()]
    return checks + [
        Check(part="tools", state="failed", detail=note) for note in offer.notes if not _is_said(note, checks)
    ]


def _is_said(note: str, checks: list[Check]) -> bool:
    return any(check.state == "failed" and check.part.removeprefix("tools ") in note for check in checks)


def _check_server(status: ServerStatus) -> Check:
    part = f"tools {clean(status.server)}"
    if status.state == "ready":
        return Check(part=part, state="ok", detail=f"{status.tool_count} tools, {status.replica}")
    return Check(
        part=part,
        state="failed",
        detail=clean(f"{status.state}, {status.replica}: {status.detail}"),
        cure="Start that server, or correct its entry in mcp.json or MCP_SERVER_URL.",
    )


async def _check_platform(part: str, check_platform: CheckPlatform, settings: Settings) -> Check:
    try:
        found = await check_platform(settings)
    except BotError as error:
        return _failed(part, error)
    if found is None:
        return Check(part=part, state="off", detail="no token is set")
    return Check(part=part, state="failed" if found.cure else "ok", detail=found.detail, cure=found.cure)


def _failed(part: str, error: BotError, *, cure: str = "") -> Check:
    return Check(part=part, state="failed", detail=str(error), cure=cure)
