"""Opening the model that the settings name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING

from bot.ports.cluster import Cluster
from bot.ports.model import Model
from bot.settings import Settings

if TYPE_CHECKING:
    from bot.models.endpoint import Patience


@asynccontextmanager
async def open_model(
    settings: Settings,
    *,
    patience: Patience | None = None,
    learn: Callable[[int | None], None] | None = None,
    cluster: Cluster | None = None,
) -> AsyncGenerator[Model]:
    """Yield the model that `settings.provider` names; its connections are closed on exit.

    `learn` is called with how many tokens the model takes, once and if its endpoint has said so. The limits of
    that endpoint hold for all processes of `cluster`.

    Only endpoints need the openai SDK: it is imported here, and in a thread, because it takes most of a second.

    Raises:
        SettingsError: A setting, or a package that it needs, is missing or wrong.
    """
    if settings.provider == "rehearsal":
        from bot.models.rehearsal.model import RehearsalModel

        yield RehearsalModel()
        return
    await asyncio.to_thread(import_module, "bot.models.clients")
    from bot.models.clients import open_endpoint
    from bot.models.endpoint import Patience

    async with open_endpoint(settings, patience=patience or Patience(), learn=learn, cluster=cluster) as model:
        yield model


def describe_model(settings: Settings) -> str:
    """Return in a sentence which model answers, and of the rehearsal model that it is not an AI."""
    match settings.provider:
        case "rehearsal":
            return (
                "The built-in rehearsal model answers. It is not an AI: it follows fixed rules, to try the tools out. "
                "The README says how to connect a real model."
            )
        case "azure":
            return f"Answers come from the Azure OpenAI deployment {settings.azure_openai_deployment}."
        case "openai":
            return f"Answers come from the model {settings.openai_model}."
