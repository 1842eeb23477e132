"""For whom the bot calls a platform, and how urgently: each call takes of a person's share, and of a conversation's.

Context variables carry it from where something arrives, or a turn is shown, down to the call and into the tasks that
begin on the way: nothing between has a use for it.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from adapters.shared.buckets import OWN, Priority
from bot.domain.events import ConversationKey
from bot.domain.rota import Share

_share: ContextVar[Share] = ContextVar("share", default=OWN)
_priority: ContextVar[Priority] = ContextVar("priority", default=Priority.ANSWER)


def current_share() -> Share:
    """Return whose share a call takes of now; the bot's own where it does something for nobody."""
    return _share.get()


def current_priority() -> Priority:
    """Return what goes first: an answer, unless the block says otherwise."""
    return _priority.get()


@contextmanager
def as_progress() -> Generator[None]:
    """Let calls within the block go behind answers."""
    token = _priority.set(Priority.PROGRESS)
    try:
        yield
    finally:
        _priority.reset(token)


@contextmanager
def on_behalf_of(author_id: str, conversation: ConversationKey) -> Generator[None]:
    """Let calls within the block, and in tasks that begin there, take of this person's share.

    Without an author the conversation has a share of its own.
    """
    person = str(conversation.person(author_id)) if author_id else str(conversation)
    token = _share.set(Share(person, str(conversation)))
    try:
        yield
    finally:
        _share.reset(token)
