"""The person at the terminal: `toolbridge chat -m`, one start after the other."""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from adapters.console.adapter import ConsoleAdapter
from bot.app import open_app
from bot.ports.platform import Host
from bot.settings import load_settings
from tests.scenarios.model import Model


@dataclass(frozen=True)
class Terminal:
    """See `Place`."""

    home: Path
    model: Model | None = None  # None: the rehearsal model that comes with the bot

    async def converse(self, text: str, *, tools: int = 0) -> tuple[str, str]:
        return await self._run(text)

    async def command(self, name: str, argument: str = "") -> str:
        return (await self._run(f"/{name} {argument}"))[0]

    async def _run(self, text: str) -> tuple[str, str]:
        out, err = io.StringIO(), io.StringIO()

        @asynccontextmanager
        async def open_console(host: Host) -> AsyncGenerator[ConsoleAdapter]:
            yield ConsoleAdapter("main", host=host, stdout=out, stderr=err)

        model = {"openai_base_url": self.model.url, "openai_model": "rehearsal"} if self.model else {}
        settings = load_settings(env_file=None, toolbridge_home=self.home, **model)
        async with open_app(settings, [open_console], drain_s=0.5) as app:
            [adapter] = app.adapters
            assert isinstance(adapter, ConsoleAdapter)
            assert await adapter.ask_once(text) == 0, err.getvalue()
        return out.getvalue(), err.getvalue()
