"""Who gets the next place: any history of questions, claims and ends, compared with a plain model of tickets."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.answers import Queued
from bot.domain.events import ConversationKey, MessageReceived
from bot.domain.messages import Usage
from bot.domain.turns import Post
from bot.ports.work_store import ClaimedTurn
from bot.stores.db import Db
from bot.stores.sqlite.connection import SqliteDb
from bot.stores.sqlite.migrate import migrate
from bot.stores.units import intake, work

NOW = 1_000.0
PEOPLE = ("ann", "bob", "eve")


def database() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.row_factory = sqlite3.Row
    migrate(connection)
    return connection


@pytest.fixture
def db() -> Iterator[Db]:
    with closing(database()) as connection:
        yield SqliteDb(connection)


def ask(db: Db, person: str, room: str, *, worker: str = "us") -> int:
    (asked,) = db.execute("SELECT count(*) AS turns FROM turn")
    event = MessageReceived(
        conversation=ConversationKey(platform="test", space="team", channel=room),
        event_key=f"q{asked['turns']}",
        author_id=person,
        author_name=person,
        text="?",
        sent_at=datetime(2026, 11, 1, tzinfo=UTC),
    )
    outcome = intake.accept(db, event, worker=worker, max_waiting=99, max_open=None, now=NOW)
    assert isinstance(outcome, Queued)
    return outcome.turn_id


def claim(db: Db, *, limit: int = 1, reserved: int = 0) -> list[str]:
    """Claim, and return whose turns it was."""
    return [turn.event.author_id for turn in claimed(db, limit=limit, reserved=reserved)]


def claimed(db: Db, *, limit: int = 1, reserved: int = 0) -> Sequence[ClaimedTurn]:
    return work.claim(db, "us", serves=["test/"], limit=limit, reserved=reserved, cutoff=NOW)


def finish(db: Db, turn: ClaimedTurn) -> None:
    posts = [Post(key="k", conversation=turn.event.conversation, turn_id=turn.lease.turn_id, part=0, text="!")]
    work.reply(db, turn.lease, state="answered", messages=[], posts=posts, usage=Usage(), steps=(), now=NOW)
    work.mark_posted(db, turn.lease, 0, reference="r", ends_turn=True, now=NOW)


# --- sentences ---


def test_a_person_who_has_nothing_running_is_next_whoever_asked_before(db: Db) -> None:
    for number in range(50):
        ask(db, "ann", f"a{number}")
    assert claim(db, limit=10) == ["ann"] * 10
    ask(db, "bob", "b")
    assert claim(db) == ["bob"]


def test_the_last_places_are_for_people_who_have_nothing_running(db: Db) -> None:
    for number in range(50):
        ask(db, "ann", f"a{number}")
    assert claim(db, limit=10, reserved=3) == ["ann"] * 7
    assert claim(db, limit=3, reserved=3) == []
    for room in ("b1", "b2"):
        ask(db, "bob", room)
    ask(db, "eve", "e")
    assert claim(db, limit=3, reserved=3) == ["bob", "eve"]


def test_people_who_wait_take_turns_and_those_who_hold_fewer_places_come_more_often(db: Db) -> None:
    for number in range(40):
        ask(db, "ann", f"a{number}")
    claim(db, limit=10)
    for number in range(10):
        ask(db, "ann", f"later{number}")
    for number in range(5):
        ask(db, "bob", f"b{number}")
    order = [person for _ in range(10) for person in claim(db)]
    assert order[0] == "bob" and order.count("bob") == 5


def test_nobody_waits_for_ever_however_many_others_come(db: Db) -> None:
    for number in range(30):
        ask(db, "ann", f"a{number}")
    claim(db, limit=20)
    order: list[str] = []
    for number in range(60):
        ask(db, "bob", f"b{number}")
        order += claim(db)
    assert order.count("ann") == 10


def test_of_one_person_the_conversations_take_turns(db: Db) -> None:
    for _ in range(5):
        ask(db, "ann", "busy")
    ask(db, "ann", "other")
    (first,) = claimed(db)
    finish(db, first)
    (second,) = claimed(db)
    assert [turn.event.conversation.channel for turn in (first, second)] == ["busy", "other"]


def test_what_a_dead_process_left_leaves_the_reserved_places_as_well(db: Db) -> None:
    for number in range(50):
        ask(db, "ann", f"a{number}", worker="dead")
    assert claim(db, limit=10, reserved=3) == ["ann"] * 7
    ask(db, "bob", "b")
    assert claim(db, limit=3, reserved=3) == ["bob"]


# --- the model ---


@dataclass
class Asked:
    """One turn, as the model sees it."""

    id: int
    person: str
    room: str
    state: str = "queued"
    ticket: int | None = None  # None: others of its room come first


@dataclass
class Places:
    """The rule in plain Python."""

    turns: list[Asked] = field(default_factory=list[Asked])

    def ask(self, turn: Asked) -> None:
        self.turns.append(turn)
        self._draw(turn.room)

    def claim(self, *, limit: int, reserved: int) -> list[int]:
        ready = sorted((t for t in self.turns if t.state == "queued" and t.ticket is not None), key=_order)
        taken = ready[: max(limit - reserved, 0)]
        taken += [turn for turn in ready if turn not in taken and turn.ticket == 0][: limit - len(taken)]
        for turn in taken:
            turn.state = "running"
        return sorted(turn.id for turn in taken)

    def finish(self, turn_id: int) -> None:
        (turn,) = [turn for turn in self.turns if turn.id == turn_id]
        self.turns.remove(turn)
        self._draw(turn.room)

    def _draw(self, room: str) -> None:
        here = [turn for turn in self.turns if turn.room == room]
        if not here or any(turn.ticket is not None for turn in here):
            return
        turn = min(here, key=lambda each: each.id)
        own = [each for each in self.turns if each.person == turn.person and each.ticket is not None]
        ready = [each.ticket or 0 for each in self.turns if each.ticket is not None and each.state == "queued"]
        behind = max((each.ticket or 0 for each in own if each.state == "queued"), default=0)
        running = sum(each.state == "running" for each in own)
        lowest = min((ticket for ticket in ready if ticket), default=0)
        turn.ticket = max(behind + 1 + running, lowest) if own else 0


def _order(turn: Asked) -> tuple[int, int]:
    assert turn.ticket is not None
    return turn.ticket, turn.id


asks = st.tuples(st.just("ask"), st.sampled_from(PEOPLE), st.integers(0, 5))
claims = st.tuples(st.just("claim"), st.integers(1, 4), st.integers(0, 3))
ends = st.tuples(st.just("end"), st.integers(0, 9), st.just(0))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(asks, asks, claims, ends), max_size=60))
def test_any_history_gives_places_as_the_plain_rule_does(history: list[tuple[str, str | int, int]]) -> None:
    with closing(database()) as connection:
        db, places, running = SqliteDb(connection), Places(), dict[int, ClaimedTurn]()
        for what, first, second in history:
            if what == "ask":
                person, room = str(first), f"r{second}"
                places.ask(Asked(id=ask(db, person, room), person=person, room=room))
            elif what == "claim":
                turns = claimed(db, limit=int(first), reserved=second)
                assert [turn.lease.turn_id for turn in turns] == places.claim(limit=int(first), reserved=second)
                running |= {turn.lease.turn_id: turn for turn in turns}
            elif running:
                turn_id = sorted(running)[int(first) % len(running)]
                finish(db, running.pop(turn_id))
                places.finish(turn_id)
