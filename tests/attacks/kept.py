"""What is left of words that were deleted: every byte of every file of a home is looked at."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bot.domain.audit import AuditEntry
from bot.domain.events import ConversationKey, MessageReceived, Quoted
from bot.domain.messages import AssistantMessage, ModelAnswer, ToolCall, ToolResult, Usage, UserMessage
from bot.domain.people import Actor
from bot.domain.turns import CallAsked, CallFinished, ModelAnswered, Post
from bot.ports.store import Store
from bot.stores.sqlite.store import open_sqlite

WORKER = "worker"
PEOPLE = ("U1", "U2", "U3")
SIZES = (5, 60, 250, 900, 2_500, 9_000)  # characters: of rows that share a page, fill one, and take several


def holding(home: Path, marker: bytes) -> list[str]:
    """Return the files below the folder in which the marker is."""
    return [str(file.relative_to(home)) for file in home.rglob("*") if file.is_file() and marker in file.read_bytes()]


def marker(person: str, room: int) -> str:
    """Return the word that is in everything that the person says in that room."""
    return f"MARKER-{person}-{room}."


def place(room: int) -> ConversationKey:
    return ConversationKey(platform="slack", space="T1", channel=f"C{room}", thread="1.1")


async def fill(store: Store, *, turns: int, rooms: int, seed: int) -> None:
    """Have people talk in rooms, of all lengths, with calls, quotations and summaries."""
    chance = random.Random(seed)
    await store.heartbeat(WORKER, lease_s=60)
    for number in range(turns):
        person, room = chance.choice(PEOPLE), chance.randrange(rooms)
        words = (marker(person, room) + " lorem ") * max(1, chance.choice(SIZES) // 20)
        await _turn(store, f"{seed}-{number}", person, room, words, chance)


async def _turn(store: Store, key: str, person: str, room: int, words: str, chance: random.Random) -> None:
    quoted = chance.choice(PEOPLE)
    quotation = Quoted(relation="reply", text=marker(quoted, room), author=quoted, author_id=quoted)
    event = MessageReceived(
        conversation=place(room),
        event_key=f"slack:T1:C{room}:{key}",
        author_id=person,
        author_name=person,
        text=words,
        sent_at=datetime(2026, 11, 1, tzinfo=UTC),
        quoted=(quotation,),
    )
    await store.accept(event, worker=WORKER, max_waiting=9)
    (turn,) = await store.claim(WORKER, serves=("slack/",), limit=1)
    call = ToolCall(id="c1", name="s__t", arguments=words)
    answer = ModelAnswer(message=AssistantMessage(text="", tool_calls=(call,)))
    steps = [
        ModelAnswered(round=0, answer=answer),
        CallAsked(round=0, call=call, server="s", tool="t"),
        CallFinished(round=0, result=ToolResult(call_id="c1", text=words)),
    ]
    line = AuditEntry(
        kind="started", at=time.time(), person=f"slack:T1:{person}", arguments=words, turn_id=turn.lease.turn_id
    )
    await store.record(turn.lease, steps, audit=[line])
    post = Post(key=f"{key}.0", conversation=place(room), turn_id=turn.lease.turn_id, part=0, text=words)
    messages = (
        UserMessage(text=words, context=f"> {quoted}: {marker(quoted, room)}", quotes=(quoted,)),
        AssistantMessage(text=words),
    )
    await store.reply(turn.lease, state="answered", messages=messages, posts=[post], usage=Usage())
    await store.mark_posted(turn.lease, 0, reference="1700000000.000100" * chance.randrange(1, 4), ends_turn=True)
    if chance.random() < 0.2:
        known = await store.history(place(room))
        last = turn.lease.turn_id
        await store.put_summary(
            place(room), words, past_turn_id=last, summary_end=known.summary_end, turn_id=last, usage=Usage()
        )


def left(home: Path, *, people: Sequence[str], rooms: Sequence[int]) -> list[tuple[str, str]]:
    """Return which of these people's words in these rooms are in which file."""
    markers = [marker(person, room) for person in people for room in rooms]
    return [(word, file) for word in markers for file in holding(home, word.encode())]


async def measure(*, turns: int = 300, seeds: int = 3) -> dict[str, float]:
    """Return how many deleted words were looked for and found, and how long the longest clear took, in seconds."""
    searched = found = 0
    longest_s = 0.0
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            async with open_sqlite(home / "toolbridge.db") as store:
                await fill(store, turns=turns, rooms=4, seed=seed)
                began = time.perf_counter()
                await store.clear(place(0))
                await store.scrub()
                longest_s = max(longest_s, time.perf_counter() - began)
                await store.forget_person(Actor(platform="slack", space="T1", id=PEOPLE[0]))
                await store.scrub()
                remains = [*left(home, people=PEOPLE, rooms=[0]), *left(home, people=PEOPLE[:1], rooms=[1, 2, 3])]
            searched += 6
            found += len(remains)
    return {"deleted words looked for": searched, "found in any file": found, "longest clear (s)": round(longest_s, 3)}
