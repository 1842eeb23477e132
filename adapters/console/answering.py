"""How what the core asks is shown and answered: by a person at the prompt, or at once where nobody is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from adapters.console.ask_view import Action
from bot.domain.answers import Done, Ready, Refused
from bot.domain.asks import AskPost
from bot.domain.forms import Form


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What was typed in answer to an ask; "stale": to one that changed meanwhile."""

    post: AskPost
    action: Action | Literal["stale"]


class Answering(Protocol):
    """See `Asking` and `Unattended`."""

    async def restore(self) -> None:
        """Show what was asked before a restart and is not decided yet. Raises StoreError."""
        ...

    async def put(self, post: AskPost) -> None:
        """Take what is asked, what changed of it, or what was decided. Raises StoreError."""
        ...

    def waits_for(self, event_key: str) -> bool:
        """Return whether something is asked for that question, and shown."""
        ...

    def read(self, line: str) -> Reply | None:
        """Return what the line answers; None: it is a message or a command."""
        ...

    async def act(self, reply: Reply) -> bool:
        """Do what was typed; return whether the ask was decided by it, so that its turn goes on."""
        ...

    async def settle(self, event_key: str) -> bool:
        """Decide what is asked for that question where nobody is there to do it; return whether its turn goes on."""
        ...

    async def fill_in(self, form: Form) -> Done | Ready | Refused | None:
        """Have the form filled in. `Refused`: it could not be; None: it was closed."""
        ...

    async def confirm(self, question: str) -> bool:
        """Return whether the person says yes."""
        ...
