"""Turns on a PostgreSQL that holds a little or a lot, and how it grows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg

from bot.domain.events import ConversationKey
from bot.domain.messages import AssistantMessage, UserMessage
from bot.observe.logs import configure_logs
from bot.stores import codec
from bot.stores.postgres.options import PostgresOptions
from bot.stores.postgres.store import open_postgres
from tests.bench.measure import Row, compare
from tests.bench.product import PLATFORM, question
from tests.bench.storage import ASKED, MESSAGES_A_TURN, NEIGHBOURS, RECENT, STORED, asking, cost_rows, times
from tests.fakes.postgres import PostgresServer

SCHEMA = PostgresOptions().schema
GROWN_TURNS = 100_000  # of a busy year
TENTHS = 10
GROWTH_GOAL = 1.2
OPEN_INDEXES = ("turn_open", "turn_share", "turn_platform")


async def stored_on_postgres(folder: Path, *, quick: bool) -> Sequence[Row]:
    """Compare turns of the real runner, with scripted model and tools, on databases of different sizes."""
    configure_logs(log_format="json", level="INFO", file=folder / "toolbridge.log")
    sizes = STORED[:2] if quick else (STORED[0], STORED[-1])
    rounds, turns = (1, 2) if quick else (11, 30)
    server = await asyncio.to_thread(PostgresServer, fsync="on", full_page_writes="on", shared_buffers="256MB")
    try:
        async with AsyncExitStack() as stack:
            works: dict[str, Callable[[], Awaitable[None]]] = {}
            for size in sizes:
                url = _new_database(server, f"of_{size}")
                await _fill(url, messages=size)
                works[str(size)] = times(await stack.enter_async_context(asking(open_postgres(url))), turns)
            return cost_rows(await compare(works, rounds=rounds, units=turns), sizes, engine=", on PostgreSQL")
    finally:
        await asyncio.to_thread(server.close)


def _new_database(server: PostgresServer, name: str) -> str:
    server.run(f"CREATE DATABASE {name}")
    return f"{server.url.rpartition('/')[0]}/{name}"


async def _fill(url: str, *, messages: int) -> None:
    """Make a database that holds so many messages, with the turns, journals and posts that led to them."""
    async with open_postgres(url):
        pass  # makes the tables
    await asyncio.to_thread(_insert, url, messages // MESSAGES_A_TURN)


def _insert(url: str, turns: int) -> None:
    neighbours, recent = min(NEIGHBOURS, turns // 2), RECENT // MESSAGES_A_TURN
    holder = (
        f"CASE WHEN mod(t, 2) = 0 OR t > {turns - recent} THEN 1 ELSE 2 + mod(t, {neighbours}) END"
        if neighbours
        else "1"
    )
    now = datetime.now(UTC).timestamp()
    asked = str(ConversationKey(platform=PLATFORM, space="team", channel=ASKED))
    neighbour = str(ConversationKey(platform=PLATFORM, space="team", channel="neighbour-"))
    event = codec.events.dump_json(question("How are you?", number=0)).decode()
    step = json.dumps({"round": 0, "call_id": "call_0", "kind": "started"})
    bodies = [
        codec.messages.dump_json(message).decode()
        for message in (UserMessage(text="How are you? " * 10), AssistantMessage(text="Fine, thank you. " * 15))
    ]
    with psycopg.connect(url, autocommit=True) as db:

        def run(statement: str, *parameters: Any) -> None:
            db.execute(statement.encode(), parameters or None)

        run(f'SET search_path TO "{SCHEMA}"')
        run("INSERT INTO conversation (id, key) VALUES (1, %s)", asked)
        run(
            f"INSERT INTO conversation (id, key) SELECT n + 1, %s || n FROM generate_series(1, {neighbours + 1}) AS n",
            neighbour,
        )
        run(
            "INSERT INTO turn (id, event_key, conversation_id, event, state, outcome, worker, fence, accepted_at,"
            f" ended_at) SELECT t, 'old-' || t, {holder}, %s, 'answered', 'answered', 'gone', 1, %s, %s"
            f" FROM generate_series(1, {turns}) AS t",
            *(event, now, now),
        )
        run("INSERT INTO journal (turn_id, step, body) SELECT id, 1, %s FROM turn", step)
        run("INSERT INTO outbox SELECT id, 0, '{}', 'posted', 'ref' FROM turn")
        run(
            "INSERT INTO message (conversation_id, turn_id, body, created_at)"
            " SELECT conversation_id, id, body, %s FROM turn, (VALUES (1, %s), (2, %s)) AS said (part, body)"
            " ORDER BY id, part",
            *(now, *bodies),
        )
        window = "SELECT id FROM turn WHERE conversation_id = 1 ORDER BY id DESC"
        run(
            "UPDATE conversation SET summary = 'Ann likes tea.', (window_message_id, summary_message_id) ="
            f" (SELECT min(id) - 1, min(id) - 1 FROM message WHERE turn_id IN ({window} LIMIT {recent}))"
            " WHERE id = 1"
        )
        for table in ("conversation", "turn"):
            run(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {table}")
        run("VACUUM ANALYZE")


# --- growth ---


async def growth(folder: Path, *, quick: bool) -> Sequence[Row]:
    """Measure what many turns leave on the disk, with a vacuum that works beside them."""
    configure_logs(log_format="json", level="INFO", file=folder / "toolbridge.log")
    turns = 20 if quick else GROWN_TURNS
    server = await asyncio.to_thread(PostgresServer, autovacuum_naptime="6s")  # they come in minutes here
    try:
        url = _new_database(server, "grown")
        async with asking(open_postgres(url)) as ask:
            sizes = [_bytes(url)]
            for _ in range(TENTHS):
                await times(ask, turns // TENTHS)()
                sizes.append(_bytes(url))
            grown_kib = _index_kib(url)
            _run(url, f'REINDEX SCHEMA "{SCHEMA}"')
            fresh_kib = _index_kib(url)
    finally:
        await asyncio.to_thread(server.close)
    tenths = [after - before for before, after in pairwise(sizes)]
    early, late = sum(tenths[1:4]) or 1, sum(tenths[-3:]) or 1
    return [
        Row(
            figure=f"bytes that a turn leaves on PostgreSQL, the last tenths of {turns:,} turns over early ones",
            value=late / early,
            goal=GROWTH_GOAL,
            beside=f"{late / (3 * turns // TENTHS):,.0f} bytes over {early / (3 * turns // TENTHS):,.0f}",
        ),
        Row(
            figure=f"size of the indexes of what is open, after {turns:,} turns that have all ended",
            value=grown_kib,
            unit="KiB",
            beside=f"{fresh_kib:.0f} KiB where they are made anew",
        ),
    ]


def _run(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as db:
        cursor = db.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def _bytes(url: str) -> int:
    """Return the size of all tables with their indexes."""
    ((size,),) = _run(
        url,
        "SELECT sum(pg_total_relation_size(pg_class.oid)) FROM pg_class"
        f" JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = '{SCHEMA}' AND relkind = 'r'",
    )
    return int(size)


def _index_kib(url: str) -> float:
    named = ", ".join(f"'\"{SCHEMA}\".{name}'" for name in OPEN_INDEXES)
    ((size,),) = _run(url, f"SELECT sum(pg_relation_size(name::regclass)) FROM unnest(ARRAY[{named}]) AS name")
    return int(size) / 1024
