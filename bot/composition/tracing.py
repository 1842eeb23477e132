"""Traces, where the operator says where they go; without that nothing of OpenTelemetry's SDK is imported."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING

import structlog

from bot.domain.errors import SettingsError
from bot.settings import Settings

if TYPE_CHECKING:
    from bot.observe.traces import Traces

log = structlog.stdlib.get_logger(__name__)

# https://github.com/open-telemetry/semantic-conventions-genai: gen_ai.provider.name
PROVIDERS = {"azure": "azure.ai.openai", "openai": "openai", "rehearsal": "toolbridge"}
MISSING = "OTEL_EXPORTER_OTLP_ENDPOINT needs another package. Run pip install 'toolbridge[otel]', or unset it."


def check_traces(settings: Settings) -> str:
    """Return where traces go, as a URL; empty where they are off.

    Raises:
        SettingsError: They cannot go there, or the extra is not installed.
    """
    if settings.traces_url:
        try:
            import_module("bot.observe.trace_export")  # late: its libraries are loaded by nobody else
        except ModuleNotFoundError:
            raise SettingsError(MISSING) from None
    return settings.traces_url


@asynccontextmanager
async def open_tracing(settings: Settings, *, is_needed: bool = True) -> AsyncGenerator[Traces | None]:
    """Trace turns while the context is open; yields None where traces are off.

    Where they are not needed, what keeps them from being sent is a line of the log: the variables are those of many
    programs, and may be meant for others on a person's machine.

    Raises:
        SettingsError: See `check_traces`.
    """
    try:
        endpoint = check_traces(settings)
    except SettingsError as error:
        if is_needed:
            raise
        log.warning("no_traces", reason=str(error))
        endpoint = ""
    if not endpoint:
        yield None
        return
    from bot.observe.trace_export import open_traces

    async with open_traces(
        endpoint,
        headers=settings.traces_headers,
        provider=PROVIDERS[settings.provider],
        captures=settings.captures_messages,
        process=settings.process,
    ) as traces:
        yield traces
