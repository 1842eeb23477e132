"""The files that conversations have saved with the bundled tool server, wherever that keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """How many files are gone, and how many were to go and could not be deleted."""

    gone: int = 0
    left: int = 0

    def __add__(self, other: Deleted) -> Deleted:
        return Deleted(gone=self.gone + other.gone, left=self.left + other.left)


class SavedFiles(Protocol):
    """One place that keeps them, by workspace: the digest of the id under which servers know a conversation.

    All methods raise StoreError where the place is a database that fails. All of them may be repeated.
    """

    async def count(self, workspaces: Sequence[str]) -> int:
        """Return how many files there are in these workspaces."""
        ...

    async def delete(self, workspaces: Sequence[str]) -> Deleted:
        """Delete all files of these workspaces."""
        ...

    async def delete_older(self, before: float) -> Deleted:
        """Delete, in all workspaces, what was saved last before that time, in seconds since the epoch."""
        ...
