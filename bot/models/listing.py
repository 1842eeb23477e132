"""How many tokens a model takes, where the endpoint's list of models says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import cast

import structlog
from openai import AsyncOpenAI

from bot.models.errors import FAULTS
from bot.ports.tasks import running

# vLLM and SGLang; OpenRouter and Together; Groq; Mistral.
_FIELDS = ("max_model_len", "context_length", "context_window", "max_context_length")
_LIST_S = 20.0
_log = structlog.stdlib.get_logger(__name__)


def learning_context(
    client: AsyncOpenAI, model: str, learn: Callable[[int | None], None]
) -> AbstractAsyncContextManager[None]:
    """Ask the endpoint for its list while the context is open, and call `learn` with what it says; nothing waits."""
    return running(_ask(client, model, learn), name="model:list")


async def _ask(client: AsyncOpenAI, model: str, learn: Callable[[int | None], None]) -> None:
    try:
        async with asyncio.timeout(_LIST_S):
            listed = await client.get("/models", cast_to=object)
    except (*FAULTS, ValueError) as error:  # many endpoints have no list
        _log.debug("models_not_listed", reason=type(error).__name__)
        return
    learn(listed_context(listed, model))


def listed_context(listed: object, model: str) -> int | None:
    """Return how many tokens the model takes; None where the list, of whatever shape, does not say so."""
    entries: object = cast("Mapping[str, object]", listed).get("data") if isinstance(listed, Mapping) else listed
    for entry in cast("Sequence[object]", entries) if isinstance(entries, list) else ():
        if not isinstance(entry, Mapping):
            continue
        fields = cast("Mapping[str, object]", entry)
        if fields.get("id") == model:
            sizes = [size for name in _FIELDS if type(size := fields.get(name)) is int and size > 0]
            return min(sizes, default=None)
    return None
