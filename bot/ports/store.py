"""The port to durable memory: nine small ports, eight of them in files of their own, and `Store`, which is all of them.

When a method returns, what it wrote survives a power cut. A method whose caller is cancelled first finishes what it
began: nothing is left unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from bot.domain.events import ConversationKey
from bot.domain.people import Actor
from bot.ports.budget_store import BudgetStore
from bot.ports.cluster_store import ClusterStore
from bot.ports.conversation_store import ConversationStore
from bot.ports.intake_store import IntakeStore
from bot.ports.retention_store import RetentionStore
from bot.ports.rights_store import AskStore, RightsStore
from bot.ports.saved_files import SavedFiles
from bot.ports.work_store import WorkStore

MAX_ID = 2**63 - 1  # of a turn or an ask: no store has more; what people send may be any number


class NoteStore(Protocol):
    """What an adapter has to remember over restarts: small texts by name."""

    async def notes(self, prefix: str) -> Mapping[str, str]:
        """Return the notes whose names begin so."""
        ...

    async def put_note(self, name: str, text: str | None) -> None:
        """Keep the text under that name, in place of the one before; None forgets it."""
        ...


class Store(
    IntakeStore,
    WorkStore,
    ConversationStore,
    AskStore,
    RightsStore,
    BudgetStore,
    NoteStore,
    RetentionStore,
    ClusterStore,
    Protocol,
):
    """All of durable memory."""

    @property
    def saved_files(self) -> SavedFiles | None:
        """The files that conversations have saved, where they are in the database; None: in the home folder."""
        ...

    def measure(self, committed: Callable[[int], None]) -> None:
        """Call `committed`, on the event loop, with the number of writes that each commit held together."""
        ...

    async def check_writing(self) -> None:
        """Write something that stays undone. Raises StoreError where nothing can be written."""
        ...

    async def check(self) -> None:
        """Read and write as an operator who looks for faults wants it: all of the data, and a write that stays undone.

        Raises:
            StoreError: The data is damaged, or nothing can be written.
        """
        ...


FORMER_TERMINAL_ID = "console"


def author_key(actor: Actor) -> str:
    """Return the name under which the store files what one person asked for on one platform."""
    return str(ConversationKey(platform=actor.platform, space=actor.space, channel=actor.id))


def author_keys(actor: Actor) -> Sequence[str]:
    """Return the names under which the store has what the person asked for, the current one first.

    At the terminal, turns of earlier versions are filed under one name for whatever person sat there.
    """
    former = replace(actor, id=FORMER_TERMINAL_ID)
    keys = (author_key(actor), author_key(former)) if actor.platform == "console" else (author_key(actor),)
    return tuple(dict.fromkeys(keys))
