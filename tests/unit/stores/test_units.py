"""Units on a database in memory: the order of a conversation's turns in any history, and what each statement reads."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest

from bot.domain.answers import Queued
from bot.domain.asks import ApprovalAsk, Vote
from bot.domain.audit import AuditEntry
from bot.domain.events import ConversationKey, MessageReceived
from bot.domain.messages import AssistantMessage, ToolCall, ToolResult, Usage, UserMessage
from bot.domain.turns import CallAsked, CallDecided, CallFinished, CallStarted, CallWaiting, Post
from bot.ports.rights_store import Grant, Settlement
from bot.ports.work_store import ClaimedTurn
from bot.stores.db import Db, Last, Row
from bot.stores.sqlite.connection import SqliteDb
from bot.stores.sqlite.migrate import migrate
from bot.stores.units import ask_posts, asks, audit_log, conversations, intake, journal, notes, rights, work

NOW, NEVER = 1_000.0, 1e12
ROOM = ConversationKey(platform="test", space="team", channel="room")
WAITS = CallWaiting(round=0, call_id="c1", reason="Ann has to agree.", expires_at=NEVER)
YES = CallDecided(round=0, call_id="c1", outcome="approved")
DONE = CallFinished(round=0, result=ToolResult(call_id="c1", text="4"))
CALL = ToolCall(id="c1", name="s__t", arguments="{}")
ASK = ApprovalAsk(server="s", tool="t", name="s__t", arguments="{}", digest="d", rule="r", rule_key="r", reason="Why.")
ENTRY = AuditEntry(kind="judged", at=NOW, person="test:u1")
ASKS = replace(WAITS, ask=ASK)
STEPS = (
    "ask",
    "claim",
    "park",
    "decide",
    "vote",
    "plan",
    "show",
    "expire",
    "stop",
    "withdraw",
    "give back",
    "finish",
    "abandon",
)


T = TypeVar("T")


class PlannedDb:
    """Notes the plan by which SQLite runs each statement."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._db = SqliteDb(connection)
        self.plans: list[tuple[str, str]] = []
        self.for_update = self._db.for_update
        self.lock = self._db.lock
        self.notify = self._db.notify

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Sequence[Row]:
        plan = self._connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        self.plans += [(statement, detail) for *_, detail in plan]
        return self._db.execute(statement, parameters)

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> None:
        for row in rows:
            self.execute(statement, row)

    def write_last(self, what: Last, write: Callable[[Db, Sequence[T]], None], items: Sequence[T], /) -> None:
        write(self, items)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(database()) as connection:
        yield connection


def database() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.row_factory = sqlite3.Row
    migrate(connection)
    return connection


def question(key: str) -> MessageReceived:
    return MessageReceived(
        conversation=ROOM,
        event_key=key,
        author_id="u1",
        author_name="Ann",
        text="How much is 2 + 2?",
        sent_at=datetime(2026, 11, 1, tzinfo=UTC),
    )


def claim(db: Db) -> Sequence[ClaimedTurn]:
    return work.claim(db, "us", serves=["test/"], limit=10, cutoff=NOW)


def reply(db: Db, turn: ClaimedTurn) -> None:
    posts = [
        Post(key=f"k{part}", conversation=ROOM, turn_id=turn.lease.turn_id, part=part, text="4") for part in range(2)
    ]
    messages = [UserMessage(text="How much is 2 + 2?"), AssistantMessage(text="4")]
    work.reply(db, turn.lease, state="answered", messages=messages, posts=posts, usage=Usage(), steps=(DONE,), now=NOW)


# --- order ---


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_one_turn_at_a_time_runs_and_none_is_forgotten(
    connection: sqlite3.Connection, seed: int
) -> None:
    choose = random.Random(seed)
    life = Life(SqliteDb(connection), choose)
    for step in choose.choices(STEPS, k=60):
        life.take(step)
        life.check()
    life.end()


class Life:
    """One conversation's turns, as its workers and people move them."""

    def __init__(self, db: Db, choose: random.Random) -> None:
        self._db = db
        self._choose = choose
        self._asked = 0
        self._held: ClaimedTurn | None = None

    def take(self, step: str) -> None:
        db, held = self._db, self._held
        turns = [row["id"] for row in db.execute("SELECT id FROM turn ORDER BY id")]
        match step:
            case "ask":
                self._asked += 1
                assert isinstance(
                    intake.accept(db, question(f"q{self._asked}"), worker="us", max_waiting=99, max_open=None, now=NOW),
                    Queued,
                )
            case "claim":
                self._claim()
            case "park" if held is not None:
                work.park(db, held.lease, [ASKS], wakes_at=NOW + self._choose.randrange(3), now=NOW)
                self._held = None
            case "decide" if turns:
                intake.decide(db, self._choose.choice(turns), YES, now=NOW)
            case "vote":
                self._vote()
            case "plan":
                for record in asks.unplanned_asks(db, serves=["test/"]):
                    ask_posts.plan_ask(db, record.id, [(ROOM, ""), (ROOM, "u1")])
            case "show":
                self._show()
            case "expire":
                work.wake_expired(db, now=NOW + 1)
            case "stop":
                intake.request_stop(db, ROOM, by="test:u1")
            case "withdraw" if self._asked:
                intake.withdraw(db, f"q{self._choose.randint(1, self._asked)}", now=NOW)
            case "give back" if held is not None:
                work.give_back(db, held.lease)
                self._held = None
            case "finish" if held is not None:
                self._finish(held)
            case "abandon" if held is not None:
                reply(db, held)
                work.abandon(db, held.lease, now=NOW)
                self._held = None
            case _:
                pass

    def check(self) -> None:
        rows = self._db.execute("SELECT is_first, state, worker, ended_at FROM turn")
        open_turns = [row for row in rows if row["ended_at"] is None and row["state"] != "waiting"]
        assert sum(row["is_first"] for row in open_turns) == (1 if open_turns else 0)
        assert not any(row["is_first"] for row in rows if row not in open_turns)
        if self._held is not None:
            self._finish_nothing_else()
        self._check_asks()

    def _check_asks(self) -> None:
        """Asked is exactly what can still be decided, and messages are due exactly where they show something else."""
        pending = {
            (row["turn_id"], row["round"]) for row in self._db.execute("SELECT * FROM ask WHERE state = 'pending'")
        }
        for turn in self._db.execute("SELECT id, state, stop_requested FROM turn"):
            goes_on = turn["state"] in {"queued", "running", "waiting"} and not turn["stop_requested"]
            undecided = [
                wait for wait in journal.waits(self._db, turn["id"]) if not (wait.is_decided or wait.is_finished)
            ]
            assert ((turn["id"], 0) in pending) == (goes_on and bool(undecided))
        for post in self._db.execute(
            "SELECT post.*, version, ask.state AS of FROM ask_post AS post JOIN ask ON ask.id = ask_id"
        ):
            is_needed = post["state"] in {"posting", "posted"} or (post["of"], post["state"]) == ("pending", "planned")
            assert post["is_due"] == (is_needed and post["shown"] < post["version"])

    def _vote(self) -> None:
        rows = self._db.execute("SELECT id, version FROM ask")
        if not rows:
            return
        row, settles = (
            self._choose.choice(rows),
            self._choose.choice([None, Settlement(state="approved", decision=YES)]),
        )
        version = row["version"] - self._choose.choice([0, 0, 1])
        vote = Vote(person="ann", by="test:u1", name="Ann", choice="run", at=NOW)
        intake.vote(
            self._db, row["id"], vote, version=version, edited=None, settles=settles, grant=None, audit=[ENTRY], now=NOW
        )

    def _show(self) -> None:
        for post in ask_posts.due_ask_posts(self._db, serves=["test/"]):
            record = asks.ask(self._db, post.ask_id)
            assert record is not None
            match self._choose.choice(["begin", "shown", "late", "drop"]):
                case "begin":
                    ask_posts.mark_ask_posting(self._db, post.post_id, "a")
                case "drop":
                    ask_posts.drop_ask_post(self._db, post.post_id)
                case how:
                    shown = record.version - (how == "late")
                    ask_posts.mark_ask_posted(self._db, post.post_id, reference="ref", shown=shown)

    def end(self) -> None:
        """Let all that is open come to its end."""
        for _ in range(3 * (self._asked + 1)):
            work.wake_expired(self._db, now=NEVER)
            self._claim()
            if self._held is not None:
                self._finish(self._held)
        assert not self._db.execute("SELECT 1 FROM turn WHERE ended_at IS NULL")

    def _claim(self) -> None:
        claimed = claim(self._db)
        assert len(claimed) <= (0 if self._held else 1)
        self._held = claimed[0] if claimed else self._held

    def _finish(self, turn: ClaimedTurn) -> None:
        reply(self._db, turn)
        work.mark_posted(self._db, turn.lease, 0, reference="ref", ends_turn=False, now=NOW)
        work.mark_posted(self._db, turn.lease, 1, reference="ref", ends_turn=True, now=NOW)
        self._held = None

    def _finish_nothing_else(self) -> None:
        running = self._db.execute("SELECT id FROM turn WHERE state = 'running' AND worker = 'us'")
        assert self._held is not None
        assert [row["id"] for row in running] == [self._held.lease.turn_id]


# --- plans ---


def test_no_statement_of_a_turns_life_reads_a_table_from_end_to_end(connection: sqlite3.Connection) -> None:
    """What is stored grows to millions of rows; the tables of workers and signals stay small."""
    db = PlannedDb(connection)
    expires = {"expires_at": NEVER, "latest_end": NEVER, "cutoff": NOW}
    work.heartbeat(db, "us", **expires)
    for key in ("a", "b", "c"):
        intake.accept(db, question(key), worker="us", max_waiting=9, max_open=9, now=NOW)
    intake.takes_part(db, ROOM)
    intake.edit(db, question("b"))
    intake.withdraw(db, "c", now=NOW)
    (turn,) = claim(db)
    conversations.history(db, ROOM)
    work.record(db, turn.lease, [CallStarted(round=0, call_id="c1")], now=NOW)
    work.park(db, turn.lease, [WAITS], wakes_at=NOW, now=NOW)
    assert work.has_expired(db, now=NOW) and work.wake_expired(db, now=NOW) == 1
    assert intake.decide(db, turn.lease.turn_id, YES, now=NOW) == "made"
    (passing,) = claim(db)
    intake.request_stop(db, ROOM, by="test:u1")
    assert work.has_signals(db, "us") and work.signals(db, "us")
    work.give_back(db, passing.lease)
    (passing,) = claim(db)
    reply(db, passing)
    work.mark_posting(db, passing.lease, 0)
    work.mark_posted(db, passing.lease, 0, reference="ref", ends_turn=False, now=NOW)
    work.outbox(db, passing.lease.turn_id)
    work.mark_posted(db, passing.lease, 1, reference="ref", ends_turn=True, now=NOW)
    (turn,) = claim(db)
    journal.steps(db, turn.lease.turn_id)
    reply(db, turn)
    work.abandon(db, turn.lease, now=NOW)
    conversations.move_window(db, ROOM, past_turn_id=passing.lease.turn_id)
    assert conversations.unsummarised(db, ROOM).is_behind
    assert conversations.put_summary(
        db, ROOM, "Ann asked.", past_turn_id=passing.lease.turn_id, summary_end=0, turn_id=1, usage=Usage()
    )
    conversations.transcript(db, ROOM, limit=5)
    conversations.conversations(db, limit=5, prefix="test/")
    conversations.open_conversations(db, prefix="test/")
    conversations.usage(db, ROOM, author="")
    conversations.rate(db, turn.lease.turn_id, author_id="ann", rating="good", now=NOW)
    notes.put_note(db, "a", "b")
    notes.notes(db, "a")
    assert scans(db.plans) == set()
    assert len(db.plans) > 100


def test_no_statement_of_an_ask_or_of_the_audit_reads_a_table_from_end_to_end(connection: sqlite3.Connection) -> None:
    db = PlannedDb(connection)
    intake.accept(db, question("a"), worker="us", max_waiting=9, max_open=9, now=NOW)
    (turn,) = claim(db)
    steps = [CallAsked(round=0, call=CALL, server="s", tool="t"), replace(WAITS, ask=ASK)]
    work.park(db, turn.lease, steps, wakes_at=NOW, now=NOW, audit=[ENTRY])
    (record,) = asks.unplanned_asks(db, serves=["test/", "other/"])
    assert asks.ask(db, record.id) == record
    assert list(asks.asks(db, turn_id=None, is_pending=True)) == [record]
    assert list(asks.asks(db, turn_id=record.turn_id, is_pending=False)) == [record]
    ask_posts.plan_ask(db, record.id, [(ROOM, ""), (ROOM, "u1")])
    first, second = ask_posts.due_ask_posts(db, serves=["test/", "other/"])
    ask_posts.mark_ask_posting(db, first.post_id, "a")
    ask_posts.mark_ask_posted(db, first.post_id, reference="ref", shown=1)
    ask_posts.drop_ask_post(db, second.post_id)
    grant = Grant(person="ann", conversation=ROOM, server="s", tool="t", rule_key="r", until=NEVER)
    settles = Settlement(state="approved", decision=YES)
    vote = Vote(person="ann", by="test:u1", name="Ann", choice="run", at=NOW)
    assert (
        intake.vote(
            db, record.id, vote, version=1, edited=ASK, settles=settles, grant=grant, audit=[ENTRY] * 2, now=NOW
        )
        == "made"
    )
    assert rights.has_grant(db, grant, now=NOW)
    audit_log.audit_lines(db, after=1, since=0.0, person="", tool="s/*", limit=9)
    (turn,) = claim(db)
    reply(db, turn)
    work.abandon(db, turn.lease, now=NOW)
    rights.past_calls(db, since=0.0, after=0, limit=9)
    conversations.clear(db, ROOM, now=NOW)
    assert scans(db.plans) == set()


def test_what_is_polled_is_read_along_its_index(connection: sqlite3.Connection) -> None:
    """Whatever waits elsewhere or was decided long ago is not read."""
    db = PlannedDb(connection)
    asks.unplanned_asks(db, serves=["test/"])
    ask_posts.due_ask_posts(db, serves=["test/"])
    ask_posts.due_ask_posts(db, serves=["test/", "other/"])
    found = [plan.partition(" INDEX ")[2] for _, plan in db.plans if "ask_unplanned" in plan or "ask_post_due" in plan]
    of_asks, of_posts = "ask_unplanned (conversation>? AND conversation<?)", "ask_post_due (place>? AND place<?)"
    assert found == [of_asks, *[of_posts] * 3]
    assert scans(db.plans) == set()


def scans(plans: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the statements that read one of the tables that grow from end to end; few asks are open."""
    asks_and_rights = ("ask", "ask_vote", "ask_post", "run_grant", "audit")
    large = ("turn", "message", "conversation", "journal", "outbox", *asks_and_rights, "candidate", "pending", "other")
    return {
        (statement, plan)
        for statement, plan in plans
        if plan.split()[:2] in [["SCAN", name] for name in large] and not plan.endswith(" ask_open")
    }


def test_the_history_is_read_along_its_index_without_sorting(connection: sqlite3.Connection) -> None:
    db = PlannedDb(connection)
    conversations.history(db, ROOM)
    conversations.transcript(db, ROOM, limit=20)
    assert not [plan for _, plan in db.plans if "TEMP B-TREE" in plan]
