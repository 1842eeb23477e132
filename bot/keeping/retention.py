"""Forgets what is older than RETENTION_DAYS: at the start and every day, a little at a time, so that turns go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from bot.domain.errors import BotError
from bot.keeping.files import FilesGone, KeptFiles
from bot.ports.retention_store import Forgotten, RetentionStore
from bot.ports.tasks import running

log = structlog.stdlib.get_logger(__name__)

DAY_S = 86_400.0
BATCH_TURNS = 50
PAUSE_S = 0.05  # between batches


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Keeps texts for `days`; None: for ever. `now` gives seconds since the epoch."""

    store: RetentionStore
    files: KeptFiles
    days: int | None
    now: Callable[[], float]
    every_s: float = DAY_S

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[None]:
        """Forget at once and every day, while the context is open."""
        if self.days is None:
            yield
            return
        async with running(self._go_on(self.days), name="retention"):
            yield

    async def _go_on(self, days: int) -> None:
        while True:
            try:
                await self.forget(before=self.now() - days * DAY_S)
            except BotError as error:
                log.warning("retention_failed", error=type(error).__name__, reason=str(error))
            except Exception:  # the next day is another try
                log.exception("retention_failed")
            await asyncio.sleep(self.every_s)

    async def forget(self, *, before: float) -> tuple[Forgotten, FilesGone]:
        """Forget what is older than that time (seconds since the epoch), and log one line of counts. Raises StoreError.

        Turns that have not ended stay, with what they ask.
        """
        gone = Forgotten()
        while (part := await self.store.forget_older(before, limit=BATCH_TURNS)) != Forgotten():
            gone += part
            await asyncio.sleep(PAUSE_S)
        files = await self.files.forget_older(before)
        if gone != Forgotten():
            await self.store.scrub()
        if files or gone != Forgotten():
            log.info(
                "retention",
                turns=gone.turns,
                messages=gone.messages,
                audit_arguments=gone.arguments,
                attachments=files.attachments,
                saved_files=files.saved,
                typed_lines=files.typed_lines,
                log_lines=files.log_lines,
                undeleted=files.undeleted,
            )
        return gone, files
