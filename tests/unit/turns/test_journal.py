"""The journal and its observers: what fails in one of them stays there."""

from __future__ import annotations

from typing import cast

from structlog.testing import capture_logs

from bot.domain.turns import TextArrived, TurnEvent
from bot.ports.work_store import ClaimedTurn, Lease, WorkStore
from bot.turns.journal import Journal
from tests.fakes.ports import message

TURN = ClaimedTurn(lease=Lease(turn_id=7, conversation_id=1, fence=1, attempt=1), event=message("Hi"), state="running")


class Broken:
    """An observer that fails at each event."""

    def saw(self, turn: ClaimedTurn, event: TurnEvent) -> None:
        raise RuntimeError("it has nowhere to write")


class Watching:
    def __init__(self) -> None:
        self.events: list[TurnEvent] = []

    def saw(self, turn: ClaimedTurn, event: TurnEvent) -> None:
        self.events.append(event)


def test_an_observer_that_fails_is_logged_once_and_keeps_nothing_from_the_others() -> None:
    watching = Watching()
    journal = Journal(cast("WorkStore", None), TURN, (), observers=(Broken(), watching))
    events = [TextArrived(text=str(number)) for number in range(1_000)]
    with capture_logs() as lines:
        journal.tell(*events)
    assert watching.events == events
    assert [(line["event"], line["observer"]) for line in lines] == [("observer_failed", "Broken")]
