"""Saved files in the database: see `bot.ports.saved_files.SavedFiles`."""

from __future__ import annotations

from collections.abc import Sequence

from bot.ports.saved_files import Deleted
from bot.stores.db import Engine
from bot.stores.units import files

BATCH_FILES = 200


class DatabaseFiles:
    """Satisfies `SavedFiles`, on an engine that `keeps_files`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def count(self, workspaces: Sequence[str]) -> int:
        """See `SavedFiles`."""
        return await self._engine.read(lambda db: files.count(db, workspaces))

    async def delete(self, workspaces: Sequence[str]) -> Deleted:
        """See `SavedFiles`."""
        return Deleted(gone=await self._engine.write(lambda db: files.delete(db, workspaces)))

    async def delete_older(self, before: float) -> Deleted:
        """See `SavedFiles`."""
        gone = Deleted()
        while part := await self._engine.write(lambda db: files.delete_older(db, before, limit=BATCH_FILES)):
            gone += Deleted(gone=part)
        return gone
