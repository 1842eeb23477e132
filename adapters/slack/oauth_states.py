"""Installations under way: what shows that a browser which comes back from Slack is the one that left."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Callable
from typing import Any

from slack_sdk.oauth.state_store.async_state_store import AsyncOAuthStateStore

from adapters.shared.exclusive import exclusive
from bot.ports.cluster import Cluster, LoneCluster
from bot.ports.store import NoteStore

STATES = "slack/state/"
STATE_LIVES_S = 600.0
MAX_STATES = 1_000  # anyone can open the page that creates them


class NoteStates(AsyncOAuthStateStore):
    """The states of installs under way, as notes: each is valid once, for ten minutes, even across a restart.

    The browser may come back to another process than the one that it left.
    """

    def __init__(
        self, notes: NoteStore, *, cluster: Cluster | None = None, now: Callable[[], float] = time.time
    ) -> None:
        self._notes = notes
        self._cluster = cluster or LoneCluster()
        self._now = now
        self._lock = asyncio.Lock()

    async def async_issue(self, *args: Any, **kwargs: Any) -> str:
        """Return a new state; drop expired ones, and the oldest where there are very many."""
        oldest_first = sorted((await self._notes.notes(STATES)).items(), key=lambda item: float(item[1]))
        kept = [name for name, until in oldest_first if float(until) > self._now()][-MAX_STATES + 1 :]
        for name in {name for name, _ in oldest_first}.difference(kept):
            await self._notes.put_note(name, None)
        state = secrets.token_urlsafe(32)
        await self._notes.put_note(_state_note(state), str(self._now() + STATE_LIVES_S))
        return state

    async def async_consume(self, state: str) -> bool:
        """Use the state up; return whether it was issued, unused and not expired."""
        name = _state_note(state)
        async with self._lock, exclusive(self._cluster, "slack/oauth-states") as is_alone:
            if not is_alone:
                return False
            until = (await self._notes.notes(name)).get(name)
            if until is None:
                return False
            await self._notes.put_note(name, None)
        return self._now() < float(until)


def _state_note(state: str) -> str:
    return f"{STATES}{hashlib.sha256(state.encode(errors='replace')).hexdigest()}"  # no copy of the notes is of use
