"""What is asked of people, as the rows about it see it on every platform."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from tests.scenarios.drivers import Person

Fault = Literal["refused", "failing", "limited", "lost", "held"]
Call = Literal["post", "change"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """The message of an ask, as people see it now."""

    shown: str
    place: str  # the platform's id of its channel
    buttons: tuple[str, ...]

    @property
    def is_record(self) -> bool:
        """Whether it says how the ask ended, and can no longer be decided."""
        return "Approved" in self.shown and self.buttons == ("Details",)


class Stage(Protocol):
    """A platform whose calls about asks can be made to fail."""

    no_form: str  # what a person reads whose form could not be opened; "" where the platform itself says it
    spoilt: int  # calls that `spoil` has met

    def account(self, person: Person) -> str:
        """Return the person in the notation of rules."""
        ...

    def group(self) -> str:
        """Return a group that has Ben in it, in the notation of rules."""
        ...

    def add_channel(self) -> tuple[str, str]:
        """Add a channel; return it in the notation of rules, and its id."""
        ...

    @property
    def asks(self) -> Sequence[Ask]:
        """The messages of asks, in all places, oldest first."""
        ...

    def told(self, person: Person) -> Sequence[str]:
        """Return what the bot has shown only to that person."""
        ...

    async def press(self, label: str, *, by: Person, ask: int = -1) -> None:
        """Press a button below one of the asks, the newest by default."""
        ...

    async def edit(self, note: str, *, by: Person) -> None:
        """Open the form for other arguments, and send it with the note."""
        ...

    def spoil(self, call: Call, fault: Fault, *, channel: str = "") -> None:
        """Let such calls of asks fail, everywhere or in one channel.

        Those that are "limited", "lost" (done, the answer is cut off) and "held" are one, the others all.
        """
        ...

    def spoil_answers(self) -> None:
        """Let everything fail that only the presser of a button would see."""
        ...

    def spoil_forms(self) -> None:
        """Make the next form open too late."""
        ...

    def spoil_groups(self) -> None:
        """Refuse to say who is in a group."""
        ...

    async def until_held(self) -> None:
        """Wait until a call is held."""
        ...

    def heal(self) -> None:
        """Let nothing fail any more."""
        ...

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Return the condition's first true value."""
        ...
