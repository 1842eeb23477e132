"""A conversation core by script: what adapters' own tests put behind the adapter."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from bot.domain.answers import (
    Accepted,
    Answered,
    CommandAnswer,
    Decided,
    Details,
    Done,
    Example,
    Explained,
    Formed,
    Held,
    Ignored,
    Known,
    Queued,
    Rated,
    Ready,
    Refused,
    Revised,
    Submitted,
)
from bot.domain.events import (
    CommandInvoked,
    ConversationKey,
    DecisionMade,
    DetailsAsked,
    FeedbackGiven,
    FormAsked,
    FormSubmitted,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
)
from bot.domain.forms import Form, Invalid
from bot.domain.people import Actor, Asker
from bot.ports.cluster import Cluster, LoneCluster
from bot.ports.http import HttpListener, NoListener
from bot.ports.store import NoteStore
from bot.ports.tools import Offer, ServerStatus

Event = (
    MessageReceived
    | MessageEdited
    | MessageDeleted
    | CommandInvoked
    | FeedbackGiven
    | DetailsAsked
    | DecisionMade
    | FormAsked
    | FormSubmitted
)
Outcome = Queued | Known | Refused | Ignored | Held | Done | Details | CommandAnswer | Form | Ready | Invalid
T = TypeVar("T", bound=Outcome)


async def nobody(event: Event) -> Outcome:
    """Fail: nothing may arrive."""
    raise AssertionError(f"nothing may arrive: {event}")


@dataclass
class MemoryNotes:
    """Notes that are gone with the process."""

    kept: dict[str, str] = field(default_factory=dict[str, str])

    async def notes(self, prefix: str) -> Mapping[str, str]:
        return {name: text for name, text in self.kept.items() if name.startswith(prefix)}

    async def put_note(self, name: str, text: str | None) -> None:
        if text is None:
            self.kept.pop(name, None)
        else:
            self.kept[name] = text


@dataclass
class FixedDirectory:
    """Tools that are as they are given."""

    offered: Offer = field(default_factory=lambda: Offer(tools=()))
    prompts: Sequence[Example] = ()
    statuses: Sequence[ServerStatus] = ()

    async def offer(self, asker: Asker | None) -> Offer:
        return self.offered

    async def examples(self) -> Sequence[Example]:
        return self.prompts

    def status(self) -> Sequence[ServerStatus]:
        return self.statuses


class ScriptedHost:
    """Satisfies `Host`: `receive` gets every event and returns, or raises, what becomes of it."""

    about = "A bot by script."

    def __init__(
        self,
        receive: Callable[[Event], Awaitable[Outcome]] = nobody,
        *,
        http: HttpListener | None = None,
        cluster: Cluster | None = None,
        notes: NoteStore | None = None,
    ) -> None:
        self._receive = receive
        self.http: HttpListener = http or NoListener()
        self.cluster: Cluster = cluster or LoneCluster()
        self.notes: NoteStore = notes or MemoryNotes()
        self.directory = FixedDirectory()

    async def accept(self, event: MessageReceived) -> Accepted:
        return _one_of(await self._receive(event), Queued, Known, Refused, Ignored, Held)

    async def revise(self, event: MessageEdited | MessageDeleted) -> Revised:
        return _one_of(await self._receive(event), Queued, Known, Done, Refused, Ignored)

    async def command(self, event: CommandInvoked) -> Answered:
        return _one_of(await self._receive(event), CommandAnswer, Ignored)

    async def may_ask(self, event: MessageReceived) -> Refused | None:
        return None

    def is_muted(self, actor: Actor, *, decides: bool = False) -> bool:
        return False

    def may_look_up(self, event: CommandInvoked) -> bool:
        return True

    async def expects_follow_ups(self, conversation: ConversationKey) -> bool:
        return True

    async def details(self, event: DetailsAsked) -> Explained:
        return _one_of(await self._receive(event), Details, Refused)

    async def rate(self, event: FeedbackGiven) -> Rated:
        return _one_of(await self._receive(event), Done, Refused)

    async def decide(self, event: DecisionMade) -> Decided:
        return _one_of(await self._receive(event), Done, Refused)

    async def form(self, event: FormAsked) -> Formed:
        return _one_of(await self._receive(event), Form, Refused)

    async def submit(self, event: FormSubmitted) -> Submitted:
        return _one_of(await self._receive(event), Done, Ready, Invalid, Refused)


def _one_of(outcome: Outcome, *kinds: type[T]) -> T:
    assert isinstance(outcome, kinds), f"{type(outcome).__name__} is no outcome of this event"
    return outcome
