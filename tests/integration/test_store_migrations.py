"""Databases that older versions wrote, opened by this one."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import pytest

from bot.domain.answers import Known, Queued
from bot.domain.asks import FormAsk
from bot.domain.budgets import Charge, Spent
from bot.domain.events import ConversationKey, MessageReceived, Rating
from bot.domain.messages import AssistantMessage, ModelAnswer, ToolCall, ToolResult, Usage, UserMessage
from bot.domain.turns import CallDecided, CallFinished, CallStarted, CallWaiting, ModelAnswered, Post
from bot.ports.conversation_store import ToolMemory
from bot.ports.store import Store, author_key
from bot.ports.work_store import Lease
from bot.stores import codec
from bot.stores.sqlite.store import open_sqlite

OLD_VERSION = 2
HERE = ConversationKey(platform="console", space="local", channel="here")
QUIET = ConversationKey(platform="console", space="local", channel="quiet")
# As version 2 wrote it: without the fields that came later.
EVENT = (
    '{"conversation":{"platform":"console","space":"local","channel":"here","thread":""},"event_key":"KEY",'
    '"author_id":"you","author_name":"you","text":"What about KEY?","sent_at":"2026-11-01T12:30:00Z",'
    '"is_shared":false,"edited_at":null}'
)
POST = (
    '{"key":"k.0","conversation":{"platform":"console","space":"local","channel":"here","thread":""},"turn_id":1,'
    '"part":0,"text":"An answer.","in_reply_to":"old-1","attachments":[]}'
)

JOURNAL = (
    '{"round":0,"answer":{"message":{"text":"","tool_calls":[{"id":"call_0","name":"rehearsal_add","arguments":'
    '"{\\"a\\": 2}"}],"replay":[],"kind":"assistant"},"usage":{"input_tokens":0,"cached_tokens":0,"output_tokens":0},'
    '"is_cut":false},"kind":"answered"}',
    '{"round":0,"call_id":"call_0","kind":"started"}',
    '{"round":0,"result":{"call_id":"call_0","text":"4","outcome":"ok","attachments":[],"seconds":0.25},'
    '"kind":"finished"}',
)


@contextmanager
def schema(path: Path, version: int) -> Generator[sqlite3.Connection]:
    """Make a database as that version made it."""
    with closing(sqlite3.connect(path)) as db, db:
        for script in sorted((resources.files("bot.stores") / "migrations").iterdir(), key=lambda entry: entry.name):
            if int(script.name.partition("_")[0]) <= version:
                db.executescript(script.read_text(encoding="utf-8"))
        db.execute(f"PRAGMA user_version = {version}")
        yield db


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A database of the old schema: an ended turn, one that runs, one that waits behind it, one withdrawn."""
    path = tmp_path / "old.db"
    with schema(path, OLD_VERSION) as db:
        db.executemany("INSERT INTO conversation (id, key) VALUES (?, ?)", [(1, str(HERE)), (2, str(QUIET))])
        db.executemany(
            "INSERT INTO turn (event_key, conversation_id, event, state, worker, accepted_at, ended_at, is_first,"
            " platform, input_tokens) VALUES (?, ?, ?, ?, 'gone', 1, ?, ?, 'console', 7)",
            [
                ("old-1", 1, EVENT.replace("KEY", "old-1"), "answered", 100.0, 0),
                ("old-2", 1, EVENT.replace("KEY", "old-2"), "running", None, 1),
                ("old-3", 1, EVENT.replace("KEY", "old-3"), "queued", None, 0),
                ("old-4", 2, "", "withdrawn", 100.0, 0),
            ],
        )
        body = codec.messages.dump_json(UserMessage(text="What about old-1?")).decode()
        db.executemany(
            "INSERT INTO message (conversation_id, turn_id, body, created_at) VALUES (1, 1, ?, ?)",
            [(body, 50.0), (body, 60.5)],
        )
        db.execute("INSERT INTO outbox (turn_id, part, body, state) VALUES (1, 0, ?, 'posted')", (POST,))
        db.executemany("INSERT INTO journal (turn_id, step, body) VALUES (2, ?, ?)", list(enumerate(JOURNAL, start=1)))
    return path


async def test_open_turns_of_an_older_version_go_on_in_their_order(old: Path) -> None:
    async with open_sqlite(old) as store:
        await store.heartbeat("us", lease_s=60)
        assert await store.accept(event("old-3"), worker="us", max_waiting=20) == Known(turn_id=3)
        (turn,) = await store.claim("us", serves=["console/"], limit=10)
        assert turn.event == event("old-2") and not turn.has_waited and turn.wakes == 0
        assert await store.accept(event("new"), worker="us", max_waiting=20) == Queued(turn_id=5, waits_behind=2)
        await end(store, turn.lease)
        (turn,) = await store.claim("us", serves=["console/"], limit=10)
        assert turn.event == event("old-3") and turn.has_waited


async def end(store: Store, lease: Lease) -> None:
    post = Post(key="k", conversation=HERE, turn_id=lease.turn_id, part=0, text="An answer.")
    await store.reply(lease, state="answered", messages=[], posts=[post], usage=Usage())
    await store.mark_posted(lease, 0, reference="ref", ends_turn=True)


async def test_posts_of_an_older_version_are_read(old: Path) -> None:
    async with open_sqlite(old) as store:
        (item,) = await store.outbox(1)
    assert (item.state, item.post.text, item.post.author_id, item.post.is_last) == ("posted", "An answer.", "", True)


async def test_a_journal_of_an_older_version_is_read_and_goes_on(old: Path) -> None:
    call = ToolCall(id="call_0", name="rehearsal_add", arguments='{"a": 2}')
    begun = [
        ModelAnswered(round=0, answer=ModelAnswer(message=AssistantMessage(text="", tool_calls=(call,)))),
        CallStarted(round=0, call_id="call_0"),
        CallFinished(round=0, result=ToolResult(call_id="call_0", text="4", seconds=0.25)),
    ]
    wait = CallWaiting(round=1, call_id="call_0", reason="Ann has to agree.", expires_at=2e9)
    async with open_sqlite(old) as store:
        await store.heartbeat("us", lease_s=60)
        assert await store.steps(2) == begun
        (turn,) = await store.claim("us", serves=["console/"], limit=10)
        assert await store.park(turn.lease, [wait], wakes_at=2e9) == "waiting"
        assert await store.decide(2, CallDecided(round=0, call_id="call_0", outcome="approved")) == "made"
        assert (await store.steps(2))[-2:] == [wait, CallDecided(round=1, call_id="call_0", outcome="approved")]


async def test_the_window_of_an_older_version_begins_where_it_began(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    rooms = [ConversationKey(platform="console", space="local", channel=name) for name in ("moved", "whole", "empty")]
    with schema(path, 3) as db:
        db.executemany(
            "INSERT INTO conversation (id, key, window_turn_id) VALUES (?, ?, ?)",
            [(number, str(key), window) for number, key, window in zip((1, 2, 3), rooms, (5, 0, 9), strict=True)],
        )
        for turn_id in range(1, 9):  # of the two conversations in turns, with two messages each
            conversation_id = 1 + turn_id % 2
            db.execute(
                "INSERT INTO turn (id, event_key, conversation_id, event, state, worker, accepted_at, ended_at)"
                " VALUES (?, ?, ?, ?, 'answered', 'gone', 1, 2)",
                (turn_id, f"old-{turn_id}", conversation_id, EVENT),
            )
            for part in ("a", "b"):
                body = codec.messages.dump_json(UserMessage(text=f"{turn_id}{part}")).decode()
                db.execute(
                    "INSERT INTO message (conversation_id, turn_id, body, created_at) VALUES (?, ?, ?, 2)",
                    (conversation_id, turn_id, body),
                )
    async with open_sqlite(path) as store:
        texts = [[message.text for _, message in (await store.history(room)).turns] for room in rooms]
        assert texts == [["6a", "6b", "8a", "8b"], [f"{turn}{part}" for turn in (1, 3, 5, 7) for part in "ab"], []]
        assert len(await store.transcript(rooms[0], limit=100)) == 8
        await store.move_window(rooms[0], past_turn_id=2)
        assert len((await store.history(rooms[0])).turns) == 4
        await store.move_window(rooms[0], past_turn_id=6)
        assert [message.text for _, message in (await store.history(rooms[0])).turns] == ["8a", "8b"]


async def test_what_left_the_window_of_an_older_version_stays_left_and_is_not_owed_a_summary(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with schema(path, 5) as db:
        db.execute("INSERT INTO conversation (id, key, window_message_id) VALUES (1, ?, 2)", (str(HERE),))
        for turn_id in (1, 2):
            db.execute(
                "INSERT INTO turn (id, event_key, conversation_id, event, state, worker, accepted_at, ended_at)"
                " VALUES (?, ?, 1, ?, 'answered', 'gone', 1, 2)",
                (turn_id, f"old-{turn_id}", EVENT),
            )
            body = codec.messages.dump_json(UserMessage(text=f"{turn_id}")).decode()
            db.executemany(
                "INSERT INTO message (conversation_id, turn_id, body, created_at) VALUES (1, ?, ?, 2)",
                [(turn_id, body)] * 2,
            )
    async with open_sqlite(path) as store:
        history = await store.unsummarised(HERE)
        assert (history.summary, history.is_behind, list(history.left), len(history.turns)) == ("", False, [], 2)
        assert [entry.recall for entry in await store.transcript(HERE, limit=9)] == ["none"] * 2 + ["words"] * 2
        assert await store.put_summary(
            HERE, "Of 2.", past_turn_id=2, summary_end=history.summary_end, turn_id=2, usage=Usage()
        )
        assert (await store.history(HERE)).summary == "Of 2."


async def test_a_turn_that_waited_in_an_older_version_asks_nobody_and_can_still_be_decided(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    waiting = '{"round":0,"call_id":"call_0","reason":"Ann has to agree.","expires_at":4e9,"kind":"waiting"}'
    with schema(path, 7) as db:
        db.execute("INSERT INTO conversation (id, key) VALUES (1, ?)", (str(HERE),))
        db.execute(
            "INSERT INTO turn (event_key, conversation_id, event, state, worker, accepted_at, platform, wakes_at)"
            " VALUES ('old-1', 1, ?, 'waiting', '', 1, 'console', 4e9)",
            (EVENT.replace("KEY", "old-1"),),
        )
        db.executemany(
            "INSERT INTO journal (turn_id, step, body) VALUES (1, ?, ?)", list(enumerate((*JOURNAL[:2], waiting), 1))
        )
    async with open_sqlite(path) as store:
        await store.heartbeat("us", lease_s=60)
        assert list(await store.asks()) == list(await store.unplanned_asks(serves=["console/"])) == []
        assert (
            list(await store.past_calls(since=0)) == list(await store.audit_lines()) == list(await store.pins()) == []
        )
        assert await store.decide(1, CallDecided(round=0, call_id="call_0", outcome="approved")) == "made"
        (turn,) = await store.claim("us", serves=["console/"], limit=10)
        ask = FormAsk(server="s", tool="t", message="Which?", schema={"type": "object"})
        asks = CallWaiting(round=0, call_id="call_0", reason="Which?", expires_at=4e9, ask=ask)
        assert await store.park(turn.lease, [asks], wakes_at=4e9) == "waiting"
        (record,) = await store.unplanned_asks(serves=["console/"])
    assert (record.ask, record.asker, record.event_key) == (ask, "console:you", "old-1")


async def test_an_older_version_counted_no_calls_and_this_one_begins_to(old: Path) -> None:
    async with open_sqlite(old) as store:
        assert await store.tool_memory(HERE) == ToolMemory()


async def test_conversations_of_an_older_version_are_listed_with_their_times_and_titles(old: Path) -> None:
    async with open_sqlite(old) as store:
        (listed,) = await store.conversations(limit=10)
        (still_open,) = await store.open_conversations(prefix="console/local/here/")
        assert await store.takes_part(HERE) and not await store.takes_part(QUIET)
    assert listed == still_open
    assert (listed.conversation, listed.message_count) == (HERE, 2)
    assert listed.last_at == datetime.fromtimestamp(60.5, UTC)
    assert listed.title == "What about old-3?"


async def test_usage_of_an_older_version_counts_for_all_and_who_asks_is_known_from_now_on(old: Path) -> None:
    async with open_sqlite(old) as store:
        await store.accept(event("new"), worker="us", max_waiting=20)
        assert (await store.usage()).turns == 5
        assert (await store.usage(author=author_key(HERE.person("you")))).turns == 1


async def test_what_is_used_is_counted_from_the_upgrade_on(old: Path) -> None:
    async with open_sqlite(old) as store:
        assert await store.spending(["all"], ["2026-11"]) == {"2026-11": Spent()}
        spent = Spent(turns=1, usage=Usage(input_tokens=3))
        await store.charge(Charge(ledgers=("all",), periods=("2026-11",), spent=spent))
        assert await store.spending(["all"], ["2026-11"]) == {"2026-11": spent}


async def test_turns_that_wait_in_an_older_version_draw_tickets_so_that_one_author_leaves_places(old: Path) -> None:
    with sqlite3.connect(old) as db:
        db.executemany(
            "INSERT INTO conversation (key) VALUES (?)", [(f"console/local/{number}/",) for number in range(3)]
        )
        db.execute(
            "INSERT INTO turn (event_key, conversation_id, event, state, worker, accepted_at, is_first)"
            " SELECT 'waits ' || id, id, (SELECT event FROM turn WHERE id = 1), 'queued', 'us', 1, 1 FROM conversation"
            " WHERE key GLOB 'console/local/[0-9]/'"
        )
    async with open_sqlite(old) as store:
        await store.heartbeat("us", lease_s=60)
        tickets = [turn.lease.turn_id for turn in await store.claim("us", serves=["console/"], limit=9, reserved=9)]
        assert len(tickets) == 1
        assert len(await store.claim("us", serves=["console/"], limit=9)) >= 2


async def test_a_later_rating_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    async with open_sqlite(path, now=lambda: 1_000.0) as store:
        await store.accept(event("q"), worker="us", max_waiting=20)
        ratings_given: list[tuple[str, Rating]] = [("ann", "good"), ("bo", "good"), ("ann", "bad")]
        for author_id, rating in ratings_given:
            await store.rate(1, author_id=author_id, rating=rating)
        await store.clear(HERE)
    with sqlite3.connect(path) as db:
        ratings = db.execute("SELECT turn_id, author_id, rating, at FROM feedback ORDER BY author_id").fetchall()
    assert ratings == [(1, "ann", "bad", 1_000.0), (1, "bo", "good", 1_000.0)]


def event(key: str) -> MessageReceived:
    return MessageReceived(
        conversation=HERE,
        event_key=key,
        author_id="you",
        author_name="you",
        text=f"What about {key}?",
        sent_at=datetime(2026, 11, 1, 12, 30, tzinfo=UTC),
    )


async def test_a_database_of_before_is_written_again_once_and_its_steps_have_no_times(old: Path) -> None:
    async with open_sqlite(old) as store:
        (_, running, _) = await store.timeline(HERE)
        assert [step.at for step in running.steps] == [None, None, None]
        assert await store.scrub_at_start() is True
        assert await store.scrub_at_start() is False


async def test_a_purge_takes_of_an_older_version_only_what_the_person_asked(old: Path) -> None:
    you = HERE.person("you")
    with sqlite3.connect(old) as db:
        bens = EVENT.replace("KEY", "bens").replace('"author_id":"you"', '"author_id":"ben"')
        db.execute(
            "INSERT INTO turn (event_key, conversation_id, event, state, worker, accepted_at, ended_at, is_first,"
            " platform) VALUES ('bens', 1, ?, 'answered', 'gone', 1, 100.0, 0, 'console')",
            (bens,),
        )
    async with open_sqlite(old) as store:
        await store.heartbeat("us", lease_s=60)
        await store.accept(replace(event("new"), conversation=QUIET), worker="us", max_waiting=20)
        (turn,) = await store.claim("us", serves=[str(QUIET)], limit=1)
        await end(store, turn.lease)
        assert (await store.traces(you)).forgotten.event_keys == ("new", "old-1")
        assert (await store.forget_person(you)).forgotten.event_keys == ("new", "old-1")
        assert await store.kept_events(HERE) == ["bens"]


async def test_a_new_database_has_nothing_to_be_written_again(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "new.db") as store:
        assert await store.scrub_at_start() is False
