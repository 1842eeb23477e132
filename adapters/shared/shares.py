"""For whom the bot calls a platform, and how urgently: calls count against a person's share, and a conversation's.

Context variables carry this from where something arrives, or a turn is shown, to the call, and into tasks that are
started on the way: no code in between needs it.
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
    """Return the share that a call made now counts against: the bot's own where it is made for no one."""
    return _share.get()


def current_priority() -> Priority:
    """Return the priority of a call made now: that of an answer, except within `as_progress`."""
    return _priority.get()


@contextmanager
def as_progress() -> Generator[None]:
    """Make calls within the block wait behind answers."""
    token = _priority.set(Priority.PROGRESS)
    try:
        yield
    finally:
        _priority.reset(token)


@contextmanager
def on_behalf_of(author_id: str, conversation: ConversationKey) -> Generator[None]:
    """Count calls within the block, and in tasks started there, against this person's share.

    Without an author the conversation has a share of its own.
    """
    person = str(conversation.person(author_id)) if author_id else str(conversation)
    token = _share.set(Share(person, str(conversation)))
    try:
        yield
    finally:
        _share.reset(token)
