"""What is asked in this terminal and not decided yet, remembered over restarts: a terminal itself keeps nothing."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from bot.domain.asks import ArgumentLine, AskPost, AskView
from bot.domain.events import ConversationKey
from bot.ports.store import NoteStore


class AskNotes:
    """The asks of one conversation, one note each."""

    def __init__(self, notes: NoteStore, conversation: ConversationKey) -> None:
        self._notes = notes
        self._prefix = f"{conversation}#ask:"

    async def keep(self, post: AskPost) -> None:
        """Remember what is asked, as it is now. Raises StoreError."""
        await self._notes.put_note(self._name(post.view.ask_id), write(post))

    async def forget(self, ask_id: int) -> None:
        """Forget what is decided. Raises StoreError."""
        await self._notes.put_note(self._name(ask_id), None)

    async def pending(self, *, now: float) -> Sequence[AskPost]:
        """Return what is asked still, the oldest first; what has expired is forgotten. Raises StoreError."""
        found: list[AskPost] = []
        for name, text in (await self._notes.notes(self._prefix)).items():
            post = read(text)
            if post is None or post.view.expires_at <= now:
                await self._notes.put_note(name, None)
            else:
                found.append(post)
        return sorted(found, key=lambda post: post.view.ask_id)

    def _name(self, ask_id: int) -> str:
        return f"{self._prefix}{ask_id}"


def write(post: AskPost) -> str:
    """Return the post as JSON."""
    return json.dumps({**dataclasses.asdict(post), "place": str(post.place)})


def read(text: str) -> AskPost | None:
    """Return the post that `write` gave; None for a note of another version."""
    try:
        said = cast("Mapping[str, Any]", json.loads(text))
        view = {**said["view"]}
        for name in ("lines", "votes", "choices"):
            view[name] = tuple(view[name])
        view["arguments"] = tuple(ArgumentLine(**line) for line in view["arguments"])
        place = ConversationKey.parse(said["place"])
        return AskPost(**cast("dict[str, Any]", {**said, "view": AskView(**view), "place": place}))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
