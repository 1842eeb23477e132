"""The port to a chat platform."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from bot.domain.answers import Receipt
from bot.domain.events import ConversationKey, Event, SharedFile
from bot.domain.turns import Post, TurnView
from bot.ports.store import Notes

Receive = Callable[[Event], Awaitable[Receipt]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The platform shows the post already."""

    reference: str


class Adapter(Protocol):
    """One chat platform, as the conversation core sees it."""

    @property
    def name(self) -> str:
        """The platform's name, the first part of its conversation keys."""
        ...

    @property
    def serves(self) -> str:
        """Prefix of the conversation keys whose turns this process can deliver."""
        ...

    async def run(self, receive: Receive) -> None:
        """Hand each event to `receive` and acknowledge it to the platform only when that returned.

        Events may be handed over at once: what gathers is stored in one commit. Returns when the platform is closed.
        """
        ...

    def show(self, view: TurnView) -> None:
        """Show progress; returns at once, and may leave out views that a newer one has replaced."""
        ...

    def split(self, text: str) -> Sequence[str]:
        """Cut an answer into posts of the platform's size; joined without the cuts' marks they are the text."""
        ...

    async def post(self, post: Post) -> str:
        """Post it and return the platform's reference.

        Raises:
            RateLimitError: The platform asked for a pause; nothing was posted.
            AdapterError: Any other refusal; the message may or may not be visible.
        """
        ...

    async def find(self, post: Post) -> Found | None:
        """Look for a post that may have been sent before a crash; None: it is certainly not there.

        Raises:
            AdapterError: The platform cannot tell.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUp:
    """How a bot is set up on a platform, as an operator sees it; `cure` is empty where nothing is wrong."""

    detail: str
    cure: str = ""


@runtime_checkable
class RemembersNotes(Protocol):
    """An adapter that has to remember something over restarts."""

    def remember_in(self, notes: Notes) -> None:
        """Take the place to remember things in, before anything else happens."""
        ...


@runtime_checkable
class FetchesFiles(Protocol):
    """An adapter whose platform lets people send files along."""

    async def fetch(self, file: SharedFile, conversation: ConversationKey, *, max_bytes: int) -> bytes:
        """Return the bytes of a file.

        Raises:
            AdapterError: It cannot be had; the sentence says why, and is for the one who sent it.
        """
        ...
